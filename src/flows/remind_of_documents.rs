//! Drivers are reminded of documents that run out: two weeks, one week, and a day before.

use std::time::Duration;

use base::{Fault, Millis};
use fleet::Expiring;
use notify::{Message, News};
use storage::Who;

use crate::Flows;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Days before the end at which a reminder is due, soonest first.
const MILESTONES: [u32; 3] = [1, 7, 14];

impl Flows {
    /// Tells every driver whose document has passed a milestone; how many documents that are. Each
    /// milestone is told once, however often this runs.
    pub async fn remind_of_documents(&self) -> Result<usize, Fault> {
        let now = self.clock.now();
        let horizon = now + DAY * MILESTONES[MILESTONES.len() - 1];
        let expiring = self.fleet.onboarding().expiring(now, horizon).await?;
        let mut tx = self.db.begin(&Who::System).await?;
        let reminders = expiring.iter().filter_map(|document| reminder(document, now));
        let mut reminded = 0;
        for message in reminders {
            reminded += usize::from(self.notify.tell_in_tx(&mut tx, &message).await?.is_some());
        }
        tx.commit().await?;
        Ok(reminded)
    }
}

fn reminder(document: &Expiring, now: Millis) -> Option<Message> {
    let Expiring { driver, kind, at } = document;
    let left = at.after(now);
    let milestone = MILESTONES.into_iter().find(|days| left <= DAY * *days)?;
    Some(Message {
        to: (*driver).into(),
        news: News::DocumentExpiring { document: kind.clone(), at: *at },
        about: None,
        // A renewed document has another end, and is reminded of anew.
        once: format!("document:{kind}:{}:{milestone}", at.0),
        until: Some(*at),
    })
}

#[cfg(test)]
mod tests {
    use base::DriverId;

    use super::*;

    #[test]
    fn a_milestone_is_told_once_and_a_renewed_document_anew() {
        let check = |days: u64, hours: u64, expected: &str| {
            let at =
                Millis(0) + DAY * u32::try_from(days).unwrap() + Duration::from_secs(hours * 3600);
            let driver = DriverId::from_u128(1);
            let document = Expiring { driver, kind: "insurance".to_owned(), at };
            let once = reminder(&document, Millis(0)).map(|message| message.once);
            let milestone = once.as_deref().and_then(|once| once.rsplit(':').next());
            assert_eq!(milestone.unwrap_or("none"), expected, "{days} days {hours} hours");
        };
        check(15, 0, "none");
        check(14, 0, "14");
        check(7, 1, "14");
        check(7, 0, "7");
        check(1, 1, "7");
        check(1, 0, "1");
        check(0, 1, "1");
    }
}
