//! Decides what news of a payment do to a deposit. Pure.
//!
//! Guarantees:
//! - a deposit becomes paid by exactly the amount and currency that were asked for, once;
//! - a paid deposit never goes back, whatever comes later;
//! - money that was taken and belongs to no deposit is never forgotten: it goes to suspense, and
//!   somebody is told.

use std::time::Duration;

use base::{Millis, Piasters};

use crate::kashier::Currency;
use crate::model::{Claim, Deposit, DepositStatus, News};

/// After the end of its page a deposit is looked at so long, for a payment that was under way.
pub(crate) const GRACE: Duration = Duration::from_secs(15 * 60);
const FIRST_LOOK: Duration = Duration::from_secs(60);
const LONGEST_REST: Duration = Duration::from_secs(10 * 60);

// Why a deposit waits for a person.
const OTHER_AMOUNT: &str = "other_amount";
const OTHER_CURRENCY: &str = "other_currency";
const OTHER_MERCHANT: &str = "other_merchant";
const RETURNED: &str = "returned_at_gateway";
const STRANGE: [&str; 4] = [OTHER_AMOUNT, OTHER_CURRENCY, OTHER_MERCHANT, RETURNED];

/// Did it end by something that a person settles? Its money may be in suspense already: a look
/// would book it a second time.
pub(crate) fn waits_for_person(deposit: &Deposit) -> bool {
    let why = deposit.failure.as_deref().unwrap_or_default();
    deposit.status == DepositStatus::Failed && STRANGE.contains(&why)
}

/// What is to be done about news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The deposit is paid.
    Pay,
    /// A try failed.
    Fail { code: String },
    /// Nothing; why.
    Ignore(&'static str),
    /// Money came that no deposit asked for: `amount` of it can be booked.
    Strange { why: &'static str, amount: Option<Piasters> },
}

/// `merchant` is who we are at the gateway.
pub(crate) fn judge(deposit: Option<&Deposit>, news: &News, merchant: &str) -> Verdict {
    let ours = news.merchant.as_deref().is_none_or(|theirs| theirs == merchant);
    let bookable = match news.currency {
        Some(Currency::Egp) => news.amount.filter(|amount| *amount > Piasters::ZERO),
        None => None,
    };
    match (news.claim, deposit) {
        (Claim::Nothing, _) => Verdict::Ignore("nothing_booked"),
        // By hand at the gateway: there was nothing to book.
        (Claim::NotReturned, _) => Verdict::Ignore("not_returned"),
        (Claim::Failed, None) => Verdict::Ignore("unknown_order"),
        (Claim::Failed, Some(deposit)) => fail(deposit, news),
        // Another's money is none of our books.
        (Claim::Paid | Claim::Returned, _) if !ours => strange(OTHER_MERCHANT, None),
        // What is sent back by hand at the gateway is to be booked by hand here.
        (Claim::Returned, _) => strange(RETURNED, None),
        (Claim::Paid, None) => strange("unknown_order", bookable),
        (Claim::Paid, Some(deposit)) => pay(deposit, news, bookable),
    }
}

fn pay(deposit: &Deposit, news: &News, bookable: Option<Piasters>) -> Verdict {
    if deposit.status == DepositStatus::Paid && is_same_payment(deposit, news) {
        return Verdict::Ignore("paid_already");
    }
    if news.currency != Some(deposit.currency) {
        return strange(OTHER_CURRENCY, None);
    }
    if news.amount != Some(deposit.amount) {
        return strange(OTHER_AMOUNT, bookable);
    }
    match deposit.status {
        // Declined first, or too late by our clock: the money was taken all the same.
        DepositStatus::Pending | DepositStatus::Failed | DepositStatus::Expired => Verdict::Pay,
        DepositStatus::Paid => strange("paid_twice", bookable),
    }
}

/// A payment that the gateway did not name when it was looked up is known by its order.
fn is_same_payment(deposit: &Deposit, news: &News) -> bool {
    match (&deposit.transaction, &news.transaction) {
        (Some(known), Some(told)) => known == told,
        (None, _) | (_, None) => deposit.gateway_order == news.gateway_order,
    }
}

fn fail(deposit: &Deposit, news: &News) -> Verdict {
    match deposit.status {
        DepositStatus::Pending => {
            Verdict::Fail { code: news.code.clone().unwrap_or_else(|| "declined".to_owned()) }
        }
        DepositStatus::Failed => Verdict::Ignore("failed_already"),
        DepositStatus::Paid => Verdict::Ignore("paid_already"),
        DepositStatus::Expired => Verdict::Ignore("expired"),
    }
}

const fn strange(why: &'static str, amount: Option<Piasters>) -> Verdict {
    Verdict::Strange { why, amount }
}

/// When a deposit that is not paid is looked at next: soon, then ever more seldom; `None` when its
/// time is over and this look was the last.
pub(crate) fn next_look(created: Millis, expires: Millis, now: Millis) -> Option<Millis> {
    let end = expires + GRACE;
    if now >= end {
        return None;
    }
    let rest = (now.after(created) / 2).clamp(FIRST_LOOK, LONGEST_REST);
    Some((now + rest).min(end))
}

#[cfg(test)]
mod tests {
    use base::{Role, UserId};
    use uuid::Uuid;

    use super::*;
    use crate::model::DepositId;

    const NOW: Millis = Millis(1_700_000_000_000);

    fn deposit(status: &str) -> Deposit {
        let status = DepositStatus::parse(status).expect("a status");
        let paid = status == DepositStatus::Paid;
        Deposit {
            id: DepositId(Uuid::from_u128(1)),
            user: UserId::from_u128(2),
            role: Role::Rider,
            amount: Piasters(15_050),
            currency: Currency::Egp,
            status,
            attempt: 1,
            session: None,
            page_url: None,
            gateway_order: paid.then(|| "order".to_owned()),
            transaction: paid.then(|| "TX-1".to_owned()),
            failure: None,
            expires_at: NOW,
            created_at: NOW,
            paid_at: paid.then_some(NOW),
        }
    }

    fn news(claim: Claim) -> News {
        News {
            claim,
            transaction: Some("TX-1".to_owned()),
            gateway_order: Some("order".to_owned()),
            amount: Some(Piasters(15_050)),
            currency: Some(Currency::Egp),
            merchant: None,
            method: Some("card".to_owned()),
            code: Some("51".to_owned()),
        }
    }

    #[track_caller]
    fn check(deposit: Option<Deposit>, news: &News, expected: &str) {
        let said = match judge(deposit.as_ref(), news, "MID-1-1") {
            Verdict::Pay => "pay".to_owned(),
            Verdict::Fail { code } => format!("fail {code}"),
            Verdict::Ignore(why) => format!("ignore {why}"),
            Verdict::Strange { why, amount: None } => format!("strange {why}"),
            Verdict::Strange { why, amount: Some(amount) } => format!("strange {why} {amount}"),
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn a_payment_makes_a_deposit_paid_once() {
        let paid = news(Claim::Paid);
        check(Some(deposit("pending")), &paid, "pay");
        check(Some(deposit("failed")), &paid, "pay");
        check(Some(deposit("expired")), &paid, "pay");
        check(Some(deposit("paid")), &paid, "ignore paid_already");
        let other = News { transaction: Some("TX-2".to_owned()), ..paid.clone() };
        check(Some(deposit("paid")), &other, "strange paid_twice 150.5");
        check(None, &paid, "strange unknown_order 150.5");
    }

    #[test]
    fn a_payment_without_a_name_is_known_by_its_order() {
        let looked_up = Deposit { transaction: None, ..deposit("paid") };
        check(Some(looked_up.clone()), &news(Claim::Paid), "ignore paid_already");
        let other = News { gateway_order: Some("other".to_owned()), ..news(Claim::Paid) };
        check(Some(looked_up), &other, "strange paid_twice 150.5");
        let nameless = News { transaction: None, ..news(Claim::Paid) };
        check(Some(deposit("paid")), &nameless, "ignore paid_already");
    }

    #[test]
    fn a_paid_deposit_never_goes_back() {
        check(Some(deposit("paid")), &news(Claim::Failed), "ignore paid_already");
        check(Some(deposit("paid")), &news(Claim::Nothing), "ignore nothing_booked");
        check(Some(deposit("paid")), &news(Claim::Returned), "strange returned_at_gateway");
        check(Some(deposit("paid")), &news(Claim::NotReturned), "ignore not_returned");
    }

    #[test]
    fn what_ended_strangely_waits_for_a_person() {
        let check = |status, failure: Option<&str>, expected| {
            let failure = failure.map(str::to_owned);
            let deposit = Deposit { failure, ..deposit(status) };
            assert_eq!(waits_for_person(&deposit), expected, "{deposit:?}");
        };
        for why in STRANGE {
            check("failed", Some(why), true);
            // It was begun anew under another name.
            check("pending", Some(why), false);
        }
        check("failed", Some("51"), false);
        check("failed", None, false);
        check("expired", Some("expired"), false);
        check("pending", None, false);
        check("paid", None, false);
    }

    #[test]
    fn a_failure_is_not_the_end() {
        check(Some(deposit("pending")), &news(Claim::Failed), "fail 51");
        check(Some(deposit("failed")), &news(Claim::Failed), "ignore failed_already");
        check(Some(deposit("expired")), &news(Claim::Failed), "ignore expired");
        check(None, &news(Claim::Failed), "ignore unknown_order");
    }

    #[test]
    fn what_was_not_asked_for_is_not_booked_as_a_deposit() {
        let pending = || Some(deposit("pending"));
        let paid = |change: fn(&mut News)| {
            let mut news = news(Claim::Paid);
            change(&mut news);
            news
        };
        let more = paid(|news| news.amount = Some(Piasters(1_505_000)));
        check(pending(), &more, "strange other_amount 15050");
        check(pending(), &paid(|news| news.amount = None), "strange other_amount");
        let negative = paid(|news| news.amount = Some(Piasters(-15_050)));
        check(pending(), &negative, "strange other_amount");
        check(pending(), &paid(|news| news.currency = None), "strange other_currency");
        let theirs = paid(|news| news.merchant = Some("MID-2-2".to_owned()));
        check(pending(), &theirs, "strange other_merchant");
        let ours = paid(|news| news.merchant = Some("MID-1-1".to_owned()));
        check(pending(), &ours, "pay");
    }

    #[test]
    fn a_deposit_is_looked_at_until_its_time_is_over() {
        let expires = NOW + Duration::from_secs(1800);
        let next = |after_s: u64| {
            let now = NOW + Duration::from_secs(after_s);
            next_look(NOW, expires, now).map(|at| at.since(NOW) / 1000)
        };
        assert_eq!(next(0), Some(60));
        assert_eq!(next(60), Some(120));
        assert_eq!(next(600), Some(900));
        assert_eq!(next(1500), Some(2100));
        // The last look is at the very end.
        assert_eq!(next(2400), Some(2700));
        assert_eq!(next(2700), None);
    }
}
