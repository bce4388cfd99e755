//! What the gateway captured on a business day, for comparing with our own.

use base::{BusinessDay, Piasters};
use uuid::Uuid;

use crate::Payments;
use crate::apply::capture_of;
use crate::kashier::{CallFailed, Currency, ListFailed, Listed, Standing};
use crate::model::{name_of, read_name};

/// Money that was taken, as the gateway lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    pub transaction: String,
    /// The deposit or the authorisation that its order names, where it is one of ours.
    pub of: Option<Uuid>,
    /// The ledger's name of it, should it be in suspense.
    pub kept_as: Uuid,
    /// `None` for one that could not have been asked for.
    pub amount: Option<Piasters>,
}

impl Payments {
    /// The captures of a day; `None` where there is no gateway.
    pub async fn captures(&self, day: BusinessDay) -> Result<Option<Vec<Capture>>, ListFailed> {
        let Ok(gateway) = self.gateway() else { return Ok(None) };
        let listed = gateway.transactions(day).await?;
        Ok(Some(listed.into_iter().filter(is_capture).map(capture).collect()))
    }

    /// Did the gateway take money for a deposit (`dep`) or an authorisation (`card`), under any of
    /// the names that it had?
    pub async fn was_captured(
        &self,
        kind: &str,
        id: Uuid,
        attempts: i16,
    ) -> Result<bool, CallFailed> {
        let Ok(gateway) = self.gateway() else { return Ok(false) };
        for attempt in (1..=attempts).rev() {
            let reference = name_of(kind, id, attempt);
            let found = gateway.look_up(&reference, None).await?.map(|found| found.standing);
            // What went back had been captured.
            if let Some(Standing::Paid | Standing::Returned | Standing::Returning) = found {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Holds that were not captured, refunds and failed tries took nothing.
fn is_capture(row: &Listed) -> bool {
    let operation = row.operation.as_deref().unwrap_or("pay");
    let took = ["pay", "capture"].iter().any(|word| operation.eq_ignore_ascii_case(word));
    took && ["SUCCESS", "CAPTURED"].iter().any(|word| row.status.eq_ignore_ascii_case(word))
}

fn capture(row: Listed) -> Capture {
    let order = row.order.as_deref();
    let named = order.and_then(|name| read_name("dep", name).or_else(|| read_name("card", name)));
    Capture {
        kept_as: capture_of(&row.transaction),
        of: named.map(|(id, _)| id),
        // Of another currency it is no amount of ours.
        amount: row.amount.filter(|_| row.currency == Some(Currency::Egp)),
        transaction: row.transaction,
    }
}

#[cfg(test)]
mod tests {
    use base::Millis;

    use super::*;

    #[test]
    fn only_money_that_was_taken_is_a_capture() {
        let check = |operation: Option<&str>, status: &str, expected: bool| {
            let row = Listed {
                transaction: "TX".to_owned(),
                order: None,
                operation: operation.map(str::to_owned),
                status: status.to_owned(),
                amount: None,
                currency: None,
                at: Millis(0),
            };
            assert_eq!(is_capture(&row), expected, "{operation:?} {status}");
        };
        check(Some("pay"), "SUCCESS", true);
        check(Some("PAY"), "success", true);
        check(Some("capture"), "CAPTURED", true);
        check(None, "SUCCESS", true);
        check(Some("authorize"), "SUCCESS", false);
        check(Some("refund"), "SUCCESS", false);
        check(Some("void"), "SUCCESS", false);
        check(Some("pay"), "FAILED", false);
        check(Some("pay"), "PENDING", false);
    }

    #[test]
    fn a_capture_of_another_currency_has_no_amount() {
        let row = Listed {
            transaction: "TX".to_owned(),
            order: Some("dep-0190b8a000007000800000000000dead-2".to_owned()),
            operation: None,
            status: "SUCCESS".to_owned(),
            amount: Some(Piasters(500)),
            currency: None,
            at: Millis(0),
        };
        let read = capture(row.clone());
        let id = Uuid::from_u128(0x0190_b8a0_0000_7000_8000_0000_0000_dead);
        assert_eq!((read.amount, read.of), (None, Some(id)));
        let card = "card-0190b8a000007000800000000000dead-1".to_owned();
        assert_eq!(capture(Listed { order: Some(card), ..row.clone() }).of, Some(id));
        let ours = capture(Listed { currency: Some(Currency::Egp), ..row });
        assert_eq!(ours.amount, Some(Piasters(500)));
    }
}
