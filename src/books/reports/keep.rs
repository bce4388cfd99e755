//! Closed days are added up once, and again when something about them changed later.

use std::collections::BTreeSet;

use base::{Caller, Fault};
use storage::Who;
use tracing::info;

use super::model::{DailyReport, ReportAsked};
use super::store::{self, Balances};
use crate::Books;
use base::{BusinessDay, DayRange};

/// Longest range of a report; further back than that no roll-up is made up for.
pub(crate) const DAYS_MAX: u16 = 400;
/// Late payments are looked for on so many days, should a night have been missed.
const LATE_DAYS: u16 = 3;

impl Books {
    /// Adds up the closed days that were not, yesterday again, and those whose trips were paid for
    /// lately; how many that were.
    pub async fn roll_up_days(&self) -> Result<usize, Fault> {
        let yesterday = self.today().before();
        let all = DayRange::new(yesterday.back(DAYS_MAX - 1), yesterday, DAYS_MAX)
            .ok_or_else(|| Fault::internal("days that are no range"))?;
        let mut due: BTreeSet<BusinessDay> = self.missing(all).await?.into_iter().collect();
        due.insert(yesterday);
        let mut tx = self.0.slow.begin(&Who::System).await?;
        for back in 0..LATE_DAYS {
            due.extend(store::paid_late_in_tx(&mut tx, yesterday.back(back)).await?);
        }
        drop(tx);
        due.retain(|day| *day <= yesterday);
        for day in &due {
            self.roll_up(*day).await?;
        }
        info!(days = due.len(), "closed days are added up");
        Ok(due.len())
    }

    /// Days of the range that are over and not added up.
    async fn missing(&self, days: DayRange) -> Result<Vec<BusinessDay>, Fault> {
        let today = self.today();
        let mut tx = self.0.slow.begin(&Who::System).await?;
        let Some(begun) = store::begun_in_tx(&mut tx).await? else { return Ok(Vec::new()) };
        let kept = store::company_kept_in_tx(&mut tx, days).await?;
        let kept: BTreeSet<BusinessDay> =
            kept.iter().filter_map(|day| BusinessDay::parse(&day.day)).collect();
        let first = BusinessDay::of(begun);
        let is_missing = |day: &BusinessDay| *day >= first && *day < today && !kept.contains(day);
        Ok(days.days().filter(is_missing).collect())
    }

    async fn roll_up(&self, day: BusinessDay) -> Result<(), Fault> {
        let range = DayRange::new(day, day, 1).ok_or_else(|| Fault::internal("no day"))?;
        let mut tx = self.0.slow.begin(&Who::System).await?;
        store::calm_in_tx(&mut tx, Some(day)).await?;
        let known = !store::company_kept_in_tx(&mut tx, range).await?.is_empty();
        let balances = if known { Balances::Known } else { Balances::Told };
        let company = store::company_in_tx(&mut tx, day, balances).await?;
        store::trips_keep_in_tx(&mut tx, day).await?;
        store::company_keep_in_tx(&mut tx, &company, self.0.clock.now()).await?;
        tx.commit().await
    }

    /// Closed days as they were added up, today as it stands.
    pub async fn daily_report(
        &self,
        admin: &Caller,
        asked: &ReportAsked,
    ) -> Result<DailyReport, Fault> {
        for day in self.missing(asked.days).await? {
            self.roll_up(day).await?;
        }
        let today = self.today();
        let mut tx = self.0.slow.begin(&Who::Caller(*admin)).await?;
        store::calm_in_tx(&mut tx, None).await?;
        let mut trips = store::trips_kept_in_tx(&mut tx, asked).await?;
        let mut company = match asked.is_whole() {
            true => store::company_kept_in_tx(&mut tx, asked.days).await?,
            false => Vec::new(),
        };
        if (asked.days.first()..=asked.days.last()).contains(&today) {
            trips.extend(store::trips_today_in_tx(&mut tx, today, asked).await?);
            if asked.is_whole() {
                company.push(store::company_in_tx(&mut tx, today, Balances::Told).await?);
            }
        }
        Ok(DailyReport {
            from: asked.days.first().to_string(),
            to: asked.days.last().to_string(),
            currency: "EGP",
            trips,
            company,
        })
    }
}
