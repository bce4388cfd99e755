//! A payouts desk with a driver who has money, and a provider that answers by a script.

use std::collections::VecDeque;
use std::sync::Arc;

use base::{Clock, DriverId, Millis, Piasters, Problem, Role, UserId};
use parking_lot::Mutex;
use sqlx::Executor;
use storage::{Db, Tx, Who, testing};

use super::super::account::{PayoutAccount, PayoutMethod};
use super::super::desk::{AdvanceError, Advanced, NewWithdrawal, Payouts, With};
use super::super::model::{WithdrawLimits, Withdrawal, WithdrawalId};
use super::super::provider::{Asking, PayoutOrder, PayoutProvider, PayoutStanding, PayoutState};
use super::super::rules::Act;
use crate::kashier::CallFailed;

pub(super) const NOW: Millis = Millis(1_796_292_000_000);
pub(super) const ALI: UserId = UserId::from_u128(0x22);
pub(super) const MONA: UserId = UserId::from_u128(0x33);
const IBAN: &str = "EG380019000500000000263180002";

/// What the provider says next.
pub(super) enum Says {
    Sent(PayoutStanding),
    Found(Option<PayoutStanding>),
    /// For either question.
    Fails(CallFailed),
}

/// Answers by the script; keeps what it was asked.
#[derive(Default)]
pub(super) struct Script {
    says: Mutex<VecDeque<Says>>,
    asked: Mutex<Vec<String>>,
    amount: Mutex<Option<Piasters>>,
}

impl Script {
    pub(super) fn say(&self, says: Says) {
        self.says.lock().push_back(says);
    }

    /// It has another amount than it was given.
    pub(super) fn lie(&self, amount: Piasters) {
        *self.amount.lock() = Some(amount);
    }

    /// What it was asked since the last time.
    pub(super) fn asked(&self) -> String {
        std::mem::take(&mut *self.asked.lock()).join(", ")
    }

    fn next(&self, question: &str, reference: &str) -> Says {
        self.asked.lock().push(format!("{question} {}", &reference[..3]));
        self.says.lock().pop_front().expect("the script goes on")
    }

    fn state(&self, standing: PayoutStanding) -> PayoutState {
        PayoutState {
            id: "PO-1".to_owned(),
            standing,
            amount: self.amount.lock().unwrap_or(Piasters::pounds(100)),
            bank_reference: Some("FT-1".to_owned()),
            reason: None,
        }
    }
}

impl PayoutProvider for Script {
    fn send<'a>(&'a self, order: &'a PayoutOrder<'a>) -> Asking<'a, PayoutState> {
        Box::pin(async move {
            match self.next("send", order.reference) {
                Says::Sent(standing) => Ok(self.state(standing)),
                Says::Fails(failed) => Err(failed),
                Says::Found(_) => panic!("it was sent"),
            }
        })
    }

    fn look_up<'a>(&'a self, reference: &'a str) -> Asking<'a, Option<PayoutState>> {
        Box::pin(async move {
            match self.next("look", reference) {
                Says::Found(found) => Ok(found.map(|standing| self.state(standing))),
                Says::Fails(failed) => Err(failed),
                Says::Sent(_) => panic!("it was looked up"),
            }
        })
    }

    fn is_genuine(&self, _: &[u8], signature: &str) -> bool {
        signature == "genuine"
    }
}

pub(super) struct Stand {
    pub payouts: Payouts,
    pub script: Arc<Script>,
    pub clock: Clock,
    pub db: Db,
}

impl Stand {
    /// Ali has this many pounds.
    pub(super) async fn new(pounds: i64) -> Self {
        Self::with(pounds, true).await
    }

    pub(super) async fn with(pounds: i64, provider: bool) -> Self {
        let db = testing::database().await;
        let people = "INSERT INTO users (id, phone, name, role, password_hash) VALUES \
            ('00000000-0000-0000-0000-000000000022', '+201000000022', 'Ali', 'driver', 'x'), \
            ('00000000-0000-0000-0000-000000000033', '+201000000033', 'Mona', 'admin', 'x')";
        testing::owner(&db).await.execute(people).await.expect("they sign up");
        let clock = Clock::manual(NOW);
        let script = Arc::new(Script::default());
        let own = provider.then(|| Arc::clone(&script) as Arc<dyn PayoutProvider>);
        let payouts = Payouts::with(db.clone(), clock.clone(), own, WithdrawLimits::default());
        let stand = Self { payouts, script, clock, db };
        let mut tx = stand.begin().await;
        let gift = Piasters::pounds(pounds);
        let gift = ledger::adjustment(MONA, ALI, Role::Driver, gift, "a gift", None);
        ledger::post_in_tx(&mut tx, &gift.expect("a driver")).await.expect("posted");
        tx.commit().await.expect("committed");
        stand
    }

    pub(super) async fn begin(&self) -> Tx {
        self.db.begin(&Who::System).await.expect("a transaction")
    }

    pub(super) async fn request(&self, pounds: i64) -> Result<Advanced, Problem> {
        let account = PayoutAccount::parse(PayoutMethod::Bank, IBAN).expect("an account");
        let amount = Piasters::pounds(pounds);
        let new = NewWithdrawal { driver: DriverId(ALI.0), amount, account };
        let mut tx = self.begin().await;
        let asked = self.payouts.request_in_tx(&mut tx, &new).await?;
        tx.commit().await.expect("committed");
        Ok(asked)
    }

    pub(super) async fn act(&self, id: WithdrawalId, act: Act) -> Result<Withdrawal, AdvanceError> {
        let with = With {
            by: Some(MONA),
            reason: matches!(act, Act::Reject | Act::Fail).then(|| "because".to_owned()),
            ..With::default()
        };
        self.act_with(id, act, with).await
    }

    pub(super) async fn act_with(
        &self,
        id: WithdrawalId,
        act: Act,
        with: With,
    ) -> Result<Withdrawal, AdvanceError> {
        let mut tx = self.begin().await;
        let moved = self.payouts.advance_in_tx(&mut tx, id, act, with).await?;
        tx.commit().await?;
        Ok(moved.withdrawal)
    }

    /// One that was sent through the provider.
    pub(super) async fn sent(&self) -> Withdrawal {
        let id = self.request(100).await.expect("asked").withdrawal.id;
        self.act(id, Act::Approve).await.expect("approved");
        let through = Act::Send(super::super::model::PayoutChannel::Provider);
        self.act_with(id, through, With::default()).await.expect("sent")
    }

    /// Free and set aside, pounds; the books are right.
    pub(super) async fn money(&self) -> (i64, i64) {
        let mut tx = self.begin().await;
        let wallet = ledger::wallet(&mut tx, ALI, Role::Driver).await.expect("a wallet");
        assert_eq!(ledger::check_invariants(&mut tx).await.expect("it is readable"), []);
        (wallet.balance.0 / 100, wallet.held.0 / 100)
    }
}
