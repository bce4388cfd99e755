//! What has to be done again and again: cron expressions in the city's own time zone.
//!
//! Whoever moves a schedule's stored `next_at` on puts the job down in the same transaction, so
//! that of many nodes exactly one does; missed occurrences (the program was off) make one job, not
//! many.

use base::{Fault, Millis};
use cronexpr::Crontab;
use storage::{Db, Who};

use super::model::{Kind, NewJob};
use super::{queue, store};

/// A job that recurs.
#[derive(Debug)]
pub struct Schedule {
    /// Unique; also the job's key, so that an occurrence waits while the one before still runs.
    pub name: &'static str,
    /// Five fields and a time zone: `30 3 * * * Africa/Cairo`. A local time that the change to
    /// summer time skips has no occurrence that day, so what is nightly stands outside of 0 to 1
    /// o'clock.
    pub cron: &'static str,
    pub kind: &'static Kind,
}

impl Schedule {
    fn crontab(&self) -> Result<Crontab, Fault> {
        cronexpr::parse_crontab(self.cron)
            .map_err(|error| Fault::internal(format!("schedule {}: {error}", self.name)))
    }

    /// The first occurrence after `now`.
    pub(crate) fn next(&self, now: Millis) -> Result<Millis, Fault> {
        let broken = |error: &dyn std::fmt::Display| {
            Fault::internal(format!("schedule {}: {error}", self.name))
        };
        let after = now.timestamp().ok_or_else(|| broken(&"no such moment"))?;
        let text = after.to_string();
        let next = self.crontab()?.find_next(text.as_str()).map_err(|error| broken(&error))?;
        Ok(Millis(next.timestamp().as_millisecond()))
    }

    /// Puts the job down if an occurrence is due; true when it did.
    pub(crate) async fn tick(&self, db: &Db, now: Millis) -> Result<bool, Fault> {
        let next = self.next(now)?;
        let mut tx = db.begin(&Who::System).await?;
        let due = store::schedule_due(&mut tx, self.name, self.cron, next).await?;
        let mine = due <= now && store::schedule_move(&mut tx, self.name, due, next).await?;
        if mine {
            let job = NewJob::new(self.kind, &serde_json::json!({"due": due}))?.key(self.name);
            queue::add_in_tx(&mut tx, &[job]).await?;
        }
        tx.commit().await?;
        Ok(mine)
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{OnDead, Priority, Queue};
    use super::*;

    static SWEEP: Kind = Kind {
        name: "sweep",
        queue: Queue::Cleanup,
        priority: Priority::Low,
        version: 1,
        attempts: 3,
        on_dead: OnDead::Support,
    };

    #[test]
    fn a_schedule_follows_the_clock_on_the_wall() {
        let check = |cron: &'static str, now: &str, expected: &str| {
            let schedule = Schedule { name: "sweep", cron, kind: &SWEEP };
            let next = schedule.next(Millis::parse(now).unwrap()).unwrap();
            assert_eq!(next.to_string(), expected, "{cron} after {now}");
        };
        let daily = "30 3 * * * Africa/Cairo";
        // Winter is two hours ahead of UTC, summer three; 2026 changes on 24 April and 29 October.
        check(daily, "2026-01-10T00:00:00Z", "2026-01-10T01:30:00.000Z");
        check(daily, "2026-01-10T01:30:00Z", "2026-01-11T01:30:00.000Z");
        check(daily, "2026-04-23T12:00:00Z", "2026-04-24T00:30:00.000Z");
        check(daily, "2026-10-29T12:00:00Z", "2026-10-30T01:30:00.000Z");
        check("*/15 * * * * Africa/Cairo", "2026-06-01T10:01:00Z", "2026-06-01T10:15:00.000Z");
        // 00:30 does not exist on 24 April, when the clocks go forward.
        let skipped = "30 0 * * * Africa/Cairo";
        check(skipped, "2026-04-23T12:00:00Z", "2026-04-24T21:30:00.000Z");
    }

    #[test]
    fn a_broken_expression_is_said_to_be_one() {
        let schedule = Schedule { name: "sweep", cron: "61 * * * * Africa/Cairo", kind: &SWEEP };
        assert!(schedule.next(Millis(0)).is_err());
    }
}
