//! What authorisations put down to be done later.

use base::Fault;
use events::{Kind, NewJob, OnDead, Priority, Queue, Schedule};
use serde::{Deserialize, Serialize};

use super::model::CardId;

/// An authorisation that something is to be done about: to be looked at, taken, let go.
pub static CARD: Kind = Kind {
    name: "card_authorisation",
    queue: Queue::Payments,
    priority: Priority::High,
    version: 1,
    attempts: 20,
    on_dead: OnDead::ByHand,
};

/// Finds the authorisations to look at.
pub static CARD_LOOKS: Kind = Kind {
    name: "card_looks",
    queue: Queue::Payments,
    priority: Priority::Normal,
    version: 1,
    attempts: 3,
    on_dead: OnDead::Support,
};

pub static CARDS_EVERY_MINUTE: Schedule =
    Schedule { name: "card_looks", cron: "* * * * * UTC", kind: &CARD_LOOKS };

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CardJob {
    pub authorisation_id: CardId,
}

/// In a lane of its own: two don't ask about the same card at the same time. It has no key, since
/// one that runs already may have looked before what this one is about.
pub(crate) fn card(id: CardId) -> Result<NewJob, Fault> {
    Ok(NewJob::new(&CARD, &CardJob { authorisation_id: id })?.lane(id.0))
}

/// By the schedule: one that waits already will do.
pub(crate) fn due(id: CardId) -> Result<NewJob, Fault> {
    Ok(card(id)?.key(id.to_string()))
}
