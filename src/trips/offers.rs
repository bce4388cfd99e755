//! Whom a trip is shown to while a driver is searched: leases with deadlines, and the prices that
//! are bid where the rider picks among them.
//!
//! Part of the rules: decides, stores nothing, reads no clock.
//!
//! Guarantees:
//! - every lease ends: answered, withdrawn, let pass, or at its deadline;
//! - a price is bid by who was asked, while bids are open, within the trip's bounds;
//! - a bid that was picked is the price of the trip, for the one who bid it. (`bids` tests)

use base::{BasisPoints, DriverId, Millis, OfferId, Piasters, RiderId, TripId, limits, words};

use crate::event::{EventName, TripEvent};
use crate::model::{OfferOutcome, Party, Side, Status, Trip};
use crate::refusal::Refusal;
use crate::rules::{State, Step, Tell};

/// Bids are rounded as quotes are: to so many piasters.
const BID_STEP: i64 = 50;

/// A trip shown to one driver, until its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) driver: DriverId,
    pub(crate) round: u16,
    pub(crate) until: Millis,
    /// Where prices are bid.
    pub(crate) bidding: Option<Bidding>,
}

/// Until when a driver may bid, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BidTerms {
    /// Names his bid.
    pub offer: OfferId,
    pub open_until: Millis,
    /// Shares of what the trip was quoted with.
    pub floor: BasisPoints,
    pub ceiling: BasisPoints,
    /// Until he could be at the pickup, seconds.
    pub eta_s: u32,
}

/// What a driver may bid, and what he bids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bidding {
    offer: OfferId,
    /// From then on nothing is bid, and whoever bids nothing is free. A bid stands until its
    /// lease ends.
    open_until: Millis,
    least: Piasters,
    most: Piasters,
    eta_s: u32,
    bid: Option<Piasters>,
    /// Was it lower before? Then the rider may have seen that.
    raised: bool,
}

impl Bidding {
    fn of(trip: &Trip, terms: &BidTerms) -> Self {
        let BidTerms { offer, open_until, floor, ceiling, eta_s } = *terms;
        let (least, most) = trip.bid_range(floor, ceiling);
        Self { offer, open_until, least, most, eta_s, bid: None, raised: false }
    }
}

/// What one driver would drive a trip for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bid {
    pub offer: OfferId,
    pub driver: DriverId,
    pub price: Piasters,
    /// Until he could be at the pickup, seconds.
    pub eta_s: u32,
    /// It can't be picked from then on.
    pub until: Millis,
}

words! {
    /// How a bid stands.
    BidStatus {
        /// New, or with another price than before: it can be picked.
        Open = "open",
        /// The driver took it back.
        Withdrawn = "withdrawn",
        /// Its time was over.
        Expired = "expired",
        /// The driver went silent or offline, or drives another trip.
        Lost = "lost",
        /// The rider picked it.
        Won = "won",
    }
}

impl Lease {
    /// What its driver bids.
    pub(crate) fn bid(&self) -> Option<Bid> {
        let bidding = self.bidding?;
        Some(Bid {
            offer: bidding.offer,
            driver: self.driver,
            price: bidding.bid?,
            eta_s: bidding.eta_s,
            until: self.until,
        })
    }

    /// When it ends by itself.
    pub(crate) fn ends(&self) -> Millis {
        match self.bidding {
            Some(Bidding { bid: None, open_until, .. }) => open_until.min(self.until),
            Some(_) | None => self.until,
        }
    }
}

impl Trip {
    /// Least and most that may be bid for the trip, where those are shares of what it was quoted
    /// with. What a promo gives was reckoned from the quoted price, so that no bid goes below it
    /// then.
    pub fn bid_range(&self, floor: BasisPoints, ceiling: BasisPoints) -> (Piasters, Piasters) {
        let quoted = self.quoted_price.unwrap_or(self.price);
        let least = match self.promo > Piasters::ZERO {
            true => quoted,
            false => quoted.share(floor).round_to(BID_STEP),
        };
        let most = quoted.share(ceiling).round_to(BID_STEP).min(Piasters(limits::FARE_MAX));
        (least, most.max(least))
    }
}

impl State {
    /// The bids that can be picked, as they came.
    pub(crate) fn bids(&self) -> impl Iterator<Item = Bid> {
        self.offers.iter().filter_map(Lease::bid)
    }

    pub(crate) fn lease_of(&self, driver: DriverId) -> Result<&Lease, Refusal> {
        let lease = self.offers.iter().find(|lease| lease.driver == driver);
        lease.ok_or_else(|| self.not_asked(driver))
    }

    fn not_asked(&self, driver: DriverId) -> Refusal {
        match self.asked.contains(&driver) {
            true => Refusal::OfferExpired,
            false => Refusal::NotOffered(driver),
        }
    }
}

pub(crate) fn offer(
    state: &State,
    driver: DriverId,
    until: Millis,
    round: u16,
    terms: Option<&BidTerms>,
) -> Result<Step, Refusal> {
    let open = state.offers.iter().any(|lease| lease.driver == driver);
    if open || state.trip.excluded.contains(&driver) {
        return Err(Refusal::NotOfferable(driver));
    }
    let mut step = state.unchanged();
    step.next.asked.retain(|asked| *asked != driver);
    let bidding = terms.map(|terms| Bidding::of(&state.trip, terms));
    step.next.offers.push(Lease { driver, round, until, bidding });
    Ok(step)
}

pub(crate) fn decline(state: &State, driver: DriverId) -> Result<Step, Refusal> {
    state.lease_of(driver)?;
    Ok(end_offer(state, driver, OfferOutcome::Declined))
}

pub(crate) fn end_offer(state: &State, driver: DriverId, outcome: OfferOutcome) -> Step {
    let mut step = state.unchanged();
    let Some(place) = step.next.offers.iter().position(|lease| lease.driver == driver) else {
        return step;
    };
    let lease = step.next.offers.remove(place);
    let stands = match outcome {
        OfferOutcome::Declined => BidStatus::Withdrawn,
        OfferOutcome::Lost => BidStatus::Lost,
        OfferOutcome::Accepted
        | OfferOutcome::Expired
        | OfferOutcome::Unchosen
        | OfferOutcome::StandsBy
        | OfferOutcome::Revoked => BidStatus::Expired,
    };
    step.over(lease, outcome, stands);
    step
}

/// Ends what is over at `now`: offers at their deadline, and those without a bid once nothing more
/// is bid.
pub(crate) fn expire(state: &State, now: Millis) -> Step {
    let mut step = state.unchanged();
    for lease in state.offers.iter().filter(|lease| now >= lease.ends()) {
        let outcome = match lease.bid() {
            Some(_) => OfferOutcome::Unchosen,
            None => OfferOutcome::Expired,
        };
        step.over(*lease, outcome, BidStatus::Expired);
    }
    step.next.offers.retain(|lease| now < lease.ends());
    step
}

impl Step {
    fn over(&mut self, lease: Lease, outcome: OfferOutcome, stands: BidStatus) {
        self.next.asked.push(lease.driver);
        self.tells.push(Tell::OfferEnded { driver: lease.driver, outcome });
        self.tells.extend(lease.bid().map(|bid| Tell::Bid { bid, stands }));
    }
}

/// Where prices are bid, a yes is a bid of the trip's own price.
pub(crate) fn accept(
    state: &State,
    driver: DriverId,
    behind: Option<TripId>,
    now: Millis,
) -> Result<Step, Refusal> {
    let lease = state.lease_of(driver)?;
    if let Some(Bidding { least, most, .. }) = lease.bidding {
        return bid(state, driver, state.trip.price.clamp(least, most), now);
    }
    // At the deadline itself the offer is gone: the next driver may already have been asked.
    if now >= lease.until {
        return Err(Refusal::OfferExpired);
    }
    let name = if behind.is_some() { EventName::Queued } else { EventName::Accepted };
    let event = TripEvent {
        driver_id: Some(driver),
        queued_behind: behind,
        confirm_by: state.confirm_by(now),
        rounds: Some(lease.round.max(state.trip.rounds)),
        ..state.event(name, Status::Accepted, Side::Driver, now)
    };
    Ok(matched(state, event, Party::Driver(driver), driver))
}

/// A bid, or another price in its place.
pub(crate) fn bid(
    state: &State,
    driver: DriverId,
    price: Piasters,
    now: Millis,
) -> Result<Step, Refusal> {
    let lease = state.lease_of(driver)?;
    let Bidding { open_until, least, most, .. } = lease.bidding.ok_or(Refusal::NothingToBid)?;
    if now >= open_until.min(lease.until) {
        return Err(Refusal::OfferExpired);
    }
    // Compared first: what is beyond all fares is not to be rounded.
    let rounded = if price > most { price } else { price.round_to(BID_STEP) };
    if !(least..=most).contains(&rounded) {
        return Err(Refusal::BidOutOfRange { least, most });
    }
    let mut step = state.unchanged();
    for lease in step.next.offers.iter_mut().filter(|lease| lease.driver == driver) {
        let before = lease.bid();
        if let Some(bidding) = &mut lease.bidding {
            let higher = bidding.bid.replace(rounded).is_some_and(|before| rounded > before);
            bidding.raised |= higher;
        }
        let news = lease.bid().filter(|bid| Some(*bid) != before);
        step.tells.extend(news.map(|bid| Tell::Bid { bid, stands: BidStatus::Open }));
    }
    Ok(step)
}

/// The rider takes a bid, if it is still the price that he saw: who bid it drives, for that. One
/// that was raised is taken at a named price only.
pub(crate) fn pick(
    state: &State,
    rider: RiderId,
    offer: OfferId,
    seen: Option<Piasters>,
    now: Millis,
) -> Result<Step, Refusal> {
    if state.trip.rider != rider {
        return Err(Refusal::NotYours);
    }
    let open = |lease: &&Lease| now < lease.until && lease.bid().is_some_and(|b| b.offer == offer);
    let lease = state.offers.iter().find(open).ok_or(Refusal::BidOver)?;
    let bid = lease.bid().ok_or(Refusal::BidOver)?;
    let raised = lease.bidding.is_some_and(|bidding| bidding.raised);
    if seen.map_or(raised, |seen| seen != bid.price) {
        return Err(Refusal::BidChanged { price: bid.price });
    }
    let event = TripEvent {
        driver_id: Some(bid.driver),
        rounds: Some(lease.round.max(state.trip.rounds)),
        price: Some(bid.price),
        offer_id: Some(offer),
        ..state.event(EventName::Accepted, Status::Accepted, Side::Rider, now)
    };
    let mut step = matched(state, event, Party::Rider(rider), bid.driver);
    step.tells.push(Tell::Bid { bid, stands: BidStatus::Won });
    Ok(step)
}

/// The step that gives the trip to `driver`, one of those who were asked.
fn matched(state: &State, event: TripEvent, by: Party, driver: DriverId) -> Step {
    let mut step = state.recorded(event, by, None);
    step.tells.push(Tell::OfferEnded { driver, outcome: OfferOutcome::Accepted });
    step.tells.extend(state.revoked(Some(driver)));
    step.tells.extend([Tell::SearchOver, Tell::Matched { driver }]);
    step.tells.extend(step.next.trip.confirm_by.map(|_| Tell::NeedsStandby));
    step
}
