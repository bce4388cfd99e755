//! Promo credit: admins make codes and give amounts, riders redeem and use them.

use base::{
    BasisPoints, Caller, CityId, Code, Cursor, Millis, Piasters, Problem, PromoCodeId,
    PromoCreditId, RiderId, Tier, UserId, limits,
};
use events::{Fact, Once};
use identity::{Audit, AuditObject};
use notify::{Message, News};
use promo::{
    Credit, Fare, NewCode, NewGrant, Off, Offer, PromoCodeView, PromoCodesPage, PromoView,
    PromosView, Redeemed, Unfit,
};
use serde::Serialize;
use serde_json::json;
use storage::{Tx, Who};
use utoipa::ToSchema;

use crate::Flows;

/// A campaign as an admin asks for it, checked in form.
#[derive(Clone, Debug)]
pub struct PromoCodeRequest {
    pub code: String,
    pub reason: String,
    /// Of the fare, 1 to 100.
    pub percent: Option<u32>,
    /// What each trip gets; with `percent`, the most that it gets.
    pub off_max: Option<Piasters>,
    pub min_fare: Option<Piasters>,
    pub tiers: Vec<Tier>,
    pub cities: Vec<CityId>,
    pub per_rider: Option<u32>,
    pub max_uses: Option<u32>,
    pub budget: Option<Piasters>,
    pub valid_from: Option<Millis>,
    pub valid_until: Millis,
}

/// Which promo a booking is to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromoWish {
    /// The one that gives most.
    Best,
    None,
    /// This one: refused when it doesn't fit.
    This(PromoCreditId),
}

/// Payload of `PROMO_GRANTED` and `PROMO_REDEEMED`, version 1.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromoFact {
    rider_id: RiderId,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<Piasters>,
    #[serde(skip_serializing_if = "Option::is_none")]
    granted_by: Option<UserId>,
}

impl Flows {
    pub async fn create_promo_code(
        &self,
        admin: &Caller,
        asked: PromoCodeRequest,
        once: Once,
    ) -> Result<PromoCodeView, Problem> {
        let now = self.clock.now();
        for city in &asked.cities {
            if self.fleet.city(*city).is_none() {
                return Err(Problem::field("cities", "unknown", "must be cities we serve"));
            }
        }
        let new = new_code(asked, admin.user, now)?;
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        if let Some(made) = once.applied() {
            // By an attempt whose answer got lost.
            let made = promo::code_in_tx(&mut tx, PromoCodeId(made)).await?;
            return made.ok_or_else(Problem::not_found);
        }
        let made = promo::code_insert_in_tx(&mut tx, &new).await?;
        let made = made.ok_or_else(|| {
            Problem::new(Code::PromoCodeTaken, "there is such a code already, or was")
        })?;
        let details = json!({ "code": made.code, "reason": made.reason, "budget": made.budget });
        let object = AuditObject::new("promo_code", made.id);
        audit_in_tx(&mut tx, admin, "promo_code.create", object, details).await?;
        once.mark_in_tx(&mut tx, made.id.0).await?;
        tx.commit().await?;
        Ok(made)
    }

    /// Newest first.
    pub async fn promo_codes(
        &self,
        admin: &Caller,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<PromoCodesPage, Problem> {
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        Ok(promo::codes(&mut tx, after, limit).await?)
    }

    /// Ends a code for good; trips that are booked with it keep what they have.
    pub async fn disable_promo_code(
        &self,
        admin: &Caller,
        id: PromoCodeId,
        once: Once,
    ) -> Result<PromoCodeView, Problem> {
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let now = self.clock.now();
        let ended = promo::code_disable_in_tx(&mut tx, id, now).await?;
        let ended = ended.ok_or_else(Problem::not_found)?;
        if once.applied().is_some() {
            // By an attempt whose answer got lost; ended again it is as it was.
            return Ok(ended);
        }
        let object = AuditObject::new("promo_code", id);
        audit_in_tx(&mut tx, admin, "promo_code.disable", object, json!({})).await?;
        once.mark_in_tx(&mut tx, id.0).await?;
        tx.commit().await?;
        Ok(ended)
    }

    /// Gives a rider an amount for his trips, and tells him.
    pub async fn grant_promo(
        &self,
        admin: &Caller,
        user: UserId,
        amount: Piasters,
        expires_at: Millis,
        reason: &str,
        once: Once,
    ) -> Result<PromoView, Problem> {
        let now = self.clock.now();
        if amount <= Piasters::ZERO || amount.0 > limits::FARE_MAX {
            let text = "must be above 0 and at most 10000";
            return Err(Problem::field("amount", "out_of_range", text));
        }
        if expires_at <= now {
            return Err(Problem::field("expiresAt", "invalid", "must be in the future"));
        }
        if self.identity.role_of(user).await? != Some(base::Role::Rider) {
            return Err(Problem::not_found());
        }
        // Named by the key: an attempt after a lost answer answers the same.
        let id = PromoCreditId(once.applied().unwrap_or_else(|| PromoCreditId::new().0));
        let (rider, reason) = (user.as_rider(), reason.to_owned());
        let granted_by = admin.user;
        let grant = NewGrant { id, rider, amount, expires_at, reason, granted_by, at: now };
        let view = granted(&grant);
        if once.applied().is_some() {
            return Ok(view);
        }
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        promo::grant_in_tx(&mut tx, &grant).await?;
        let payload =
            PromoFact { rider_id: rider, amount: Some(amount), granted_by: Some(granted_by) };
        fact_in_tx(&mut tx, id, "PROMO_GRANTED", &payload, now).await?;
        let message = Message {
            to: user,
            news: News::PromoGranted { amount, until: expires_at },
            about: Some(id.0),
            once: format!("promo_granted:{id}"),
            until: None,
        };
        self.notify.tell_in_tx(&mut tx, &message).await?;
        let details = json!({ "rider": user, "amount": amount, "reason": grant.reason });
        let object = AuditObject::new("promo_credit", id);
        audit_in_tx(&mut tx, admin, "promo.grant", object, details).await?;
        once.mark_in_tx(&mut tx, id.0).await?;
        tx.commit().await?;
        Ok(view)
    }

    /// Gives the caller what a code gives; one that he has already stays as it is.
    pub async fn redeem_promo(
        &self,
        rider: &Caller,
        code: &str,
        once: Once,
    ) -> Result<PromosView, Problem> {
        let now = self.clock.now();
        let id = rider.user.as_rider();
        let code = code.to_ascii_uppercase();
        let mut tx = self.db.begin(&Who::System).await?;
        match promo::redeem_in_tx(&mut tx, id, &code, now).await? {
            Redeemed::Now(credit) => {
                let payload = PromoFact { rider_id: id, amount: None, granted_by: None };
                fact_in_tx(&mut tx, credit, "PROMO_REDEEMED", &payload, now).await?;
                once.mark_in_tx(&mut tx, credit.0).await?;
            }
            Redeemed::Before => {}
            Redeemed::Unknown => return Err(unfit("unknown", "there is no such code")),
            Redeemed::Refused(why) => return Err(refused(why)),
        }
        tx.commit().await?;
        self.promos(rider).await
    }

    /// What the caller has that is not used up and not over.
    pub async fn promos(&self, rider: &Caller) -> Result<PromosView, Problem> {
        let mut tx = self.db.begin(&Who::Caller(*rider)).await?;
        let now = self.clock.now();
        let credits = promo::credits_in_tx(&mut tx, rider.user.as_rider(), now).await?;
        Ok(PromosView { promos: credits.into_iter().map(PromoView::from).collect() })
    }
}

/// What a trip gets off, of what its rider has.
pub(crate) fn chosen(
    wish: PromoWish,
    credits: &[Credit],
    fare: &Fare,
    now: Millis,
) -> Result<Option<Offer>, Problem> {
    match wish {
        PromoWish::None => Ok(None),
        PromoWish::Best => Ok(promo::best(credits, fare, now)),
        PromoWish::This(id) => match credits.iter().find(|credit| credit.id == id) {
            // Somebody else's, used up, or over: none of it is the rider's any more.
            None => Err(refused(Unfit::UsedUp)),
            Some(credit) => promo::offer(credit, fare, now).map(Some).map_err(refused),
        },
    }
}

fn refused(why: Unfit) -> Problem {
    unfit(why.name(), &why.to_string())
}

fn unfit(reason: &str, text: &str) -> Problem {
    Problem::new(Code::PromoUnfit, text.to_owned()).with("reason", reason)
}

fn granted(grant: &NewGrant) -> PromoView {
    let source = promo::Source::Grant { amount: grant.amount, left: grant.amount };
    let (id, reason, expires_at) = (grant.id, grant.reason.clone(), grant.expires_at);
    PromoView::from(Credit { id, source, reason, expires_at })
}

fn new_code(asked: PromoCodeRequest, admin: UserId, now: Millis) -> Result<NewCode, Problem> {
    let highest = Piasters(limits::FARE_MAX);
    let off = match (asked.percent, asked.off_max) {
        (Some(percent), most) => Off::Share {
            of_fare: BasisPoints(i64::from(percent) * 100),
            at_most: most.unwrap_or(highest),
        },
        (None, Some(amount)) => Off::Amount(amount),
        (None, None) => {
            let text = "either percent or offMax must say what a trip gets";
            return Err(Problem::field("offMax", "required", text));
        }
    };
    let valid_from = asked.valid_from.unwrap_or(now);
    if asked.valid_until <= valid_from || asked.valid_until <= now {
        let text = "must be in the future, and after validFrom";
        return Err(Problem::field("validUntil", "invalid", text));
    }
    Ok(NewCode {
        id: PromoCodeId::new(),
        code: asked.code.to_ascii_uppercase(),
        reason: asked.reason,
        off,
        min_fare: asked.min_fare.unwrap_or_default(),
        tiers: asked.tiers,
        cities: asked.cities,
        per_rider: asked.per_rider.unwrap_or(1),
        uses_max: asked.max_uses,
        budget: asked.budget,
        valid_from,
        valid_until: asked.valid_until,
        created_by: admin,
        at: now,
    })
}

async fn audit_in_tx(
    tx: &mut Tx,
    admin: &Caller,
    action: &'static str,
    object: AuditObject,
    details: serde_json::Value,
) -> Result<(), Problem> {
    let record = Audit::by(admin, action, object).with(details);
    Ok(identity::audit_in_tx(tx, &[record]).await?)
}

async fn fact_in_tx(
    tx: &mut Tx,
    credit: PromoCreditId,
    kind: &'static str,
    payload: &PromoFact,
    at: Millis,
) -> Result<(), Problem> {
    let fact = Fact { aggregate: "promo", id: credit.0, kind, version: 1, payload, at };
    events::append_in_tx(tx, &fact).await?;
    Ok(())
}
