//! What dispatch talks about: a search, a driver as he is seen, an offer, a decision.

use std::time::Duration;

use base::{
    BasisPoints, CityId, DriverId, Millis, OfferId, PaymentMethod, Piasters, Point, RiderId, Tier,
    TripId,
};

use fleet::{Conduct, Misconduct};

use crate::board::Ended;
use crate::eligibility::{Gate, Standing};
use crate::score::Parts;
use crate::strategy::Strategy;
use crate::wire::MatchingStatus;

/// A trip that wants a driver.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    pub trip: TripId,
    pub city: CityId,
    pub rider: RiderId,
    pub pickup: Point,
    pub destination: Point,
    pub tier: Tier,
    pub method: PaymentMethod,
    pub price: Piasters,
    /// When the rider asked: who asked first is served first, also after a driver gave it back.
    pub asked_at: Millis,
    /// Never asked: drivers who gave the trip back, and those whom a block keeps apart.
    pub excluded: Vec<DriverId>,
    /// Drivers who drove this rider before.
    pub familiar: Vec<DriverId>,
    /// Length of the trip itself, metres.
    pub distance_m: u32,
    /// Duration of the trip itself, seconds.
    pub duration_s: u32,
    /// Radius of the first ring, metres (the city's `search_radius_m`).
    pub ring_m: u32,
    /// Named by the request; none: what the city has at the time.
    pub strategy: Option<Strategy>,
    /// Asked before all others, if he can be asked: he stood by.
    pub first: Option<DriverId>,
    /// What the driver is wanted for.
    pub role: Part,
    /// It does not end before this; one for somebody who stands by ends then.
    pub until: Option<Millis>,
}

/// What a driver is wanted for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    #[default]
    Drive,
    /// To come should the driver of the trip not. One yes ends the search, and he is free.
    StandBy,
}

/// A driver as one look at the fleet shows him.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub driver: DriverId,
    /// Where he is; for one who is finishing a trip, where he drops his rider off.
    pub at: Point,
    /// From there to the pickup, metres: [`Seen::distance_from`].
    pub distance_m: f64,
    pub standing: Standing,
    pub tier: Tier,
    /// Mean of his ratings, 0 to 5.
    pub rating: f32,
    /// Share of offers that he accepted, 0 to 1.
    pub acceptance: f32,
    /// Share of accepted trips that he completed, 0 to 1.
    pub completion: f32,
    /// Since when he waits for a trip.
    pub waiting_since: Millis,
    /// Trips of the last hours, as the fleet counts them.
    pub recent_trips: u16,
    /// When his newest accepted position came in.
    pub heard: Millis,
    /// When the first of his documents runs out.
    pub documents_until: Millis,
    pub approved: bool,
    pub fraud: bool,
    /// For what his score is lowered, and by how much.
    pub conduct: Option<Conduct>,
    /// Owes more than his limit, so he can't take cash.
    pub in_debt: bool,
    /// His place in the queue of the airport where the pickup is; 1 is next.
    pub in_line: Option<u32>,
}

impl Seen {
    /// Great circle from the pickup to him, metres, as the index measures it.
    pub fn distance_from(&self, pickup: Point) -> f64 {
        geo::distance_m(pickup, self.at)
    }
}

/// What the engine may look at. Must not change while one [`crate::tick`] runs.
pub trait View: Send + Sync {
    /// Drivers within `radius_m` of `at`, in any order and any standing, the nearest `limit` of
    /// them; appended to `out`. Where `at` is at an airport, those in its queue come before the
    /// nearest, wherever they are. Who drops his rider off within `ahead` and has nothing to do
    /// after that is seen where he will be free.
    fn drivers(&self, at: Point, radius_m: f64, limit: usize, ahead: Duration, out: &mut Vec<Seen>);

    /// One driver, however far from `at` he is; none who is offline or unknown.
    fn driver(&self, driver: DriverId, at: Point) -> Option<Seen>;

    /// Driving time, seconds: along roads where they are known, else in proportion to distance.
    fn eta_s(&self, from: Point, to: Point, now: Millis) -> u32;
}

/// An offer to make: the trip, shown to one driver.
#[derive(Clone, Debug, PartialEq)]
pub struct OfferPlan {
    pub offer: OfferId,
    pub trip: TripId,
    pub driver: DriverId,
    /// Counts from 1 in each search.
    pub round: u16,
    pub made: Millis,
    pub until: Millis,
    pub score: f32,
    /// Driver to pickup, metres.
    pub distance_m: u32,
    /// Driver to pickup, seconds.
    pub eta_s: u32,
    /// He bids a price instead of accepting the trip's.
    pub bids: Option<BidTerms>,
    /// What he bid last.
    pub bid: Option<Piasters>,
    pub role: Part,
    /// He takes the trip over from this one, who is on his way.
    pub instead_of: Option<DriverId>,
}

/// Until when a price may be bid for a trip, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BidTerms {
    pub until: Millis,
    /// Shares of the quoted price.
    pub floor: BasisPoints,
    pub ceiling: BasisPoints,
}

impl OfferPlan {
    /// Until when the driver says yes, no, or a price: of a lease with bids the rest is the rider's
    /// to choose in.
    pub fn answer_by(&self) -> Millis {
        self.bids.map_or(self.until, |terms| terms.until.min(self.until))
    }
}

/// How an offer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Accepted,
    Declined,
    /// Its time was over.
    Expired,
    /// Someone else has the trip, or there is no trip any more.
    Revoked,
    /// The driver went silent or offline, or was taken before he could be asked.
    Lost,
    /// He bid, and the rider let it pass.
    Unchosen,
    /// He stands by, and is free.
    StandsBy,
}

impl Outcome {
    pub const ALL: [Self; 7] = [
        Self::Accepted,
        Self::Declined,
        Self::Expired,
        Self::Revoked,
        Self::Lost,
        Self::Unchosen,
        Self::StandsBy,
    ];

    /// As in `trip_offers.status` and in the metric's label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Declined => "declined",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Lost => "lost",
            Self::Unchosen => "unchosen",
            Self::StandsBy => "stands_by",
        }
    }
}

/// What was made of a driver who was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    Offered,
    /// Eligible, but others ranked before him in this round.
    Ranked,
    /// Eligible, but so far away that the search waits for another (BATCHED).
    TooFar,
    /// Eligible, but farther than as many as are scored.
    NotScored,
    /// Eligible, but the queue of the airport where the pickup is comes first; or he stands in it,
    /// and this rider has a driver already.
    BehindQueue,
    Barred(Gate),
}

impl Verdict {
    /// As in `dispatch_trace.verdict`: a word of its own, or the gate's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Ranked => "ranked",
            Self::TooFar => "too_far",
            Self::NotScored => "not_scored",
            Self::BehindQueue => "behind_queue",
            Self::Barred(gate) => gate.name(),
        }
    }
}

/// One line of a search's trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Considered {
    pub trip: TripId,
    pub at: Millis,
    /// The round that was being put together.
    pub round: u16,
    pub driver: DriverId,
    pub verdict: Verdict,
    pub score: Option<f32>,
    pub distance_m: u32,
    pub eta_s: Option<u32>,
    pub parts: Option<Parts>,
    /// His place in the queue of the airport where the pickup is.
    pub in_line: Option<u32>,
    /// For what his score was lowered.
    pub conduct: Option<Misconduct>,
}

/// What one tick decided.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// A round: these drivers are asked at once, all for the same trip, searched since `since`.
    Offers { plans: Vec<OfferPlan>, since: Millis },
    /// What there is to say about drivers that was not said before.
    Considered(Vec<Considered>),
    /// An offer of which nobody said how it ended. The driver may be asked again by others.
    Lapsed(Ended),
    /// Nobody was found. Repeated every few seconds until the search is stopped: a trip whose end
    /// could not be stored must not be forgotten.
    NoDrivers { trip: TripId, said: Said },
}

/// Is it news?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    First,
    Again,
}

/// What the rest of the program has to carry out. Each offer must be answered by
/// [`crate::Dispatch::offer_ended`], each `NoDrivers` by [`crate::Dispatch::stop`].
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// One round of one trip.
    Offers(Vec<OfferPlan>),
    NoDrivers {
        trip: TripId,
    },
    /// Nobody said how this offer ended: the driver must not stay leased.
    Lapsed {
        trip: TripId,
        driver: DriverId,
    },
    /// Riders in line whose place is another one, or whose turn it is.
    Queued(Vec<QueueNews>),
}

/// What a rider in line is told of his search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueNews {
    pub trip: TripId,
    pub rider: RiderId,
    /// With his place; without one when he is in line no more.
    pub status: MatchingStatus,
}
