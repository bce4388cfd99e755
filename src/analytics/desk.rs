//! The one owner of what is counted of prices; works results and reports out of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base::{BusinessDay, Caller, CityId, Clock, Fault, Millis, Piasters, Point, RiderId, Tier};
use geo::Cell;
use metrics::{counter, gauge, histogram};
use ops::Tasks;
use parking_lot::Mutex;
use pricing::{Arm, ExperimentView, Factor, SurgeLevel};
use storage::{Behind, BehindLimits, Db, Who};
use uuid::Uuid;

use crate::counted::{Episode, LEVELS, ShownRow, Surging, Tally, level};
use crate::report::{PriceReport, ReportAsked};
use crate::results::{ExperimentResults, compared};
use crate::store::{self, Exposure, Window};

/// Longest range of a report: it reads every trip of it.
pub const REPORT_DAYS_MAX: u16 = 31;
/// An exposure may wait so long: nobody decides by the results of the last seconds.
const EXPOSURES: BehindLimits =
    BehindLimits { capacity: 50_000, batch: 1000, every: Duration::from_secs(2) };
/// Rows of hours and cells replace each other: there are only ever a few.
const COUNTS: BehindLimits =
    BehindLimits { capacity: 5_000, batch: 500, every: Duration::from_secs(5) };

/// Cheap to clone.
#[derive(Clone)]
pub struct Analytics(Arc<Inner>);

struct Inner {
    /// A pool of its own for what takes long.
    slow: Db,
    clock: Clock,
    exposures: Behind<Exposure>,
    shown: Behind<ShownRow>,
    episodes: Behind<Episode>,
    tally: Mutex<Tally>,
    surging: Mutex<Surging>,
}

impl Analytics {
    /// `slow` leads to the same database, by few connections and with a longer time-out.
    pub fn start(db: Db, slow: Db, tasks: &Tasks, clock: Clock) -> Self {
        // What this run counts is its own: no other node nor an earlier run writes the same rows.
        let run = Uuid::now_v7();
        let (of_riders, of_hours, of_cells) = (db.clone(), db.clone(), db);
        let exposures = Behind::start(tasks, "experiment_exposures", EXPOSURES, exposure_key, {
            move |rows| store::exposures_add(of_riders.clone(), rows)
        });
        let shown = Behind::start(tasks, "price_shown", COUNTS, |row| Some(ShownRow::key(row)), {
            move |rows| store::shown_put(of_hours.clone(), run, rows)
        });
        let episodes = Behind::start(tasks, "surge_episodes", COUNTS, |row| Some(row.key()), {
            move |rows| store::episodes_put(of_cells.clone(), run, rows)
        });
        let (tally, surging) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { slow, clock, exposures, shown, episodes, tally, surging }))
    }

    /// Counts an estimate. Waits for nothing.
    pub fn shown(&self, city: CityId, surge: Factor, now: Millis) {
        {
            // In the order of the counts: of two rows of an hour the newest stays.
            let mut tally = self.0.tally.lock();
            self.0.shown.push(tally.count(city, surge, now));
        }
        let surge = LEVELS[usize::from(level(surge))].map_or("none", SurgeLevel::name);
        let city = city.0.to_string();
        counter!("smartline_price_estimates_total", "city" => city, "surge" => surge).increment(1);
    }

    /// A rider saw prices of his variant: counted once a day. Waits for nothing.
    pub fn exposed(&self, arm: Arm, rider: RiderId, now: Millis) {
        let day = BusinessDay::of(now).to_string();
        self.0.exposures.push(Exposure { arm, rider, day });
        let variant = arm.variant.to_string();
        counter!("smartline_experiment_exposures_total", "variant" => variant).increment(1);
    }

    /// Follows which cells surge. Waits for nothing.
    pub fn surged(
        &self,
        zones: &HashMap<Cell, Factor>,
        city_of: impl Fn(Point) -> Option<CityId>,
        now: Millis,
    ) {
        let mut surging = self.0.surging.lock();
        for episode in surging.follow(zones, city_of, now) {
            self.0.episodes.push(episode);
            if episode.is_over {
                let seconds = episode.last.after(episode.started).as_secs_f64();
                histogram!("smartline_surge_episode_seconds").record(seconds);
            }
        }
        for (city, cells) in surging.cells() {
            let city = city.0.to_string();
            gauge!("smartline_surge_cells", "city" => city).set(f64::from(*cells));
        }
    }

    /// Counts a completed trip's money and way; the driver has what the company doesn't.
    pub fn completed(&self, tier: Tier, fare: Piasters, commission: Piasters, metres: u32) {
        let tier = tier.name();
        let count = |amount: Piasters| amount.0.max(0).unsigned_abs();
        counter!("smartline_fares_piasters_total", "tier" => tier).increment(count(fare));
        counter!("smartline_commission_piasters_total", "tier" => tier)
            .increment(count(commission));
        counter!("smartline_fare_metres_total", "tier" => tier).increment(metres.into());
    }

    /// How an experiment goes, with all that this node counted of it.
    pub async fn results(
        &self,
        admin: &Caller,
        experiment: ExperimentView,
    ) -> Result<ExperimentResults, Fault> {
        self.0.exposures.flush().await;
        let mut tx = self.0.slow.begin(&Who::Caller(*admin)).await?;
        store::calm_in_tx(&mut tx).await?;
        let variants = experiment.variants.len();
        let counted = store::results_in_tx(&mut tx, experiment.id, variants).await?;
        tx.commit().await?;
        Ok(compared(experiment, &counted, self.0.clock.now()))
    }

    /// How prices, surge and earnings went; at most [`REPORT_DAYS_MAX`] days are asked for.
    pub async fn price_report(
        &self,
        admin: &Caller,
        asked: &ReportAsked,
    ) -> Result<PriceReport, Fault> {
        self.0.shown.flush().await;
        self.0.episodes.flush().await;
        let (first, last) = (asked.days.first(), asked.days.last());
        let window = Window { from: first.start(), until: last.end(), city: asked.city };
        let mut tx = self.0.slow.begin(&Who::Caller(*admin)).await?;
        store::calm_in_tx(&mut tx).await?;
        let added = store::ridden_in_tx(&mut tx, &window).await?;
        let asking = store::asking_in_tx(&mut tx, &window).await?;
        let surge = store::surge_in_tx(&mut tx, &window).await?;
        tx.commit().await?;
        Ok(PriceReport {
            from: first.to_string(),
            to: last.to_string(),
            currency: "EGP",
            prices: added.prices(),
            acceptance: asking.lines(),
            surge,
            zones: added.zones(),
            earnings: added.earnings(),
        })
    }
}

/// One row per rider and day is enough, however often he looks: ids differ in all of their bits.
fn exposure_key(exposure: &Exposure) -> Option<u128> {
    let day = exposure.day.bytes().fold(0, |key: u128, byte| key << 7 | u128::from(byte));
    Some(exposure.rider.0.as_u128() ^ exposure.arm.experiment.as_u128().rotate_left(64) ^ day)
}
