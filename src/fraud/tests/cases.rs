//! Cases on a real PostgreSQL: counted once, opened once, decided once.

use std::time::Duration;

use base::{Caller, Clock, Millis, Piasters, Role, SessionId, UserId};
use sqlx::{Executor, Row};
use storage::{Db, Who, testing};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{store, *};

const START: Millis = Millis(1_800_000_000_000);

struct Stand {
    db: Db,
    clock: Clock,
    fraud: Fraud,
    account: UserId,
}

impl Stand {
    async fn new() -> Self {
        let (db, clock) = (testing::database().await, Clock::manual(START));
        let fraud = Fraud::new(db.clone(), clock.clone(), FraudConfig::default());
        let account = account(&db, 1).await;
        Self { db, clock, fraud, account }
    }

    async fn ask(&self, movement: Movement, pounds: i64) -> Asked {
        let mut tx = self.db.begin(&Who::System).await.expect("a transaction");
        let amount = Piasters::pounds(pounds);
        let asked = self.fraud.ask_in_tx(&mut tx, self.account, movement, amount).await;
        tx.commit().await.expect("stored");
        asked.expect("judged")
    }

    async fn note(&self, note: Note<'_>) -> Option<Turned> {
        let mut tx = self.db.begin(&Who::System).await.expect("a transaction");
        let turned = self.fraud.note_in_tx(&mut tx, self.account, note).await.expect("judged");
        tx.commit().await.expect("stored");
        turned
    }

    async fn decide(&self, id: Uuid, decision: Decision) -> Result<Decided, DecideError> {
        let mut tx = self.db.begin(&Who::Caller(admin())).await.expect("a transaction");
        let decided =
            self.fraud.decide_in_tx(&mut tx, admin().user, id, decision, "looked").await?;
        tx.commit().await.expect("stored");
        Ok(decided)
    }

    async fn cases(&self) -> Vec<FraudCase> {
        let page = self.fraud.list(&admin(), &CaseFilter::default(), None, 100).await;
        page.expect("a page").cases
    }

    /// `rule action status times`, newest first.
    async fn shown(&self) -> Vec<String> {
        let cases = self.cases().await;
        let shown = cases
            .iter()
            .map(|case| format!("{} {} {} {}", case.rule, case.action, case.status, case.times));
        shown.collect()
    }
}

fn admin() -> Caller {
    let (user, session) = (UserId::from_u128(99), SessionId::from_u128(1));
    Caller { user, role: Role::Admin, session, expires: Millis(i64::MAX) }
}

async fn account(db: &Db, number: u128) -> UserId {
    let id = UserId::from_u128(number);
    let sql = "INSERT INTO users (id, phone, name, role, password_hash) \
               VALUES ($1, $2, 'Ali', 'driver', 'x')";
    let phone = format!("+2010{number:08}");
    let query = sqlx::query(sql).bind(id.0).bind(phone);
    testing::owner(db).await.execute(query).await.expect("an account");
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_at_once_do_not_slip_under_the_limit() {
    let stand = Stand::new().await;
    let mut asking = JoinSet::new();
    for _ in 0..20 {
        let (db, fraud, account) = (stand.db.clone(), stand.fraud.clone(), stand.account);
        asking.spawn(async move {
            let mut tx = db.begin(&Who::System).await.expect("a transaction");
            let (movement, amount) = (Movement::WalletBooking, Piasters::pounds(40));
            let asked = fraud.ask_in_tx(&mut tx, account, movement, amount).await.expect("judged");
            tx.commit().await.expect("stored");
            asked.admission
        });
    }
    let said = asking.join_all().await;
    let went = said.iter().filter(|admission| **admission == Admission::Go).count();
    assert_eq!(went, 10, "{said:?}");
    assert_eq!(stand.shown().await, ["velocity hold open 10"]);
}

/// In one bucket they wait for its counter anyway; here they have none in common.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_at_once_in_two_buckets_do_not_slip_under_the_limit_either() {
    let stand = Stand::new().await;
    for _ in 0..9 {
        stand.ask(Movement::WalletBooking, 40).await;
    }
    let (db, fraud, account) = (stand.db.clone(), stand.fraud.clone(), stand.account);
    let (movement, amount) = (Movement::WalletBooking, Piasters::pounds(40));
    let mut tenth = db.begin(&Who::System).await.expect("a transaction");
    let asked = fraud.ask_in_tx(&mut tenth, account, movement, amount).await.expect("judged");
    assert_eq!(asked.admission, Admission::Go);
    stand.clock.advance(Duration::from_secs(300));
    let eleventh = tokio::spawn(async move {
        let mut tx = db.begin(&Who::System).await.expect("a transaction");
        let asked = fraud.ask_in_tx(&mut tx, account, movement, amount).await.expect("judged");
        tx.commit().await.expect("stored");
        asked.admission
    });
    let mut owner = testing::owner(&stand.db).await;
    let waits = "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
        WHERE l.locktype = 'advisory' AND NOT l.granted AND a.datname = current_database())";
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&mut owner).await.expect("locks show") {
        assert!(!eleventh.is_finished(), "it did not wait for the tenth");
        tick.tick().await;
    }
    tenth.commit().await.expect("stored");
    assert_eq!(eleventh.await.expect("it ends"), Admission::UnderReview);
}

#[tokio::test]
async fn a_case_is_opened_once_cleared_and_remembered() {
    let stand = Stand::new().await;
    for _ in 0..10 {
        assert_eq!(stand.ask(Movement::Withdrawal, 50).await.admission, Admission::Go);
    }
    let eleventh = stand.ask(Movement::Withdrawal, 50).await;
    assert_eq!(eleventh.admission, Admission::Waits);
    let turned = eleventh.turned.expect("a change");
    assert_eq!((turned.before, turned.after), (None, Some(Action::Hold)));
    assert_eq!(stand.ask(Movement::Withdrawal, 50).await.turned, None);
    assert_eq!(stand.ask(Movement::WalletBooking, 50).await.admission, Admission::UnderReview);
    assert_eq!(stand.ask(Movement::Deposit, 50).await.admission, Admission::Go);
    assert_eq!(stand.shown().await, ["velocity hold open 4"]);

    let id = stand.cases().await[0].id;
    let refused = stand.decide(id, Decision::Release).await.expect_err("it is not confirmed");
    assert_eq!(refused.to_string(), "the case is open");
    let decided = stand.decide(id, Decision::Clear).await.expect("cleared");
    assert_eq!(decided.turned.map(|turned| turned.after), Some(None));
    assert_eq!(stand.ask(Movement::Withdrawal, 50).await.admission, Admission::Go);
    stand.decide(id, Decision::Confirm).await.expect_err("it is cleared");
    assert_eq!(stand.shown().await, ["velocity hold cleared 4"]);

    // Twice as much is another matter, and so is the same a week later.
    for _ in 0..12 {
        stand.ask(Movement::Deposit, 50).await;
    }
    assert_eq!(stand.shown().await, ["velocity hold cleared 4"]);
    for _ in 0..4 {
        stand.ask(Movement::Deposit, 50).await;
    }
    assert_eq!(stand.shown().await[0], "velocity block open 4");
}

#[tokio::test]
async fn what_is_confirmed_is_blocked_until_released() {
    let stand = Stand::new().await;
    for number in 2..=4 {
        let other = Stand { account: account(&stand.db, number).await, ..stand.again() };
        assert_eq!(other.note(Note::Device("a-push-token")).await, None);
    }
    let turned = stand.note(Note::Device("a-push-token")).await.expect("a change");
    assert_eq!((turned.before, turned.after), (None, Some(Action::Flag)));
    // The same phone again is no news.
    assert_eq!(stand.note(Note::Device("a-push-token")).await, None);
    assert_eq!(stand.ask(Movement::Withdrawal, 50).await.admission, Admission::Go);

    let id = stand.cases().await[0].id;
    let decided = stand.decide(id, Decision::Confirm).await.expect("confirmed");
    assert_eq!(decided.turned.map(|turned| turned.after), Some(Some(Action::Block)));
    for movement in Movement::ALL {
        assert_eq!(stand.ask(*movement, 50).await.admission, Admission::Blocked, "{movement}");
    }
    let decided = stand.decide(id, Decision::Release).await.expect("released");
    assert_eq!(decided.turned.map(|turned| turned.after), Some(None));
    assert_eq!(stand.ask(Movement::Withdrawal, 50).await.admission, Admission::Go);
}

#[tokio::test]
async fn of_two_admins_at_once_one_decides() {
    let stand = Stand::new().await;
    for _ in 0..5 {
        stand.note(Note::PaymentFailed).await;
    }
    let id = stand.cases().await[0].id;
    let (one, two) =
        tokio::join!(stand.decide(id, Decision::Clear), stand.decide(id, Decision::Confirm));
    assert_eq!([one.is_ok(), two.is_ok()].iter().filter(|done| **done).count(), 1);
    stand.decide(Uuid::nil(), Decision::Clear).await.expect_err("there is none");
}

#[tokio::test]
async fn what_is_paid_in_and_taken_out_is_held_whichever_is_seen_last() {
    let stand = Stand::new().await;
    stand.note(Note::Moved(Movement::Deposit, Piasters::pounds(500))).await;
    assert_eq!(stand.ask(Movement::Withdrawal, 449).await.admission, Admission::Go);
    assert_eq!(stand.ask(Movement::Withdrawal, 1).await.admission, Admission::Waits);
    // The fact of the deposit comes after the withdrawal.
    let late = Stand { account: account(&stand.db, 2).await, ..stand.again() };
    assert_eq!(late.ask(Movement::Withdrawal, 500).await.admission, Admission::Go);
    let turned =
        late.note(Note::Moved(Movement::Deposit, Piasters::pounds(500))).await.expect("a change");
    assert_eq!(turned.after, Some(Action::Hold));
    assert_eq!(late.note(Note::Moved(Movement::Withdrawal, Piasters::pounds(500))).await, None);
}

#[tokio::test]
async fn nobody_raises_his_own_average_by_asking() {
    let stand = Stand::new().await;
    for _ in 0..5 {
        stand.note(Note::Moved(Movement::Withdrawal, Piasters::pounds(50))).await;
        stand.ask(Movement::Deposit, 5000).await;
    }
    assert_eq!(stand.ask(Movement::Withdrawal, 500).await.admission, Admission::Go);
    let asked = stand.ask(Movement::Withdrawal, 501).await;
    assert_eq!(asked.admission, Admission::Waits);
    assert_eq!(stand.shown().await, ["amount_anomaly hold open 1"]);
}

#[tokio::test]
async fn what_could_not_be_checked_waits_each_time() {
    let stand = Stand::new().await;
    let hold = async |pounds| {
        let mut tx = stand.db.begin(&Who::System).await.expect("a transaction");
        let amount = Piasters::pounds(pounds);
        let turned = stand.fraud.hold_unchecked_in_tx(&mut tx, stand.account, amount).await;
        tx.commit().await.expect("stored");
        turned.expect("held")
    };
    assert_eq!(hold(50).await.and_then(|turned| turned.after), Some(Action::Hold));
    assert_eq!(hold(50).await, None);
    let id = stand.cases().await[0].id;
    stand.decide(id, Decision::Clear).await.expect("cleared");
    // Of the next one nothing is known either.
    assert_eq!(hold(50).await.and_then(|turned| turned.after), Some(Action::Hold));
    assert_eq!(stand.shown().await, ["unchecked hold open 1", "unchecked hold cleared 1"]);
}

#[tokio::test]
async fn an_hour_later_it_begins_anew_and_a_sweep_forgets() {
    let stand = Stand::new().await;
    for _ in 0..10 {
        stand.ask(Movement::Deposit, 50).await;
    }
    stand.clock.advance(Duration::from_secs(3600 + 300));
    for _ in 0..10 {
        assert_eq!(stand.ask(Movement::Deposit, 50).await.turned, None);
    }
    stand.clock.advance(Duration::from_secs(3 * 24 * 3600));
    stand.fraud.sweep().await.expect("swept");
    let mut owner = testing::owner(&stand.db).await;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM fraud_counters")
        .fetch_one(&mut owner)
        .await
        .expect("counted");
    assert_eq!(left, 0);
}

#[tokio::test]
async fn nobody_sees_or_moves_a_case_but_who_may() {
    let stand = Stand::new().await;
    for _ in 0..5 {
        stand.note(Note::PaymentFailed).await;
    }
    let own = Caller { user: stand.account, role: Role::Driver, ..admin() };
    let seen = stand.fraud.list(&own, &CaseFilter::default(), None, 10).await.expect("a page");
    assert_eq!(seen.cases, []);
    let check = async |who: Who, sql: &'static str, expected: &str| {
        let mut tx = stand.db.begin(&who).await.expect("a transaction");
        let said = match sqlx::query(sql).execute(tx.conn()).await {
            Ok(done) => done.rows_affected().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(said.contains(expected), "{sql}: {said}");
    };
    let grow = "UPDATE fraud_cases SET action = 'flag'";
    check(Who::Caller(own), grow, "0").await;
    // An admin decides in his own name and does nothing else.
    check(Who::Caller(admin()), grow, "row-level security").await;
    check(Who::Caller(admin()), "DELETE FROM fraud_cases", "permission denied").await;
    check(Who::Caller(own), "DELETE FROM fraud_counters", "0").await;
    check(Who::Caller(admin()), "SELECT FROM fraud_devices", "0").await;
    let id = stand.cases().await[0].id;
    stand.decide(id, Decision::Clear).await.expect("cleared");
    let open = "UPDATE fraud_cases SET status = 'open', decided_by = NULL, decided_at = NULL, \
                decision_reason = NULL";
    check(Who::System, open, "it can not become open").await;
}

/// Many accounts, each with an open case and two that were cleared.
const MANY: [&str; 3] = [
    "INSERT INTO users (id, phone, name, role, password_hash) \
     SELECT gen_random_uuid(), '+2011' || lpad(n::text, 8, '0'), 'Ali', 'driver', 'x' \
     FROM generate_series(1, 3000) n",
    "INSERT INTO fraud_cases (id, account, rule, action, status, weight, reasons, opened_at, \
       seen_at, decided_by, decided_at, decision_reason) \
     SELECT gen_random_uuid(), u.id, r.rule, 'flag', CASE k WHEN 1 THEN 'open' ELSE 'cleared' END, \
       1, '{}', t.at, t.at, CASE WHEN k > 1 THEN u.id END, CASE WHEN k > 1 THEN t.at END, \
       CASE WHEN k > 1 THEN 'looked' END \
     FROM users u, generate_series(1, 3) k, \
       LATERAL (SELECT abs(hashtext(u.id::text || k)) AS n) h, \
       LATERAL (SELECT now() - h.n % 2592000 * interval '1 second' AS at) t, \
       LATERAL (SELECT (ARRAY['velocity', 'amount_anomaly', 'deposit_withdraw', 'circular_trips', \
         'shared_device', 'repeated_failures'])[1 + h.n % 6] AS rule) r",
    "ANALYZE fraud_cases",
];

#[tokio::test]
async fn each_filter_of_the_queue_goes_by_an_index_whatever_it_is_asked_for() {
    let stand = Stand::new().await;
    let mut owner = testing::owner(&stand.db).await;
    for sql in MANY {
        owner.execute(sql).await.expect("the owner may");
    }
    let check = async |sql: &str, index: &str| {
        let is_any = sql.contains("ANY");
        let (kind, rule) = if is_any { ("text[]", "{velocity}") } else { ("text", "velocity") };
        let mut tx = stand.db.begin(&Who::Caller(admin())).await.expect("a transaction");
        // One plan for all values, as a statement that is asked often has it.
        let prepared = format!("PREPARE page (timestamptz, uuid, bigint, {kind}, text) AS {sql}");
        for sql in ["SET LOCAL plan_cache_mode = force_generic_plan", &prepared] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(tx.conn()).await.expect("it is set");
        }
        let page =
            format!("EXPLAIN EXECUTE page ('infinity', gen_random_uuid(), 100, '{rule}', 'open')");
        let rows =
            sqlx::raw_sql(sqlx::AssertSqlSafe(page)).fetch_all(tx.conn()).await.expect("a plan");
        let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        // The connection keeps it, whatever becomes of the transaction.
        sqlx::raw_sql("DEALLOCATE page").execute(tx.conn()).await.expect("it is forgotten");
        let plan = plan.join("\n");
        assert!(plan.contains(&format!("using {index} ")), "{sql}\n{plan}");
        assert!(!plan.contains("Sort"), "{sql}\n{plan}");
    };
    check(store::ALL, "fraud_cases_by_time").await;
    check(store::IN_STATUS, "fraud_cases_by_status").await;
    check(store::OF_RULE, "fraud_cases_by_rule").await;
    check(store::OF_RULE_IN_STATUS, "fraud_cases_by_rule_and_status").await;
    // And it is these cases that are found.
    let found = async |status, rule| {
        let filter = CaseFilter { status, rule };
        let page = stand.fraud.list(&admin(), &filter, None, 100).await.expect("a page");
        assert!(page.cases.len() == 100 && page.next_cursor.is_some());
        page.cases
    };
    let (open, velocity) = (Some(Status::Open), Some(Rule::Velocity));
    found(None, None).await;
    assert!(found(open, None).await.iter().all(|case| case.status == Status::Open));
    assert!(found(None, velocity).await.iter().all(|case| case.rule == Rule::Velocity));
    let both = found(open, velocity).await;
    assert!(both.iter().all(|c| (c.status, c.rule) == (Status::Open, Rule::Velocity)));
}

impl Stand {
    /// The same database and clock.
    fn again(&self) -> Self {
        let Self { db, clock, fraud, account } = self;
        Self { db: db.clone(), clock: clock.clone(), fraud: fraud.clone(), account: *account }
    }
}
