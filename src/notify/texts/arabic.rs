//! Arabic texts.

use base::{Millis, PaymentMethod, Piasters};

use crate::model::{EndedBy, News, Receipt};
use crate::speech::{Counted, Speech, isolated};
use crate::texts::{Faces, Text};

pub(super) fn text(news: &News, faces: &Faces, speech: &Speech<'_>, now: Millis) -> Text {
    let money = |amount: &Piasters| speech.money(*amount);
    match news {
        News::Offer { price, pickup_eta_s, standby } => {
            let away = speech.count(pickup_eta_s.div_ceil(60), Counted::Minutes);
            let trip = format!("{}، نقطة الالتقاء بعد {away}.", money(price));
            match standby {
                false => Text::new("رحلة جديدة", trip),
                true => Text::new(
                    "هل تكون سائقًا احتياطيًا؟",
                    format!("{trip} ستُعرض عليك أولًا إذا لم يحضر سائقها."),
                ),
            }
        }
        News::TripBooked { at } => {
            let (date, time) = (speech.date(*at), speech.time(*at));
            let body = format!("سنبحث لك عن سائق قبيل موعدك يوم {date} الساعة {time}.");
            Text::new("تم حجز رحلتك", body)
        }
        News::TripSoon { at } => {
            let time = speech.time(*at);
            let body = format!("موعد رحلتك الساعة {time}. نبحث لك عن سائق الآن.");
            Text::new("اقترب موعد رحلتك", body)
        }
        News::ConfirmTrip { at, by } => {
            let (time, until) = (speech.time(*at), speech.time(*by));
            let body = format!("أكّد حضورك لرحلة الساعة {time} قبل {until}، وإلا ذهبت إلى سائق آخر.");
            Text::new("هل ما زلت قادمًا؟", body)
        }
        News::TripAccepted => accepted(faces),
        News::TripArrived => arrived(faces),
        News::TripStarted => Text::new("بدأت رحلتك", format!("{} يقود رحلتك الآن.", driver(faces))),
        News::TripCompleted { price } => {
            Text::new("وصلت إلى وجهتك", format!("قيمة الرحلة {}.", money(price)))
        }
        News::TripCancelled { by, fee } => cancelled(*by, *fee, speech),
        News::TripDriverCancelled => {
            Text::new("نبحث عن سائق آخر", "تعذّر على سائقك الحضور. نبحث لك عن سائق آخر بالسعر نفسه.")
        }
        News::TripTakenBack => Text::new(
            "لم تعد الرحلة لك",
            "ستذهب الرحلة إلى سائق آخر: إمّا لأنه أقرب، أو لأنك لم تؤكّد حضورك أو تعذّر الوصول إليك.",
        ),
        News::TripBidOff => Text::new(
            "نبحث عن سائق آخر",
            "تعذّر على سائقك الحضور، ولم يعد سعره قائمًا. نبحث لك عن سائق آخر.",
        ),
        News::BidWon { price } => {
            Text::new("الرحلة لك", format!("اختار الراكب سعرك: {}.", money(price)))
        }
        News::TripNoDrivers => {
            Text::new("لا يوجد سائق متاح", "كل السائقين القريبين مشغولون. حاول مرة أخرى بعد قليل.")
        }
        News::Receipt(paid) => receipt(paid, speech),
        News::PaymentSucceeded { amount } => {
            Text::new("تم استلام الدفعة", format!("استلمنا {}.", money(amount)))
        }
        News::PaymentFailed { amount } => {
            let body = format!("لم نتمكن من تحصيل {}. يُرجى الدفع من التطبيق.", money(amount));
            Text::new("تعذّر الدفع", body)
        }
        News::Tip { amount } => {
            Text::new("وصلتك إكرامية", format!("يشكرك الراكب بمبلغ {}.", money(amount)))
        }
        News::DebtLimit { owed, limit } => {
            let body = format!(
                "عليك {}، أي أكثر من {}. ادفع من المحفظة في التطبيق لتعود إليك الرحلات النقدية؛ \
                 أما باقي الرحلات فمستمرة.",
                money(owed),
                money(limit)
            );
            Text::new("الرحلات النقدية متوقفة مؤقتًا", body)
        }
        News::ChangeCredited { amount } => {
            let body = format!("دفعت {} أكثر من قيمة الرحلة. أضفناه إلى محفظتك.", money(amount));
            Text::new("باقي المبلغ", body)
        }
        News::CashOwed { amount } => {
            let body = format!(
                "استلم السائق أقل من قيمة الرحلة بمبلغ {}. يُرجى دفعه من التطبيق.",
                money(amount)
            );
            Text::new("جزء من قيمة الرحلة لم يُدفع", body)
        }
        News::PromoGranted { amount, until } => {
            let date = speech.date(*until);
            Text::new("هدية لك", format!("خصم {} على رحلاتك حتى {date}.", money(amount)))
        }
        News::Refunded { amount } => {
            Text::new("تم رد مبلغ إليك", format!("رددنا إليك {}.", money(amount)))
        }
        News::DisputeResolved => Text::new("شكواك", "راجعنا شكواك. تجد ردنا في التطبيق."),
        News::WithdrawalApproved { amount } => {
            Text::new("تمت الموافقة على السحب", format!("وافقنا على سحب {}.", money(amount)))
        }
        News::WithdrawalArrived { amount } => {
            Text::new("وصل السحب", format!("وصل إليك مبلغ {}.", money(amount)))
        }
        News::WithdrawalFailed { amount } => {
            let body = format!("تعذّر تحويل {}، وعاد المبلغ إلى رصيدك.", money(amount));
            Text::new("تعذّر السحب", body)
        }
        News::WithdrawalPaid { amount } => {
            Text::new("تم صرف السحب", format!("{} في الطريق إليك.", money(amount)))
        }
        News::WithdrawalRejected { amount } => {
            let body = format!("عاد مبلغ {} إلى رصيدك. السبب موضح في التطبيق.", money(amount));
            Text::new("رُفض طلب السحب", body)
        }
        News::DocumentExpiring { document, at } => expiring(document, *at, speech, now),
        News::Statement { from, to, trips, earned } => {
            let (from, to) = (speech.date(*from), speech.date(*to));
            let trips = speech.count(*trips, Counted::Trips);
            let body = format!("من {from} إلى {to}: {trips}، والأرباح {}.", money(earned));
            Text::new("كشف حسابك", body)
        }
        News::AccountHeld => Text::new(
            "نراجع حسابك الآن",
            "يبقى رصيد محفظتك محفوظًا حتى تنتهي المراجعة. تواصل مع الدعم للمساعدة.",
        ),
        News::AccountReleased => Text::new("عاد حسابك للعمل", "يمكنك استخدام رصيد محفظتك بالكامل."),
    }
}

fn driver(faces: &Faces) -> String {
    match &faces.driver {
        Some(name) => format!("السائق {}", isolated(name)),
        None => "سائقك".to_owned(),
    }
}

fn accepted(faces: &Faces) -> Text {
    let driver = driver(faces);
    let body = match faces.car() {
        Some((car, plate)) => format!("{driver} قادم بسيارة {car}، لوحة {plate}."),
        None => format!("{driver} في الطريق إليك."),
    };
    Text::new("سائقك في الطريق", body)
}

fn arrived(faces: &Faces) -> Text {
    let driver = driver(faces);
    let body = match faces.car() {
        Some((_, plate)) => format!("{driver} ينتظرك عند نقطة الالتقاء، لوحة {plate}."),
        None => format!("{driver} ينتظرك عند نقطة الالتقاء."),
    };
    Text::new("وصل سائقك", body)
}

fn cancelled(by: EndedBy, fee: Piasters, speech: &Speech<'_>) -> Text {
    let mut body = match by {
        EndedBy::Rider => "ألغى الراكب الرحلة.".to_owned(),
        EndedBy::Driver => "انتظرك السائق ثم أنهى الرحلة.".to_owned(),
        EndedBy::Company => "اضطررنا إلى إلغاء الرحلة.".to_owned(),
    };
    if fee > Piasters::ZERO {
        body += &format!(" رسوم الإلغاء {}.", speech.money(fee));
    }
    Text::new("أُلغيت الرحلة", body)
}

/// What was paid, and how the fare came to it where that is not the same.
fn receipt(paid: &Receipt, speech: &Speech<'_>) -> Text {
    let (way, distance) = (by(paid.method), speech.kilometres(paid.distance_m));
    let (date, time) = (speech.date(paid.at), speech.time(paid.at));
    let total = speech.money(paid.total());
    let mut body = format!("{total} {way} عن {distance} يوم {date} الساعة {time}.");
    if paid.total() != paid.price {
        body += &format!(" قيمة الرحلة {}", speech.money(paid.price));
        if paid.promo > Piasters::ZERO {
            body += &format!("، الخصم {}", speech.money(-paid.promo));
        }
        if paid.rounding != Piasters::ZERO {
            body += &format!("، التقريب {}", speech.money(paid.rounding));
        }
        body.push('.');
    }
    Text::new("إيصال رحلتك", body)
}

const fn by(method: PaymentMethod) -> &'static str {
    match method {
        PaymentMethod::Cash => "نقدًا",
        PaymentMethod::Wallet => "من محفظتك",
        PaymentMethod::Card => "بالبطاقة",
    }
}

fn expiring(document: &str, at: Millis, speech: &Speech<'_>, now: Millis) -> Text {
    let paper = match document {
        "driving_licence" => "رخصة قيادتك",
        "vehicle_licence" => "رخصة سيارتك",
        "insurance" => "وثيقة تأمينك",
        _ => "إحدى وثائقك",
    };
    let days = speech.days_until(at, now);
    let body = match days {
        0 => format!("تنتهي {paper} اليوم."),
        _ => {
            let (days, date) = (speech.count(days, Counted::Days), speech.date(at));
            format!("تنتهي {paper} خلال {days}، في {date}.")
        }
    };
    Text::new("وثيقة على وشك الانتهاء", body)
}
