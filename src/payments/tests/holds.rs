//! Money that is reserved on a card: asked for, looked at, taken and let go.

use std::time::Duration;

use base::{Piasters, UserId};
use standins::{Gateway, Play};

use super::stand::{CALLS, NOW, client};
use crate::{CallFailed, Currency, Hold, HoldStanding, Intent, Kashier, Order, PayPage, Reversal};

async fn held(reference: &str) -> (Gateway, Kashier, String) {
    let (gateway, kashier, _) = client(PayPage::Sessions, CALLS).await;
    let order = Order {
        reference,
        amount: Piasters(15_050),
        currency: Currency::Egp,
        customer: UserId::from_u128(1),
        expires: NOW + Duration::from_secs(1800),
        intent: Intent::Hold,
    };
    let session = kashier.open(&order).await.expect("a page").session.expect("a session");
    (gateway, kashier, session)
}

fn text(found: &Result<Option<Hold>, CallFailed>) -> String {
    let Ok(found) = found else { return format!("{found:?}") };
    let Some(found) = found else { return "unknown".to_owned() };
    let amount = |amount: Option<Piasters>| amount.map_or(0, |amount| amount.0);
    let of = format!("of {}", amount(found.amount));
    match &found.standing {
        HoldStanding::Open => format!("open {of}"),
        HoldStanding::Held { transaction } => format!("held {of} {}", transaction.is_some()),
        HoldStanding::Taken { amount: taken, .. } => format!("taken {} {of}", amount(*taken)),
        HoldStanding::Freed => format!("freed {of}"),
        HoldStanding::Over => format!("over {of}"),
        HoldStanding::Unknown => format!("unknown {of}"),
    }
}

#[tokio::test]
async fn what_is_reserved_is_taken_once_or_let_go() {
    let (gateway, kashier, session) = held("card-1").await;
    let look = async |session| text(&kashier.look_up_hold("card-1", session).await);
    let session = Some(session.as_str());
    assert!(gateway.payment("card-1").manual);
    assert_eq!(look(session).await, "open of 15050");
    gateway.decline("card-1");
    assert_eq!(look(session).await, "open of 15050");
    let told = gateway.authorize("card-1");
    assert_eq!(look(session).await, "held of 15050 true");
    assert_eq!(look(None).await, "held of 0 true", "only the session says how much");
    assert_eq!(text(&kashier.look_up_hold("card-", None).await), "unknown");
    let order = gateway.payment("card-1").gateway_order;
    // Not more than was reserved, nor twice.
    let more = kashier.capture(&order, Piasters(15_051)).await;
    assert_eq!(more, Err(CallFailed::Refused { status: 400 }));
    gateway.play("/v3/orders", Play::Lose);
    let lost = kashier.capture(&order, Piasters(12_000)).await;
    assert!(matches!(lost, Err(CallFailed::Lost { .. })), "{lost:?}");
    assert_eq!(look(session).await, "taken 12000 of 15050");
    let twice = kashier.capture(&order, Piasters(1)).await;
    assert_eq!(twice, Err(CallFailed::Refused { status: 400 }));
    let transaction = told.data["transactionId"].as_str().expect("a name");
    let late = kashier.void(&order, transaction, Piasters(15_050)).await;
    assert_eq!(late, Err(CallFailed::Refused { status: 400 }));
    assert_eq!(gateway.payment("card-1").taken(), ["120"]);
}

#[tokio::test]
async fn what_was_let_go_is_seen_whoever_did_it() {
    for by_bank in [false, true] {
        let (gateway, kashier, session) = held("card-2").await;
        let told = gateway.authorize("card-2");
        let order = gateway.payment("card-2").gateway_order;
        let transaction = told.data["transactionId"].as_str().expect("a name");
        if by_bank {
            gateway.lapse("card-2");
        } else {
            let voided = kashier.void(&order, transaction, Piasters(15_050)).await;
            assert!(matches!(voided, Ok(Reversal::Done { .. })), "{voided:?}");
        }
        let found = kashier.look_up_hold("card-2", Some(&session)).await;
        assert_eq!(text(&found), "freed of 15050");
        let late = kashier.capture(&order, Piasters(100)).await;
        assert_eq!(late, Err(CallFailed::Refused { status: 400 }));
    }
}

#[tokio::test]
async fn a_page_that_takes_at_once_is_told_apart() {
    let (gateway, kashier, session) = held("card-3").await;
    gateway.pay("card-3");
    let found = kashier.look_up_hold("card-3", Some(&session)).await;
    assert_eq!(text(&found), "taken 15050 of 15050");
}
