//! Wallets: what there is, what moved, and corrections by an admin.

use base::{Caller, Code, Cursor, Piasters, Problem, Role, UserId};
use events::Once;
use identity::{Audit, AuditObject};
use ledger::{Account, AdjustmentView, Repeat, TransactionsPage, WalletView};
use serde_json::json;
use storage::Who;

use crate::Flows;
use crate::late_payment::late_payments;

/// Largest correction by one admin, piasters.
const ADJUST_MAX: Piasters = Piasters::pounds(100_000);

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

    /// Adds `amount` to (or, when negative, takes it from) a user's wallet.
    pub async fn adjust_wallet(
        &self,
        admin: &Caller,
        user: UserId,
        amount: Piasters,
        reason: &str,
        once: Once,
    ) -> Result<AdjustmentView, Problem> {
        if amount == Piasters::ZERO || amount.abs() > ADJUST_MAX {
            let text = "must not be zero, and at most 100000 either way";
            return Err(Problem::field("amount", "out_of_range", text));
        }
        let role = self.identity.role_of(user).await?.ok_or_else(Problem::not_found)?;
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        // The key names the journal too: an attempt after a lost answer finds it posted.
        let key = once.key().map(|key| key.to_string());
        let journal = ledger::adjustment(admin.user, user, role, amount, reason, key.as_deref())
            .ok_or_else(|| Problem::new(Code::NotFound, "this account has no wallet"))?;
        let posted = ledger::post_in_tx(&mut tx, &journal).await?;
        if once.applied().is_some() {
            // The attempt before did all of it, and its answer got lost.
            return Ok(posted.view(&journal));
        }
        if posted.repeat == Repeat::Again {
            let why = "this key was used for a correction long ago, take another one";
            return Err(Problem::new(Code::IdempotencyKeyReused, why));
        }
        once.mark_in_tx(&mut tx, posted.journal.0).await?;
        if role == Role::Rider && amount > Piasters::ZERO {
            // What comes in first pays what is owed.
            ledger::pay_due_in_tx(&mut tx, user.as_rider(), posted.journal).await?;
        }
        let details = json!({ "journal": posted.journal, "amount": amount, "reason": reason });
        let wallet = AuditObject::new("wallet", user);
        let record = Audit::by(admin, "wallet.adjust", wallet).with(details);
        identity::audit_in_tx(&mut tx, &[record]).await?;
        let follow_ups = match role {
            Role::Rider if amount > Piasters::ZERO => vec![late_payments(user.as_rider())?],
            Role::Rider | Role::Driver | Role::Admin => Vec::new(),
        };
        events::add_in_tx(&mut tx, &follow_ups).await?;
        tx.commit().await?;
        self.jobs.wake(&follow_ups);
        if let Some(balance) = posted.balance_of(Account::Driver(user)) {
            self.fleet.set_balance(user.as_driver(), balance);
        }
        Ok(posted.view(&journal))
    }
}
