//! What refunds to cards put down to be done later.

use base::Fault;
use events::{Kind, NewJob, OnDead, Priority, Queue, Schedule};
use serde::{Deserialize, Serialize};

use super::model::RefundId;

/// A refund that is to be asked for, or looked at.
pub static REFUND: Kind = Kind {
    name: "card_refund",
    queue: Queue::Payments,
    priority: Priority::High,
    version: 1,
    attempts: 20,
    on_dead: OnDead::ByHand,
};

/// Finds the refunds to look at.
pub static REFUND_LOOKS: Kind = Kind {
    name: "card_refund_looks",
    queue: Queue::Payments,
    priority: Priority::Normal,
    version: 1,
    attempts: 3,
    on_dead: OnDead::Support,
};

pub static REFUNDS_EVERY_MINUTE: Schedule =
    Schedule { name: "card_refund_looks", cron: "* * * * * UTC", kind: &REFUND_LOOKS };

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefundJob {
    pub refund_id: RefundId,
}

pub(crate) fn refund(id: RefundId) -> Result<NewJob, Fault> {
    Ok(NewJob::new(&REFUND, &RefundJob { refund_id: id })?.key(id.to_string()))
}
