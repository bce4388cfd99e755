//! What a run came to: one number per measure, and their mean and spread over seeds.

use serde::Serialize;

/// One run, counted over the riders who asked within the measured hours.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    pub asked: u32,
    pub served: u32,
    /// Gave up before a driver had accepted.
    pub gave_up: u32,
    /// Called it off when they heard how long the pickup would take.
    pub called_off: u32,
    /// From asking to pickup, seconds, of those served.
    pub waits_s: Vec<f64>,
    /// From the driver's yes to pickup, seconds.
    pub pickups_s: Vec<f64>,
    /// Driven without a rider towards these riders, also in vain, metres.
    pub empty_m: f64,
    pub offers: u32,
    /// Offers withdrawn from a driver because another had said yes.
    pub taken: u32,
    /// Had a driver's yes within a minute.
    pub matched_60: u32,
    /// Trips ended within the measured hours, whoever asked when.
    pub ended: u32,
    pub driver_hours: f64,
    /// What each driver earned within the measured hours.
    pub earnings: Vec<f64>,
}

/// The measures of a run, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measures {
    pub served_pct: f64,
    pub gave_up_pct: f64,
    pub called_off_pct: f64,
    pub wait_p50_s: f64,
    pub wait_p95_s: f64,
    pub pickup_mean_s: f64,
    pub empty_km_per_trip: f64,
    pub offers_per_trip: f64,
    pub taken_per_trip: f64,
    pub trips_per_driver_hour: f64,
    pub matched_60s_pct: f64,
    pub gini: f64,
}

impl Measures {
    pub const NAMES: [&str; 12] = [
        "served %",
        "gave up %",
        "called off %",
        "wait p50 s",
        "wait p95 s",
        "pickup s",
        "empty km",
        "offers",
        "taken",
        "trips/dh",
        "60 s %",
        "Gini",
    ];

    pub fn of(tally: &Tally) -> Self {
        let asked = f64::from(tally.asked.max(1));
        let served = f64::from(tally.served.max(1));
        let percent = |count: u32| f64::from(count) / asked * 100.0;
        let pickups: f64 = tally.pickups_s.iter().sum();
        Self {
            served_pct: percent(tally.served),
            gave_up_pct: percent(tally.gave_up),
            called_off_pct: percent(tally.called_off),
            wait_p50_s: quantile(&tally.waits_s, 0.5),
            wait_p95_s: quantile(&tally.waits_s, 0.95),
            pickup_mean_s: pickups / served,
            empty_km_per_trip: tally.empty_m / 1_000.0 / served,
            offers_per_trip: f64::from(tally.offers) / served,
            taken_per_trip: f64::from(tally.taken) / served,
            trips_per_driver_hour: f64::from(tally.ended) / tally.driver_hours.max(1e-9),
            matched_60s_pct: percent(tally.matched_60),
            gini: gini(&tally.earnings),
        }
    }

    pub const fn all(&self) -> [f64; 12] {
        [
            self.served_pct,
            self.gave_up_pct,
            self.called_off_pct,
            self.wait_p50_s,
            self.wait_p95_s,
            self.pickup_mean_s,
            self.empty_km_per_trip,
            self.offers_per_trip,
            self.taken_per_trip,
            self.trips_per_driver_hour,
            self.matched_60s_pct,
            self.gini,
        ]
    }
}

/// Mean and standard deviation over seeds.
pub fn spread(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0).max(1.0)).sqrt())
}

/// The smallest value that at least a share `q` doesn't exceed; 0 of nothing.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// 0 when all have the same, near 1 when one has all.
pub fn gini(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (n, sum) = (sorted.len() as f64, sorted.iter().sum::<f64>());
    if sum <= 0.0 {
        return 0.0;
    }
    let ranked: f64 =
        sorted.iter().enumerate().map(|(place, value)| (place + 1) as f64 * value).sum();
    2.0 * ranked / (n * sum) - (n + 1.0) / n
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arithmetic_is_right() {
        assert_eq!(spread(&[1.0, 2.0, 3.0]), (2.0, 1.0));
        assert_eq!(spread(&[4.0]), (4.0, 0.0));
        assert_eq!(quantile(&[3.0, 1.0, 2.0, 4.0], 0.5), 2.0);
        assert_eq!(quantile(&[3.0, 1.0, 2.0, 4.0], 0.95), 4.0);
        assert_eq!(quantile(&[], 0.5), 0.0);
        assert!(gini(&[5.0; 4]).abs() < 1e-9);
        assert!((gini(&[0.0, 0.0, 0.0, 10.0]) - 0.75).abs() < 1e-9);
        assert_eq!(gini(&[0.0, 0.0]), 0.0);
    }
}
