//! Random postings from many clients, good and bad ones, each with the answer it must get.
//!
//! Owns the requests and their expectations, and a tally of what was posted, kept apart from the
//! database so that the two can be compared. Knows no runtime: the caller starts the clients.

use std::collections::{HashMap, VecDeque};

use base::{
    BasisPoints, Dice, DriverId, Fault, PaymentMethod, Piasters, RiderId, Role, TripId, UserId,
};
use storage::Db;
use uuid::Uuid;

use crate::{
    Account, Burden, Debtor, Journal, Ledger, PostError, Posted, Refund, RefundTo, Repeat,
    Resolution, RiderFunds, Settlement, TripMoney, Wallet, WithdrawStep, captured, decide, deposit,
    gateway_settled, hold_journal, post_batch_in_tx, post_in_tx, refund, suspense,
    suspense_resolved, system_balances, tip, wallet, withdrawal, write_off,
};

/// Posted journals that a client remembers, to repeat and to alter them.
const MEMORY: usize = 500;
/// One in three postings is about the hot people.
const HOT: f64 = 0.3;

/// Those whose money moves.
#[derive(Clone)]
pub struct People {
    pub riders: Vec<RiderId>,
    pub drivers: Vec<DriverId>,
}

impl People {
    /// The first of each are the hot ones.
    pub fn new(count: usize) -> Self {
        let riders = (0..count).map(|_| UserId::new().as_rider()).collect();
        Self { riders, drivers: (0..count).map(|_| UserId::new().as_driver()).collect() }
    }
}

/// What a client has seen.
#[derive(Default, Debug)]
pub struct Tally {
    pub posted: u64,
    pub repeated: u64,
    /// By the name of the refusal.
    pub refused: HashMap<&'static str, u64>,
    /// What every posted journal moved.
    pub moved: HashMap<Account, i64>,
}

impl Tally {
    pub fn join(&mut self, other: Self) {
        self.posted += other.posted;
        self.repeated += other.repeated;
        for (name, count) in other.refused {
            *self.refused.entry(name).or_default() += count;
        }
        for (account, amount) in other.moved {
            *self.moved.entry(account).or_default() += amount;
        }
    }

    pub fn answered(&self) -> u64 {
        self.posted + self.repeated + self.refused.values().sum::<u64>()
    }
}

/// What a request must be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Posted,
    /// Posted, or refused for lack of money: other clients move the same accounts.
    IfFunded,
    Repeated,
    KeyReused,
    Insufficient,
    Unbalanced,
    RefundTooLarge,
}

struct Request {
    journal: Journal,
    expected: Expected,
}

/// A trip that this client has settled, and what it gave back for it.
struct Ridden {
    fare: Settlement,
    back: Piasters,
}

/// One who posts.
pub struct Client {
    db: Db,
    ledger: Ledger,
    dice: Dice,
    people: People,
    known: VecDeque<(Journal, Posted)>,
    ridden: VecDeque<Ridden>,
    /// Withdrawals under way.
    asked: VecDeque<(Uuid, DriverId, Piasters, WithdrawStep)>,
    /// Captures in suspense.
    captures: VecDeque<(Uuid, Piasters)>,
    tally: Tally,
}

impl Client {
    pub fn new(db: Db, ledger: Ledger, people: People, seed: u64) -> Self {
        Self {
            db,
            ledger,
            dice: Dice::seeded(seed),
            people,
            known: VecDeque::new(),
            ridden: VecDeque::new(),
            asked: VecDeque::new(),
            captures: VecDeque::new(),
            tally: Tally::default(),
        }
    }

    /// Posts until `count` requests are answered. An answer that must not be ends it.
    pub async fn run(mut self, count: u64) -> Result<Tally, String> {
        while self.tally.answered() < count {
            let requests: Vec<Request> = match self.dice.below(8) {
                // As a caller's own transaction does: several at once.
                0 => (0..2 + self.dice.below(5)).map(|_| self.request()).collect(),
                _ => vec![self.request()],
            };
            let answers = self.send(&requests).await?;
            for (request, answer) in requests.into_iter().zip(answers) {
                self.note(request, answer)?;
            }
        }
        Ok(self.tally)
    }

    async fn send(&self, requests: &[Request]) -> Result<Vec<Result<Posted, PostError>>, String> {
        let journals: Vec<Journal> = requests.iter().map(|r| r.journal.clone()).collect();
        let [journal] = &journals[..] else {
            // Two transactions that take different accounts one after another may be in each
            // other's way: begun again, as every caller does.
            for _ in 0..5 {
                match batch(&self.db, &journals).await {
                    Err(PostError::Fault(Fault::Unavailable(_))) => {}
                    other => return other.map_err(|error| error.to_string()),
                }
            }
            return Err("a transaction was in the way five times".to_owned());
        };
        let answer = match self.dice.below(8) {
            0 => alone(&self.db, journal).await,
            1 => {
                // The same at the same time, through both doors.
                let both =
                    tokio::join!(self.ledger.post(journal.clone()), alone(&self.db, journal));
                the_first(both.0, both.1)?
            }
            _ => self.ledger.post(journal.clone()).await,
        };
        Ok(vec![answer])
    }

    fn note(&mut self, request: Request, answer: Result<Posted, PostError>) -> Result<(), String> {
        let Request { journal, expected } = request;
        let name = match &answer {
            Ok(Posted { repeat: Repeat::First, .. }) => "posted",
            Ok(Posted { repeat: Repeat::Again, .. }) => "repeated",
            Err(PostError::InsufficientFunds) => "insufficient",
            Err(PostError::KeyReused) => "key reused",
            Err(PostError::RefundTooLarge) => "refund too large",
            Err(PostError::Unbalanced) => "unbalanced",
            Err(PostError::Fault(fault)) => return Err(format!("{journal:?}: {fault}")),
        };
        let fits = match expected {
            Expected::Posted => name == "posted",
            Expected::IfFunded => matches!(name, "posted" | "insufficient"),
            Expected::Repeated => name == "repeated",
            Expected::KeyReused => name == "key reused",
            Expected::Insufficient => name == "insufficient",
            Expected::Unbalanced => name == "unbalanced",
            Expected::RefundTooLarge => name == "refund too large",
        };
        if !fits {
            return Err(format!("{journal:?} was answered {answer:?}, not {expected:?}"));
        }
        match answer {
            Ok(posted) if posted.repeat == Repeat::First => {
                self.tally.posted += 1;
                for leg in &journal.legs {
                    *self.tally.moved.entry(leg.account).or_default() += leg.amount.0;
                }
                if self.known.len() == MEMORY {
                    self.known.pop_front();
                }
                self.known.push_back((journal, posted));
            }
            Ok(posted) => {
                self.tally.repeated += 1;
                let first = self.known.iter().find(|(known, _)| known.key == journal.key);
                let same = first.is_none_or(|(_, first)| {
                    first.journal == posted.journal && sorted(first) == sorted(&posted)
                });
                if !same {
                    return Err(format!("{journal:?} was answered {posted:?} the second time"));
                }
            }
            Err(_) => *self.tally.refused.entry(name).or_default() += 1,
        }
        Ok(())
    }

    fn request(&mut self) -> Request {
        match self.dice.below(20) {
            0..2 => self.repeat(),
            2 => self.altered(),
            3 => self.other_key(),
            4 => self.crooked(),
            5 => self.overdraft(),
            6..9 => self.giving_back(),
            9..11 => self.withdrawing(),
            _ => self.good(),
        }
    }

    fn rider(&self) -> RiderId {
        self.people.riders[self.one_of(self.people.riders.len())]
    }

    fn driver(&self) -> DriverId {
        self.people.drivers[self.one_of(self.people.drivers.len())]
    }

    fn one_of(&self, count: usize) -> usize {
        if self.dice.unit() < HOT {
            return 0;
        }
        usize::try_from(self.dice.below(count as u64)).unwrap_or(0)
    }

    fn amount(&self, most: u64) -> Piasters {
        Piasters(1 + i64::try_from(self.dice.below(most)).unwrap_or(0))
    }

    fn good(&mut self) -> Request {
        let (id, amount) = (Uuid::now_v7(), self.amount(50_000));
        let (trip, rider, driver) = (TripId::new(), self.rider(), self.driver());
        let (journal, expected) = match self.dice.below(10) {
            0..3 => (deposit(id, Wallet::Rider(rider), amount), Expected::Posted),
            3 => (deposit(id, Wallet::Driver(driver), amount), Expected::Posted),
            4 => (gateway_settled(id, amount, Piasters(amount.0 / 40)), Expected::Posted),
            5 => (hold_journal(trip, rider, amount), Expected::IfFunded),
            6 => (tip(trip, rider, driver, amount), Expected::IfFunded),
            7 if self.dice.below(2) == 0 => {
                let debtor = Debtor::Driver(driver);
                let off = write_off(driver.into(), debtor, amount, "hammer", None);
                (off, Expected::IfFunded)
            }
            7 => (self.in_suspense(rider), Expected::Posted),
            _ => (self.settled(rider, driver), Expected::Posted),
        };
        Request { journal, expected }
    }

    /// A capture of nobody's, or where one before belongs after all.
    fn in_suspense(&mut self, rider: RiderId) -> Journal {
        match self.captures.pop_front() {
            Some((id, amount)) if self.dice.below(2) == 0 => {
                suspense_resolved(id, amount, Resolution::Found(Wallet::Rider(rider)))
            }
            Some((id, amount)) => suspense_resolved(id, amount, Resolution::Returned),
            None => {
                let (id, amount) = (Uuid::now_v7(), self.amount(900));
                self.captures.push_back((id, amount));
                suspense(id, amount)
            }
        }
    }

    fn settled(&mut self, rider: RiderId, driver: DriverId) -> Journal {
        let price = self.amount(20_000);
        let fare = Settlement {
            trip: TripId::new(),
            rider,
            driver,
            method: PaymentMethod::Cash,
            price,
            promo: Piasters(
                i64::try_from(self.dice.below(2 * price.0.unsigned_abs())).unwrap_or(0) - price.0,
            ),
            cash_step: Piasters(25),
            commission: BasisPoints(1500),
            hold: Piasters::ZERO,
            due_limit: Piasters(5_000),
            debt_limit: Piasters(20_000),
        };
        let by_card = self.dice.below(2) == 0;
        let cash = decide(&TripMoney::Settle(fare.clone()), &RiderFunds::default());
        let cash = cash.ok().and_then(|mut journals| journals.pop());
        let fare = match by_card {
            true => Settlement { method: PaymentMethod::Card, ..fare },
            false => fare,
        };
        let journal = cash
            .filter(|_| !by_card)
            .unwrap_or_else(|| captured(&fare, fare.to_pay(), &RiderFunds::default()));
        if self.ridden.len() == MEMORY {
            self.ridden.pop_front();
        }
        self.ridden.push_back(Ridden { fare, back: Piasters::ZERO });
        journal
    }

    /// A part of what was paid for a trip, or a piaster more than all of it.
    fn giving_back(&mut self) -> Request {
        let place = self.dice.below(self.ridden.len() as u64);
        let (part, burden, to) = (self.amount(8_000), self.dice.below(2), self.dice.below(2));
        let Some(ridden) = usize::try_from(place).ok().and_then(|at| self.ridden.get_mut(at))
        else {
            return self.good();
        };
        let left = ridden.fare.to_pay() - ridden.back;
        let too_much = part > left;
        let amount = if too_much { left + Piasters(1) } else { part };
        let journal = refund(&Refund {
            refund: Uuid::now_v7(),
            trip: ridden.fare.trip,
            rider: ridden.fare.rider,
            driver: ridden.fare.driver,
            price: ridden.fare.price,
            promo: ridden.fare.promo,
            commission: ridden.fare.commission,
            before: ridden.back,
            amount,
            burden: if burden == 0 { Burden::Driver } else { Burden::Company },
            to: if to == 0 { RefundTo::Wallet } else { RefundTo::Card },
            reason: "hammer".to_owned(),
        });
        if !too_much {
            ridden.back += amount;
        }
        let expected = if too_much { Expected::RefundTooLarge } else { Expected::Posted };
        Request { journal, expected }
    }

    /// The next step of a withdrawal, or a new one.
    fn withdrawing(&mut self) -> Request {
        use WithdrawStep::{Confirmed, Failed, Rejected, Requested, Sent};
        let luck = self.dice.below(2) == 0;
        if let Some((id, driver, amount, last)) = self.asked.pop_front() {
            let key = withdrawal(id, driver, amount, last).key;
            let stands = self.known.iter().any(|(known, _)| known.key == key);
            let next = match (last, luck) {
                _ if !stands => None,
                (Requested, true) => Some(Rejected),
                (Requested, false) => Some(Sent),
                (Sent, true) => Some(Confirmed),
                (Sent, false) => Some(Failed),
                (Rejected | Confirmed | Failed, _) => None,
            };
            if let Some(next) = next {
                self.asked.push_back((id, driver, amount, next));
                let journal = withdrawal(id, driver, amount, next);
                return Request { journal, expected: Expected::Posted };
            }
        }
        let (id, driver, amount) = (Uuid::now_v7(), self.driver(), self.amount(3_000));
        self.asked.push_back((id, driver, amount, Requested));
        let journal = withdrawal(id, driver, amount, Requested);
        Request { journal, expected: Expected::IfFunded }
    }

    fn remembered(&self) -> Option<Journal> {
        let place = usize::try_from(self.dice.below(self.known.len() as u64)).ok()?;
        self.known.get(place).map(|(journal, _)| journal.clone())
    }

    fn repeat(&mut self) -> Request {
        match self.remembered() {
            Some(journal) => Request { journal, expected: Expected::Repeated },
            None => self.good(),
        }
    }

    /// The same key with another body.
    fn altered(&mut self) -> Request {
        let Some(mut journal) = self.remembered() else { return self.good() };
        match self.dice.below(3) {
            0 => journal.note = Some("altered".to_owned()),
            1 => journal.reference = Uuid::now_v7(),
            _ => {
                for leg in &mut journal.legs {
                    leg.amount = Piasters(leg.amount.0 * 2);
                }
            }
        }
        Request { journal, expected: Expected::KeyReused }
    }

    /// The same event under another key.
    fn other_key(&mut self) -> Request {
        match self.remembered().filter(|journal| journal.kind.is_once()) {
            Some(journal) => {
                let key = format!("{} again", journal.key);
                Request { journal: Journal { key, ..journal }, expected: Expected::KeyReused }
            }
            None => self.good(),
        }
    }

    fn crooked(&mut self) -> Request {
        let mut journal = deposit(Uuid::now_v7(), Wallet::Rider(self.rider()), self.amount(500));
        match self.dice.below(4) {
            0 => journal.legs[0].amount += Piasters(1),
            1 => journal.legs.truncate(1),
            2 => journal.legs.clear(),
            _ => journal.legs.extend(journal.legs.clone()),
        }
        Request { journal, expected: Expected::Unbalanced }
    }

    fn overdraft(&mut self) -> Request {
        let (id, much) = (Uuid::now_v7(), Piasters(1 << 50));
        let journal = match self.dice.below(3) {
            0 => tip(TripId::new(), self.rider(), self.driver(), much),
            1 => withdrawal(id, self.driver(), much, WithdrawStep::Requested),
            _ => hold_journal(TripId::new(), self.rider(), much),
        };
        Request { journal, expected: Expected::Insufficient }
    }
}

/// Of two answers to the same journal the one that posted it; both can't have.
fn the_first(
    one: Result<Posted, PostError>,
    two: Result<Posted, PostError>,
) -> Result<Result<Posted, PostError>, String> {
    let first = |answer: &Result<Posted, PostError>| {
        matches!(answer, Ok(Posted { repeat: Repeat::First, .. }))
    };
    match (first(&one), first(&two)) {
        (true, true) => Err(format!("posted twice: {one:?} and {two:?}")),
        (false, true) => Ok(two),
        (true | false, false) => Ok(one),
    }
}

/// Where the stored balances differ from what the clients saw posted.
pub async fn differences(db: &Db, people: &People, tally: &Tally) -> Result<Vec<String>, Fault> {
    let mut tx = db.begin_writer().await?;
    let mut stored: HashMap<Account, Piasters> =
        system_balances(&mut tx).await?.into_iter().collect();
    for rider in &people.riders {
        let user = UserId::from(*rider);
        let view = wallet(&mut tx, user, Role::Rider).await?;
        stored.insert(Account::RiderWallet(user), view.balance);
        stored.insert(Account::RiderHold(user), view.held);
        stored.insert(Account::RiderDue(user), -view.due);
    }
    for driver in &people.drivers {
        let user = UserId::from(*driver);
        let view = wallet(&mut tx, user, Role::Driver).await?;
        stored.insert(Account::Driver(user), view.balance);
        stored.insert(Account::DriverHold(user), view.held);
    }
    let seen = |account| Piasters(tally.moved.get(&account).copied().unwrap_or(0));
    let mut wrong: Vec<String> = stored
        .iter()
        .filter(|(account, balance)| seen(**account) != **balance)
        .map(|(account, balance)| format!("{account:?}: {balance}, seen {}", seen(*account)))
        .collect();
    wrong.extend(
        tally
            .moved
            .keys()
            .filter(|account| !stored.contains_key(account))
            .map(|account| format!("{account:?} is not stored, seen {}", seen(*account))),
    );
    Ok(wrong)
}

fn sorted(posted: &Posted) -> Vec<(Account, Piasters)> {
    let mut balances = posted.balances.clone();
    balances.sort();
    balances
}

async fn alone(db: &Db, journal: &Journal) -> Result<Posted, PostError> {
    let mut tx = db.begin_writer().await?;
    let posted = post_in_tx(&mut tx, journal).await?;
    tx.commit().await?;
    Ok(posted)
}

async fn batch(db: &Db, journals: &[Journal]) -> Result<Vec<Result<Posted, PostError>>, PostError> {
    let mut tx = db.begin_writer().await?;
    let answers = post_batch_in_tx(&mut tx, journals).await?;
    tx.commit().await?;
    Ok(answers)
}
