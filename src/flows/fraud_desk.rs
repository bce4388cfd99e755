//! Before money moves by an account's own wish, somebody asks whether it may; operators decide
//! about accounts that met a rule.
//!
//! A check has a budget. When it breaks or takes longer, deposits and bookings go on and a metric
//! says so; a withdrawal that could not be checked waits for a person.

use base::{Caller, Code, Cursor, Fault, Piasters, Problem, UserId};
use events::Once;
use fleet::Barred;
use fraud::{
    Action, Admission, CaseFilter, Decision, FraudCase, FraudPage, Movement, Note, Told, Turned,
    told,
};
use identity::{Audit, AuditObject};
use metrics::counter;
use notify::{Message, News};
use serde_json::json;
use storage::{Tx, Who};
use tracing::warn;
use uuid::Uuid;

use crate::Flows;
use crate::watch_conduct::misconduct;

/// Was a movement looked at?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Checked {
    Done,
    /// Nobody knows: what goes out has to wait for a person.
    Broken,
}

impl Flows {
    /// Counts what `account` asks for, and refuses what its standing does not allow.
    pub(crate) async fn admit_movement(
        &self,
        account: UserId,
        movement: Movement,
        amount: Piasters,
    ) -> Result<Checked, Problem> {
        let asking = self.ask_about(account, movement, amount);
        let asked = tokio::time::timeout(self.fraud.patience(), asking).await;
        let late = || Fault::unavailable("the check took too long");
        let (admission, turned) = match asked.unwrap_or_else(|_| Err(late())) {
            Ok(asked) => (asked.admission, asked.turned),
            Err(fault) => {
                warn!(%fault, movement = movement.name(), "a movement could not be checked");
                counter!("smartline_fraud_checks_total",
                    "movement" => movement.name(), "result" => "broken")
                .increment(1);
                return Ok(Checked::Broken);
            }
        };
        self.after_turn(turned).await;
        match admission {
            Admission::Go | Admission::Waits => Ok(Checked::Done),
            Admission::UnderReview => Err(under_review()),
            Admission::Blocked => Err(blocked()),
        }
    }

    /// Money that leaves an account for somebody else's, beside what is booked: nothing of it is
    /// counted, but it stays where it is while somebody has to decide about the account.
    pub(crate) async fn admit_gift_in_tx(
        &self,
        tx: &mut Tx,
        account: UserId,
    ) -> Result<(), Problem> {
        match self.fraud.standing_in_tx(tx, account).await? {
            None | Some(Action::Flag) => Ok(()),
            Some(Action::Hold) => Err(under_review()),
            Some(Action::Block) => Err(blocked()),
        }
    }

    async fn ask_about(
        &self,
        account: UserId,
        movement: Movement,
        amount: Piasters,
    ) -> Result<fraud::Asked, Fault> {
        let mut tx = self.db.begin(&Who::System).await?;
        let asked = self.fraud.ask_in_tx(&mut tx, account, movement, amount).await?;
        self.carry_out_in_tx(&mut tx, asked.turned).await?;
        tx.commit().await?;
        Ok(asked)
    }

    /// Notes what an account did. Never the reason for a refusal: what can't be noted is let go.
    pub(crate) async fn note_of(&self, account: UserId, note: Note<'_>) {
        let noting = async {
            let mut tx = self.db.begin(&Who::System).await?;
            let turned = self.note_of_in_tx(&mut tx, account, note).await?;
            tx.commit().await?;
            Ok(turned)
        };
        let patience = self.fraud.patience();
        let noted: Result<Result<_, Fault>, _> = tokio::time::timeout(patience, noting).await;
        match noted {
            Ok(Ok(turned)) => self.after_turn(turned).await,
            Ok(Err(fault)) => let_go(&fault.to_string()),
            Err(_) => let_go("it took too long"),
        }
    }

    /// The same in the caller's transaction; its answer goes to [`Self::after_turn`] after the
    /// commit.
    pub(crate) async fn note_of_in_tx(
        &self,
        tx: &mut Tx,
        account: UserId,
        note: Note<'_>,
    ) -> Result<Option<Turned>, Fault> {
        let turned = self.fraud.note_in_tx(tx, account, note).await?;
        self.carry_out_in_tx(tx, turned).await?;
        Ok(turned)
    }

    /// A withdrawal that could not be checked waits for a person, by the commit that asks for it.
    pub(crate) async fn hold_unchecked_in_tx(
        &self,
        tx: &mut Tx,
        account: UserId,
        amount: Piasters,
    ) -> Result<Option<Turned>, Fault> {
        let turned = self.fraud.hold_unchecked_in_tx(tx, account, amount).await?;
        self.carry_out_in_tx(tx, turned).await?;
        Ok(turned)
    }

    /// Nothing is paid out while somebody has to decide about the account: asked when a withdrawal
    /// is approved, and again when it goes out. No case is opened until the transaction ends.
    pub(crate) async fn admit_payout_in_tx(
        &self,
        tx: &mut Tx,
        account: UserId,
    ) -> Result<(), Problem> {
        let standing = self.fraud.standing_in_tx(tx, account).await?;
        let code = match standing {
            None | Some(Action::Flag) => return Ok(()),
            Some(Action::Hold) => Code::AccountUnderReview,
            Some(Action::Block) => Code::AccountBlocked,
        };
        Err(Problem::new(code, "decide about the account first, at /admin/fraud"))
    }

    /// Somebody could not log in with this phone. Whose it is gets looked up behind the answer,
    /// which is the same for known and unknown phones; a crowd of them is not noted one by one.
    pub(crate) fn note_failed_login(&self, phone: &str) {
        let Ok(turn) = self.logins.clone().try_acquire_owned() else {
            return let_go("too many logins fail at once");
        };
        let (flows, phone) = (self.clone(), phone.to_owned());
        self.tasks.spawn("failed login", async move {
            match flows.identity.user_of_phone(&phone).await {
                Ok(Some(user)) => flows.note_of(user, Note::LoginFailed).await,
                Ok(None) => {}
                Err(error) => let_go(&error.to_string()),
            }
            drop(turn);
        });
    }

    /// What a new standing means, with the case that brought it.
    pub(crate) async fn carry_out_in_tx(
        &self,
        tx: &mut Tx,
        turned: Option<Turned>,
    ) -> Result<(), Fault> {
        let Some(turned) = turned else { return Ok(()) };
        if let Some(barred) = barred(&turned) {
            fleet::bar_in_tx(tx, turned.account.as_driver(), barred).await?;
        }
        let news = match told(turned.before, turned.after) {
            Some(Told::Held) => News::AccountHeld,
            Some(Told::Released) => News::AccountReleased,
            None => return Ok(()),
        };
        let once = format!("{}:{}", news.kind(), turned.at.0);
        let message = Message { to: turned.account, news, about: None, once, until: None };
        self.notify.tell_in_tx(tx, &message).await.map(drop)
    }

    /// What memory has to know of a standing that is committed.
    pub(crate) async fn after_turn(&self, turned: Option<Turned>) {
        let Some(turned) = turned.filter(|turned| barred(turned).is_some()) else { return };
        if let Err(fault) = self.fleet.reload_facts(turned.account.as_driver()).await {
            warn!(%fault, driver.id = %turned.account, "the fleet does not know who is barred");
        }
    }

    /// Accounts that met a rule, newest first.
    pub async fn fraud_cases(
        &self,
        admin: &Caller,
        filter: &CaseFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<FraudPage, Problem> {
        let page = self.fraud.list(admin, filter, after, limit).await?;
        let shown = page.cases.iter().map(|case| AuditObject::new("fraud_case", case.id));
        self.note_looks(admin, "fraud.read", shown).await?;
        Ok(page)
    }

    /// Clears, confirms or releases; who decided and why stands in the case and in the audit log,
    /// by the same commit.
    pub async fn decide_fraud(
        &self,
        admin: &Caller,
        id: Uuid,
        decision: Decision,
        reason: &str,
        once: Once,
    ) -> Result<FraudCase, Problem> {
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        if once.applied().is_some() {
            // The attempt before did all of it, and its answer got lost.
            let case = self.fraud.case_in_tx(&mut tx, id).await?;
            return case.ok_or_else(Problem::not_found);
        }
        let decided = self.fraud.decide_in_tx(&mut tx, admin.user, id, decision, reason).await?;
        self.carry_out_in_tx(&mut tx, decided.turned).await?;
        let case = &decided.case;
        let driving = misconduct(case.rule).map(|reason| (case.user_id.as_driver(), reason));
        // What he was marked for is nothing any more, or bars him altogether.
        if let Some((driver, reason)) = driving {
            fleet::conduct_forget_in_tx(&mut tx, driver, reason).await?;
        }
        let stops = |standing: Option<Action>| standing.is_some_and(Action::stops_money);
        if decided.turned.is_some_and(|turned| !stops(turned.after)) {
            // What was approved before and waited for this goes on.
            self.payouts.resume_in_tx(&mut tx, case.user_id.as_driver()).await?;
        }
        let action = match decision {
            Decision::Clear => "fraud.clear",
            Decision::Confirm => "fraud.confirm",
            Decision::Release => "fraud.release",
        };
        let record = Audit::by(admin, action, AuditObject::new("fraud_case", id))
            .with(json!({"user": case.user_id, "rule": case.rule, "reason": reason}));
        identity::audit_in_tx(&mut tx, &[record]).await?;
        once.mark_in_tx(&mut tx, id).await?;
        tx.commit().await?;
        self.after_turn(decided.turned).await;
        if let Some((driver, _)) = driving {
            self.reload_conduct(driver).await;
        }
        Ok(decided.case)
    }
}

/// Is a driver kept from offers from now on, or no longer; `None` when that is as it was.
fn barred(turned: &Turned) -> Option<Barred> {
    let is_blocked = |standing| standing == Some(Action::Block);
    match (is_blocked(turned.before), is_blocked(turned.after)) {
        (false, true) => Some(Barred::Yes),
        (true, false) => Some(Barred::No),
        (true, true) | (false, false) => None,
    }
}

fn under_review() -> Problem {
    let why = "the account is being looked at, pay in cash until that is done";
    Problem::new(Code::AccountUnderReview, why)
}

fn blocked() -> Problem {
    Problem::new(Code::AccountBlocked, "no money moves on this account, contact support")
}

fn let_go(why: &str) {
    counter!("smartline_fraud_notes_lost_total").increment(1);
    warn!(why, "what an account did was not noted");
}
