//! What moved on a person's account between two days: it adds up, or is not given.

mod model;
mod rules;
pub(crate) mod store;

use base::{Caller, Code, Fault, Problem, Role, UserId};
use storage::Who;
use tracing::error;

use crate::Books;
use base::DayRange;

pub use model::{DriverTotals, KindTotal, Standing, StatementLine, StatementView};

/// Lines of one statement.
pub(crate) const LINES_MAX: usize = 10_000;

impl Books {
    /// Whose account it is, for whom, and the days, both included.
    pub async fn statement(
        &self,
        caller: &Caller,
        user: UserId,
        role: Role,
        days: DayRange,
    ) -> Result<StatementView, Problem> {
        let mut tx = self.0.slow.begin(&Who::Caller(*caller)).await?;
        store::still_in_tx(&mut tx).await?;
        let accounts = rules::Accounts::of(role)
            .ok_or_else(|| Problem::new(Code::NotFound, "this account has no wallet"))?;
        let (from, to) = (days.first().start(), days.last().end());
        let opening = store::standing_in_tx(&mut tx, user, accounts, from).await?;
        let closing = store::standing_in_tx(&mut tx, user, accounts, to).await?;
        let moves = store::moves_in_tx(&mut tx, user, accounts, (from, to), LINES_MAX + 1).await?;
        if moves.len() > LINES_MAX {
            let text = format!("more than {LINES_MAX} lines lie between these days");
            return Err(Problem::field("from", "too_much", &text));
        }
        // What has not been touched since is what the wallet shows.
        let now = ledger::wallet(&mut tx, user, role).await?;
        let is_current = to > self.0.clock.now();
        drop(tx);
        let sum = moves.iter().fold(opening, |sum, moved| sum.after(moved));
        let shown = rules::Sums { balance: now.balance, held: now.held, ..closing };
        if sum != closing || (is_current && shown != closing) {
            error!(user.id = %user, ?opening, ?sum, ?closing, "a statement does not add up");
            return Err(Fault::internal("a statement does not add up").into());
        }
        Ok(rules::statement(days, role, opening, closing, moves))
    }
}
