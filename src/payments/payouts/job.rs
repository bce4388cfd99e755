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

/// In the withdrawal's lane: while one job asks the provider no other does.
pub(crate) fn payout(id: WithdrawalId) -> Result<NewJob, Fault> {
    Ok(NewJob::new(&PAYOUT, &PayoutJob { withdrawal_id: id })?.key(id.to_string()).lane(id.0))
}

/// The same because the provider said that something changed: it may have done so after the job
/// that runs at the moment has looked, so that one does not stand for this.
pub(crate) fn told(id: WithdrawalId) -> Result<NewJob, Fault> {
    Ok(payout(id)?.key(format!("told:{id}")))
}
