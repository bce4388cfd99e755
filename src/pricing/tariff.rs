//! The fare formula, in whole numbers.
//!
//! `max(minimum, (base + km·perKm + min·perMin) · surge · timeOfDay · event) + booking fee`,
//! rounded once, to half pounds. A variant of an experiment changes the rates, the surge or takes
//! something off, between the same minimum and three times what the tariff alone would make
//! (test: `no_variant_leaves_the_borders`).

use base::{BasisPoints, CityId, Millis, Piasters, Tier, limits};

use crate::experiments::Twist;

/// Fares are rounded to this many piasters.
const STEP: i64 = 50;
/// Metres of a kilometre times seconds of a minute: the common denominator of both rates.
const METRE_SECONDS: i128 = 1000 * 60;

/// A multiplier in hundredths of a percent: 10 000 is ×1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Factor(pub u32);

impl Factor {
    pub const ONE: Self = Self(10_000);
    /// Three times: no surge is above it, and an event only with a second admin's word.
    pub const CAP: Self = Self(30_000);

    /// Reads `1.25`; `None` for more than two decimals, and for what no price is multiplied with.
    pub fn parse(value: f64) -> Option<Self> {
        let hundredths = (value * 100.0).round();
        let exact = (value * 100.0 - hundredths).abs() < 1e-6;
        (exact && (0.0..=1000.0).contains(&hundredths)).then(|| Self(hundredths as u32 * 100))
    }

    pub fn as_f32(self) -> f32 {
        // Both numbers are small enough to be exact in an f32; the quotient is the nearest.
        self.0 as f32 / Self::ONE.0 as f32
    }
}

/// The rates of a tier in a city while `from ≤ now < until`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tariff {
    pub city: CityId,
    pub tier: Tier,
    pub base_fare: Piasters,
    pub per_km: Piasters,
    pub per_minute: Piasters,
    pub minimum_fare: Piasters,
    pub booking_fee: Piasters,
    pub commission: BasisPoints,
    pub from: Millis,
    pub until: Option<Millis>,
}

impl Tariff {
    pub(crate) fn is_valid(&self, now: Millis) -> bool {
        self.from <= now && self.until.is_none_or(|until| now < until)
    }
}

/// What multiplies a fare, and what else an experiment changes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Factors {
    pub surge: Factor,
    pub time_of_day: Factor,
    pub event: Factor,
    pub twist: Twist,
}

impl Factors {
    /// What is charged of the surge.
    pub(crate) fn charged_surge(&self) -> Factor {
        self.surge.min(self.twist.surge_cap)
    }
}

/// A price and what it is made of: `trip + surge + booking_fee` is `total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fare {
    pub total: Piasters,
    /// What the trip would cost without surge.
    pub trip: Piasters,
    pub surge: Piasters,
    pub booking_fee: Piasters,
}

/// Prices a way of `distance_m` metres and `duration_s` seconds; at most the highest fare.
pub(crate) fn fare(tariff: &Tariff, distance_m: u32, duration_s: u32, factors: Factors) -> Fare {
    let total = price(tariff, distance_m, duration_s, factors);
    let calm = Factors { surge: Factor::ONE, ..factors };
    let calm = price(tariff, distance_m, duration_s, calm);
    let booking_fee = tariff.booking_fee.min(calm);
    Fare { total, trip: calm - booking_fee, surge: total - calm, booking_fee }
}

fn price(tariff: &Tariff, distance_m: u32, duration_s: u32, factors: Factors) -> Piasters {
    let times = |factor: Factor| i128::from(factor.0);
    let one = times(Factor::ONE);
    let unit = METRE_SECONDS * one * one * one * one;
    let base = i128::from(tariff.base_fare.0) * METRE_SECONDS;
    let way = i128::from(tariff.per_km.0) * i128::from(distance_m) * 60;
    let time = i128::from(tariff.per_minute.0) * i128::from(duration_s) * 1000;
    let twist = factors.twist;
    let raw = base * times(twist.base) + way * times(twist.per_km) + time * times(twist.per_minute);
    let calendar = times(factors.time_of_day) * times(factors.event);
    let multiplied = raw * times(factors.charged_surge()) * calendar;
    let least = i128::from(tariff.minimum_fare.0) * unit;
    let most = ((base + way + time) * one * times(Factor::CAP) * calendar).max(least);
    let trip = (multiplied - i128::from(twist.discount.0) * unit).clamp(least, most);
    let whole = trip + i128::from(tariff.booking_fee.0) * unit;
    // Halves up: the one rounding of a fare.
    let step = i128::from(STEP) * unit;
    let steps = (whole + step / 2).div_euclid(step);
    let highest = limits::FARE_MAX / STEP;
    Piasters(i64::try_from(steps).unwrap_or(highest).min(highest) * STEP)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::ECONOMY;

    const CALM: Factors = Factors {
        surge: Factor::ONE,
        time_of_day: Factor::ONE,
        event: Factor::ONE,
        twist: Twist::NONE,
    };

    fn total(tariff: &Tariff, km: f64, minutes: f64, factors: Factors) -> String {
        let (metres, seconds) = ((km * 1000.0) as u32, (minutes * 60.0) as u32);
        fare(tariff, metres, seconds, factors).total.to_string()
    }

    fn surge(factor: u32) -> Factors {
        Factors { surge: Factor(factor), ..CALM }
    }

    #[test]
    fn a_factor_has_at_most_two_decimals() {
        let check = |value: f64, expected: Option<u32>| {
            assert_eq!(Factor::parse(value).map(|factor| factor.0), expected, "{value}");
        };
        check(1.0, Some(10_000));
        check(1.15, Some(11_500));
        check(0.29, Some(2900));
        check(10.0, Some(100_000));
        check(1.155, None);
        check(-1.0, None);
        check(10.01, None);
        check(f64::NAN, None);
        check(f64::INFINITY, None);
    }

    #[test]
    fn ten_kilometres_in_twenty_minutes_cost_55_pounds() {
        assert_eq!(total(&ECONOMY, 10.0, 20.0, CALM), "55");
    }

    #[test]
    fn a_short_trip_costs_the_minimum() {
        assert_eq!(total(&ECONOMY, 1.0, 2.0, CALM), "15");
        assert_eq!(total(&ECONOMY, 0.0, 0.0, CALM), "15");
    }

    #[test]
    fn surge_of_one_and_a_half_makes_150_of_100() {
        // 10 + 20·3.5 + 40·0.5 = 100
        assert_eq!(total(&ECONOMY, 20.0, 40.0, CALM), "100");
        assert_eq!(total(&ECONOMY, 20.0, 40.0, surge(15_000)), "150");
        assert_eq!(total(&ECONOMY, 20.0, 40.0, surge(30_000)), "300");
    }

    #[test]
    fn multipliers_multiply_before_the_minimum_and_the_fee_comes_after() {
        let all = Factors {
            surge: Factor(15_000),
            time_of_day: Factor(12_000),
            event: Factor(20_000),
            ..CALM
        };
        assert_eq!(total(&ECONOMY, 20.0, 40.0, all), "360");
        // 10 · 1.3 = 13 is under the minimum; 10 · 1.8 = 18 is over it.
        assert_eq!(total(&ECONOMY, 0.0, 0.0, surge(13_000)), "15");
        assert_eq!(total(&ECONOMY, 0.0, 0.0, surge(18_000)), "18");
        let with_fee = Tariff { booking_fee: Piasters(250), ..ECONOMY };
        assert_eq!(total(&with_fee, 0.0, 0.0, CALM), "17.5");
        assert_eq!(total(&with_fee, 20.0, 40.0, surge(15_000)), "152.5");
    }

    #[test]
    fn a_variant_changes_rates_surge_and_takes_off() {
        let check = |twist: Twist, surge: u32, expected: &str| {
            let factors = Factors { surge: Factor(surge), twist, ..CALM };
            assert_eq!(total(&ECONOMY, 20.0, 40.0, factors), expected, "{twist:?}");
        };
        // 10 + 20·3.5 + 40·0.5 = 100
        check(Twist { base: Factor(15_000), ..Twist::NONE }, 10_000, "105");
        check(Twist { per_km: Factor(9_000), ..Twist::NONE }, 10_000, "93");
        check(Twist { per_minute: Factor(5_000), ..Twist::NONE }, 10_000, "90");
        check(Twist { surge_cap: Factor(12_000), ..Twist::NONE }, 15_000, "120");
        check(Twist { surge_cap: Factor(12_000), ..Twist::NONE }, 11_000, "110");
        check(Twist { discount: Piasters(1_250), ..Twist::NONE }, 10_000, "87.5");
        // After surge, and down to the minimum.
        check(Twist { discount: Piasters(1_250), ..Twist::NONE }, 20_000, "187.5");
        check(Twist { discount: Piasters(9_000), ..Twist::NONE }, 10_000, "15");
        // One and a half times the rates under the highest surge: three times the tariff.
        let dear = Factor(15_000);
        let dear = Twist { base: dear, per_km: dear, per_minute: dear, ..Twist::NONE };
        check(dear, 20_000, "300");
        check(dear, 30_000, "300");
    }

    #[test]
    fn a_fare_is_rounded_to_half_pounds() {
        assert_eq!(total(&ECONOMY, 10.071, 20.0, CALM), "55"); // 55.2485
        assert_eq!(total(&ECONOMY, 10.072, 20.0, CALM), "55.5"); // 55.252
        assert_eq!(total(&ECONOMY, 10.0, 20.5, CALM), "55.5"); // 55.25, halves up
    }

    #[test]
    fn a_fare_never_passes_the_highest() {
        assert_eq!(total(&ECONOMY, 4_000_000.0, 0.0, surge(30_000)), "10000");
    }

    #[test]
    fn a_tariff_is_valid_from_its_first_moment_to_before_its_last() {
        let tariff = Tariff { from: Millis(10), until: Some(Millis(20)), ..ECONOMY };
        let valid: Vec<bool> = [9, 10, 19, 20].map(|at| tariff.is_valid(Millis(at))).to_vec();
        assert_eq!(valid, [false, true, true, false]);
    }

    proptest! {
        #[test]
        fn the_parts_add_up_and_no_part_is_negative(
            metres in 0..200_000u32, seconds in 0..20_000u32, fee in 0..1000i64,
            surge in 10_000..30_001u32, time_of_day in 5_000..30_001u32, event in 5_000..30_001u32,
        ) {
            let tariff = Tariff { booking_fee: Piasters(fee), ..ECONOMY };
            let factors = Factors {
                surge: Factor(surge), time_of_day: Factor(time_of_day), event: Factor(event),
                twist: Twist::NONE,
            };
            let fare = fare(&tariff, metres, seconds, factors);
            prop_assert_eq!(fare.trip + fare.surge + fare.booking_fee, fare.total);
            prop_assert!(fare.trip >= Piasters::ZERO && fare.surge >= Piasters::ZERO);
            prop_assert_eq!(fare.total.0 % 50, 0);
            prop_assert!(fare.total.0 <= base::limits::FARE_MAX);
        }

        #[test]
        fn no_variant_leaves_the_borders(
            metres in 0..200_000u32, seconds in 0..20_000u32, fee in 0..1000i64,
            surge in 10_000..30_001u32, hours in 5_000..30_001u32,
            rates in prop::array::uniform3(5_000..15_001u32), cap in 10_000..30_001u32,
            discount in 0..10_001i64,
        ) {
            let tariff = Tariff { booking_fee: Piasters(fee), ..ECONOMY };
            let twist = Twist {
                base: Factor(rates[0]), per_km: Factor(rates[1]), per_minute: Factor(rates[2]),
                surge_cap: Factor(cap), discount: Piasters(discount),
            };
            let of = |surge, twist| {
                let factors =
                    Factors { surge: Factor(surge), time_of_day: Factor(hours), twist, ..CALM };
                fare(&tariff, metres, seconds, factors)
            };
            let (tried, highest) = (of(surge, twist), of(Factor::CAP.0, Twist::NONE));
            prop_assert_eq!(tried.trip + tried.surge + tried.booking_fee, tried.total);
            prop_assert!(tried.trip >= Piasters::ZERO && tried.surge >= Piasters::ZERO);
            prop_assert!(tried.total <= highest.total, "above three times the tariff");
            // The whole is rounded to half pounds.
            prop_assert!(tried.total.0 + STEP / 2 >= tariff.minimum_fare.0 + fee, "below the minimum");
        }
    }
}
