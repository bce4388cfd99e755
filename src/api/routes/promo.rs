//! `/promo` and `/admin/promo`: codes and gifts that take something off trips.

use axum::extract::State;
use base::{CityId, Millis, Piasters, PromoCodeId, Tier, UserId, limits, trimmed};
use flows::{Flows, PromoCodeRequest};
use payments::{ActStatus, ActView};
use promo::{PromoCodeView, PromoCodesPage, PromoView, PromosView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::asked::{Asked, Id, PageAsked};
use crate::body::Valid;
use crate::callers::{Admin, Rider};
use crate::envelope::{Failure, Success};
use crate::fields::{Check, Fields};
use crate::keyed::Attempt;
use crate::reply::{Answer, Reply};

const REASON_MAX: usize = 500;
/// Characters of a code.
const CODE: (usize, usize) = (3, 32);
const PER_RIDER_MAX: u32 = 1000;
const USES_MAX: u32 = 100_000_000;
/// Money of one campaign, at most.
const BUDGET_MAX: Piasters = Piasters::pounds(100_000_000);
/// Tiers and cities that one campaign names, at most.
const PLACES_MAX: usize = 100;

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new()
        .routes(routes!(mine))
        .routes(routes!(redeem))
        .routes(routes!(create, list))
        .routes(routes!(disable))
        .routes(routes!(grant))
}

#[derive(Deserialize, ToSchema)]
struct RedeemBody {
    /// As it is printed; capitals or not.
    #[serde(deserialize_with = "trimmed")]
    code: String,
}

impl Check for RedeemBody {
    fn check(&self, fields: &mut Fields) {
        check_code(&self.code, fields);
    }
}

fn check_code(code: &str, fields: &mut Fields) {
    fields.text("code", code, CODE.0, CODE.1);
    if !code.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        fields.wrong("code", "invalid", "must be Latin letters and digits");
    }
}

/// A campaign to be made. `percent` or `offMax` says what each trip gets.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CodeBody {
    /// Latin letters and digits; kept in capitals.
    #[schema(min_length = 3, max_length = 32)]
    #[serde(deserialize_with = "trimmed")]
    code: String,
    /// What it is for; riders read it.
    #[serde(deserialize_with = "trimmed")]
    reason: String,
    /// Of the fare.
    #[schema(minimum = 1, maximum = 100)]
    percent: Option<u32>,
    /// What a trip gets; with `percent`, the most that it gets.
    off_max: Option<Piasters>,
    min_fare: Option<Piasters>,
    /// Every tier when absent.
    #[serde(default)]
    vehicle_types: Vec<Tier>,
    /// Every city when absent.
    #[schema(value_type = Vec<i16>)]
    #[serde(default)]
    cities: Vec<CityId>,
    /// Trips that each rider gets it for; 1 when absent.
    #[schema(minimum = 1, maximum = 1000)]
    per_rider: Option<u32>,
    /// Trips in all; no limit when absent.
    #[schema(minimum = 1, maximum = 100_000_000)]
    max_uses: Option<u32>,
    /// Money in all. It counts as given away by whoever makes the code.
    budget: Piasters,
    /// At once when absent.
    valid_from: Option<Millis>,
    valid_until: Millis,
}

impl Check for CodeBody {
    fn check(&self, fields: &mut Fields) {
        check_code(&self.code, fields);
        fields.text("reason", &self.reason, 1, REASON_MAX);
        let mut number = |field: &str, value: Option<u32>, most: u32| {
            if value.is_some_and(|value| !(1..=most).contains(&value)) {
                fields.wrong(field, "out_of_range", &format!("must be between 1 and {most}"));
            }
        };
        number("percent", self.percent, 100);
        number("perRider", self.per_rider, PER_RIDER_MAX);
        number("maxUses", self.max_uses, USES_MAX);
        let mut amount = |field: &str, value: Option<Piasters>, least: i64, most: Piasters| {
            if value.is_some_and(|value| !(least..=most.0).contains(&value.0)) {
                let text = format!("must be between {} and {most}", Piasters(least));
                fields.wrong(field, "out_of_range", &text);
            }
        };
        let fare = Piasters(limits::FARE_MAX);
        amount("offMax", self.off_max, 1, fare);
        amount("minFare", self.min_fare, 0, fare);
        amount("budget", Some(self.budget), 1, BUDGET_MAX);
        if self.vehicle_types.len() > PLACES_MAX || self.cities.len() > PLACES_MAX {
            fields.wrong("cities", "too_many", "at most 100 cities and tiers");
        }
    }
}

impl From<CodeBody> for PromoCodeRequest {
    fn from(body: CodeBody) -> Self {
        Self {
            code: body.code,
            reason: body.reason,
            percent: body.percent,
            off_max: body.off_max,
            min_fare: body.min_fare,
            tiers: body.vehicle_types,
            cities: body.cities,
            per_rider: body.per_rider,
            max_uses: body.max_uses,
            budget: body.budget,
            valid_from: body.valid_from,
            valid_until: body.valid_until,
        }
    }
}

/// An amount for one rider's trips.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct GrantBody {
    user_id: UserId,
    amount: Piasters,
    expires_at: Millis,
    /// What it is for; the rider reads it.
    #[serde(deserialize_with = "trimmed")]
    reason: String,
}

impl Check for GrantBody {
    fn check(&self, fields: &mut Fields) {
        fields.text("reason", &self.reason, 1, REASON_MAX);
    }
}

#[derive(Serialize, ToSchema)]
struct CodeReply {
    code: PromoCodeView,
}

/// A code that was made; pending (202): it opens with a second admin's word.
#[derive(Serialize, ToSchema)]
struct CodeMadeReply {
    code: PromoCodeView,
    act: ActView,
}

/// What was given, or (202, `act.status` is `pending`) what waits for a second admin.
#[derive(Serialize, ToSchema)]
struct GrantReply {
    #[serde(skip_serializing_if = "Option::is_none")]
    promo: Option<PromoView>,
    act: ActView,
}

/// What the caller gets off his trips, as far as it is not used up. Riders only.
#[utoipa::path(
    get, path = "/promo", tag = "promo",
    responses((status = 200, body = Success<'static, PromosView>)),
    security(("bearer" = []))
)]
async fn mine(Rider(caller): Rider, State(flows): State<Flows>) -> Answer<PromosView> {
    Ok(Reply::ok(flows.promos(&caller).await?))
}

/// Takes a code; what the caller has then. One that he took before stays as it is. Riders only.
#[utoipa::path(
    post, path = "/promo/redeem", tag = "promo", request_body = RedeemBody,
    responses((status = 200, body = Success<'static, PromosView>)),
    security(("bearer" = []))
)]
async fn redeem(
    Rider(caller): Rider,
    State(flows): State<Flows>,
    Attempt(once): Attempt,
    Valid(body): Valid<RedeemBody>,
) -> Answer<PromosView> {
    Ok(Reply::ok(flows.redeem_promo(&caller, &body.code, once).await?))
}

/// Makes a code. With a budget above the admin's limit it waits for a second one (202), and nobody
/// can redeem it until then. Admins only.
#[utoipa::path(
    post, path = "/admin/promo/codes", tag = "admin", request_body = CodeBody,
    responses(
        (status = 201, body = Success<'static, CodeMadeReply>),
        (status = 202, description = "waits for another admin",
            body = Success<'static, CodeMadeReply>)
    ),
    security(("bearer" = []))
)]
async fn create(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Attempt(once): Attempt,
    Valid(body): Valid<CodeBody>,
) -> Answer<CodeMadeReply> {
    let (code, act) = flows.create_promo_code(&caller, body.into(), once).await?;
    let waits = act.status == ActStatus::Pending;
    let reply = CodeMadeReply { code, act };
    Ok(if waits { Reply::accepted(reply) } else { Reply::created(reply) })
}

/// Codes with what was given of them, newest first; ended ones too. Admins only.
#[utoipa::path(
    get, path = "/admin/promo/codes", tag = "admin", params(PageAsked),
    responses((status = 200, body = Success<'static, PromoCodesPage>)),
    security(("bearer" = []))
)]
async fn list(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Asked(page): Asked<PageAsked>,
) -> Answer<PromoCodesPage> {
    Ok(Reply::ok(flows.promo_codes(&caller, page.after(), page.limit()).await?))
}

/// Ends a code, for good; trips that have it keep it. Admins only.
#[utoipa::path(
    post, path = "/admin/promo/codes/{id}/disable", tag = "admin",
    params(("id" = PromoCodeId, Path)),
    responses((status = 200, body = Success<'static, CodeReply>)),
    security(("bearer" = []))
)]
async fn disable(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(id): Id<PromoCodeId>,
    Attempt(once): Attempt,
) -> Answer<CodeReply> {
    Ok(Reply::ok(CodeReply { code: flows.disable_promo_code(&caller, id, once).await? }))
}

/// Gives a rider an amount for his trips. Above the admin's limit it waits for a second one (202).
/// Admins only.
#[utoipa::path(
    post, path = "/admin/promo/grants", tag = "admin", request_body = GrantBody,
    responses(
        (status = 201, body = Success<'static, GrantReply>),
        (status = 202, body = Success<'static, GrantReply>, description = "waits for another admin"),
        (status = 404, body = Failure<'static>, description = "there is no such rider")
    ),
    security(("bearer" = []))
)]
async fn grant(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Attempt(once): Attempt,
    Valid(body): Valid<GrantBody>,
) -> Answer<GrantReply> {
    let GrantBody { user_id, amount, expires_at, reason } = body;
    let acted = flows.grant_promo(&caller, user_id, amount, expires_at, &reason, once).await?;
    let reply = GrantReply { promo: acted.granted(), act: acted.view() };
    Ok(match reply.promo {
        Some(_) => Reply::created(reply),
        None => Reply::accepted(reply),
    })
}
