//! Egyptian mobile numbers: read in every form people write them, kept in E.164.

use std::fmt;

/// A mobile number, `+20` then 10, 11, 12 or 15 and eight digits. `Debug` shows its end only.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Phone(String);

/// The text is no Egyptian mobile number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an Egyptian mobile number, like +201012345678")]
pub struct NotAMobile;

/// Longest text that is looked at: a number with separators and marks fits many times.
const TEXT_MAX: usize = 64;
/// What may stand before the ten national digits: `0020 010…` and its like is common in the wild.
const PREFIXES: [&str; 8] = ["", "0", "20", "200", "+20", "+200", "0020", "00200"];

impl Phone {
    /// Reads `01…`, `1…`, `+20…`, `0020…` with blanks, dashes and Arabic-Indic or Persian digits.
    pub fn parse(text: &str) -> Result<Self, NotAMobile> {
        if text.len() > TEXT_MAX {
            return Err(NotAMobile);
        }
        let clean: String = text.chars().filter(|c| !is_separator(*c)).map(to_ascii).collect();
        let split = clean.len().checked_sub(10).ok_or(NotAMobile)?;
        let (prefix, national) = clean.split_at_checked(split).ok_or(NotAMobile)?;
        let digits = national.as_bytes();
        let is_mobile = digits[0] == b'1' && matches!(digits[1], b'0' | b'1' | b'2' | b'5');
        if !is_mobile || !digits.iter().all(u8::is_ascii_digit) || !PREFIXES.contains(&prefix) {
            return Err(NotAMobile);
        }
        Ok(Self(format!("+20{national}")))
    }

    /// E.164.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn to_ascii(c: char) -> char {
    let zero = match c {
        '٠'..='٩' => '٠',
        '۰'..='۹' => '۰',
        other => return other,
    };
    char::from_digit(u32::from(c) - u32::from(zero), 10).unwrap_or(c)
}

/// Blanks, dashes, brackets and the direction marks that phones paste around numbers.
fn is_separator(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '-' | '–' | '(' | ')' | '.' | '/')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+20…{}", &self.0[self.0.len() - 2..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mobile_number_is_read_in_every_form_people_write_it() {
        let check = |text: &str| {
            let phone = Phone::parse(text);
            assert_eq!(phone.as_ref().map(Phone::as_str), Ok("+201012345678"), "{text}");
        };
        check("01012345678");
        check("1012345678");
        check("+201012345678");
        check("+20 010 1234 5678");
        check("0020-10-1234-5678");
        check("00200 1012345678");
        check("(010) 1234.5678");
        check("٠١٠١٢٣٤٥٦٧٨");
        check("۰۱۰۱۲۳۴۵۶۷۸");
        check("\u{202a}+20 10 12345678\u{202c}");
    }

    #[test]
    fn what_is_no_egyptian_mobile_is_refused() {
        let check = |text: &str| assert_eq!(Phone::parse(text), Err(NotAMobile), "{text}");
        check("");
        check("01312345678");
        check("01412345678");
        check("0223456789");
        check("0101234567");
        check("010123456789");
        check("+441012345678");
        check("+3 01012345678");
        check("010123x5678");
        check("ééééééé");
        check("'; DROP TABLE users; --");
        check(&"0".repeat(5000));
    }

    #[test]
    fn debug_hides_the_number() {
        let phone = Phone::parse("01012345678").expect("a mobile");
        assert_eq!(format!("{phone:?}"), "+20…78");
    }
}
