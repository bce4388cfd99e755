//! Wallets: what there is and what moved.

use base::{Caller, Cursor, Problem};
use ledger::{TransactionsPage, WalletView};
use storage::Who;

use crate::Flows;

impl Flows {
    pub async fn wallet(&self, caller: &Caller) -> Result<WalletView, Problem> {
        let mut tx = self.db.begin(&Who::Caller(*caller)).await?;
        Ok(ledger::wallet(&mut tx, caller.user, caller.role).await?)
    }

    /// Newest first.
    pub async fn transactions(
        &self,
        caller: &Caller,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<TransactionsPage, Problem> {
        let mut tx = self.db.begin(&Who::Caller(*caller)).await?;
        Ok(ledger::transactions(&mut tx, caller.user, caller.role, after, limit).await?)
    }
}
