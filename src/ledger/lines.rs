//! What was posted for a trip, read back for its receipt.

mod store;

use base::{Fault, JournalId, Millis, Piasters, TripId};
use storage::Tx;

use crate::model::{Account, Kind};

/// One leg of a journal about a trip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TripLine {
    pub journal: JournalId,
    pub kind: Kind,
    pub account: Account,
    pub amount: Piasters,
    pub note: Option<String>,
    pub at: Millis,
}

/// What was settled, tipped, given back, in the order in which it was posted; holds are not in it.
pub async fn trip_lines(tx: &mut Tx, trip: TripId) -> Result<Vec<TripLine>, Fault> {
    store::trip_lines(tx, trip).await
}
