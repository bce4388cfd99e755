//! Operators' looks leave a record; operators read the records.

use base::{Caller, CityId, Cursor, Problem, Role};
use identity::{Audit, AuditFilter, AuditObject, AuditPage};
use serde_json::{Value, json};
use storage::Tx;

use crate::Flows;

impl Flows {
    /// The audit log, newest first; reading it is recorded like any other look.
    pub async fn audit_log(
        &self,
        admin: &Caller,
        filter: &AuditFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<AuditPage, Problem> {
        let page = self.identity.audit_log(admin, filter, after, limit).await?;
        let details = json!({
            "actor": filter.actor,
            "action": filter.action,
            "objectKind": filter.object_kind,
            "objectId": filter.object_id,
        });
        let look = Audit::by(admin, "audit.read", AuditObject::new("audit", "log")).with(details);
        self.identity.audit(&[look]).await?;
        Ok(page)
    }

    /// An admin begins to watch a city: where its drivers are and which trips run.
    pub async fn note_watch(&self, admin: &Caller, city: CityId) -> Result<(), Problem> {
        self.note_look(admin, "city.watch", AuditObject::new("city", city.0)).await
    }

    pub(crate) async fn note_look(
        &self,
        caller: &Caller,
        action: &'static str,
        seen: AuditObject,
    ) -> Result<(), Problem> {
        self.note_looks(caller, action, std::iter::once(seen)).await
    }

    /// What riders and drivers see is their own; an admin sees other people's, so his look stands
    /// in the log before he has the answer.
    pub(crate) async fn note_looks(
        &self,
        caller: &Caller,
        action: &'static str,
        seen: impl Iterator<Item = AuditObject>,
    ) -> Result<(), Problem> {
        if caller.role != Role::Admin {
            return Ok(());
        }
        let looks: Vec<Audit> = seen.map(|object| Audit::by(caller, action, object)).collect();
        Ok(self.identity.audit(&looks).await?)
    }
}

/// An operator's act, in the transaction of what he does.
pub(crate) async fn audit_in_tx(
    tx: &mut Tx,
    admin: &Caller,
    action: &'static str,
    object: AuditObject,
    details: Value,
) -> Result<(), Problem> {
    let record = Audit::by(admin, action, object).with(details);
    Ok(identity::audit_in_tx(tx, &[record]).await?)
}
