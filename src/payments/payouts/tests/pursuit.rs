//! What the provider says, and what it is asked.

use std::time::Duration;

use base::Piasters;
use events::Jobs;

use super::super::desk::{Asked, Pursued};
use super::super::model::{Withdrawal, WithdrawalStatus};
use super::super::provider::PayoutStanding::{Failed, Paid, Pending};
use super::stand::{Says, Stand};
use crate::kashier::CallFailed;

fn lost() -> Says {
    Says::Fails(CallFailed::Lost { why: "no answer".to_owned() })
}

fn refused(status: u16) -> Says {
    Says::Fails(CallFailed::Refused { status })
}

async fn pursue(stand: &Stand, withdrawal: &Withdrawal, asked: Asked) -> String {
    match stand.payouts.pursue(withdrawal, asked).await {
        Pursued::OnItsWay { provider_id, after } => {
            format!("on its way {provider_id:?} {after:?}")
        }
        Pursued::Ended { act, reason, .. } => format!("{act:?} {reason}"),
        Pursued::Strange(why) => why,
    }
}

#[tokio::test]
async fn a_lost_answer_is_looked_up_before_anything_is_sent() {
    let stand = Stand::new(500).await;
    let sent = stand.sent().await;
    stand.script.say(lost());
    assert_eq!(pursue(&stand, &sent, Asked::Never).await, "on its way None None");
    assert_eq!(stand.script.asked(), "send wd-");
    // It had arrived.
    stand.script.say(Says::Found(Some(Pending)));
    assert_eq!(pursue(&stand, &sent, Asked::Before).await, "on its way Some(\"PO-1\") None");
    assert_eq!(stand.script.asked(), "look wd-");
    // While nobody can say whether it did, nothing is sent.
    stand.script.say(lost());
    assert_eq!(pursue(&stand, &sent, Asked::Before).await, "on its way None None");
    assert_eq!(stand.script.asked(), "look wd-");
    // It had not: the same reference goes out again.
    stand.script.say(Says::Found(None));
    stand.script.say(Says::Sent(Paid));
    assert_eq!(pursue(&stand, &sent, Asked::Before).await, "Confirm it came back");
    assert_eq!(stand.script.asked(), "look wd-, send wd-");
}

#[tokio::test]
async fn each_answer_means_one_thing() {
    let stand = Stand::new(500).await;
    let sent = stand.sent().await;
    let check = async |says: Says, expected: &str| {
        stand.script.say(says);
        assert_eq!(pursue(&stand, &sent, Asked::Never).await, expected);
    };
    check(Says::Sent(Pending), "on its way Some(\"PO-1\") None").await;
    check(Says::Sent(Paid), "Confirm it came back").await;
    check(Says::Sent(Failed), "Fail it came back").await;
    check(refused(422), "Fail the provider refused it (422)").await;
    check(refused(400), "Fail the provider refused it (400)").await;
    // It has something under this name, or does not know us: nothing is known about the money.
    for status in [401, 403, 408, 409, 425] {
        check(refused(status), "on its way None None").await;
    }
    let busy = CallFailed::NotDone { why: "429".to_owned(), after: Some(Duration::from_secs(7)) };
    check(Says::Fails(busy), "on its way None Some(7s)").await;
    stand.script.lie(Piasters::pounds(1_000));
    check(Says::Sent(Paid), "the provider has 1000, not 100").await;
}

#[tokio::test]
async fn a_word_against_what_was_booked_is_for_a_person() {
    let stand = Stand::new(500).await;
    let sent = stand.sent().await;
    let ended = |status| Withdrawal { status, ..sent.clone() };
    let check = async |status, says, expected: &str| {
        stand.script.say(Says::Found(says));
        assert_eq!(pursue(&stand, &ended(status), Asked::Before).await, expected);
        assert_eq!(stand.script.asked(), "look wd-", "what has ended is never sent");
    };
    use WithdrawalStatus::{Confirmed, Failed as Returned};
    let same = "on its way Some(\"PO-1\") None";
    check(Confirmed, Some(Paid), same).await;
    check(Confirmed, Some(Failed), "booked as confirmed, the provider says Failed").await;
    check(Returned, Some(Paid), "booked as failed, the provider says Paid").await;
    check(Returned, Some(Failed), same).await;
    check(Confirmed, None, "on its way None None").await;
}

#[tokio::test]
async fn a_notice_is_believed_by_its_signature_and_books_nothing() {
    let stand = Stand::new(500).await;
    let sent = stand.sent().await;
    let jobs = Jobs::new(stand.db.clone(), base::Dice::seeded(1));
    let tell = async |body: String, signature: &str| {
        let taken = stand.payouts.take_notice(&jobs, body.as_bytes(), signature).await;
        taken.map_err(|problem| problem.code.name())
    };
    let body = |reference: &str| format!(r#"{{"reference":"{reference}","status":"paid"}}"#);
    let reference = sent.id.reference();
    assert_eq!(tell(body(&reference), "forged").await, Err("INVALID_SIGNATURE"));
    assert_eq!(tell("{}".to_owned(), "genuine").await, Err("MALFORMED_BODY"));
    assert_eq!(tell(body("wd-nobody"), "genuine").await, Ok(()));
    for _ in 0..3 {
        assert_eq!(tell(body(&reference), "genuine").await, Ok(()));
    }
    let mut owner = storage::testing::owner(&stand.db).await;
    let waits: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE key = $1")
        .bind(format!("told:{}", sent.id))
        .fetch_one(&mut owner)
        .await
        .expect("a count");
    assert_eq!((waits, stand.money().await), (1, (400, 0)));
}
