//! What people read.

use base::{Millis, PaymentMethod, Piasters};
use jiff::tz::TimeZone;

use crate::model::{EndedBy, Kind, Language, News, Receipt};
use crate::plan::{Urgency, rule};
use crate::speech::{Speech, for_sms};
use crate::texts::{Faces, text};

/// Longest SMS in Arabic: two parts of 67 characters.
const SMS_MAX: usize = 134;

fn at(text: &str) -> Millis {
    Millis::parse(text).unwrap()
}

fn faces() -> Faces {
    let text = |text: &str| Some(text.to_owned());
    Faces { driver: text("Ali"), car: text("white Lada 2107"), plate: text("س ص ع 123") }
}

fn paid(price: Piasters) -> Receipt {
    Receipt {
        price,
        promo: Piasters::ZERO,
        rounding: Piasters::ZERO,
        distance_m: 12_345,
        method: PaymentMethod::Cash,
        at: at("2026-12-03T19:05:00Z"),
    }
}

fn all() -> Vec<News> {
    let (price, day) = (Piasters(4250), at("2026-12-03T19:05:00Z"));
    vec![
        News::Offer { price, pickup_eta_s: 170, standby: false },
        News::Offer { price, pickup_eta_s: 170, standby: true },
        News::TripBooked { at: day },
        News::TripSoon { at: day },
        News::ConfirmTrip { at: day, by: day },
        News::TripAccepted,
        News::TripArrived,
        News::TripStarted,
        News::TripCompleted { price },
        News::TripCancelled { by: EndedBy::Driver, fee: Piasters(1500) },
        News::TripCancelled { by: EndedBy::Rider, fee: Piasters::ZERO },
        News::TripCancelled { by: EndedBy::Company, fee: Piasters::ZERO },
        News::TripDriverCancelled,
        News::TripTakenBack,
        News::TripBidOff,
        News::BidWon { price },
        News::TripNoDrivers,
        News::Receipt(paid(price)),
        News::PaymentSucceeded { amount: price },
        News::PaymentFailed { amount: price },
        News::Tip { amount: price },
        News::DebtLimit { owed: price, limit: Piasters(20_000) },
        News::ChangeCredited { amount: price },
        News::CashOwed { amount: price },
        News::PromoGranted { amount: price, until: day },
        News::Refunded { amount: price },
        News::DisputeResolved,
        News::WithdrawalApproved { amount: price },
        News::WithdrawalPaid { amount: price },
        News::WithdrawalArrived { amount: price },
        News::WithdrawalFailed { amount: price },
        News::WithdrawalRejected { amount: price },
        News::DocumentExpiring { document: "insurance".to_owned(), at: day },
        News::Statement { from: Millis(0), to: day, trips: 3, earned: price },
        News::AccountHeld,
        News::AccountReleased,
    ]
}

/// Body without isolates, which `isolates_are_paired_and_whole` looks at.
fn say(news: &News, faces: &Faces, language: Language) -> (String, String) {
    let zone = TimeZone::get("Africa/Cairo").unwrap();
    let speech = Speech { language, zone: &zone };
    let text = text(news, faces, &speech, at("2026-12-01T10:00:00Z"));
    let bare = text.body.chars().filter(|c| !('\u{2068}'..='\u{2069}').contains(c));
    (text.title.clone(), bare.collect())
}

#[test]
fn news_reads_well_in_both_languages() {
    let check = |news: News, english: &str, arabic: &str| {
        assert_eq!(say(&news, &faces(), Language::En).1, english);
        assert_eq!(say(&news, &faces(), Language::Ar).1, arabic);
    };
    check(
        News::TripAccepted,
        "Ali comes in a white Lada 2107, plate س ص ع 123.",
        "السائق Ali قادم بسيارة white Lada 2107، لوحة س ص ع 123.",
    );
    check(
        News::TripArrived,
        "Ali waits at the pickup, plate س ص ع 123.",
        "السائق Ali ينتظرك عند نقطة الالتقاء، لوحة س ص ع 123.",
    );
    check(
        News::TripCancelled { by: EndedBy::Driver, fee: Piasters(1550) },
        "Your driver waited for you and ended the trip. The cancellation fee is EGP 15.50.",
        "انتظرك السائق ثم أنهى الرحلة. رسوم الإلغاء ١٥٫٥٠ ج.م.",
    );
    check(
        News::Offer { price: Piasters(4200), pickup_eta_s: 61, standby: false },
        "EGP 42, pickup 2 minutes away.",
        "٤٢ ج.م، نقطة الالتقاء بعد دقيقتين.",
    );
    check(
        News::Offer { price: Piasters(4200), pickup_eta_s: 61, standby: true },
        "EGP 42, pickup 2 minutes away. You are asked first if its driver does not come.",
        "٤٢ ج.م، نقطة الالتقاء بعد دقيقتين. ستُعرض عليك أولًا إذا لم يحضر سائقها.",
    );
    check(
        News::TripTakenBack,
        "Another driver gets it: he is nearer, or you did not confirm or could not be reached.",
        "ستذهب الرحلة إلى سائق آخر: إمّا لأنه أقرب، أو لأنك لم تؤكّد حضورك أو تعذّر الوصول إليك.",
    );
    check(
        News::Receipt(paid(Piasters(4250))),
        "EGP 42.50 in cash for 12.3 km on 3 December 2026 at 9:05 PM.",
        "٤٢٫٥٠ ج.م نقدًا عن ١٢٫٣ كم يوم ٣ ديسمبر ٢٠٢٦ الساعة ٩:٠٥ م.",
    );
    let promo = Receipt { promo: Piasters(1010), rounding: Piasters(10), ..paid(Piasters(4250)) };
    check(
        News::Receipt(promo),
        "EGP 32.50 in cash for 12.3 km on 3 December 2026 at 9:05 PM. \
         The fare was EGP 42.50, promo -EGP 10.10, rounded by EGP 0.10.",
        "٣٢٫٥٠ ج.م نقدًا عن ١٢٫٣ كم يوم ٣ ديسمبر ٢٠٢٦ الساعة ٩:٠٥ م. \
         قيمة الرحلة ٤٢٫٥٠ ج.م، الخصم -١٠٫١٠ ج.م، التقريب ٠٫١٠ ج.م.",
    );
    check(
        News::Tip { amount: Piasters(1000) },
        "Your rider thanks you with EGP 10.",
        "يشكرك الراكب بمبلغ ١٠ ج.م.",
    );
    let document = |at| News::DocumentExpiring { document: "driving_licence".to_owned(), at };
    check(
        document(at("2026-12-12T10:00:00Z")),
        "Your driving licence runs out in 11 days, on 12 December 2026.",
        "تنتهي رخصة قيادتك خلال ١١ يومًا، في ١٢ ديسمبر ٢٠٢٦.",
    );
    check(
        document(at("2026-12-01T12:00:00Z")),
        "Your driving licence runs out today.",
        "تنتهي رخصة قيادتك اليوم.",
    );
}

#[test]
fn news_of_trips_ahead_names_their_time() {
    let check = |news: News, english: &str, arabic: &str| {
        assert_eq!(say(&news, &faces(), Language::En).1, english);
        assert_eq!(say(&news, &faces(), Language::Ar).1, arabic);
    };
    let pickup = at("2026-12-03T19:05:00Z");
    check(
        News::TripBooked { at: pickup },
        "We look for a driver shortly before your pickup on 3 December 2026 at 9:05 PM.",
        "سنبحث لك عن سائق قبيل موعدك يوم ٣ ديسمبر ٢٠٢٦ الساعة ٩:٠٥ م.",
    );
    check(
        News::TripSoon { at: pickup },
        "Your pickup is at 9:05 PM. We are looking for your driver.",
        "موعد رحلتك الساعة ٩:٠٥ م. نبحث لك عن سائق الآن.",
    );
    check(
        News::ConfirmTrip { at: pickup, by: at("2026-12-03T19:00:00Z") },
        "Confirm your pickup at 9:05 PM until 9:00 PM, or another driver gets it.",
        "أكّد حضورك لرحلة الساعة ٩:٠٥ م قبل ٩:٠٠ م، وإلا ذهبت إلى سائق آخر.",
    );
}

#[test]
fn news_without_a_known_driver_names_nobody() {
    let (title, body) = say(&News::TripArrived, &Faces::default(), Language::En);
    assert_eq!(
        (title.as_str(), body.as_str()),
        ("Your driver is here", "Your driver waits at the pickup.")
    );
}

#[test]
fn isolates_are_paired_and_whole() {
    let zone = TimeZone::get("Africa/Cairo").unwrap();
    let nasty = Faces { driver: Some("\u{2069}\u{202e}evil".to_owned()), ..faces() };
    for (news, language) in
        all().iter().flat_map(|news| Language::ALL.iter().map(move |l| (news, *l)))
    {
        let speech = Speech { language, zone: &zone };
        let body = text(news, &nasty, &speech, Millis(0)).body;
        let mut depth = 0;
        for c in body.chars() {
            match c {
                '\u{2068}' => depth += 1,
                '\u{2069}' => depth -= 1,
                // Whatever was inserted stands inside: outside there is one script only.
                'a'..='z' | 'A'..='Z' if language == Language::Ar => assert!(depth > 0, "{body}"),
                '٠'..='٩' => assert!(depth > 0, "{body}"),
                '\u{202a}'..='\u{202e}' => panic!("{body}"),
                _ => {}
            }
            assert!((0..=2).contains(&depth), "{body}");
        }
        assert_eq!(depth, 0, "{body}");
    }
}

#[test]
fn an_sms_fits_two_parts() {
    let zone = TimeZone::get("Africa/Cairo").unwrap();
    let critical = |news: &&News| rule(news.kind()).urgency == Urgency::Critical;
    let all = all();
    for (news, language) in
        all.iter().filter(critical).flat_map(|news| Language::ALL.iter().map(move |l| (news, *l)))
    {
        let speech = Speech { language, zone: &zone };
        let sms = for_sms(&text(news, &faces(), &speech, Millis(0)).body);
        let length = sms.encode_utf16().count();
        assert!(length <= SMS_MAX, "{length}: {sms}");
    }
}

#[test]
fn every_kind_has_news_and_survives_the_database() {
    let kinds: Vec<Kind> = all().iter().map(News::kind).collect();
    for kind in Kind::ALL {
        assert!(kinds.contains(kind), "{kind} has no text under test");
    }
    for news in all() {
        // As jsonb keeps it: the keys in another order.
        let json = serde_json::to_value(&news).unwrap();
        assert_eq!(json["kind"], news.kind().name());
        assert_eq!(serde_json::from_value::<News>(json).unwrap(), news);
    }
}
