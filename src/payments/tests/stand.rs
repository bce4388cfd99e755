//! A payments desk with a gateway, a database, and time that stands still.

use std::time::Duration;

use base::{Caller, Clock, Dice, Millis, Role, SessionId, UserId};
use ops::{BreakerPolicy, Breakers};
use secrecy::SecretString;
use sqlx::Executor;
use standins::{Credentials, Gateway};
use storage::{Db, Tx, Who, testing};

use crate::{
    Applied, DepositId, GatewayMode, Kashier, KashierConfig, PayPage, Payments, PaymentsConfig,
    Reference,
};

/// Thursday noon in Cairo.
pub(super) const NOW: Millis = Millis(1_796_292_000_000);
pub(super) const MONA: UserId = UserId::from_u128(0x11);

/// Short, so that a gateway that says nothing costs a test nothing; and patient, where a test is
/// not about the circuit.
pub(super) const CALLS: BreakerPolicy =
    BreakerPolicy { time_out: Duration::from_millis(500), at_least: 100, ..BreakerPolicy::DEFAULT };

pub(super) fn config(gateway: &Gateway, page: PayPage) -> KashierConfig {
    let credentials = Credentials::for_tests();
    KashierConfig {
        merchant: credentials.merchant,
        api_key: SecretString::from(credentials.api_key),
        secret_key: SecretString::from(credentials.secret_key),
        mode: GatewayMode::Test,
        page,
        api_url: gateway.url().to_owned(),
        fep_url: gateway.url().to_owned(),
        page_url: "https://checkout.example.com".to_owned(),
        public_url: "http://127.0.0.1:9".to_owned(),
        app_url: "https://app.example.com/paid".to_owned(),
    }
}

/// The client alone.
pub(super) async fn client(page: PayPage, calls: BreakerPolicy) -> (Gateway, Kashier, Clock) {
    let gateway = Gateway::start(Credentials::for_tests()).await;
    let clock = Clock::manual(NOW);
    let breakers = Breakers::new(clock.clone());
    let kashier = Kashier::new(config(&gateway, page), &breakers, calls, clock.clone());
    (gateway, kashier.expect("a client"), clock)
}

pub(super) struct Stand {
    pub gateway: Gateway,
    pub payments: Payments,
    pub clock: Clock,
    db: Db,
}

impl Stand {
    pub(super) async fn new() -> Self {
        Self::with(PayPage::Sessions).await
    }

    pub(super) async fn with(page: PayPage) -> Self {
        let gateway = Gateway::start(Credentials::for_tests()).await;
        let db = testing::database().await;
        let mona = "INSERT INTO users (id, phone, name, role, password_hash) VALUES \
            ('00000000-0000-0000-0000-000000000011', '+201000000011', 'Mona', 'rider', 'x')";
        testing::owner(&db).await.execute(mona).await.expect("Mona signs up");
        let clock = Clock::manual(NOW);
        let breakers = Breakers::new(clock.clone());
        let config = PaymentsConfig {
            gateway: Some(config(&gateway, page)),
            calls: CALLS,
            ..PaymentsConfig::default()
        };
        let dice = Dice::seeded(1);
        let payments = Payments::new(db.clone(), clock.clone(), dice, &breakers, config);
        Self { gateway, payments: payments.expect("a desk"), clock, db }
    }

    pub(super) fn mona(&self) -> Caller {
        let expires = NOW + Duration::from_secs(900);
        Caller { user: MONA, role: Role::Rider, session: SessionId::from_u128(1), expires }
    }

    /// Mona tops up; the order.
    pub(super) async fn order(&self, pounds: i64) -> Reference {
        let amount = base::Piasters::pounds(pounds);
        let opened = self.payments.open_deposit(&self.mona(), amount, events::Once::NONE).await;
        opened.expect("a page").order_id.parse().expect("a reference")
    }

    pub(super) async fn begin(&self) -> Tx {
        self.db.begin(&Who::System).await.expect("a transaction")
    }

    /// Looks at the gateway and makes what it says true, as the job does.
    pub(super) async fn look(&self, id: DepositId) -> String {
        let looked = self.payments.look_up(id).await.expect("it can be looked up");
        let mut tx = self.begin().await;
        let said = match looked {
            crate::Looked::News(news) => {
                let applied = self.payments.apply_look_in_tx(&mut tx, id, &news).await;
                match applied.expect("it is applied") {
                    Applied::Paid(_) => "paid".to_owned(),
                    Applied::Failed(_) => "failed".to_owned(),
                    Applied::Refunded(_) => "refunded".to_owned(),
                    Applied::Nothing(why) => format!("nothing {why}"),
                    Applied::Strange { why, .. } => format!("strange {why}"),
                }
            }
            crate::Looked::NotYet => {
                self.payments.look_again_in_tx(&mut tx, id).await.expect("it is put off");
                "not yet".to_owned()
            }
            crate::Looked::Settled => "settled".to_owned(),
            crate::Looked::Over => {
                let ended = self.payments.expire_in_tx(&mut tx, id).await.expect("it ends");
                format!("over {}", ended.is_some())
            }
        };
        tx.commit().await.expect("it is stored");
        said
    }

    pub(super) async fn status(&self, order: Reference) -> String {
        let view = self.payments.deposit(&self.mona(), order).await.expect("it is hers");
        view.status.to_string()
    }

    /// What stands in suspense, piasters.
    pub(super) async fn suspense(&self) -> i64 {
        let mut tx = self.begin().await;
        let accounts = ledger::system_balances(&mut tx).await.expect("readable");
        accounts.iter().find(|(known, _)| known.name() == "suspense").map_or(0, |(_, sum)| sum.0)
    }

    pub(super) async fn balance(&self) -> i64 {
        let mut tx = self.begin().await;
        let wallet = ledger::wallet(&mut tx, MONA, Role::Rider).await.expect("a wallet");
        assert_eq!(ledger::check_invariants(&mut tx).await.expect("it is readable"), []);
        wallet.balance.0
    }
}
