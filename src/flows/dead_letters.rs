//! Operators see to what nobody tries any more.

use base::{Caller, Cursor, Problem};
use events::{DeadLetter, DeadLetters, Decision, LetterFilter};
use identity::{Audit, AuditObject};
use serde_json::json;
use storage::Who;
use uuid::Uuid;

use crate::Flows;

impl Flows {
    /// Newest first; one more than `limit` says that there are more.
    pub async fn dead_letters(
        &self,
        admin: &Caller,
        filter: &LetterFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, Problem> {
        Ok(DeadLetters::new(&self.db).list(admin, filter, after, limit).await?)
    }

    /// Puts the job down again, or closes the letter for good; who decided it and why stands in the
    /// letter and in the audit log, by the same commit.
    pub async fn decide_letter(
        &self,
        admin: &Caller,
        id: Uuid,
        decision: Decision,
        reason: &str,
    ) -> Result<DeadLetter, Problem> {
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let letter = DeadLetters::decide_in_tx(&mut tx, admin.user, id, decision, reason).await?;
        let action = match decision {
            Decision::Retry => "dead_letter.retry",
            Decision::Discard => "dead_letter.discard",
        };
        let record = Audit::by(admin, action, AuditObject::new("dead_letter", id))
            .with(json!({"kind": letter.kind, "reason": reason}));
        identity::audit_in_tx(&mut tx, &[record]).await?;
        tx.commit().await?;
        Ok(letter)
    }
}
