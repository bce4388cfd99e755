//! Steps in the database: what is posted, who is first, and what it refuses by itself.

use std::time::Duration;

use futures_util::future::join_all;
use sqlx::Executor;

use super::super::desk::{AdvanceError, With};
use super::super::model::{PayoutChannel, WithdrawalStatus};
use super::super::rules::Act;
use super::stand::{MONA, Stand};

#[tokio::test]
async fn money_is_set_aside_and_paid_out_or_given_back() {
    let stand = Stand::with(500, false).await;
    assert_eq!(stand.request(501).await.expect_err("too much").code.name(), "INSUFFICIENT_BALANCE");
    assert_eq!(stand.money().await, (500, 0));
    let first = stand.request(200).await.expect("asked").withdrawal.id;
    assert_eq!(stand.money().await, (300, 200));
    stand.act(first, Act::Reject).await.expect("rejected");
    assert_eq!(stand.money().await, (500, 0));
    let second = stand.request(300).await.expect("asked").withdrawal.id;
    for (act, money) in [
        (Act::Approve, (200, 300)),
        (Act::Send(PayoutChannel::Hand), (200, 0)),
        (Act::Fail, (500, 0)),
    ] {
        stand.act(second, act).await.expect("a step");
        assert_eq!(stand.money().await, money, "{act:?}");
    }
    let third = stand.request(500).await.expect("asked").withdrawal.id;
    for act in [Act::Approve, Act::Send(PayoutChannel::Hand), Act::Confirm] {
        stand.act(third, act).await.expect("a step");
    }
    assert_eq!(stand.money().await, (0, 0));
    let mut tx = stand.begin().await;
    let accounts = ledger::system_balances(&mut tx).await.expect("readable");
    let named = accounts.iter().filter(|(_, balance)| balance.0 != 0);
    let named: Vec<_> = named.map(|(account, balance)| (account.name(), balance.0)).collect();
    assert_eq!(named, [("bank", 50_000), ("adjustments", -50_000)]);
}

#[tokio::test]
async fn a_driver_has_one_open_withdrawal_and_a_double_tap_is_one() {
    let stand = Stand::new(500).await;
    let first = stand.request(100).await.expect("asked").withdrawal;
    let again = stand.request(100).await.expect("the same").withdrawal;
    assert_eq!(again.id, first.id);
    let other = stand.request(101).await.expect_err("another");
    assert_eq!(other.code.name(), "WITHDRAWAL_OPEN");
    assert_eq!(other.details["requestId"], first.id.to_string());
    stand.clock.advance(Duration::from_secs(6));
    assert_eq!(stand.request(100).await.expect_err("later").code.name(), "WITHDRAWAL_OPEN");
    assert_eq!(stand.money().await, (400, 100));
    // Twenty at once, when none is open.
    stand.act(first.id, Act::Reject).await.expect("rejected");
    let amounts = join_all((0..20).map(|more| stand.request(50 + more))).await;
    assert_eq!(amounts.iter().filter(|asked| asked.is_ok()).count(), 1);
    stand.money().await;
}

#[tokio::test]
async fn a_day_allows_so_many() {
    let stand = Stand::with(500, false).await;
    for _ in 0..3 {
        let id = stand.request(50).await.expect("asked").withdrawal.id;
        for act in [Act::Approve, Act::Send(PayoutChannel::Hand), Act::Confirm] {
            stand.act(id, act).await.expect("a step");
        }
    }
    assert_eq!(stand.request(50).await.expect_err("a fourth").code.name(), "WITHDRAWAL_LIMIT");
    stand.clock.advance(Duration::from_secs(24 * 3600));
    stand.request(50).await.expect("the next day");
}

#[tokio::test]
async fn of_many_decisions_at_once_one_is_made() {
    let stand = Stand::new(500).await;
    let id = stand.request(100).await.expect("asked").withdrawal.id;
    let acts = [Act::Approve, Act::Reject].into_iter().cycle().take(16);
    let made = join_all(acts.map(|act| stand.act(id, act))).await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
    for refused in made.iter().filter_map(|made| made.as_ref().err()) {
        assert!(matches!(refused, AdvanceError::Refused(_)), "{refused}");
    }
    // And sending it by hand and by the provider at once.
    stand.clock.advance(Duration::from_secs(6));
    let winner = made.into_iter().find_map(Result::ok).expect("one was made").status;
    if winner == WithdrawalStatus::Rejected {
        let next = stand.request(100).await.expect("asked").withdrawal.id;
        stand.act(next, Act::Approve).await.expect("approved");
        race_to_send(&stand, next).await;
    } else {
        race_to_send(&stand, id).await;
    }
    assert_eq!(stand.money().await, (400, 0));
}

async fn race_to_send(stand: &Stand, id: super::super::model::WithdrawalId) {
    let channels = [PayoutChannel::Hand, PayoutChannel::Provider].into_iter().cycle().take(8);
    let sent = join_all(channels.map(|channel| {
        stand.act_with(id, Act::Send(channel), With { by: Some(MONA), ..With::default() })
    }));
    assert_eq!(sent.await.iter().filter(|sent| sent.is_ok()).count(), 1);
}

#[tokio::test]
async fn what_the_provider_has_is_failed_by_its_word_alone() {
    let stand = Stand::new(500).await;
    let sent = stand.sent().await;
    let by_hand = stand.act(sent.id, Act::Fail).await;
    assert!(matches!(by_hand, Err(AdvanceError::Refused(_))));
    let word = With { reason: Some("closed".to_owned()), ..With::default() };
    stand.act_with(sent.id, Act::Fail, word).await.expect("by the provider");
    assert_eq!(stand.money().await, (500, 0));
}

#[tokio::test]
async fn the_database_refuses_by_itself() {
    let stand = Stand::new(500).await;
    let sent = stand.sent().await;
    let mut owner = storage::testing::owner(&stand.db).await;
    let refused = async |owner: &mut sqlx::postgres::PgConnection, sql: &'static str| {
        let error = owner.execute(sql).await.expect_err(sql);
        error.as_database_error().and_then(|e| e.code()).map(|code| code.into_owned())
    };
    // Steps that there are not, and steps without their posting.
    for sql in [
        "UPDATE withdrawals SET status = 'approved', channel = NULL, sent_at = NULL",
        "UPDATE withdrawals SET status = 'requested', channel = NULL, sent_at = NULL, \
         decided_by = NULL, decided_at = NULL",
    ] {
        assert_eq!(refused(&mut owner, sql).await.as_deref(), Some("SL401"), "{sql}");
    }
    let unbooked = "UPDATE withdrawals SET status = 'confirmed', ended_at = now()";
    assert_eq!(refused(&mut owner, unbooked).await.as_deref(), Some("SL402"));
    let from_nothing = "INSERT INTO withdrawals (id, driver_id, amount, method, account, requested_at) \
        VALUES (gen_random_uuid(), '00000000-0000-0000-0000-000000000033', 1, 'wallet', \
                '+201012345678', now())";
    assert_eq!(refused(&mut owner, from_nothing).await.as_deref(), Some("SL402"));
    let twice = "INSERT INTO withdrawals (id, driver_id, amount, method, account, requested_at) \
        VALUES (gen_random_uuid(), '00000000-0000-0000-0000-000000000022', 1, 'wallet', \
                '+201012345678', now())";
    assert_eq!(refused(&mut owner, twice).await.as_deref(), Some("23505"));
    stand.act_with(sent.id, Act::Confirm, With::default()).await.expect("confirmed");
    let back = "UPDATE withdrawals SET status = 'failed', reason = 'x'";
    assert_eq!(refused(&mut owner, back).await.as_deref(), Some("SL401"));
}
