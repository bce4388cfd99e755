//! Deposits whose notices never come: looked up, and ended when their time is over.

use std::time::Duration;

use standins::Play;

use super::stand::Stand;

#[tokio::test]
async fn a_deposit_without_a_notice_is_found_paid() {
    let stand = Stand::new().await;
    let order = stand.order(40).await;
    assert_eq!(stand.look(order.deposit).await, "not yet");
    stand.gateway.pay(&order.to_string());
    assert_eq!(stand.look(order.deposit).await, "paid");
    assert_eq!(stand.look(order.deposit).await, "settled", "there is nothing to look for");
    assert_eq!((stand.status(order).await, stand.balance().await), ("paid".to_owned(), 4000));
}

#[tokio::test]
async fn the_gateways_other_amount_is_not_booked_as_the_deposit() {
    let stand = Stand::new().await;
    let order = stand.order(40).await;
    stand.gateway.pay(&order.to_string());
    // The session says what was asked for; only the order says what was taken.
    stand.gateway.reprice(&order.to_string(), "15.00");
    assert_eq!(stand.look(order.deposit).await, "strange other_amount");
    assert_eq!((stand.status(order).await, stand.balance().await), ("failed".to_owned(), 0));
    assert_eq!(stand.suspense().await, 1500);
    // It is with a person now, whatever the gateway says later.
    stand.gateway.reprice(&order.to_string(), "40.00");
    let asked = stand.gateway.seen("GET");
    assert_eq!(stand.look(order.deposit).await, "settled");
    assert_eq!(stand.gateway.seen("GET"), asked, "nobody was asked");
    assert_eq!((stand.balance().await, stand.suspense().await), (0, 1500));
}

#[tokio::test]
async fn a_look_that_a_notice_overtook_books_nothing_beside_it() {
    let stand = Stand::new().await;
    let order = stand.order(40).await;
    stand.gateway.pay(&order.to_string());
    let looked = stand.payments.look_up(order.deposit).await.expect("it can be looked up");
    stand.gateway.reprice(&order.to_string(), "15.00");
    assert_eq!(stand.look(order.deposit).await, "strange other_amount");
    let crate::Looked::News(news) = looked else { panic!("{looked:?}") };
    let mut tx = stand.begin().await;
    let applied = stand.payments.apply_look_in_tx(&mut tx, order.deposit, &news).await;
    assert_eq!(applied.expect("it is applied"), crate::Applied::Nothing("waits_for_person"));
    tx.commit().await.expect("it is stored");
    assert_eq!((stand.balance().await, stand.suspense().await), (0, 1500));
}

#[tokio::test]
async fn a_payment_of_which_nobody_says_how_much_it_was_is_looked_at_again() {
    let stand = Stand::new().await;
    let order = stand.order(40).await;
    stand.gateway.pay(&order.to_string());
    stand.clock.advance(Duration::from_secs(46 * 60));
    stand.gateway.play("/payments/orders", Play::Refuse(404));
    assert_eq!(stand.look(order.deposit).await, "not yet");
    assert_eq!(stand.status(order).await, "pending");
    assert_eq!(stand.look(order.deposit).await, "paid");
}

#[tokio::test]
async fn what_went_back_had_been_captured() {
    let stand = Stand::new().await;
    let order = stand.order(40).await;
    let captured =
        async || stand.payments.was_captured("dep", order.deposit.0, 1).await.expect("an answer");
    assert!(!captured().await);
    stand.gateway.pay(&order.to_string());
    assert!(captured().await);
    for status in ["REFUND_PENDING", "PARTIALLY_REFUNDED", "REFUNDED"] {
        stand.gateway.stands(&order.to_string(), status);
        assert!(captured().await, "{status}");
    }
}

#[tokio::test]
async fn a_deposit_ends_when_its_time_is_over_and_not_while_nobody_can_say() {
    let stand = Stand::new().await;
    let order = stand.order(40).await;
    stand.clock.advance(Duration::from_secs(46 * 60));
    for _ in 0..3 {
        stand.gateway.play("/v3/payment", Play::Refuse(500));
    }
    assert_eq!(stand.look(order.deposit).await, "not yet");
    assert_eq!(stand.look(order.deposit).await, "over true");
    assert_eq!(stand.status(order).await, "expired");
    // Somebody had paid at the last moment.
    stand.gateway.pay(&order.to_string());
    assert_eq!(stand.look(order.deposit).await, "paid");
    assert_eq!(stand.balance().await, 4000);
}

#[tokio::test]
async fn due_deposits_are_taken_up_once() {
    let stand = Stand::new().await;
    let (one, two) = (stand.order(40).await, stand.order(50).await);
    let due = async || {
        let mut tx = stand.begin().await;
        let now = stand.clock.now();
        let again = Duration::from_secs(300);
        let mut due =
            crate::store::deposits_due_in_tx(&mut tx, now, again, 10).await.expect("rows");
        tx.commit().await.expect("it is stored");
        due.sort_unstable();
        due
    };
    assert_eq!(due().await, []);
    stand.clock.advance(Duration::from_secs(60));
    assert_eq!(due().await, [one.deposit, two.deposit]);
    assert_eq!(due().await, [], "others look at them");
    // A look that got lost is made up for.
    stand.clock.advance(Duration::from_secs(300));
    assert_eq!(due().await, [one.deposit, two.deposit]);
    stand.gateway.pay(&one.to_string());
    assert_eq!(stand.look(one.deposit).await, "paid");
    assert_eq!(stand.look(two.deposit).await, "not yet");
    stand.clock.advance(Duration::from_secs(600));
    assert_eq!(due().await, [two.deposit]);
}
