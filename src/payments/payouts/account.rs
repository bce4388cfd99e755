//! Where a payout goes: parsed once, shown with its last characters only.

use std::fmt;

use identity::Phone;

base::words! {
    /// A way of paying out.
    PayoutMethod {
        /// To a bank account, by its IBAN.
        Bank = "bank",
        /// To a mobile wallet, by its phone number.
        Wallet = "wallet",
        /// To an InstaPay address.
        Instapay = "instapay",
    }
}

/// An account that can be paid to. `Debug` and `Display` show its end only.
#[derive(Clone, PartialEq, Eq)]
pub struct PayoutAccount {
    method: PayoutMethod,
    number: String,
}

/// The text is no account of the method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAccount {
    #[error("must be an Egyptian IBAN: EG and 27 digits")]
    Iban,
    #[error("must be an IBAN whose check digits are right")]
    CheckDigits,
    #[error("must be an Egyptian mobile number, like +201012345678")]
    Phone,
    #[error("must be an InstaPay address, like name@instapay")]
    Instapay,
}

/// Longest text that is looked at.
const TEXT_MAX: usize = 100;
/// Country, check digits, bank, branch, account: Egypt's form.
const IBAN_LENGTH: usize = 29;
const INSTAPAY: &str = "@instapay";
/// Characters of a masked account that are shown.
const SHOWN: usize = 4;

impl PayoutAccount {
    /// Reads what a person wrote, blanks and case aside.
    pub fn parse(method: PayoutMethod, text: &str) -> Result<Self, NotAnAccount> {
        let number = match method {
            PayoutMethod::Bank => iban(text)?,
            PayoutMethod::Wallet => {
                let phone = Phone::parse(text).map_err(|_| NotAnAccount::Phone)?;
                phone.as_str().to_owned()
            }
            PayoutMethod::Instapay => instapay(text)?,
        };
        Ok(Self { method, number })
    }

    /// One that was parsed before it was stored.
    pub(crate) const fn stored(method: PayoutMethod, number: String) -> Self {
        Self { method, number }
    }

    pub const fn method(&self) -> PayoutMethod {
        self.method
    }

    /// All of it: for the provider, and for whoever pays by hand.
    pub fn number(&self) -> &str {
        &self.number
    }

    /// What may be shown and logged.
    pub fn masked(&self) -> String {
        let shown = match self.method {
            PayoutMethod::Bank | PayoutMethod::Wallet => self.number.len() - SHOWN,
            // The end is the same for all.
            PayoutMethod::Instapay => return format!("{}…{INSTAPAY}", &self.number[..1]),
        };
        format!("…{}", &self.number[shown..])
    }
}

impl fmt::Debug for PayoutAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.masked())
    }
}

fn iban(text: &str) -> Result<String, NotAnAccount> {
    if text.len() > TEXT_MAX {
        return Err(NotAnAccount::Iban);
    }
    let plain: String = text.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
    let plain = plain.to_ascii_uppercase();
    let digits = plain.strip_prefix("EG").ok_or(NotAnAccount::Iban)?;
    if plain.len() != IBAN_LENGTH || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NotAnAccount::Iban);
    }
    // ISO 7064: country and check digits go to the end, letters become numbers (E 14, G 16), and
    // the whole leaves 1 when divided by 97.
    let (check, account) = digits.split_at(2);
    let moved = account.bytes().chain(*b"1416").chain(check.bytes());
    let rest = moved.fold(0, |rest, digit| (rest * 10 + u32::from(digit - b'0')) % 97);
    if rest == 1 { Ok(plain) } else { Err(NotAnAccount::CheckDigits) }
}

fn instapay(text: &str) -> Result<String, NotAnAccount> {
    let plain = text.trim().to_ascii_lowercase();
    let name = plain.strip_suffix(INSTAPAY).ok_or(NotAnAccount::Instapay)?;
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    if (3..=64).contains(&name.len()) && name.bytes().all(is_plain) {
        Ok(plain)
    } else {
        Err(NotAnAccount::Instapay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: PayoutMethod, text: &str, expected: Result<&str, NotAnAccount>) {
        let found = PayoutAccount::parse(method, text).map(|account| account.number);
        assert_eq!(found.as_deref().map_err(|e| *e), expected, "{text}");
    }

    #[test]
    fn an_iban_is_egyptian_and_its_check_digits_are_right() {
        use NotAnAccount::{CheckDigits, Iban};
        let good = "EG380019000500000000263180002";
        let check = |text: &str, expected| check(PayoutMethod::Bank, text, expected);
        check(good, Ok(good));
        check("eg38 0019 0005 0000 0000 2631 8000 2", Ok(good));
        check("EG380019000500000000263180003", Err(CheckDigits));
        check("EG830019000500000000263180002", Err(CheckDigits));
        // Two neighbours in the wrong order.
        check("EG380019000500000000236180002", Err(CheckDigits));
        check("EG38001900050000000026318000", Err(Iban));
        check("EG3800190005000000002631800022", Err(Iban));
        check("DE89370400440532013000", Err(Iban));
        check("EG38001900050000000026318000X", Err(Iban));
        check("EG٣٨0019000500000000263180002", Err(Iban));
        check("", Err(Iban));
        check(&"0".repeat(10_000), Err(Iban));
    }

    #[test]
    fn a_mobile_wallet_is_a_mobile_number() {
        let check = |text: &str, expected| check(PayoutMethod::Wallet, text, expected);
        check("010 1234 5678", Ok("+201012345678"));
        check("+201512345678", Ok("+201512345678"));
        check("0233334444", Err(NotAnAccount::Phone));
        check("EG380019000500000000263180002", Err(NotAnAccount::Phone));
    }

    #[test]
    fn an_instapay_address_has_a_name() {
        let check = |text: &str, expected| check(PayoutMethod::Instapay, text, expected);
        check(" Mona.Said@InstaPay ", Ok("mona.said@instapay"));
        check("mo@instapay", Err(NotAnAccount::Instapay));
        check("mona@example.com", Err(NotAnAccount::Instapay));
        check("منى@instapay", Err(NotAnAccount::Instapay));
        check("a b c@instapay", Err(NotAnAccount::Instapay));
    }

    #[test]
    fn a_masked_account_shows_its_end_only() {
        let masked = |method, text| {
            let account = PayoutAccount::parse(method, text).expect("an account");
            assert!(!format!("{account:?}").contains(account.number()), "{account:?}");
            account.masked()
        };
        assert_eq!(masked(PayoutMethod::Bank, "EG380019000500000000263180002"), "…0002");
        assert_eq!(masked(PayoutMethod::Wallet, "01012345678"), "…5678");
        assert_eq!(masked(PayoutMethod::Instapay, "mona.said@instapay"), "m…@instapay");
    }
}
