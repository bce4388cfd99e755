//! What payments put down to be done later.

use base::Fault;
use events::{Kind, NewJob, OnDead, Priority, Queue, Schedule};
use serde::{Deserialize, Serialize};

use crate::kashier::Notice;
use crate::model::DepositId;

/// A notice of the gateway that is to be applied.
pub static PAYMENT_NOTICE: Kind = Kind {
    name: "payment_notice",
    queue: Queue::Payments,
    priority: Priority::Critical,
    version: 1,
    attempts: 20,
    on_dead: OnDead::ByHand,
};

/// A deposit whose payment the gateway is asked about.
pub static DEPOSIT_LOOK: Kind = Kind {
    name: "deposit_look",
    queue: Queue::Payments,
    priority: Priority::High,
    version: 1,
    attempts: 5,
    on_dead: OnDead::ByHand,
};

/// Finds the deposits to look at.
pub static DEPOSIT_LOOKS: Kind = Kind {
    name: "deposit_looks",
    queue: Queue::Payments,
    priority: Priority::Normal,
    version: 1,
    attempts: 3,
    on_dead: OnDead::Support,
};

pub static EVERY_MINUTE: Schedule =
    Schedule { name: "deposit_looks", cron: "* * * * * UTC", kind: &DEPOSIT_LOOKS };

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NoticeJob {
    pub notice_id: i64,
    /// For operators, who find it in a dead letter.
    pub order_id: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LookJob {
    pub deposit_id: DepositId,
}

pub(crate) fn notice(id: i64, notice: &Notice) -> Result<NewJob, Fault> {
    let payload = NoticeJob { notice_id: id, order_id: notice.order.clone() };
    Ok(NewJob::new(&PAYMENT_NOTICE, &payload)?.key(id.to_string()))
}

pub(crate) fn look_up(id: DepositId) -> Result<NewJob, Fault> {
    Ok(NewJob::new(&DEPOSIT_LOOK, &LookJob { deposit_id: id })?.key(id.to_string()))
}
