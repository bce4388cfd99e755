//! What payouts put down to be done later.

use base::Fault;
use events::{Kind, NewJob, OnDead, Priority, Queue, Schedule};
use serde::{Deserialize, Serialize};

use super::model::WithdrawalId;

/// A withdrawal that is to be paid out by the provider, or asked about.
pub static PAYOUT: Kind = Kind {
    name: "payout",
    queue: Queue::Payments,
    priority: Priority::High,
    version: 1,
    attempts: 20,
    on_dead: OnDead::ByHand,
};

/// Finds the payouts to look at.
pub static PAYOUT_LOOKS: Kind = Kind {
    name: "payout_looks",
    queue: Queue::Payments,
    priority: Priority::Normal,
    version: 1,
    attempts: 3,
    on_dead: OnDead::Support,
};

pub static PAYOUTS_EVERY_MINUTE: Schedule =
    Schedule { name: "payout_looks", cron: "* * * * * UTC", kind: &PAYOUT_LOOKS };

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PayoutJob {
    pub withdrawal_id: WithdrawalId,
}

pub(crate) fn payout(id: WithdrawalId) -> Result<NewJob, Fault> {
    Ok(NewJob::new(&PAYOUT, &PayoutJob { withdrawal_id: id })?.key(id.to_string()))
}
