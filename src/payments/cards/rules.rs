//! Decides what a word of the gateway makes of an authorisation. Pure.
//!
//! Guarantees:
//! - a lost answer ends nothing, and a refusal is believed only once a look has confirmed it;
//! - what was taken is settled by who waits for it, or is the rider's.

use std::time::Duration;

use base::{Millis, Piasters};

use super::model::{CardAuthorisation, CardStatus};
use crate::kashier::{CallFailed, Currency, Hold, HoldStanding, Reversal};
use crate::rules::next_look as page_look;

/// After this a capture without an answer is somebody's to look at.
pub(crate) const OVERDUE: Duration = Duration::from_secs(24 * 3600);
const FIRST_LOOK: Duration = Duration::from_secs(60);
const LONGEST_REST: Duration = Duration::from_secs(3600);

/// What is known now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CardWord {
    /// Nothing new.
    Open,
    /// It is reserved, and nothing of it was taken.
    Held {
        order: String,
        transaction: Option<String>,
    },
    Taken {
        transaction: Option<String>,
        amount: Piasters,
    },
    Freed,
    /// The page is over, and nothing was reserved.
    Over,
    /// What was asked for had no effect for sure, and may have one later.
    NotDone {
        after: Option<Duration>,
    },
    /// What was asked for was refused, and a look has confirmed it: `held` is it still.
    Refused {
        why: String,
        held: bool,
    },
    /// Somebody has to look.
    Strange(&'static str),
}

/// What is to be stored, and what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it is, to be looked at again.
    Same,
    Moved,
    /// The trip is paid by `amount`.
    Captured {
        amount: Piasters,
    },
    /// The trip is not paid by it.
    NotCaptured,
    /// `amount` is the rider's.
    Charged {
        amount: Piasters,
    },
    /// Nobody knows for a day.
    Overdue,
    Strange(&'static str),
}

/// What the answer to the one call means; `None` where only a look tells.
pub(crate) fn of_answer(
    card: &CardAuthorisation,
    answer: &Result<Reversal, CallFailed>,
) -> Option<CardWord> {
    match answer {
        Ok(Reversal::Done { transaction }) => Some(match (card.status, card.to_capture) {
            (CardStatus::Capturing, Some(amount)) => {
                CardWord::Taken { transaction: transaction.clone(), amount }
            }
            _ => CardWord::Freed,
        }),
        Ok(Reversal::Pending { .. }) | Err(CallFailed::Lost { .. }) => Some(CardWord::Open),
        Err(CallFailed::NotDone { after, .. }) => Some(CardWord::NotDone { after: *after }),
        Ok(Reversal::Failed) | Err(CallFailed::Refused { .. }) => None,
    }
}

/// What a look means for `card`.
pub(crate) fn of_look(card: &CardAuthorisation, found: Option<Hold>) -> CardWord {
    let Some(found) = found else { return CardWord::Open };
    let is_other = |stated: Option<Piasters>| stated.is_some_and(|amount| amount != card.amount);
    if is_other(found.amount) {
        return CardWord::Strange("other_amount");
    }
    match found.standing {
        HoldStanding::Open | HoldStanding::Unknown => CardWord::Open,
        HoldStanding::Over => CardWord::Over,
        HoldStanding::Freed => CardWord::Freed,
        HoldStanding::Held { transaction } => match (found.order, found.amount, found.currency) {
            (Some(order), Some(_), Some(Currency::Egp)) => CardWord::Held { order, transaction },
            (Some(_), Some(_), None) => CardWord::Strange("other_currency"),
            // Not all of it can be seen yet.
            (_, _, _) => CardWord::Open,
        },
        HoldStanding::Taken { transaction, amount } => match amount {
            Some(amount) if amount > Piasters::ZERO && amount <= card.amount => {
                CardWord::Taken { transaction, amount }
            }
            Some(_) => CardWord::Strange("taken_otherwise"),
            None => CardWord::Open,
        },
    }
}

/// A refusal, once `look` has seen what is true.
pub(crate) fn of_refusal(why: String, look: CardWord) -> CardWord {
    match look {
        CardWord::Held { .. } => CardWord::Refused { why, held: true },
        CardWord::Over => CardWord::Refused { why, held: false },
        // It had happened before: by another's hand, or by a call that was thought lost.
        other => other,
    }
}

/// Makes `word` true in `card`; `good_for` is how long an authorisation can be used.
pub(crate) fn apply(
    card: &mut CardAuthorisation,
    word: CardWord,
    good_for: Duration,
    now: Millis,
) -> Outcome {
    match card.status {
        CardStatus::Pending | CardStatus::Failed | CardStatus::Expired
            if card.authorised_at.is_none() =>
        {
            on_page(card, word, good_for, now)
        }
        CardStatus::Authorised => unused(card, word, now),
        CardStatus::Capturing => capturing(card, word, now),
        CardStatus::Voiding => voiding(card, word, now),
        // Its trip asks for it when it ends; what is over stays as it is.
        CardStatus::Bound
        | CardStatus::Releasing
        | CardStatus::Captured
        | CardStatus::Voided
        | CardStatus::Charged
        | CardStatus::Pending
        | CardStatus::Failed
        | CardStatus::Expired => Outcome::Same,
    }
}

fn on_page(
    card: &mut CardAuthorisation,
    word: CardWord,
    good_for: Duration,
    now: Millis,
) -> Outcome {
    match word {
        // Too late by our clock, it is reserved all the same.
        CardWord::Held { order, transaction } => {
            let good_until = now + good_for;
            card.status = CardStatus::Authorised;
            (card.gateway_order, card.transaction) = (Some(order), transaction);
            (card.authorised_at, card.expires_at) = (Some(now), Some(good_until));
            (card.look_at, card.failure) = (Some(good_until), None);
            Outcome::Moved
        }
        CardWord::Taken { transaction, amount } => charged(card, transaction, amount, now),
        CardWord::Strange(why) => {
            (card.status, card.look_at) = (CardStatus::Failed, None);
            card.failure = Some(why.to_owned());
            Outcome::Strange(why)
        }
        CardWord::Over | CardWord::Freed => {
            (card.status, card.look_at) = (CardStatus::Expired, None);
            Outcome::Moved
        }
        CardWord::Open | CardWord::NotDone { .. } | CardWord::Refused { .. } => {
            card.look_at = page_look(card.created_at, card.page_until, now);
            if card.look_at.is_none() {
                card.status = CardStatus::Expired;
            }
            Outcome::Moved
        }
    }
}

fn unused(card: &mut CardAuthorisation, word: CardWord, now: Millis) -> Outcome {
    match word {
        CardWord::Taken { transaction, amount } => charged(card, transaction, amount, now),
        CardWord::Freed => ended(card, CardStatus::Voided, None, now),
        CardWord::Strange(why) => Outcome::Strange(why),
        CardWord::Held { .. }
        | CardWord::Open
        | CardWord::Over
        | CardWord::NotDone { .. }
        | CardWord::Refused { .. } => Outcome::Same,
    }
}

fn capturing(card: &mut CardAuthorisation, word: CardWord, now: Millis) -> Outcome {
    match word {
        CardWord::Taken { transaction, amount } => {
            (card.status, card.ended_at) = (CardStatus::Captured, Some(now));
            (card.capture, card.captured) = (transaction, Some(amount));
            (card.look_at, card.failure) = (None, None);
            Outcome::Captured { amount }
        }
        CardWord::NotDone { after } => {
            card.status = CardStatus::Bound;
            card.look_at = Some(now + after.unwrap_or(FIRST_LOOK));
            Outcome::Moved
        }
        CardWord::Refused { why, held: true } => {
            (card.status, card.failure) = (CardStatus::Releasing, Some(why));
            card.look_at = Some(now);
            Outcome::NotCaptured
        }
        CardWord::Refused { why, held: false } => {
            ended(card, CardStatus::Voided, Some(why), now);
            Outcome::NotCaptured
        }
        CardWord::Freed => {
            let why = "it was let go before it was captured".to_owned();
            ended(card, CardStatus::Voided, Some(why), now);
            Outcome::NotCaptured
        }
        CardWord::Strange(why) => {
            card.look_at = Some(now + OVERDUE);
            Outcome::Strange(why)
        }
        // A look that sees nothing taken says nothing of a call that may still be under way.
        CardWord::Open | CardWord::Held { .. } | CardWord::Over => wait(card, now),
    }
}

fn voiding(card: &mut CardAuthorisation, word: CardWord, now: Millis) -> Outcome {
    match word {
        CardWord::Freed => ended(card, CardStatus::Voided, None, now),
        CardWord::Taken { transaction, amount } => charged(card, transaction, amount, now),
        CardWord::NotDone { after } => {
            card.status = CardStatus::Releasing;
            card.look_at = Some(now + after.unwrap_or(FIRST_LOOK));
            Outcome::Moved
        }
        // It is the bank's to let go then, in its own time.
        CardWord::Refused { why, .. } => ended(card, CardStatus::Expired, Some(why), now),
        CardWord::Strange(why) => {
            card.look_at = Some(now + OVERDUE);
            Outcome::Strange(why)
        }
        CardWord::Open | CardWord::Held { .. } | CardWord::Over => match wait(card, now) {
            Outcome::Overdue => {
                let why = "the gateway never said that it let it go".to_owned();
                ended(card, CardStatus::Expired, Some(why), now)
            }
            other => other,
        },
    }
}

/// Looked at again, ever more seldom.
fn wait(card: &mut CardAuthorisation, now: Millis) -> Outcome {
    let waited = now.after(card.asked_at.unwrap_or(now));
    if waited >= OVERDUE {
        card.look_at = Some(now + OVERDUE);
        return Outcome::Overdue;
    }
    card.look_at = Some(next_look(card.asked_at.unwrap_or(now), now));
    Outcome::Moved
}

fn charged(
    card: &mut CardAuthorisation,
    transaction: Option<String>,
    amount: Piasters,
    now: Millis,
) -> Outcome {
    (card.status, card.ended_at) = (CardStatus::Charged, Some(now));
    (card.capture, card.captured) = (transaction, Some(amount));
    card.look_at = None;
    Outcome::Charged { amount }
}

fn ended(
    card: &mut CardAuthorisation,
    status: CardStatus,
    why: Option<String>,
    now: Millis,
) -> Outcome {
    (card.status, card.ended_at, card.look_at) = (status, Some(now), None);
    card.failure = why.or_else(|| card.failure.take());
    Outcome::Moved
}

/// When one whose answer is lost is looked at next.
pub(crate) fn next_look(asked: Millis, now: Millis) -> Millis {
    now + (now.after(asked) / 2).clamp(FIRST_LOOK, LONGEST_REST)
}

#[cfg(test)]
mod tests {
    use base::RiderId;
    use uuid::Uuid;

    use super::super::model::CardId;
    use super::*;

    const NOW: Millis = Millis(1_700_000_000_000);
    const WEEK: Duration = Duration::from_secs(6 * 24 * 3600);

    fn card(status: CardStatus) -> CardAuthorisation {
        let on_page = matches!(status, CardStatus::Pending | CardStatus::Failed);
        let authorised_at = (!on_page).then_some(NOW);
        CardAuthorisation {
            id: CardId(Uuid::from_u128(1)),
            rider: RiderId::from_u128(2),
            amount: Piasters(5_000),
            currency: Currency::Egp,
            status,
            attempt: 1,
            session: None,
            page_url: None,
            gateway_order: Some("order".to_owned()),
            transaction: Some("TX-1".to_owned()),
            capture: None,
            trip: None,
            to_capture: (status == CardStatus::Capturing).then_some(Piasters(4_000)),
            captured: None,
            failure: None,
            look_at: Some(NOW),
            page_until: NOW + Duration::from_secs(1800),
            expires_at: authorised_at.map(|at| at + WEEK),
            asked_at: Some(NOW),
            created_at: NOW,
            authorised_at,
            ended_at: None,
        }
    }

    fn held() -> CardWord {
        CardWord::Held { order: "order".to_owned(), transaction: None }
    }

    fn taken(amount: i64) -> CardWord {
        CardWord::Taken { transaction: None, amount: Piasters(amount) }
    }

    fn refused(held: bool) -> CardWord {
        CardWord::Refused { why: "no".to_owned(), held }
    }

    #[track_caller]
    fn check(status: CardStatus, after_s: u64, word: CardWord, expected: &str) {
        let mut card = card(status);
        let now = NOW + Duration::from_secs(after_s);
        let outcome = apply(&mut card, word.clone(), WEEK, now);
        let look = card.look_at.map_or_else(|| "never".to_owned(), |at| at.since(now).to_string());
        let said = match outcome {
            Outcome::Same => format!("{} as before", card.status),
            Outcome::Moved => format!("{}, again {look}", card.status),
            Outcome::Captured { amount } => format!("{} {}", card.status, amount.0),
            Outcome::NotCaptured => format!("{}, not paid", card.status),
            Outcome::Charged { amount } => format!("{} {}", card.status, amount.0),
            Outcome::Overdue => format!("{}, overdue", card.status),
            Outcome::Strange(why) => format!("{}, {why}", card.status),
        };
        assert_eq!(said, expected, "{status} {word:?}");
    }

    #[test]
    fn what_a_word_makes_of_an_authorisation() {
        use CardStatus::{
            Authorised, Bound, Captured, Capturing, Charged, Failed, Pending, Releasing, Voided,
            Voiding,
        };
        let again = || CardWord::NotDone { after: None };
        let week = WEEK.as_millis();
        for page in [Pending, Failed] {
            check(page, 60, held(), &format!("authorised, again {week}"));
            check(page, 60, taken(5_000), "charged 5000");
            check(page, 60, CardWord::Over, "expired, again never");
            check(page, 60, CardWord::Strange("other_amount"), "failed, other_amount");
        }
        check(Pending, 60, CardWord::Open, "pending, again 60000");
        check(Pending, 7200, CardWord::Open, "expired, again never");
        check(Authorised, 60, held(), "authorised as before");
        check(Authorised, 60, taken(5_000), "charged 5000");
        check(Authorised, 60, CardWord::Freed, "voided, again never");
        check(Bound, 60, taken(5_000), "bound as before");
        check(Bound, 60, CardWord::Freed, "bound as before");
        check(Capturing, 60, taken(4_000), "captured 4000");
        // By another's hand all of it: what is too much is the rider's.
        check(Capturing, 60, taken(5_000), "captured 5000");
        check(Capturing, 60, again(), "bound, again 60000");
        check(Capturing, 60, refused(true), "releasing, not paid");
        check(Capturing, 60, refused(false), "voided, not paid");
        check(Capturing, 60, CardWord::Freed, "voided, not paid");
        check(Capturing, 60, held(), "capturing, again 60000");
        check(Capturing, 600, CardWord::Open, "capturing, again 300000");
        check(Capturing, 86_400, held(), "capturing, overdue");
        check(Releasing, 60, held(), "releasing as before");
        check(Voiding, 60, CardWord::Freed, "voided, again never");
        check(Voiding, 60, taken(5_000), "charged 5000");
        check(Voiding, 60, again(), "releasing, again 60000");
        check(Voiding, 60, refused(true), "expired, again never");
        check(Voiding, 60, held(), "voiding, again 60000");
        check(Voiding, 86_400, held(), "expired, again never");
        for over in [Captured, Voided, Charged] {
            for word in [held(), taken(1), CardWord::Freed, refused(true), CardWord::Open] {
                check(over, 60, word, &format!("{over} as before"));
            }
        }
    }

    #[test]
    fn an_answer_is_believed_and_a_refusal_is_looked_at() {
        let check = |status, answer: Result<Reversal, CallFailed>, expected: &str| {
            let word = of_answer(&card(status), &answer);
            assert_eq!(format!("{word:?}"), expected, "{status} {answer:?}");
        };
        use CardStatus::{Capturing, Voiding};
        let done = || Ok(Reversal::Done { transaction: None });
        check(Capturing, done(), "Some(Taken { transaction: None, amount: Piasters(4000) })");
        check(Voiding, done(), "Some(Freed)");
        check(Capturing, Ok(Reversal::Failed), "None");
        check(Capturing, Err(CallFailed::Refused { status: 400 }), "None");
        let lost = CallFailed::Lost { why: "cut".to_owned() };
        check(Capturing, Err(lost), "Some(Open)");
        let away = CallFailed::NotDone { why: "away".to_owned(), after: None };
        check(Capturing, Err(away), "Some(NotDone { after: None })");
        assert_eq!(of_refusal("no".to_owned(), held()), refused(true));
        assert_eq!(of_refusal("no".to_owned(), taken(5_000)), taken(5_000));
    }

    #[test]
    fn only_what_was_asked_for_is_reserved() {
        let hold = |standing, amount: Option<i64>, currency| Hold {
            standing,
            order: Some("order".to_owned()),
            amount: amount.map(Piasters),
            currency,
        };
        let check = |found: Hold, expected: &CardWord| {
            let word = of_look(&card(CardStatus::Pending), Some(found.clone()));
            assert_eq!(&word, expected, "{found:?}");
        };
        let is_held = || HoldStanding::Held { transaction: None };
        let is_taken =
            |amount: i64| HoldStanding::Taken { transaction: None, amount: Some(Piasters(amount)) };
        let egp = Some(Currency::Egp);
        check(hold(is_held(), Some(5_000), egp), &held());
        check(hold(is_held(), Some(4_999), egp), &CardWord::Strange("other_amount"));
        check(hold(is_held(), Some(5_000), None), &CardWord::Strange("other_currency"));
        check(hold(is_held(), None, egp), &CardWord::Open);
        check(hold(is_taken(4_000), None, egp), &taken(4_000));
        check(hold(is_taken(5_001), None, egp), &CardWord::Strange("taken_otherwise"));
        check(hold(HoldStanding::Unknown, None, None), &CardWord::Open);
        assert_eq!(of_look(&card(CardStatus::Pending), None), CardWord::Open);
    }
}
