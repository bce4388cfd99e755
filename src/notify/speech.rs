//! How numbers, money, time and names stand in a text, per language.
//!
//! Guarantees:
//! - whatever is inserted is isolated (FSI … PDI, Unicode bidirectional algorithm), so that a Latin
//!   plate in an Arabic sentence doesn't turn it around;  (test: `what_is_inserted_is_isolated`)
//! - a counted thing has its language's plural form, by CLDR's rules.

use base::{Millis, Piasters};
use icu_locale_core::locale;
use icu_plurals::{PluralCategory, PluralRules};
use jiff::Zoned;
use jiff::tz::TimeZone;

use crate::model::Language;

const FSI: char = '\u{2068}';
const PDI: char = '\u{2069}';

/// The six forms that CLDR knows; English has `one` and `other`. `{}` stands for the number.
pub(crate) struct Forms {
    zero: &'static str,
    one: &'static str,
    two: &'static str,
    few: &'static str,
    many: &'static str,
    other: &'static str,
}

/// Things that are counted in texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    Minutes,
    Days,
    Trips,
}

const fn english(one: &'static str, other: &'static str) -> Forms {
    Forms { zero: other, one, two: other, few: other, many: other, other }
}

const fn forms(language: Language, what: Counted) -> Forms {
    match (language, what) {
        (Language::En, Counted::Minutes) => english("{} minute", "{} minutes"),
        (Language::En, Counted::Days) => english("{} day", "{} days"),
        (Language::En, Counted::Trips) => english("{} trip", "{} trips"),
        (Language::Ar, Counted::Minutes) => Forms {
            zero: "أقل من دقيقة",
            one: "دقيقة واحدة",
            two: "دقيقتين",
            few: "{} دقائق",
            many: "{} دقيقة",
            other: "{} دقيقة",
        },
        (Language::Ar, Counted::Days) => Forms {
            zero: "أقل من يوم",
            one: "يوم واحد",
            two: "يومين",
            few: "{} أيام",
            many: "{} يومًا",
            other: "{} يوم",
        },
        (Language::Ar, Counted::Trips) => Forms {
            zero: "لا رحلات",
            one: "رحلة واحدة",
            two: "رحلتان",
            few: "{} رحلات",
            many: "{} رحلة",
            other: "{} رحلة",
        },
    }
}

/// One language, on the clock of one city.
pub(crate) struct Speech<'a> {
    pub language: Language,
    pub zone: &'a TimeZone,
}

/// `text` so that its own direction leaves what is around it alone. Marks that would end the
/// isolation are not taken from outside.
pub(crate) fn isolated(text: &str) -> String {
    let is_mark = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let clean: String = text.chars().filter(|c| !is_mark(*c)).collect();
    format!("{FSI}{clean}{PDI}")
}

/// For SMS: without the isolates where everything is plain ASCII. They would force an encoding in
/// which a message holds 70 characters in place of 160.
pub(crate) fn for_sms(text: &str) -> String {
    let bare: String = text.chars().filter(|c| *c != FSI && *c != PDI).collect();
    if bare.is_ascii() { bare } else { text.to_owned() }
}

impl Speech<'_> {
    /// `12 minutes`, `١٢ دقيقة`.
    pub(crate) fn count(&self, number: u32, what: Counted) -> String {
        // Compiled in, so that making the rules is looking them up.
        let rules = PluralRules::try_new_cardinal(match self.language {
            Language::Ar => locale!("ar").into(),
            Language::En => locale!("en").into(),
        });
        let forms = forms(self.language, what);
        let form = match rules.map_or(PluralCategory::Other, |rules| rules.category_for(number)) {
            PluralCategory::Zero => forms.zero,
            PluralCategory::One => forms.one,
            PluralCategory::Two => forms.two,
            PluralCategory::Few => forms.few,
            PluralCategory::Many => forms.many,
            PluralCategory::Other => forms.other,
        };
        form.replace("{}", &isolated(&self.digits(&number.to_string())))
    }

    /// `EGP 1,042.50`, `١٬٠٤٢٫٥٠ ج.م`; whole pounds without decimals.
    pub(crate) fn money(&self, amount: Piasters) -> String {
        let (pounds, rest) = (amount.abs().0 / 100, amount.abs().0 % 100);
        let sign = if amount.is_negative() { "-" } else { "" };
        let part = if rest == 0 { String::new() } else { format!(".{rest:02}") };
        let number = self.digits(&format!("{}{part}", grouped(pounds)));
        match self.language {
            Language::En => isolated(&format!("{sign}EGP {number}")),
            Language::Ar => isolated(&format!("{sign}{number} ج.م")),
        }
    }

    /// `12.3 km`, `١٢٫٣ كم`.
    pub(crate) fn kilometres(&self, metres: u32) -> String {
        let tenths = (u64::from(metres) + 50) / 100;
        let number = self.digits(&format!("{}.{}", tenths / 10, tenths % 10));
        match self.language {
            Language::En => isolated(&format!("{number} km")),
            Language::Ar => isolated(&format!("{number} كم")),
        }
    }

    /// `3 December 2026`, `٣ ديسمبر ٢٠٢٦`.
    pub(crate) fn date(&self, at: Millis) -> String {
        let Some(local) = self.local(at) else { return String::new() };
        let month = usize::try_from(local.month() - 1).unwrap_or(0).min(11);
        let month = match self.language {
            Language::En => ENGLISH_MONTHS[month],
            Language::Ar => ARABIC_MONTHS[month],
        };
        let (day, year) = (local.day().to_string(), local.year().to_string());
        isolated(&format!("{} {month} {}", self.digits(&day), self.digits(&year)))
    }

    /// `9:05 PM`, `٩:٠٥ م`.
    pub(crate) fn time(&self, at: Millis) -> String {
        let Some(local) = self.local(at) else { return String::new() };
        let hour = (local.hour() + 11) % 12 + 1;
        let half = match (self.language, local.hour() < 12) {
            (Language::En, true) => "AM",
            (Language::En, false) => "PM",
            (Language::Ar, true) => "ص",
            (Language::Ar, false) => "م",
        };
        isolated(&format!("{} {half}", self.digits(&format!("{hour}:{:02}", local.minute()))))
    }

    /// Days from `now` to `at` on the city's calendar; 0 for today and before.
    pub(crate) fn days_until(&self, at: Millis, now: Millis) -> u32 {
        let dates = self.local(now).zip(self.local(at));
        let days = dates.and_then(|(now, at)| now.date().until(at.date()).ok());
        days.map_or(0, |span| u32::try_from(span.get_days()).unwrap_or(0))
    }

    fn local(&self, at: Millis) -> Option<Zoned> {
        Some(at.timestamp()?.to_zoned(self.zone.clone()))
    }

    /// ASCII digits and separators in the language's own.
    fn digits(&self, text: &str) -> String {
        match self.language {
            Language::En => text.to_owned(),
            Language::Ar => text.chars().map(eastern).collect(),
        }
    }
}

fn eastern(c: char) -> char {
    match c {
        '0'..='9' => char::from_u32(u32::from(c) - u32::from('0') + u32::from('٠')).unwrap_or(c),
        '.' => '\u{66b}',
        ',' => '\u{66c}',
        other => other,
    }
}

/// `1042` as `1,042`.
fn grouped(number: i64) -> String {
    let plain = number.to_string();
    let mut out = String::new();
    for (place, digit) in plain.chars().enumerate() {
        if place > 0 && (plain.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

const ENGLISH_MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// As they are called in Egypt.
const ARABIC_MONTHS: [&str; 12] = [
    "يناير",
    "فبراير",
    "مارس",
    "أبريل",
    "مايو",
    "يونيو",
    "يوليو",
    "أغسطس",
    "سبتمبر",
    "أكتوبر",
    "نوفمبر",
    "ديسمبر",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The text without isolates, and a claim that they are paired.
    fn bare(text: &str) -> String {
        let (open, close) = (text.matches(FSI).count(), text.matches(PDI).count());
        assert_eq!(open, close, "{text}");
        text.chars().filter(|c| *c != FSI && *c != PDI).collect()
    }

    fn cairo() -> TimeZone {
        TimeZone::get("Africa/Cairo").unwrap()
    }

    #[test]
    fn a_counted_thing_has_its_plural_form() {
        let zone = cairo();
        let check = |language, what, table: &[(u32, &str)]| {
            let speech = Speech { language, zone: &zone };
            for (number, expected) in table {
                assert_eq!(bare(&speech.count(*number, what)), *expected, "{number}");
            }
        };
        check(
            Language::Ar,
            Counted::Minutes,
            &[
                (0, "أقل من دقيقة"),
                (1, "دقيقة واحدة"),
                (2, "دقيقتين"),
                (3, "٣ دقائق"),
                (10, "١٠ دقائق"),
                (11, "١١ دقيقة"),
                (99, "٩٩ دقيقة"),
                (100, "١٠٠ دقيقة"),
                (102, "١٠٢ دقيقة"),
                (103, "١٠٣ دقائق"),
                (111, "١١١ دقيقة"),
            ],
        );
        check(
            Language::Ar,
            Counted::Days,
            &[(1, "يوم واحد"), (2, "يومين"), (7, "٧ أيام"), (14, "١٤ يومًا"), (100, "١٠٠ يوم")],
        );
        check(
            Language::Ar,
            Counted::Trips,
            &[(0, "لا رحلات"), (2, "رحلتان"), (5, "٥ رحلات"), (42, "٤٢ رحلة")],
        );
        check(
            Language::En,
            Counted::Minutes,
            &[(0, "0 minutes"), (1, "1 minute"), (2, "2 minutes"), (21, "21 minutes")],
        );
    }

    #[test]
    fn money_is_written_as_the_language_does() {
        let zone = cairo();
        let check = |piasters: i64, english: &str, arabic: &str| {
            let say = |language| bare(&Speech { language, zone: &zone }.money(Piasters(piasters)));
            assert_eq!(say(Language::En), english);
            assert_eq!(say(Language::Ar), arabic);
        };
        check(4250, "EGP 42.50", "٤٢٫٥٠ ج.م");
        check(4200, "EGP 42", "٤٢ ج.م");
        check(7, "EGP 0.07", "٠٫٠٧ ج.م");
        check(123_456_789, "EGP 1,234,567.89", "١٬٢٣٤٬٥٦٧٫٨٩ ج.م");
        check(-1500, "-EGP 15", "-١٥ ج.م");
    }

    #[test]
    fn time_is_that_of_the_city() {
        let zone = cairo();
        let check = |at: &str, english: &str, arabic: &str| {
            let at = Millis::parse(at).unwrap();
            let say = |language| {
                let speech = Speech { language, zone: &zone };
                bare(&format!("{}, {}", speech.date(at), speech.time(at)))
            };
            assert_eq!(say(Language::En), english);
            assert_eq!(say(Language::Ar), arabic);
        };
        check("2026-12-03T19:05:00Z", "3 December 2026, 9:05 PM", "٣ ديسمبر ٢٠٢٦, ٩:٠٥ م");
        // Summer time: three hours ahead, and already the next day.
        check("2026-06-30T21:00:00Z", "1 July 2026, 12:00 AM", "١ يوليو ٢٠٢٦, ١٢:٠٠ ص");
    }

    #[test]
    fn days_are_counted_on_the_calendar() {
        let zone = cairo();
        let speech = Speech { language: Language::En, zone: &zone };
        let now = Millis::parse("2026-12-01T21:30:00Z").unwrap();
        let check = |at: &str, days: u32| {
            assert_eq!(speech.days_until(Millis::parse(at).unwrap(), now), days, "{at}");
        };
        check("2026-12-01T21:59:00Z", 0);
        check("2026-12-01T22:01:00Z", 1);
        check("2027-01-31T10:00:00Z", 61);
        check("2026-11-01T10:00:00Z", 0);
    }

    #[test]
    fn what_is_inserted_is_isolated() {
        assert_eq!(isolated("ABC ١٢٣"), "\u{2068}ABC ١٢٣\u{2069}");
        // A name can't break out of its isolation, nor turn the rest around.
        assert_eq!(isolated("\u{202e}evil\u{2069}\u{2066}"), "\u{2068}evil\u{2069}");
        let zone = cairo();
        let speech = Speech { language: Language::Ar, zone: &zone };
        for text in [speech.money(Piasters(1)), speech.kilometres(1), speech.date(Millis(0))] {
            assert!(text.starts_with(FSI) && text.ends_with(PDI), "{text}");
        }
    }

    #[test]
    fn a_plain_sms_pays_for_no_marks() {
        assert_eq!(for_sms("Plate \u{2068}ABC 12\u{2069}."), "Plate ABC 12.");
        let arabic = "لوحة \u{2068}ABC\u{2069}";
        assert_eq!(for_sms(arabic), arabic);
    }
}
