//! Promo credit: admins make codes and give amounts, riders redeem and use them.

use base::{
    BasisPoints, Caller, CityId, Code, Cursor, Millis, Piasters, Problem, PromoCodeId,
    PromoCreditId, RiderId, Tier, UserId, limits,
};
use events::{Fact, Once};
use identity::AuditObject;
use notify::{Message, News};
use payments::{ActDetails, ActId, ActKind, ActStatus, ActView, MoneyAct, NewAct};
use promo::{
    Credit, Fare, NewCode, NewGrant, Off, Offer, PromoCodeView, PromoCodesPage, PromoView,
    PromosView, Redeemed, Unfit,
};
use serde::Serialize;
use serde_json::json;
use storage::{Tx, Who};
use utoipa::ToSchema;

use crate::Flows;
use crate::acts::{Acted, key_used_long_ago};
use crate::audit::audit_in_tx;

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
    pub budget: Piasters,
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
    /// Makes a campaign. Its budget is money that an admin gives away: above his limit the campaign
    /// waits for another admin, and nobody can have it until then.
    pub async fn create_promo_code(
        &self,
        admin: &Caller,
        asked: PromoCodeRequest,
        once: Once,
    ) -> Result<(PromoCodeView, ActView), Problem> {
        let now = self.clock.now();
        for city in &asked.cities {
            if self.fleet.city(*city).is_none() {
                return Err(Problem::field("cities", "unknown", "must be cities we serve"));
            }
        }
        let new = new_code(asked, admin.user, now)?;
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let act = match once.applied() {
            // By an attempt whose answer got lost.
            Some(id) => payments::act_in_tx(&mut tx, ActId(id)).await?,
            None => {
                let made = promo::code_insert_in_tx(&mut tx, &new).await?;
                made.ok_or_else(|| {
                    Problem::new(Code::PromoCodeTaken, "there is such a code already, or was")
                })?;
                let (kind, reason) = (ActKind::PromoCode, new.reason.clone());
                let details = ActDetails::Code { code_id: new.id };
                let what = NewAct::of_company(kind, new.budget, reason, details);
                Some(self.act_in_tx(&mut tx, admin, what, once).await?.act)
            }
        };
        let act = act.ok_or_else(Problem::not_found)?;
        let made = promo::code_in_tx(&mut tx, code_of(&act)?).await?;
        tx.commit().await?;
        Ok((made.ok_or_else(Problem::not_found)?, ActView::from(&act)))
    }

    /// Opens the campaign of an act.
    pub(crate) async fn open_code_in_tx(&self, tx: &mut Tx, act: &MoneyAct) -> Result<(), Problem> {
        match promo::code_open_in_tx(tx, code_of(act)?, self.clock.now()).await? {
            true => Ok(()),
            false => Err(Problem::new(Code::InvalidTransition, "the code was ended meanwhile")),
        }
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

    /// Gives a rider an amount for his trips, and tells him. Above the admin's limit it waits for
    /// another one.
    pub async fn grant_promo(
        &self,
        admin: &Caller,
        user: UserId,
        amount: Piasters,
        expires_at: Millis,
        reason: &str,
        once: Once,
    ) -> Result<Acted, Problem> {
        if amount <= Piasters::ZERO || amount.0 > limits::FARE_MAX {
            let text = "must be above 0 and at most 10000";
            return Err(Problem::field("amount", "out_of_range", text));
        }
        if once.applied().is_none() {
            self.must_be_ahead(expires_at)?;
        }
        if self.identity.role_of(user).await? != Some(base::Role::Rider) {
            return Err(Problem::not_found());
        }
        let what = NewAct {
            details: Some(ActDetails::Grant { expires_at }),
            ..NewAct::on_account(ActKind::PromoGrant, user, amount, reason.to_owned())
        };
        self.act(admin, what, once).await
    }

    fn must_be_ahead(&self, expires_at: Millis) -> Result<(), Problem> {
        match expires_at > self.clock.now() {
            true => Ok(()),
            false => Err(Problem::field("expiresAt", "invalid", "must be in the future")),
        }
    }

    /// The grant of an act, in the name of the admin by whose word it is made.
    pub(crate) async fn grant_in_tx(
        &self,
        tx: &mut Tx,
        admin: &Caller,
        act: &MoneyAct,
    ) -> Result<(), Problem> {
        let grant = grant_of(act, admin.user, self.clock.now()).ok_or_else(Problem::not_found)?;
        self.must_be_ahead(grant.expires_at)?;
        if !promo::grant_in_tx(tx, &grant).await? {
            return Err(key_used_long_ago());
        }
        let NewGrant { id, rider, amount, expires_at, granted_by, at, .. } = grant;
        let payload =
            PromoFact { rider_id: rider, amount: Some(amount), granted_by: Some(granted_by) };
        fact_in_tx(tx, id, "PROMO_GRANTED", &payload, at).await?;
        let message = Message {
            to: rider.into(),
            news: News::PromoGranted { amount, until: expires_at },
            about: Some(id.0),
            once: format!("promo_granted:{id}"),
            until: None,
        };
        self.notify.tell_in_tx(tx, &message).await?;
        Ok(())
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

impl Acted {
    /// What a grant gave; `None` while it waits.
    pub fn granted(&self) -> Option<PromoView> {
        if self.act.status == ActStatus::Pending {
            return None;
        }
        let NewGrant { id, amount, reason, expires_at, .. } =
            grant_of(&self.act, self.act.asked_by, self.act.asked_at)?;
        let source = promo::Source::Grant { amount, left: amount };
        Some(PromoView::from(Credit { id, source, reason, expires_at }))
    }
}

/// The grant that an act makes, under the act's own number.
fn grant_of(act: &MoneyAct, granted_by: UserId, at: Millis) -> Option<NewGrant> {
    let Some(ActDetails::Grant { expires_at }) = act.what.details else { return None };
    let (id, rider) = (PromoCreditId(act.id.0), act.what.user?.as_rider());
    let (amount, reason) = (act.what.amount, act.what.reason.clone());
    Some(NewGrant { id, rider, amount, expires_at, reason, granted_by, at })
}

fn code_of(act: &MoneyAct) -> Result<PromoCodeId, Problem> {
    match act.what.details {
        Some(ActDetails::Code { code_id }) => Ok(code_id),
        _ => Err(Problem::not_found()),
    }
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
