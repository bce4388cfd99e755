//! What was asked for in the last quarter of an hour is counted, the next ones are forecast, and
//! drivers who wait are told of places where they will be missing.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use base::{CityId, Fault, Problem};
use demand::{Closed, DemandView, HintView, Idle};
use events::{Done, Failure, Handler, Job, Kind, OnDead, Priority, Queue, Schedule};
use fleet::State;
use ops::Tasks;

use crate::Flows;

pub static FORECAST_DEMAND: Kind = Kind {
    name: "forecast_demand",
    queue: Queue::Cleanup,
    priority: Priority::Low,
    version: 1,
    attempts: 3,
    on_dead: OnDead::Support,
};

/// A minute after each quarter, when all that was asked for in it is stored.
pub static EVERY_QUARTER: Schedule =
    Schedule { name: "forecast_demand", cron: "1-59/15 * * * * UTC", kind: &FORECAST_DEMAND };

const HINT_EVERY: Duration = Duration::from_secs(60);

/// Closes the quarters that are over.
pub struct Forecaster(pub Flows);

impl Handler for Forecaster {
    fn run<'a>(
        &'a self,
        _job: &'a Job,
    ) -> Pin<Box<dyn Future<Output = Result<Done, Failure>> + Send + 'a>> {
        Box::pin(async move {
            self.0.close_quarters().await?;
            Ok(Done::Finished)
        })
    }
}

impl Flows {
    /// Counts what was asked for in each quarter that is over, city by city, and forecasts.
    pub async fn close_quarters(&self) -> Result<(), Fault> {
        for city in self.fleet.cities() {
            let mut closed = Vec::new();
            for quarter in self.demand.open_quarters(city.id).await? {
                let (from, to) = (quarter.start(), quarter.plus(1).start());
                let pickups = self.trips.asked_between(city.id, from, to).await?;
                closed.push(Closed { quarter, pickups });
            }
            self.demand.close(city.id, &city.time_zone, &closed).await?;
        }
        Ok(())
    }

    /// What is asked for and expected in a city, by cell.
    pub async fn demand(&self, city: CityId) -> Result<DemandView, Problem> {
        self.must_serve(city)?;
        let free = self.fleet.free_per_surge_cell(self.clock.now());
        Ok(self.demand.view(city, &free).await?)
    }

    /// Tells drivers who wait where they will be missing.
    pub fn hint_drivers(&self) {
        let now = self.clock.now();
        for city in self.fleet.cities() {
            for hint in self.demand.hints(city.id, &self.idle(city.id)) {
                self.tell(hint.driver, "demand.hint", &HintView::new(&hint, now));
            }
        }
    }

    fn idle(&self, city: CityId) -> Vec<Idle> {
        let on_duty = self.fleet.on_duty(city).into_iter();
        let free = on_duty.filter(|driver| driver.state == State::Available);
        free.map(|driver| Idle {
            driver: driver.driver,
            at: driver.at,
            waiting_since: driver.waiting_since,
        })
        .collect()
    }
}

/// Hints, as long as the node runs.
pub fn keep_hinting(flows: &Flows, tasks: &Tasks) {
    let (flows, stopping) = (flows.clone(), tasks.stopping());
    tasks.spawn("hints to drivers", async move {
        let mut tick = tokio::time::interval(HINT_EVERY);
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                _ = tick.tick() => flows.hint_drivers(),
            }
        }
    });
}
