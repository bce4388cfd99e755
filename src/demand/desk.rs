//! The one owner of what is known about demand: closes quarters, forecasts, and remembers who was
//! told of a place.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base::{CityId, Clock, DriverId, Fault, Millis, Point};
use geo::Cell;
use jiff::tz::TimeZone;
use ops::Tasks;
use parking_lot::Mutex;
use storage::{Db, Tx, Who};
use tracing::warn;

use crate::forecast::{forecast, off, wanted};
use crate::hints::{self, Hint, Idle};
use crate::quarter::Quarter;
use crate::store::{self, Judged};
use crate::wire::{DemandCellView, DemandView};

/// Quarters that a forecast reaches.
const AHEAD: i16 = 2;
/// Counts are kept a little longer than the eight weeks that a forecast looks back.
const KEPT: i64 = 9 * 7 * 96;
const FORECASTS_KEPT: i64 = 7 * 96;
/// Quarters that one run makes up for after a standstill.
const MADE_UP: i64 = 96;
/// A driver who was told of a place is left alone so long.
const TOLD_FOR: Duration = Duration::from_secs(20 * 60);
const JUDGED_OVER: Duration = Duration::from_secs(7 * 24 * 3600);
const READ_EVERY: Duration = Duration::from_secs(30);

/// Cheap to clone.
#[derive(Clone)]
pub struct Demand(Arc<Inner>);

struct Inner {
    db: Db,
    clock: Clock,
    cities: ArcSwap<HashMap<CityId, Known>>,
    /// When a driver was last told of a place, and of which.
    told: Mutex<HashMap<DriverId, (Millis, Cell)>>,
}

/// A city as of its last closed quarter.
#[derive(Clone, Default)]
struct Known {
    last: Option<Quarter>,
    came: HashMap<Cell, u32>,
    /// In the quarters after it.
    expected: [BTreeMap<Cell, f64>; AHEAD as usize],
}

/// A quarter to close: what was asked for in it, where.
#[derive(Clone, Debug)]
pub struct Closed {
    pub quarter: Quarter,
    pub pickups: Vec<Point>,
}

impl Demand {
    pub(crate) fn new(db: Db, clock: Clock) -> Self {
        let (cities, told) = (ArcSwap::default(), Mutex::default());
        Self(Arc::new(Inner { db, clock, cities, told }))
    }

    /// Reads what nodes closed, again and again, as long as this one runs.
    pub fn start(db: Db, tasks: &Tasks, clock: Clock) -> Self {
        let this = Self::new(db, clock);
        let (demand, stopping) = (this.clone(), tasks.stopping());
        tasks.spawn("demand", async move {
            let mut tick = tokio::time::interval(READ_EVERY);
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    _ = tick.tick() => {
                        if let Err(fault) = demand.read().await {
                            warn!(%fault, "demand stays as it was read before");
                        }
                    }
                }
            }
        });
        this
    }

    /// The quarters of the city that are over and not closed: all since the last one, at most a day
    /// of them.
    pub async fn open_quarters(&self, city: CityId) -> Result<Vec<Quarter>, Fault> {
        let mut tx = self.0.db.begin(&Who::System).await?;
        let closed = store::closed_in_tx(&mut tx, city).await?;
        tx.commit().await?;
        let over = Quarter::of(self.0.clock.now()).0 - 1;
        let first = closed.map_or(over, |(_, last)| last.0 + 1).max(over - MADE_UP + 1);
        Ok((first..=over).map(Quarter).collect())
    }

    /// Closes quarters, oldest first, and says what is expected after the last of them. One that is
    /// closed already stays as it is.
    pub async fn close(
        &self,
        city: CityId,
        time_zone: &str,
        quarters: &[Closed],
    ) -> Result<(), Fault> {
        let zone = TimeZone::get(time_zone).unwrap_or(TimeZone::UTC);
        let mut tx = self.0.db.begin(&Who::System).await?;
        store::lock_in_tx(&mut tx, city).await?;
        let before = store::closed_in_tx(&mut tx, city).await?;
        let mut closed = before;
        for Closed { quarter, pickups } in quarters {
            if closed.is_some_and(|(_, last)| last >= *quarter) {
                continue;
            }
            let mut came = HashMap::new();
            for pickup in pickups {
                *came.entry(geo::surge_cell(*pickup)).or_insert(0) += 1;
            }
            let judged = match closed {
                Some((since, _)) => {
                    judged_in_tx(&mut tx, city, *quarter, since, &came, &zone).await?
                }
                None => None,
            };
            store::close_in_tx(&mut tx, city, *quarter, &came, judged.as_ref()).await?;
            closed = Some((closed.map_or(*quarter, |(first, _)| first), *quarter));
        }
        // Another node may have been first: then it has said what comes, too.
        if closed != before
            && let Some((since, last)) = closed
        {
            foresee_in_tx(&mut tx, city, since, last, &zone).await?;
            let forecasts_before = last.plus(-FORECASTS_KEPT);
            store::forget_in_tx(&mut tx, city, last.plus(-KEPT), forecasts_before).await?;
        }
        tx.commit().await?;
        self.read().await
    }

    /// Reads the last closed quarter of each city and what is expected after it.
    pub(crate) async fn read(&self) -> Result<(), Fault> {
        let known = self.0.cities.load_full();
        let mut cities = HashMap::new();
        for (city, last) in store::last_closed(&self.0.db).await? {
            let same = known.get(&city).filter(|known| known.last == Some(last));
            let city_known = match same {
                Some(same) => same.clone(),
                None => self.known(city, last).await?,
            };
            cities.insert(city, city_known);
        }
        self.0.cities.store(Arc::new(cities));
        Ok(())
    }

    async fn known(&self, city: CityId, last: Quarter) -> Result<Known, Fault> {
        let mut tx = self.0.db.begin(&Who::System).await?;
        let came = store::counts_in_tx(&mut tx, city, &[last]).await?.remove(&last);
        let mut known =
            Known { last: Some(last), came: came.unwrap_or_default(), ..Known::default() };
        for (ahead, expected) in (1..=AHEAD).zip(&mut known.expected) {
            let quarter = last.plus(i64::from(ahead));
            *expected = store::forecast_in_tx(&mut tx, city, quarter, ahead).await?;
        }
        tx.commit().await?;
        Ok(known)
    }

    /// Whom of a city's free drivers to tell of a place where they will be missing in the quarter
    /// that begins next. Each is told, then left alone for a while.
    pub fn hints(&self, city: CityId, idle: &[Idle]) -> Vec<Hint> {
        let now = self.0.clock.now();
        let cities = self.0.cities.load();
        let Some(expected) = cities.get(&city).and_then(|known| known.expected_next(now)) else {
            return Vec::new();
        };
        let mut told = self.0.told.lock();
        told.retain(|_, (at, _)| now.after(*at) < TOLD_FOR);
        let of_whom = told.iter().map(|(driver, (_, cell))| (*driver, *cell)).collect();
        let hints = hints::hints(expected, idle, &of_whom, now);
        told.extend(hints.iter().map(|hint| (hint.driver, (now, hint.cell))));
        hints
    }

    /// A city's demand; `free`: drivers who are free, by cell.
    pub async fn view(&self, city: CityId, free: &HashMap<Cell, u32>) -> Result<DemandView, Fault> {
        let now = self.0.clock.now();
        let mut tx = self.0.db.begin(&Who::System).await?;
        let accuracy = store::accuracy_in_tx(&mut tx, city, now - JUDGED_OVER).await?;
        tx.commit().await?;
        let known = self.0.cities.load().get(&city).cloned().unwrap_or_default();
        let [expected, next] = &known.expected;
        let mut cells: Vec<Cell> =
            known.came.keys().chain(expected.keys()).chain(next.keys()).copied().collect();
        cells.sort_unstable();
        cells.dedup();
        let of =
            |map: &BTreeMap<Cell, f64>, cell: &Cell| map.get(cell).copied().map_or(0.0, hundredths);
        let cell_view = |cell: &Cell| DemandCellView {
            center: cell.center(),
            boundary: cell.boundary(),
            requests: known.came.get(cell).copied().unwrap_or(0),
            expected: of(expected, cell),
            expected_next: of(next, cell),
            free_drivers: free.get(cell).copied().unwrap_or(0),
        };
        Ok(DemandView {
            city_id: city,
            counted: known.last.map(Quarter::start),
            cells: cells.iter().map(cell_view).collect(),
            accuracy,
        })
    }
}

impl Known {
    /// What is expected in the quarter that begins next; none when no forecast reaches it.
    fn expected_next(&self, now: Millis) -> Option<&BTreeMap<Cell, f64>> {
        let ahead = Quarter::of(now).0 + 1 - self.last?.0;
        let place = usize::try_from(ahead - 1).ok()?;
        self.expected.get(place)
    }
}

/// Compares what came with what was expected, and with two plain guesses. `since`: the first
/// quarter that was counted.
async fn judged_in_tx(
    tx: &mut Tx,
    city: CityId,
    quarter: Quarter,
    since: Quarter,
    came: &HashMap<Cell, u32>,
    zone: &TimeZone,
) -> Result<Option<Judged>, Fault> {
    let (week_ago, before) = (quarter.weeks_ago(1, zone), quarter.plus(-i64::from(AHEAD)));
    // Without a week behind it the forecast is a plain guess itself.
    if since > week_ago {
        return Ok(None);
    }
    let expected = store::forecast_in_tx(tx, city, quarter, AHEAD).await?;
    let counts = store::counts_in_tx(tx, city, &[week_ago, before]).await?;
    let guess = |quarter| -> BTreeMap<Cell, f64> {
        let counts = counts.get(&quarter).into_iter().flatten();
        counts.map(|(cell, count)| (*cell, f64::from(*count))).collect()
    };
    Ok(Some(Judged {
        forecast: off(&expected, came),
        week_ago: off(&guess(week_ago), came),
        quarter_ago: off(&guess(before), came),
    }))
}

async fn foresee_in_tx(
    tx: &mut Tx,
    city: CityId,
    since: Quarter,
    last: Quarter,
    zone: &TimeZone,
) -> Result<(), Fault> {
    let targets = || (1..=AHEAD).map(|ahead| (ahead, last.plus(i64::from(ahead))));
    let known: BTreeSet<Quarter> =
        targets().flat_map(|(_, target)| wanted(last, target, zone)).collect();
    let known: Vec<Quarter> = known.into_iter().collect();
    let counts = store::counts_in_tx(tx, city, &known).await?;
    for (ahead, target) in targets() {
        let expected = forecast(&counts, since, last, target, zone);
        store::put_forecast_in_tx(tx, city, target, ahead, &expected).await?;
    }
    Ok(())
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
