//! Decides whether a driver games dispatch: by positions that no phone in a car reports, or by
//! which offers he takes. Pure.
//!
//! A phone that stands still still wanders by metres, a car doesn't pass over a town, and nobody
//! drives a trip twice over the same millimetres. Which offers somebody takes is a matter of
//! chance, too: there it takes an interval, not a difference alone.
//!
//! Guarantees:
//! - each rule is met at its threshold and not below it;   (tests: `positions`, `answers`)
//! - an honest driver is hardly ever found.   (test: `an_honest_driver_is_hardly_ever_found`)

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base::{Millis, Piasters, Point, TripId};
use serde_json::{Value, json};

use crate::model::{Action, Rule, Signal};
use crate::rules::step;
use crate::thresholds::{Threshold, Thresholds};

/// What one look at positions covers.
pub const TRACKED: Duration = Duration::from_secs(3600);
/// Offers that a choice is seen by.
pub const CHOSEN: Duration = Duration::from_secs(7 * DAY_S);
/// Offers of the last days are compared with those of the days before.
pub const TREND_NEW: Duration = Duration::from_secs(2 * DAY_S);
pub const TREND_OLD: Duration = Duration::from_secs(14 * DAY_S);
const DAY_S: u64 = 24 * 3600;

/// Two positions farther apart in time say nothing of what was between them.
const SILENCE: Duration = Duration::from_secs(120);
/// So many positions at least are a stand.
const STAND_SPOTS: u32 = 4;
/// Slower than this is not driving, km/h.
const MOVING_KMH: f32 = 5.0;
/// A square of the town, degrees: some five kilometres.
const AREA_DEG: f64 = 0.05;
/// Offers into a square before they say anything of it.
const AREA_OFFERS: u32 = 15;
/// How much more often others are taken than those into a square that is left out, per cent.
const AREA_PERCENT: u32 = 50;

/// The two-sided 99.9 % of the normal distribution: every driver is looked at every night.
const Z: f64 = 3.290_527;
/// The same over twenty squares of a town at once (Bonferroni).
const Z_AREAS: f64 = 4.055_627;

/// A position as the fleet kept it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spot {
    pub at: Point,
    pub time: Millis,
    pub speed_kmh: Option<f32>,
    /// With the rider in the car.
    pub on_trip: bool,
    /// No car could have driven there.
    pub suspect: bool,
}

/// A trip whose track is that of an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    pub trip: TripId,
    pub of: TripId,
    /// Marks of its track that are that one's.
    pub shared: u32,
}

/// How a driver was asked. Only answers to the same are compared: cheap trips that others leave ask
/// more often one by one, and then silence is an answer, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Manner {
    /// The strategy that the request named; none: the city's at the time.
    pub named: Option<&'static str>,
    /// How long he might look, seconds: every strategy has its own time.
    pub lease_s: u32,
    /// Nobody else was asked for the trip meanwhile.
    pub alone: bool,
}

/// An offer that was a driver's to take or leave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    pub at: Millis,
    pub taken: bool,
    pub price: Piasters,
    /// Where the trip ends.
    pub to: Point,
    pub manner: Manner,
}

/// What is known of a driver; what is not looked at is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence<'a> {
    /// Of [`TRACKED`], in order of time.
    pub spots: &'a [Spot],
    /// Of the last day.
    pub replays: &'a [Replay],
    /// Of [`TREND_NEW`] and [`TREND_OLD`] before it.
    pub answers: &'a [Answer],
}

/// Every rule that is met.
pub(crate) fn judge(evidence: &Evidence<'_>, thresholds: &Thresholds, now: Millis) -> Vec<Signal> {
    let signals = [
        teleports(evidence.spots, thresholds),
        frozen(evidence.spots, thresholds),
        replayed(evidence.replays, thresholds),
        choosing(evidence.answers, thresholds, now),
        dropped(evidence.answers, thresholds, now),
    ];
    signals.into_iter().flatten().collect()
}

/// What a score is lowered by for a rule, hundredths; nothing for rules that are not about driving.
pub(crate) fn penalty(rule: Rule, thresholds: &Thresholds) -> u8 {
    let threshold = match rule {
        Rule::Teleports | Rule::FrozenPosition | Rule::ReplayedTrack => Threshold::PenaltySpoofing,
        Rule::CherryPicking => Threshold::PenaltyChoosing,
        Rule::AcceptanceDrop => Threshold::PenaltyTrend,
        Rule::Velocity
        | Rule::AmountAnomaly
        | Rule::DepositWithdraw
        | Rule::CircularTrips
        | Rule::SharedDevice
        | Rule::RepeatedFailures
        | Rule::RefusedPostings
        | Rule::Unchecked => return 0,
    };
    u8::try_from(thresholds.of(threshold).min(100)).unwrap_or(100)
}

/// By minutes and not by positions: one bad minute of a receiver is many positions. Never more than
/// a flag: where receivers are jammed a whole part of the town jumps.
fn teleports(spots: &[Spot], thresholds: &Thresholds) -> Option<Signal> {
    let (mut minutes, mut times, mut farthest_m) = (BTreeSet::new(), 0, 0.0_f64);
    let mut last: Option<Point> = None;
    for spot in spots {
        if !spot.suspect {
            last = Some(spot.at);
            continue;
        }
        minutes.insert(spot.time.0.div_euclid(60_000));
        times += 1;
        farthest_m = last.map_or(farthest_m, |last| farthest_m.max(last.distance_m(spot.at)));
    }
    let reached = u32::try_from(minutes.len()).unwrap_or(u32::MAX);
    let action = step(thresholds, reached, &[(Threshold::TeleportsFlag, Action::Flag)])?;
    let farthest_m = farthest_m.round() as u64;
    let reasons = json!({
        "minutes": reached, "positions": times, "farthestMetres": farthest_m, "within": "1h",
    });
    Some(Signal { rule: Rule::Teleports, action, weight: reached.into(), reasons })
}

fn frozen(spots: &[Spot], thresholds: &Thresholds) -> Option<Signal> {
    let moving = stand(spots, |spot| spot.speed_kmh.is_some_and(|speed| speed > MOVING_KMH));
    let steps = [(Threshold::FrozenHold, Action::Hold), (Threshold::FrozenFlag, Action::Flag)];
    let by_speed = moving.and_then(|stand| {
        Some((stand, step(thresholds, stand.minutes, &steps)?, "it reports a speed"))
    });
    let steps = [(Threshold::FrozenTrip, Action::Flag)];
    let by_trip = || {
        let stand = stand(spots, |spot| spot.on_trip)?;
        Some((stand, step(thresholds, stand.minutes, &steps)?, "on a trip"))
    };
    let (stand, action, while_) = by_speed.or_else(by_trip)?;
    let reasons = json!({
        "minutes": stand.minutes, "positions": stand.spots, "while": while_,
        "lat": stand.at.lat(), "lng": stand.at.lng(),
    });
    let rule = Rule::FrozenPosition;
    Some(Signal { rule, action, weight: stand.minutes.into(), reasons })
}

/// The very same position for a while.
#[derive(Clone, Copy)]
struct Stand {
    at: Point,
    minutes: u32,
    spots: u32,
}

/// The longest stand of positions for which `counts` holds; the time between them counts while
/// they come in.
fn stand(spots: &[Spot], counts: impl Fn(&Spot) -> bool) -> Option<Stand> {
    let (mut longest, mut run): (Option<Stand>, Option<(Spot, Spot, u32)>) = (None, None);
    for spot in spots.iter().filter(|spot| !spot.suspect) {
        if !counts(spot) {
            run = None;
            continue;
        }
        let (first, spots) = match run {
            Some((first, last, spots))
                if last.at == spot.at && spot.time.after(last.time) <= SILENCE =>
            {
                (first, spots + 1)
            }
            Some(_) | None => (*spot, 1),
        };
        run = Some((first, *spot, spots));
        let minutes = u32::try_from(spot.time.since(first.time) / 60_000).unwrap_or(0);
        if spots >= STAND_SPOTS && longest.is_none_or(|longest| minutes > longest.minutes) {
            longest = Some(Stand { at: spot.at, minutes, spots });
        }
    }
    longest
}

fn replayed(replays: &[Replay], thresholds: &Thresholds) -> Option<Signal> {
    let last = replays.last()?;
    let reached = u32::try_from(replays.len()).unwrap_or(u32::MAX);
    let steps = [
        (Threshold::ReplayBlock, Action::Block),
        (Threshold::ReplayHold, Action::Hold),
        (Threshold::ReplayFlag, Action::Flag),
    ];
    let action = step(thresholds, reached, &steps)?;
    let reasons = json!({
        "trips": reached, "within": "24h", "last": last.trip, "of": last.of,
        "marks": last.shared, "ofMarks": crate::prints::MARKS,
    });
    Some(Signal { rule: Rule::ReplayedTrack, action, weight: reached.into(), reasons })
}

/// So many of so many offers.
#[derive(Clone, Copy, Default)]
struct Share {
    of: u32,
    taken: u32,
}

impl Share {
    fn count<'a>(answers: impl IntoIterator<Item = &'a Answer>) -> Self {
        answers.into_iter().fold(Self::default(), |sum, answer| Self {
            of: sum.of + 1,
            taken: sum.taken + u32::from(answer.taken),
        })
    }

    fn value(self) -> f64 {
        if self.of == 0 { 0.0 } else { f64::from(self.taken) / f64::from(self.of) }
    }

    /// Wilson's score interval (*JASA* 22, 1927).
    fn span(self, z: f64) -> (f64, f64) {
        let (p, n, z2) = (self.value(), f64::from(self.of), z * z);
        let center = p + z2 / (2.0 * n);
        let half = z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
        ((center - half) / (1.0 + z2 / n), (center + half) / (1.0 + z2 / n))
    }

    /// The least by which the share is larger than the other: the lower end of Newcombe's hybrid
    /// score interval (method 10 of *Statistics in Medicine* 17, 1998, 873–890).
    fn least_above(self, other: Self, z: f64) -> f64 {
        let (low, high) = (self.span(z).0, other.span(z).1);
        self.value() - other.value() - (self.value() - low).hypot(high - other.value())
    }

    /// Per cent by which the share is larger, when it is by so many and hardly by chance.
    fn exceeds(self, other: Self, percent: u32, z: f64) -> Option<u32> {
        let apart = ((self.value() - other.value()) * 100.0).round().max(0.0) as u32;
        let is_met = percent > 0 && apart >= percent && self.least_above(other, z) > 0.0;
        is_met.then_some(apart)
    }

    fn shown(self) -> Value {
        json!({"offers": self.of, "taken": self.taken})
    }
}

/// Answers to offers that were made alike, each kind by itself.
fn alike(answers: &[Answer]) -> BTreeMap<Manner, Vec<Answer>> {
    let mut alike: BTreeMap<Manner, Vec<Answer>> = BTreeMap::new();
    for answer in answers {
        alike.entry(answer.manner).or_default().push(*answer);
    }
    alike
}

/// For operators.
fn shown(manner: Manner) -> Value {
    json!({"alone": manner.alone, "seconds": manner.lease_s, "strategy": manner.named})
}

fn choosing(answers: &[Answer], thresholds: &Thresholds, now: Millis) -> Option<Signal> {
    let recent = answers.iter().filter(|answer| now.after(answer.at) <= CHOSEN);
    let recent: Vec<Answer> = recent.copied().collect();
    let found = alike(&recent).into_iter();
    let found = found.filter_map(|(manner, answers)| chosen(manner, &answers, thresholds));
    found.max_by_key(|signal| signal.weight)
}

fn chosen(manner: Manner, answers: &[Answer], thresholds: &Thresholds) -> Option<Signal> {
    let enough = thresholds.of(Threshold::CherryOffers).max(1) as usize;
    if answers.len() < enough || thresholds.of(Threshold::CherryPercent) == 0 {
        return None;
    }
    let found = [by_price(answers, thresholds), by_area(answers)];
    let (mut weight, mut reasons) = (0, serde_json::Map::new());
    for (name, apart, figures) in found.into_iter().flatten() {
        weight = weight.max(i64::from(apart));
        reasons.insert(name.to_owned(), figures);
    }
    reasons.insert("within".to_owned(), json!("7d"));
    reasons.insert("asked".to_owned(), shown(manner));
    let (rule, action) = (Rule::CherryPicking, Action::Flag);
    (weight > 0).then_some(Signal { rule, action, weight, reasons: Value::Object(reasons) })
}

type Found = (&'static str, u32, Value);

/// The dear half against the cheap one. Where most cost the same there are no halves.
fn by_price(answers: &[Answer], thresholds: &Thresholds) -> Option<Found> {
    let mut prices: Vec<Piasters> = answers.iter().map(|answer| answer.price).collect();
    prices.sort_unstable();
    let from = prices[prices.len() / 2];
    let dear = Share::count(answers.iter().filter(|answer| answer.price >= from));
    let cheap = Share::count(answers.iter().filter(|answer| answer.price < from));
    if (cheap.of.min(dear.of) as usize) < answers.len() / 4 {
        return None;
    }
    let apart = dear.exceeds(cheap, thresholds.of(Threshold::CherryPercent), Z)?;
    let figures = json!({"dearFrom": from, "dear": dear.shown(), "cheap": cheap.shown()});
    Some(("price", apart, figures))
}

/// The square of the town that is left out most, against all others.
fn by_area(answers: &[Answer]) -> Option<Found> {
    let square = |answer: &Answer| {
        let side = |degrees: f64| (degrees / AREA_DEG).floor() as i64;
        (side(answer.to.lat()), side(answer.to.lng()))
    };
    let mut squares: BTreeMap<(i64, i64), Share> = BTreeMap::new();
    for answer in answers {
        let share = squares.entry(square(answer)).or_default();
        *share = Share { of: share.of + 1, taken: share.taken + u32::from(answer.taken) };
    }
    let all = Share::count(answers);
    let found = squares.into_iter().filter(|(_, share)| share.of >= AREA_OFFERS);
    let found = found.filter_map(|(square, there)| {
        let others = Share { of: all.of - there.of, taken: all.taken - there.taken };
        let enough = others.of >= AREA_OFFERS;
        let apart = others.exceeds(there, AREA_PERCENT, Z_AREAS).filter(|_| enough)?;
        Some((apart, square, there, others))
    });
    let (apart, (lat, lng), there, others) = found.max_by_key(|(apart, ..)| *apart)?;
    let center = |side: i64| (((side as f64 + 0.5) * AREA_DEG) * 1000.0).round() / 1000.0;
    let figures = json!({"around": {"lat": center(lat), "lng": center(lng)},
        "there": there.shown(), "elsewhere": others.shown()});
    Some(("destination", apart, figures))
}

fn dropped(answers: &[Answer], thresholds: &Thresholds, now: Millis) -> Option<Signal> {
    let found = alike(answers).into_iter();
    let found = found.filter_map(|(manner, answers)| fell(manner, &answers, thresholds, now));
    found.max_by_key(|signal| signal.weight)
}

fn fell(
    manner: Manner,
    answers: &[Answer],
    thresholds: &Thresholds,
    now: Millis,
) -> Option<Signal> {
    let age = |answer: &&Answer| now.after(answer.at);
    let new = Share::count(answers.iter().filter(|answer| age(answer) <= TREND_NEW));
    let old = answers.iter().filter(|answer| age(answer) > TREND_NEW);
    let old = Share::count(old.filter(|answer| age(answer) <= TREND_NEW + TREND_OLD));
    let least = thresholds.of(Threshold::TrendOffers).max(1);
    if new.of < least || old.of < least.saturating_mul(2) {
        return None;
    }
    let apart = old.exceeds(new, thresholds.of(Threshold::TrendPercent), Z)?;
    let reasons = json!({"before": old.shown(), "beforeWithin": "14d", "lately": new.shown(),
        "latelyWithin": "2d", "asked": shown(manner)});
    let (rule, action) = (Rule::AcceptanceDrop, Action::Flag);
    Some(Signal { rule, action, weight: apart.into(), reasons })
}
