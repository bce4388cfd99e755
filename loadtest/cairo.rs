//! Cairo and Giza as a set of hot spots at real landmarks.
//!
//! Owns the landmarks and the daily curves. There is no open record of rides in Cairo, so demand
//! follows a gravity model: each spot sends and draws riders by its weight, near spots more than
//! far ones. Absolute numbers mean little; `--demand` scales them to the fleet.

use crate::city::{City, Speeds, Zone};
use crate::demand::{Demand, QUARTERS, Row};
use crate::geometry::{Area, Place};

/// Name, latitude, longitude, radius in metres, weight.
const SPOTS: &[(&str, f64, f64, f64, f64)] = &[
    ("Tahrir Square", 30.0444, 31.2357, 900.0, 10.0),
    ("Ramses Station", 30.0626, 31.2467, 800.0, 9.0),
    ("Zamalek", 30.0626, 31.2197, 900.0, 6.0),
    ("Mohandessin", 30.0561, 31.2003, 1_200.0, 7.0),
    ("Dokki", 30.0382, 31.2118, 900.0, 6.0),
    ("Cairo University, Giza", 30.0260, 31.2089, 900.0, 5.0),
    ("Giza pyramids", 29.9773, 31.1325, 1_200.0, 3.0),
    ("Giza Square", 30.0131, 31.2089, 900.0, 5.0),
    ("Khan el-Khalili", 30.0477, 31.2623, 700.0, 5.0),
    ("Citadel", 30.0299, 31.2611, 800.0, 3.0),
    ("Abbassia", 30.0720, 31.2836, 1_000.0, 4.0),
    ("Nasr City, Abbas El Akkad", 30.0636, 31.3400, 1_600.0, 9.0),
    ("City Stars", 30.0729, 31.3456, 900.0, 6.0),
    ("Heliopolis, Korba", 30.0911, 31.3225, 1_400.0, 7.0),
    ("Cairo International Airport", 30.1120, 31.4000, 900.0, 5.0),
    ("Maadi, Road 9", 29.9602, 31.2569, 1_500.0, 6.0),
    ("Garden City", 30.0359, 31.2306, 600.0, 3.0),
    ("Shubra", 30.1098, 31.2454, 1_400.0, 6.0),
    ("New Cairo, AUC", 30.0187, 31.4990, 1_800.0, 4.0),
    ("Mokattam", 30.0152, 31.3000, 1_200.0, 3.0),
];

/// Rides wanted per hour of the day in the whole model, relative to the busiest hour.
const HOURS: [f64; 24] = [
    0.45, 0.30, 0.20, 0.12, 0.10, 0.15, 0.35, 0.65, 0.85, 0.75, 0.65, 0.65, 0.70, 0.75, 0.85, 0.95,
    1.00, 1.00, 0.95, 0.95, 0.90, 0.85, 0.75, 0.60,
];
/// Mean speed per hour of the day, km/h.
const KMH: [f32; 24] = [
    38.0, 42.0, 44.0, 45.0, 45.0, 42.0, 34.0, 24.0, 19.0, 21.0, 23.0, 22.0, 21.0, 20.0, 18.0, 16.0,
    15.0, 15.0, 17.0, 19.0, 21.0, 24.0, 28.0, 33.0,
];
/// Trips in the busiest quarter-hour.
const PEAK: f64 = 2_500.0;
/// How fast the wish to travel fades with distance, metres.
const REACH_M: f64 = 7_000.0;

pub fn load() -> City {
    let zones: Vec<Zone> = SPOTS
        .iter()
        .map(|(name, lat, lng, radius_m, _)| {
            let centre = Place::new(*lat, *lng);
            let area = Area::Spot { centre, radius_m: *radius_m };
            Zone { name: (*name).to_owned(), area, centre }
        })
        .collect();
    let pulls = pulls(&zones);
    let total: f64 = pulls.iter().map(|(_, _, pull)| pull).sum();
    let rows = (0..QUARTERS).flat_map(|slot| {
        let level = PEAK * HOURS[slot / 4] / total;
        pulls.iter().map(move |(from, to, pull)| Row {
            slot,
            from: *from,
            to: *to,
            expected: level * pull,
        })
    });
    let demand = Demand::new(1, rows);
    let speeds = Speeds::Daily((0..QUARTERS).map(|quarter| KMH[quarter / 4]).collect());
    City { name: "Cairo", zones, demand, speeds, grid_deg: 20.0 }
}

fn pulls(zones: &[Zone]) -> Vec<(u8, u8, f64)> {
    let mut pulls = Vec::new();
    for (i, from) in zones.iter().enumerate() {
        for (j, to) in zones.iter().enumerate() {
            let fade = (-from.centre.distance_m(to.centre) / REACH_M).exp();
            // Nobody takes a car round the corner, though some go across their own quarter.
            let own = if i == j { 0.15 } else { 1.0 };
            // Fewer than 256 spots, so the indices fit.
            pulls.push((i as u8, j as u8, SPOTS[i].4 * SPOTS[j].4 * fade * own));
        }
    }
    pulls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_quarter_has_the_peak_and_the_night_is_quiet() {
        let city = load();
        assert!((city.demand.expected(16 * 4) - PEAK).abs() < 1.0);
        assert!(city.demand.expected(4 * 4) < PEAK / 5.0);
    }

    #[test]
    fn near_spots_draw_more_than_far_ones() {
        let pulls = pulls(&load().zones);
        let of = |from: usize, to: usize| pulls[from * SPOTS.len() + to].2 / SPOTS[to].4;
        let (tahrir, zamalek, airport) = (0, 2, 14);
        assert!(of(tahrir, zamalek) > of(tahrir, airport));
    }
}
