//! A city's day: trips of every method, deposits, withdrawals, a refund, all booked as the program
//! books them.

use std::time::Duration;

use base::{
    BasisPoints, BusinessDay, Caller, Clock, DriverId, Millis, PaymentMethod, Piasters, RiderId,
    Role, SessionId, TripId, UserId,
};
use ledger::{
    Account, Burden, Journal, Refund, RefundTo, RiderFunds, Settlement, TripMoney, Wallet,
    WithdrawStep,
};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor};
use storage::Db;
use uuid::Uuid;

use crate::reconcile::{AskedBy, Captured, Discrepancy, GatewaySide};
use crate::{Books, FindingView, RunView};

/// Price of every trip.
pub(super) const PRICE: Piasters = Piasters::pounds(100);

pub(super) struct Stand {
    pub db: Db,
    pub books: Books,
    pub owner: PgConnection,
    pub rider: RiderId,
    pub driver: DriverId,
    /// Takes cash only, and owes for it.
    pub debtor: DriverId,
    pub wallet_trip: TripId,
    pub cash_trip: TripId,
    pub card_trip: TripId,
    pub open_trip: TripId,
    pub deposit: Uuid,
    pub withdrawal: Uuid,
    /// What the gateway lists.
    pub listed: Vec<Captured>,
}

pub(super) fn books(db: &Db, clock: Clock) -> Books {
    Books::new(db.clone(), db.clone(), clock)
}

/// The same books, so much later.
pub(super) fn later(db: &Db, by: Duration) -> Books {
    books(db, Clock::custom(move || Clock::system().now() + by))
}

pub(super) fn admin() -> Caller {
    caller(UserId::from_u128(0xad), Role::Admin)
}

pub(super) fn caller(user: UserId, role: Role) -> Caller {
    Caller { user, role, session: SessionId::new(), expires: Millis(i64::MAX) }
}

impl Stand {
    /// A database without anybody in it.
    pub(super) async fn empty() -> Self {
        let db = storage::testing::database().await;
        let owner = storage::testing::owner(&db).await;
        let mut stand = Self {
            books: books(&db, Clock::system()),
            db,
            owner,
            rider: RiderId::new(),
            driver: DriverId::new(),
            debtor: DriverId::new(),
            wallet_trip: TripId::new(),
            cash_trip: TripId::new(),
            card_trip: TripId::new(),
            open_trip: TripId::new(),
            deposit: Uuid::now_v7(),
            withdrawal: Uuid::now_v7(),
            listed: Vec::new(),
        };
        let people = [
            (stand.rider.0, "rider"),
            (stand.driver.0, "driver"),
            (stand.debtor.0, "driver"),
            (admin().user.0, "admin"),
        ];
        for (n, (id, role)) in people.into_iter().enumerate() {
            let sql = format!(
                "INSERT INTO users (id, phone, name, role, password_hash) \
                 VALUES ('{id}', '+20100000000{n}', 'Somebody', '{role}', '-')"
            );
            stand.run(&sql).await;
        }
        stand
    }

    /// A day with everything in it that there is.
    pub(super) async fn busy() -> Self {
        let mut stand = Self::empty().await;
        let user = UserId::from(stand.rider);
        let deposit = stand.deposit;
        stand.deposited(deposit, user, Role::Rider, Piasters::pounds(500), "TX-1").await;
        let of_driver = Uuid::now_v7();
        let driver = UserId::from(stand.driver);
        stand.deposited(of_driver, driver, Role::Driver, Piasters::pounds(50), "TX-2").await;
        stand.trips().await;
        stand.corrections().await;
        stand.withdrawals().await;
        stand
    }

    async fn trips(&mut self) {
        let (rider, driver, debtor) = (self.rider, self.driver, self.debtor);
        let (wallet, cash, card) = (self.wallet_trip, self.cash_trip, self.card_trip);
        let hold = Piasters::pounds(120);
        self.post(&ledger::hold_journal(wallet, rider, hold)).await;
        let step = self.settlement(wallet, driver, PaymentMethod::Wallet, hold);
        self.trip(wallet, driver, "completed", "wallet", hold).await;
        self.step(&step).await;
        self.trip(cash, debtor, "completed", "cash", Piasters::ZERO).await;
        let step = self.settlement(cash, debtor, PaymentMethod::Cash, Piasters::ZERO);
        self.step(&step).await;
        self.trip(card, driver, "completed", "card", Piasters::ZERO).await;
        let step = self.settlement(card, driver, PaymentMethod::Card, Piasters::ZERO);
        self.step(&step).await;
        let late = TripId::new();
        self.trip(late, driver, "cancelled", "cash", Piasters::ZERO).await;
        self.run(&format!("UPDATE trips SET cancel_fee = 1500 WHERE id = '{late}'")).await;
        let (driver, fee, hold) = (Some(driver), Piasters(1_500), Piasters::ZERO);
        self.step(&TripMoney::CancelFee { trip: late, rider, driver, fee, hold }).await;
        let (open, hold) = (self.open_trip, Piasters::pounds(30));
        self.post(&ledger::hold_journal(open, rider, hold)).await;
        self.trip(open, self.driver, "started", "wallet", hold).await;
    }

    async fn corrections(&mut self) {
        let (rider, driver, trip) = (self.rider, self.driver, self.wallet_trip);
        self.post(&ledger::tip(trip, rider, driver, Piasters::pounds(5))).await;
        self.post(&ledger::refund(&Refund {
            refund: Uuid::now_v7(),
            trip,
            rider,
            driver,
            price: PRICE,
            promo: Piasters::ZERO,
            commission: BasisPoints(1_500),
            before: Piasters::ZERO,
            amount: Piasters::pounds(10),
            burden: Burden::Company,
            to: RefundTo::Wallet,
            reason: "the way was long".to_owned(),
        }))
        .await;
        let present = ledger::adjustment(
            admin().user,
            rider.into(),
            Role::Rider,
            Piasters::pounds(7),
            "=a present",
            None,
        );
        self.post(&present.expect("a wallet")).await;
    }

    async fn withdrawals(&mut self) {
        let (id, driver, amount) = (self.withdrawal, self.driver, Piasters::pounds(40));
        for step in [WithdrawStep::Requested, WithdrawStep::Sent, WithdrawStep::Confirmed] {
            self.post(&ledger::withdrawal(id, driver, amount, step)).await;
        }
        self.withdrawal_row(id, amount, "confirmed").await;
        let (open, amount) = (Uuid::now_v7(), Piasters::pounds(20));
        self.post(&ledger::withdrawal(open, driver, amount, WithdrawStep::Requested)).await;
        self.withdrawal_row(open, amount, "approved").await;
    }

    async fn withdrawal_row(&mut self, id: Uuid, amount: Piasters, status: &str) {
        let ended = status == "confirmed";
        let (channel, at) = if ended { ("'hand'", "now()") } else { ("NULL", "NULL") };
        let sql = format!(
            "INSERT INTO withdrawals (id, driver_id, amount, method, account, status, channel, \
               requested_at, decided_by, decided_at, sent_at, ended_at) \
             VALUES ('{id}', '{}', {}, 'wallet', '+201012345678', '{status}', {channel}, now(), \
               '{}', now(), {at}, {at})",
            self.driver,
            amount.0,
            admin().user
        );
        self.run(&sql).await;
    }

    /// A deposit that was paid, as the program leaves it.
    pub(super) async fn deposited(
        &mut self,
        id: Uuid,
        user: UserId,
        role: Role,
        amount: Piasters,
        transaction: &str,
    ) {
        let wallet = Wallet::of(user, role).expect("a wallet");
        self.post(&ledger::deposit(id, wallet, amount)).await;
        self.deposit_row(id, user, role, amount, transaction).await;
    }

    pub(super) async fn deposit_row(
        &mut self,
        id: Uuid,
        user: UserId,
        role: Role,
        amount: Piasters,
        transaction: &str,
    ) {
        let sql = format!(
            "INSERT INTO deposits (id, user_id, role, amount, currency, status, transaction, \
               expires_at, created_at, paid_at) \
             VALUES ('{id}', '{user}', '{}', {}, 'EGP', 'paid', '{transaction}', now(), now(), \
               now())",
            role.name(),
            amount.0
        );
        self.run(&sql).await;
        self.listed.push(captured(transaction, Some(id), amount));
    }

    /// A trip's row that ended now, if it did.
    pub(super) async fn trip(
        &mut self,
        id: TripId,
        driver: DriverId,
        status: &str,
        method: &str,
        hold: Piasters,
    ) {
        let price = PRICE.0;
        let (last, ended, paid) = match status {
            "completed" => (price.to_string(), "now()", "paid"),
            "cancelled" => ("NULL".to_owned(), "now()", "pending"),
            _ => ("NULL".to_owned(), "NULL", "pending"),
        };
        let sql = format!(
            "INSERT INTO trips (id, city_id, rider_id, driver_id, status, payment_status, \
               payment_method, tier, version, pickup_lat, pickup_lng, destination_lat, \
               destination_lng, price, final_price, hold, commission_bp, quoted_distance_m, \
               quoted_duration_s, requested_at, ended_at, created_at) \
             VALUES ('{id}', 1, '{}', '{driver}', '{status}', '{paid}', '{method}', 'economy', 5, \
               30, 31, 30.1, 31, {price}, {last}, {}, 1500, 8000, 1200, now(), {ended}, now())",
            self.rider, hold.0
        );
        self.run(&sql).await;
    }

    pub(super) fn settlement(
        &self,
        trip: TripId,
        driver: DriverId,
        method: PaymentMethod,
        hold: Piasters,
    ) -> TripMoney {
        TripMoney::Settle(Settlement {
            trip,
            rider: self.rider,
            driver,
            method,
            price: PRICE,
            promo: Piasters::ZERO,
            cash_step: Piasters(1),
            commission: BasisPoints(1_500),
            hold,
            due_limit: Piasters::pounds(50),
            debt_limit: Piasters::pounds(200),
        })
    }

    pub(super) async fn step(&self, step: &TripMoney) {
        let funds = RiderFunds { wallet: Piasters::pounds(300), ..RiderFunds::default() };
        for journal in ledger::decide(step, &funds).expect("it is paid") {
            self.post(&journal).await;
        }
    }

    pub(super) async fn post(&self, journal: &Journal) {
        let mut tx = self.db.begin_writer().await.expect("a transaction");
        ledger::post_in_tx(&mut tx, journal).await.expect("it is posted");
        tx.commit().await.expect("it is kept");
    }

    /// As the owner, past every trigger.
    pub(super) async fn tamper(&mut self, sql: &str) {
        let sql = format!(
            "SET session_replication_role = replica; {sql}; SET session_replication_role = origin"
        );
        self.run(&sql).await;
    }

    pub(super) async fn run(&mut self, sql: &str) {
        let done = self.owner.execute(AssertSqlSafe(sql.to_owned())).await;
        done.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    /// Looks at today, with the gateway's list; the gateway knows nothing that it does not list.
    pub(super) async fn reconcile(&self) -> RunView {
        let today = self.books.today();
        let compared = self.books.compare_captures(today, &self.listed).await.expect("compared");
        let missing = compared.unlisted.iter().map(Discrepancy::from);
        let found = compared.found.into_iter().chain(missing).collect();
        self.look_at(today, GatewaySide::Compared(found)).await
    }

    pub(super) async fn look_at(&self, day: BusinessDay, gateway: GatewaySide) -> RunView {
        self.books.reconcile(day, AskedBy::Schedule, gateway).await.expect("it was looked at")
    }

    pub(super) async fn findings(&self) -> Vec<FindingView> {
        let page = self.books.findings(&admin(), crate::FindingFilter::default(), None, 100).await;
        page.expect("read").findings
    }

    /// Kinds and subjects of what is open, sorted.
    pub(super) async fn open(&self) -> Vec<String> {
        let findings = self.findings().await.into_iter();
        let open = findings.filter(|finding| finding.status == crate::FindingStatus::Open);
        let mut named: Vec<_> =
            open.map(|finding| format!("{} {}", finding.kind, finding.subject)).collect();
        named.sort();
        named
    }

    pub(super) async fn balance(&self, account: Account) -> Piasters {
        let mut tx = self.db.begin_writer().await.expect("a transaction");
        let owner = account.owner().expect("a wallet");
        let sql = "SELECT balance FROM ledger_balance WHERE account = $1 AND owner = $2";
        let query = sqlx::query_scalar(sql).bind(account.kind()).bind(owner.0);
        Piasters(query.fetch_one(tx.conn()).await.expect("a balance"))
    }
}

pub(super) fn captured(transaction: &str, deposit: Option<Uuid>, amount: Piasters) -> Captured {
    Captured {
        transaction: transaction.to_owned(),
        of: deposit,
        kept_as: Uuid::new_v4(),
        amount: Some(amount),
    }
}
