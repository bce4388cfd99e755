//! The group writer: transitions of many trips in one commit.
//!
//! Owns the order of writing: lock the riders' funds, decide the money, move the trips with their
//! events, post the journals of those that moved, commit. Owns no trip: each belongs to its actor.
//!
//! Guarantees:
//! - an item is answered once, after its commit: recorded, refused, failed, or in doubt;
//! - one item's refusal costs no other item anything: the group is split until it stands alone;
//! - a commit whose answer got lost is read back under lock, never guessed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use base::{DriverId, Fault, Millis, Piasters, TripId, UserId};
use events::Once;
use ledger::{Account, CashTaken, Journal, RiderFunds, TripMoney};
use metrics::{counter, histogram};
use ops::Tasks;
use serde::Serialize;
use storage::Db;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tracing::{error, warn};

use crate::ahead;
use crate::event::{TripEvent, evolve};
use crate::model::{CancelReason, PaymentStatus, Side, Status, Trip};
use crate::pick;
use crate::refusal::Refusal;
use crate::rules::Record;
use crate::store::{self, GroupError};

/// How often a lost commit is looked up before its items are left in doubt.
const LOOKS: u32 = 5;
/// Groups that are written at the same time. They hold different trips, since a trip's actor waits
/// for its answer; with two the database works on one while the other is forced to disk.
const FLIGHTS: usize = 2;
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Sizes of a group commit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    /// Items at most.
    pub(crate) items: usize,
    /// How long the first item waits for company.
    pub(crate) wait: Duration,
}

/// A decided step that wants to be stored.
pub(crate) struct Item {
    pub(crate) before: Arc<Trip>,
    pub(crate) record: Record,
    /// Its idempotency key is used by the same commit.
    pub(crate) once: Once,
    /// Not begun after this moment.
    pub(crate) give_up: Instant,
    pub(crate) reply: oneshot::Sender<Outcome>,
}

/// What the writer is asked for.
pub(crate) enum Work {
    Write(Box<Item>),
    /// Where does the trip stand, once nobody is writing it any more?
    Look {
        trip: TripId,
        reply: oneshot::Sender<Result<Option<Looked>, Fault>>,
    },
}

/// A trip as stored, with its last event, and the epoch of the lease as it is now.
#[derive(Debug)]
pub(crate) struct Looked {
    pub(crate) lease: i64,
    pub(crate) trip: Arc<Trip>,
    pub(crate) event: Arc<TripEvent>,
}

/// A committed step.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) trip: Arc<Trip>,
    pub(crate) event: Arc<TripEvent>,
    /// The driver's account afterwards, when the step moved it and the answer came through.
    pub(crate) driver_balance: Option<Piasters>,
}

/// What became of an item.
#[derive(Debug)]
pub(crate) enum Outcome {
    Recorded(Recorded),
    Refused(Refusal),
    /// Nothing was stored.
    Failed(Fault),
    /// The trip was not where it was thought, or the commit's answer is lost: look.
    InDoubt,
}

/// A trip's move as `trip_transitions` reads it: the columns that move, whole.
#[derive(Serialize)]
pub(crate) struct Move<'a> {
    id: TripId,
    version: i32,
    epoch: i64,
    side: Side,
    actor: Option<UserId>,
    event: &'static str,
    payload: &'a TripEvent,
    at: Millis,
    status: Status,
    payment_status: PaymentStatus,
    driver_id: Option<DriverId>,
    queued_behind: Option<TripId>,
    price: i64,
    quoted_price: Option<i64>,
    final_price: Option<i64>,
    hold: i64,
    distance_m: Option<u32>,
    duration_s: Option<u32>,
    rounds: u16,
    excluded: &'a [DriverId],
    cancelled_by: Option<Side>,
    cancel_reason: Option<CancelReason>,
    cancel_fee: i64,
    requested_at: Millis,
    accepted_at: Option<Millis>,
    arrived_at: Option<Millis>,
    started_at: Option<Millis>,
    ended_at: Option<Millis>,
    confirm_by: Option<Millis>,
}

/// An item with its money decided: the row as it will be, and the journals of the same commit.
struct Planned {
    trip: Arc<Trip>,
    event: Arc<TripEvent>,
    journals: Vec<Journal>,
}

impl Planned {
    /// A wallet that is too short turns `paid` into `failed`; the trip is completed all the same. A
    /// bid that is not covered is not picked, a trip booked ahead that is not covered not searched.
    /// Cash that is so short that it may not be owed completes nothing.
    fn of(
        item: &Item,
        funds: &HashMap<UserId, RiderFunds>,
        cards: &HashMap<TripId, Piasters>,
    ) -> Result<Self, Refusal> {
        let mut event = item.record.event.clone();
        let of_rider = funds.get(&item.before.rider.into()).copied().unwrap_or_default();
        let card = cards.get(&item.before.id).copied();
        let mut journals = match &item.record.money {
            None => Vec::new(),
            Some(money) => ledger::decide(money, &of_rider).unwrap_or_else(|failed| {
                event.payment_status = PaymentStatus::Failed;
                failed.release.map(|release| *release).into_iter().collect()
            }),
        };
        if let Some(cash) = &item.record.cash {
            journals.extend(cash_journals(cash, &of_rider)?);
        }
        journals.extend(pick::cover(&item.before, &mut event, &of_rider, card)?);
        journals.extend(ahead::set_aside(&item.before, &mut event, &of_rider)?);
        let trip = Arc::new(evolve(&item.before, &event));
        Ok(Self { trip, event: Arc::new(event), journals })
    }

    /// What becomes of the trip's promo; it waits for its payment as long as the trip does.
    fn promo_end(&self) -> Option<promo::Ended> {
        let trip = &self.trip;
        if trip.promo == Piasters::ZERO {
            return None;
        }
        match (trip.status, trip.payment_status) {
            (Status::Completed, PaymentStatus::Paid) => Some(promo::Ended::Spent(trip.id)),
            (Status::Cancelled | Status::NoDrivers, _) => Some(promo::Ended::Freed(trip.id)),
            (
                Status::Scheduled
                | Status::Requested
                | Status::Accepted
                | Status::Arrived
                | Status::Started
                | Status::Completed,
                _,
            ) => None,
        }
    }

    fn moves(&self, item: &Item) -> Move<'_> {
        let trip = &self.trip;
        Move {
            id: trip.id,
            version: trip.version,
            epoch: trip.epoch,
            side: item.record.actor.side(),
            actor: item.record.actor.user(),
            event: self.event.event.domain(),
            payload: &self.event,
            at: self.event.at,
            status: trip.status,
            payment_status: trip.payment_status,
            driver_id: trip.driver,
            queued_behind: trip.queued_behind,
            price: trip.price.0,
            quoted_price: trip.quoted_price.map(|price| price.0),
            final_price: trip.final_price.map(|price| price.0),
            hold: trip.hold.0,
            distance_m: trip.distance_m,
            duration_s: trip.duration_s,
            rounds: trip.rounds,
            excluded: &trip.excluded,
            cancelled_by: trip.cancelled_by,
            cancel_reason: trip.cancel_reason,
            cancel_fee: trip.cancel_fee.0,
            requested_at: trip.requested_at,
            accepted_at: trip.accepted_at,
            arrived_at: trip.arrived_at,
            started_at: trip.started_at,
            ended_at: trip.ended_at,
            confirm_by: trip.confirm_by,
        }
    }
}

/// A group on its way, with how often it was tried.
struct Part {
    items: Vec<Item>,
    tries: u32,
}

/// How a group's transaction ended, when it did not fail before its commit.
enum Ended {
    Committed(Vec<Outcome>),
    /// The commit's answer is lost; these are the outcomes if it went through.
    Lost(Vec<Outcome>),
}

/// Collects work into groups and has them written.
pub(crate) struct Writer {
    desk: Desk,
    group: Group,
    inbox: mpsc::Receiver<Work>,
    tasks: Tasks,
    /// Turns of groups on their way.
    flights: Arc<Semaphore>,
}

impl Writer {
    pub(crate) fn new(db: Db, group: Group, inbox: mpsc::Receiver<Work>, tasks: Tasks) -> Self {
        let flights = Arc::new(Semaphore::new(FLIGHTS));
        Self { desk: Desk { db }, group, inbox, tasks, flights }
    }

    /// Runs until the node stops; what was queued by then is still written.
    pub(crate) async fn run(mut self) {
        let stopping = self.tasks.stopping();
        loop {
            let first = tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                first = self.inbox.recv() => first,
            };
            let Some(first) = first else { return };
            self.fly(first).await;
        }
        self.inbox.close();
        while let Some(first) = self.inbox.recv().await {
            self.fly(first).await;
        }
    }

    /// Has a group written. While others are on their way it gathers more company.
    async fn fly(&mut self, first: Work) {
        let turn = Arc::clone(&self.flights).acquire_owned().await;
        let works = self.gather(first).await;
        let desk = self.desk.clone();
        self.tasks.spawn("trips.group", async move {
            desk.serve(works).await;
            drop(turn);
        });
    }

    /// The first piece of work and what joins it in time.
    async fn gather(&mut self, first: Work) -> Vec<Work> {
        let until = Instant::now() + self.group.wait;
        let mut works = vec![first];
        while works.len() < self.group.items {
            let room = self.group.items - works.len();
            match tokio::time::timeout_at(until, self.inbox.recv_many(&mut works, room)).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        works
    }
}

/// Writes one group.
#[derive(Clone)]
struct Desk {
    db: Db,
}

impl Desk {
    async fn serve(&self, works: Vec<Work>) {
        let mut items = Vec::with_capacity(works.len());
        for work in works {
            match work {
                Work::Write(item) if item.give_up <= Instant::now() => {
                    let late = Fault::unavailable("the change waited too long to be stored");
                    item.reply.send(Outcome::Failed(late)).ok();
                }
                Work::Write(item) => items.push(*item),
                Work::Look { trip, reply } => {
                    reply.send(self.look(trip).await).ok();
                }
            }
        }
        if !items.is_empty() {
            histogram!("smartline_group_commit_items").record(items.len() as f64);
            self.write(items).await;
        }
    }

    async fn look(&self, id: TripId) -> Result<Option<Looked>, Fault> {
        let (lease, mut trips) = store::look(&self.db, &[id]).await?;
        let Some(trip) = trips.pop() else { return Ok(None) };
        let last = store::events_since(&self.db, id, trip.version - 1).await?.pop();
        let event = last.ok_or_else(|| Fault::internal(format!("trip {id} has no last event")))?;
        Ok(Some(Looked { lease, trip: Arc::new(trip), event: Arc::new(event) }))
    }

    /// Commits the items together where that works, and in ever smaller parts where it doesn't.
    async fn write(&self, items: Vec<Item>) {
        let mut parts = vec![Part { items, tries: 0 }];
        while let Some(mut part) = parts.pop() {
            let begun = Instant::now();
            let result = self.commit(&part.items).await;
            histogram!("smartline_group_commit_seconds").record(begun.elapsed().as_secs_f64());
            match result {
                Ok(Ended::Committed(outcomes)) => answer(part.items, outcomes),
                Ok(Ended::Lost(outcomes)) => {
                    let rest = self.read_back(part.items, outcomes).await;
                    retry(&mut parts, rest, part.tries, &Fault::unavailable("commit was lost"));
                }
                // Another transaction was in the way, or the server is going: once more, then 503.
                Err(GroupError::Away(fault)) => retry(&mut parts, part.items, part.tries, &fault),
                Err(GroupError::Refused(_) | GroupError::Broken(_)) if part.items.len() > 1 => {
                    counter!("smartline_group_commit_splits_total").increment(1);
                    let right = part.items.split_off(part.items.len() / 2);
                    parts.push(Part { items: right, tries: 0 });
                    parts.push(Part { items: part.items, tries: 0 });
                }
                Err(GroupError::Refused(refusal)) => {
                    answer(part.items, vec![Outcome::Refused(refusal)]);
                }
                Err(GroupError::Broken(fault)) => {
                    error!("a trip's change could not be stored: {fault}");
                    answer(part.items, vec![Outcome::Failed(fault)]);
                }
            }
        }
    }

    /// One transaction for all of them. An error means that nothing was stored.
    async fn commit(&self, items: &[Item]) -> Result<Ended, GroupError> {
        let mut tx = self.db.begin_writer().await?;
        let riders: Vec<UserId> = items
            .iter()
            .filter(|item| item.record.asks_funds(&item.before))
            .map(|item| item.before.rider.into())
            .collect::<HashSet<_>>()
            .into_iter()
            .collect();
        let funds = match riders.is_empty() {
            true => HashMap::new(),
            false => ledger::lock_funds_in_tx(&mut tx, &riders).await?,
        };
        let asked: Vec<TripId> =
            items.iter().filter_map(|item| item.record.asks_card(&item.before)).collect();
        let cards = match asked.is_empty() {
            true => HashMap::new(),
            false => store::cards_bound_in_tx(&mut tx, &asked).await?,
        };
        let planned = items.iter().map(|item| Planned::of(item, &funds, &cards));
        let planned: Vec<Planned> =
            planned.collect::<Result<_, _>>().map_err(GroupError::Refused)?;
        let moves: Vec<Move<'_>> =
            planned.iter().zip(items).map(|(plan, item)| plan.moves(item)).collect();
        let moved: HashSet<TripId> =
            store::transitions_in_tx(&mut tx, &moves).await?.into_iter().collect();
        drop(moves);
        use_keys(&mut tx, items, &moved).await?;
        end_promos(&mut tx, &planned, &moved).await?;
        let mut outcomes = Vec::with_capacity(items.len());
        let mut journals = Vec::new();
        for (plan, item) in planned.into_iter().zip(items) {
            if !moved.contains(&plan.trip.id) {
                outcomes.push(Outcome::InDoubt);
                continue;
            }
            // The driver's balance is filled in once the journals stand.
            let account = paid_driver(item.record.money.as_ref());
            let at = outcomes.len();
            journals.extend(plan.journals.into_iter().map(|journal| (at, account, journal)));
            let Planned { trip, event, .. } = plan;
            outcomes.push(Outcome::Recorded(Recorded { trip, event, driver_balance: None }));
        }
        self.post(&mut tx, journals, &mut outcomes).await?;
        match tx.commit().await {
            Ok(()) => Ok(Ended::Committed(outcomes)),
            Err(Fault::Unknown(why)) => {
                warn!("the answer to a group commit is lost: {why}");
                Ok(Ended::Lost(outcomes))
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// Posts the journals of the trips that moved; a single refused one undoes the group.
    async fn post(
        &self,
        tx: &mut storage::Tx,
        journals: Vec<(usize, Option<Account>, Journal)>,
        outcomes: &mut [Outcome],
    ) -> Result<(), GroupError> {
        if journals.is_empty() {
            return Ok(());
        }
        let (places, journals): (Vec<_>, Vec<_>) =
            journals.into_iter().map(|(at, account, journal)| ((at, account), journal)).unzip();
        let posted = ledger::post_batch_in_tx(tx, &journals).await?;
        for ((at, account), result) in places.into_iter().zip(posted) {
            let posted = result.map_err(|error| match error {
                ledger::PostError::Fault(fault) => fault.into(),
                error => GroupError::Broken(Fault::internal(format!("a trip's money: {error}"))),
            })?;
            let balance = account.and_then(|account| posted.balance_of(account));
            if let (Some(Outcome::Recorded(done)), Some(balance)) = (outcomes.get_mut(at), balance)
            {
                done.driver_balance = Some(balance);
            }
        }
        Ok(())
    }

    /// Answers the items of a lost commit by what the rows say; those that were not stored come
    /// back. When nobody can be asked they are left in doubt.
    async fn read_back(&self, items: Vec<Item>, outcomes: Vec<Outcome>) -> Vec<Item> {
        let ids: Vec<TripId> = items.iter().map(|item| item.before.id).collect();
        let mut rows = None;
        for _ in 0..LOOKS {
            match store::look(&self.db, &ids).await {
                Ok((_, found)) => {
                    rows = Some(found);
                    break;
                }
                Err(fault) => warn!("a lost commit can't be read back yet: {fault}"),
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let rows: Option<HashMap<TripId, (i32, i64)>> =
            rows.map(|rows| rows.iter().map(|row| (row.id, (row.version, row.epoch))).collect());
        let mut again = Vec::new();
        for (item, outcome) in items.into_iter().zip(outcomes) {
            let after = (item.record.event.seq, item.before.epoch);
            match rows.as_ref().map(|rows| rows.get(&item.before.id)) {
                Some(Some(stored)) if *stored == after => item.reply.send(outcome).ok(),
                Some(Some((version, _))) if *version == item.before.version => {
                    again.push(item);
                    None
                }
                Some(_) | None => item.reply.send(Outcome::InDoubt).ok(),
            };
        }
        again
    }
}

/// The idempotency keys of what moved are used by the same commit. One that was lost to another
/// attempt meanwhile refuses its change; the group is split until that one stands alone.
async fn use_keys(
    tx: &mut storage::Tx,
    items: &[Item],
    moved: &HashSet<TripId>,
) -> Result<(), GroupError> {
    let of_moved = items.iter().filter(|item| moved.contains(&item.before.id));
    let marks: Vec<_> =
        of_moved.filter_map(|item| Some((item.once.token()?, item.before.id.0))).collect();
    let used = events::mark_all_in_tx(tx, &marks).await?;
    if used.len() < marks.len() {
        return Err(GroupError::Refused(Refusal::Superseded));
    }
    Ok(())
}

/// What was given in cash beside what was to be paid; change that comes into a wallet pays first
/// what its rider owes.
fn cash_journals(cash: &CashTaken, funds: &RiderFunds) -> Result<Vec<Journal>, Refusal> {
    let difference = ledger::cash_difference(cash, funds)
        .map_err(|over| Refusal::CashTooShort { due: over.due, limit: over.limit })?;
    let Some(difference) = difference else { return Ok(Vec::new()) };
    let change = difference.amount_on(Account::RiderWallet(cash.rider.into()));
    let funds = RiderFunds { wallet: funds.wallet + change, ..*funds };
    let paid = (change > Piasters::ZERO)
        .then(|| ledger::pay_due(cash.rider, &funds, cash.trip.0))
        .flatten();
    Ok(std::iter::once(difference).chain(paid).collect())
}

/// Before the journals, which lock drivers' accounts: a campaign's row is locked after those of
/// riders and before those.
async fn end_promos(
    tx: &mut storage::Tx,
    planned: &[Planned],
    moved: &HashSet<TripId>,
) -> Result<(), GroupError> {
    let of_moved = planned.iter().filter(|plan| moved.contains(&plan.trip.id));
    let ended: Vec<_> = of_moved.filter_map(Planned::promo_end).collect();
    let now = planned.iter().map(|plan| plan.event.at).max().unwrap_or_default();
    Ok(promo::end_in_tx(tx, &ended, now).await?)
}

/// The driver whose account the money touches.
fn paid_driver(money: Option<&TripMoney>) -> Option<Account> {
    match money? {
        TripMoney::Settle(fare) => Some(Account::Driver(fare.driver.into())),
        TripMoney::CancelFee { driver, .. } => driver.map(|driver| Account::Driver(driver.into())),
        TripMoney::ReleaseHold { .. } => None,
    }
}

fn answer(items: Vec<Item>, outcomes: Vec<Outcome>) {
    for (item, outcome) in items.into_iter().zip(outcomes) {
        item.reply.send(outcome).ok();
    }
}

/// Puts the items back once; after that they have failed.
fn retry(parts: &mut Vec<Part>, items: Vec<Item>, tries: u32, fault: &Fault) {
    if items.is_empty() {
        return;
    }
    if tries == 0 {
        parts.push(Part { items, tries: 1 });
        return;
    }
    for item in items {
        item.reply.send(Outcome::Failed(fault.clone())).ok();
    }
}
