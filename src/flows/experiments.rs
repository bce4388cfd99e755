//! Operators try prices on some of a city's riders and read what came of it.

use analytics::{ExperimentResults, PriceReport, REPORT_DAYS_MAX, ReportAsked};
use base::{BasisPoints, Caller, CityId, Code, Cursor, DayRange, Millis, Problem};
use events::Once;
use pricing::{ExperimentView, ExperimentsPage, NewExperiment, Variant};
use serde_json::json;
use storage::Who;
use uuid::Uuid;

use crate::Flows;
use crate::rulebook::Change;

/// An experiment as an admin asks for it, checked in form: the first variant changes nothing.
#[derive(Clone, Debug)]
pub struct ExperimentRequest {
    pub name: String,
    /// Now when absent.
    pub starts: Option<Millis>,
    pub ends: Millis,
    pub share: BasisPoints,
    pub variants: Vec<Variant>,
}

/// The longest an experiment may be planned for.
const LONGEST_MS: i64 = 366 * 24 * 3_600_000;

impl Flows {
    /// The newest first, those that are over too.
    pub async fn experiments(
        &self,
        admin: &Caller,
        city: CityId,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<ExperimentsPage, Problem> {
        self.must_serve(city)?;
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        Ok(pricing::experiments_in_tx(&mut tx, city, after, limit).await?)
    }

    /// Prices that are tried on some riders, from now on or from a moment ahead.
    pub async fn add_experiment(
        &self,
        admin: &Caller,
        city: CityId,
        asked: ExperimentRequest,
        reason: &str,
        once: Once,
    ) -> Result<ExperimentView, Problem> {
        self.must_serve(city)?;
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        if let Some(id) = once.applied() {
            // By an attempt whose answer got lost.
            let made = pricing::experiment_in_tx(&mut tx, id).await?;
            return made.ok_or_else(Problem::not_found);
        }
        let now = self.clock.now();
        let starts = asked.starts.unwrap_or(now);
        if starts < now {
            return Err(Problem::field("startsAt", "invalid", "must not be in the past"));
        }
        if asked.ends <= starts || asked.ends.since(starts) > LONGEST_MS {
            let text = "must be after startsAt, by at most 366 days";
            return Err(Problem::field("endsAt", "invalid", text));
        }
        let id = Uuid::now_v7();
        let ExperimentRequest { name, ends, share, variants, .. } = asked;
        let (by, at) = (admin.user, now);
        let new = NewExperiment { id, city, name, starts, ends, share, variants, by, at };
        tx.because(reason).await?;
        let made = pricing::experiment_add_in_tx(&mut tx, &new).await?;
        let made = made.ok_or_else(|| {
            let why = "another experiment of this city runs at some of that time";
            Problem::new(Code::InvalidTransition, why)
        })?;
        let details = json!({"city": city, "experiment": made, "reason": reason});
        let change = Change { action: "experiment.add", id, details };
        self.settle_change(tx, admin, change, once).await?;
        Ok(made)
    }

    /// Over from now on; whoever has a quote of it keeps its price.
    pub async fn end_experiment(
        &self,
        admin: &Caller,
        id: Uuid,
        reason: &str,
        once: Once,
    ) -> Result<ExperimentView, Problem> {
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let experiment = pricing::experiment_lock_in_tx(&mut tx, id).await?;
        let experiment = experiment.ok_or_else(Problem::not_found)?;
        if once.applied().is_some() {
            return Ok(experiment);
        }
        tx.because(reason).await?;
        let ended = pricing::experiment_end_in_tx(&mut tx, id, self.clock.now()).await?;
        let ended = ended.ok_or_else(|| Problem::new(Code::InvalidTransition, "it is over"))?;
        let details = json!({"city": ended.city_id, "reason": reason});
        let change = Change { action: "experiment.end", id, details };
        self.settle_change(tx, admin, change, once).await?;
        Ok(ended)
    }

    /// What riders of each variant did, beside the control.
    pub async fn experiment_results(
        &self,
        admin: &Caller,
        id: Uuid,
    ) -> Result<ExperimentResults, Problem> {
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let experiment = pricing::experiment_in_tx(&mut tx, id).await?;
        drop(tx);
        let experiment = experiment.ok_or_else(Problem::not_found)?;
        Ok(self.analytics.results(admin, experiment).await?)
    }

    /// How prices, surge and earnings went, in at most 31 days.
    pub async fn price_report(
        &self,
        admin: &Caller,
        days: DayRange,
        city: Option<CityId>,
    ) -> Result<PriceReport, Problem> {
        let (first, last) = (days.first(), days.last());
        let days = DayRange::new(first, last, REPORT_DAYS_MAX)
            .ok_or_else(|| Problem::field("to", "out_of_range", "must be within 31 days"))?;
        Ok(self.analytics.price_report(admin, &ReportAsked { days, city }).await?)
    }
}
