//! What all clients of a run share: its orders, its city, its clock, its statistics.
//!
//! Owns the phase of the run and the trails by which a rider's phone recognises the positions of
//! a driver in the same process. No client writes to another's state but through here.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use crate::accounts::{Accounts, Admin};
use crate::api::{Api, Failure};
use crate::city::City;
use crate::client::Encoding;
use crate::config::Args;
use crate::demand::{QUARTER_S, QUARTERS};
use crate::geometry::Place;
use crate::invariants::Judge;
use crate::stats::Stats;

/// Fastest that any vehicle is driven, km/h: the server suspects what is much faster.
const TOP_KMH: f64 = 165.0;
/// Positions of a driver that are remembered; more than arrive in the longest sane delay.
const TRAIL: usize = 128;
/// Two encodings of one place differ by at most this many ten-millionths of a degree.
const SAME_E7: i32 = 3;

/// Where the run is; it only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Running,
    /// Nobody asks for a trip any more, who waits gives up, who rides arrives.
    WindingDown,
    /// Trips end wherever they are.
    Hurrying,
    /// Everybody goes home.
    Over,
}

/// The run.
pub struct World {
    pub args: Args,
    pub city: City,
    pub api: Api,
    pub stats: Arc<Stats>,
    pub judge: Judge,
    pub admin: Admin,
    /// How many password hashes the server is asked for at a time.
    pub doors: Semaphore,
    pub accounts: Mutex<Accounts>,
    pub phase: watch::Receiver<Phase>,
    /// When the city's clock started.
    opened: OnceLock<Instant>,
    trails: RwLock<HashMap<Uuid, Arc<Mutex<Trail>>>>,
    /// Every trip that was asked for.
    pub booked: Mutex<Vec<Uuid>>,
}

impl World {
    pub fn new(
        args: Args,
        city: City,
        (api, stats): (Api, Arc<Stats>),
        phase: watch::Receiver<Phase>,
        accounts: Accounts,
    ) -> Self {
        Self {
            admin: Admin::new(&args.admin_phone, &args.admin_password),
            doors: Semaphore::new(args.signups as usize),
            args,
            city,
            api,
            stats,
            judge: Judge::default(),
            accounts: Mutex::new(accounts),
            phase,
            opened: OnceLock::new(),
            trails: RwLock::default(),
            booked: Mutex::default(),
        }
    }

    /// Starts the city's clock.
    pub fn open(&self) {
        let _ = self.opened.set(Instant::now());
    }

    /// Seconds since the table's Monday, midnight, on the city's clock.
    pub fn city_s(&self) -> f64 {
        let elapsed = self.opened.get().map_or(Duration::ZERO, Instant::elapsed);
        self.args.start.slot() as f64 * QUARTER_S + elapsed.as_secs_f64() * self.args.lapse
    }

    /// Slot of the demand table that is now.
    pub fn slot(&self) -> usize {
        (self.city_s() / QUARTER_S) as usize
    }

    /// How fast one drives from here to there now, km/h of real time.
    pub fn speed_kmh(&self, from: Place, to: Place) -> f64 {
        let city_kmh = self.city.speed_kmh(from, to, self.slot() % QUARTERS);
        (city_kmh * self.args.lapse).min(TOP_KMH)
    }

    pub fn now(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits until the run is at least in `phase`.
    pub async fn reached(&self, phase: Phase) {
        // The sender lives as long as the run; without it the run is over.
        let _ = self.phase.clone().wait_for(|now| *now >= phase).await;
    }

    /// A source of chance of its own for every client, the same for the same seed.
    pub fn rng(&self, stream: u64) -> StdRng {
        StdRng::seed_from_u64(self.args.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ stream)
    }

    pub fn encoding(&self, index: u32) -> Encoding {
        if self.args.format.binary_for(index) { Encoding::Binary } else { Encoding::Json }
    }

    /// The trail of a driver, made when first asked for.
    pub fn trail(&self, driver: Uuid) -> Arc<Mutex<Trail>> {
        if let Some(trail) = self.trails.read().get(&driver) {
            return trail.clone();
        }
        self.trails.write().entry(driver).or_default().clone()
    }

    /// Says a failure at once when asked to.
    pub fn mention(&self, who: &str, failure: &Failure) {
        if self.args.verbose {
            crate::progress::say(&format!("{who}: {failure}"));
        }
    }
}

/// The newest positions a driver sent.
#[derive(Default)]
pub struct Trail {
    sent: VecDeque<Sent>,
}

struct Sent {
    at_ms: i64,
    e7: (i32, i32),
    when: Instant,
}

impl Trail {
    pub fn sent(&mut self, at_ms: i64, place: Place, when: Instant) {
        if self.sent.len() == TRAIL {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent { at_ms, e7: place.e7(), when });
    }

    /// When the position was sent: known by its timestamp, else by its place if only one fits.
    pub fn find(&self, at_ms: i64, place: Place) -> Option<Instant> {
        if let Some(sent) = self.sent.iter().rev().find(|sent| sent.at_ms == at_ms) {
            return Some(sent.when);
        }
        let (lat, lng) = place.e7();
        let mut near = self
            .sent
            .iter()
            .filter(|s| s.e7.0.abs_diff(lat) <= SAME_E7 as u32)
            .filter(|s| s.e7.1.abs_diff(lng) <= SAME_E7 as u32);
        let only = near.next()?;
        near.next().is_none().then_some(only.when)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_known_by_its_time_or_by_its_place() {
        let (mut trail, begun) = (Trail::default(), Instant::now());
        let place = |n: i32| Place::new(40.7 + f64::from(n) * 1e-5, -73.9);
        for n in 0..3 {
            let when = begun + Duration::from_secs(n as u64);
            trail.sent(i64::from(n) * 1_000, place(n), when);
        }
        let second = Some(begun + Duration::from_secs(1));
        assert_eq!(trail.find(1_000, place(0)), second, "the timestamp decides");
        assert_eq!(trail.find(77, place(1)), second, "without it the place does");
        assert_eq!(trail.find(77, place(9)), None);
        trail.sent(5_000, place(1), begun);
        assert_eq!(trail.find(77, place(1)), None, "two fit");
    }

    #[test]
    fn a_trail_forgets_the_oldest() {
        let mut trail = Trail::default();
        for n in 0..=TRAIL as i64 {
            trail.sent(n, Place::new(n as f64 / 1e4, 0.0), Instant::now());
        }
        assert_eq!(trail.find(0, Place::new(80.0, 0.0)), None);
        assert!(trail.find(1, Place::new(80.0, 0.0)).is_some());
    }
}
