//! Does the ledger hold what DESIGN 9 promises? The checker that runs after every fault test and in
//! reconciliation.

mod store;

use base::Fault;
use storage::Tx;

use crate::model::Finding;

/// Checks M1 to M9 over the whole ledger; empty when all hold. Reads every entry: for tests and
/// reconciliation, not for a request. That the gateway captured what was deposited (the other half
/// of M8) is for who knows the gateway.
pub async fn check_invariants(tx: &mut Tx) -> Result<Vec<Finding>, Fault> {
    store::findings(tx).await
}
