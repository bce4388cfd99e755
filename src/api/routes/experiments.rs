//! `/admin/cities/{city}/experiments` and what comes of them; how prices went.

use std::collections::HashSet;

use analytics::{ExperimentResults, PriceReport};
use axum::extract::State;
use base::{BasisPoints, CityId, Millis, Piasters, trimmed};
use flows::{ExperimentRequest, Flows};
use pricing::{
    DISCOUNT_MAX, ExperimentView, ExperimentsPage, Factor, RATE_FACTORS, Twist, VARIANTS_MAX,
    Variant, WEIGHT_MAX,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::asked::{Asked, Id, PageAsked};
use crate::body::Valid;
use crate::callers::Admin;
use crate::envelope::Success;
use crate::fields::{Check, Fields};
use crate::keyed::Attempt;
use crate::reply::{Answer, Refusal, Reply, Sheet};
use crate::routes::books::{DaysAsked, Format};
use crate::routes::rulebook::{NAME_MAX, REASON_MAX, ReasonBody, share};

/// Longest name of a variant, characters.
const VARIANT_NAME_MAX: usize = 50;
/// What a variant may cap surge at.
const SURGE_CAPS: (Factor, Factor) = (Factor::ONE, Factor::CAP);

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new()
        .routes(routes!(experiments, add))
        .routes(routes!(end))
        .routes(routes!(results))
        .routes(routes!(prices))
}

/// Prices to try on some riders.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ExperimentBody {
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// At once when absent.
    starts_at: Option<Millis>,
    /// At most 366 days after its start.
    ends_at: Millis,
    /// Of the city's riders, with at most two decimals; the others are left out.
    #[schema(minimum = 0.01, maximum = 100)]
    share_percent: f64,
    /// The first one is the control and changes nothing. Riders are drawn by their weights.
    #[schema(min_items = 2, max_items = 5)]
    variants: Vec<VariantBody>,
    /// Kept with the change.
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

/// One of the ways to price that are compared. Whatever it changes, a trip costs no less than the
/// tariff's minimum and no more than three times what the tariff alone would make.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct VariantBody {
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 50)]
    name: String,
    #[schema(minimum = 1, maximum = 1000)]
    weight: u32,
    /// Of the tariff's base fare, with at most two decimals; 1 when absent.
    #[schema(minimum = 0.5, maximum = 1.5)]
    base_multiplier: Option<f64>,
    #[schema(minimum = 0.5, maximum = 1.5)]
    per_km_multiplier: Option<f64>,
    #[schema(minimum = 0.5, maximum = 1.5)]
    per_minute_multiplier: Option<f64>,
    /// Surge beyond it is not charged; 3 when absent.
    #[schema(minimum = 1, maximum = 3)]
    surge_cap: Option<f64>,
    /// Taken off each trip; nothing when absent.
    discount: Option<Piasters>,
}

impl VariantBody {
    /// What it changes; a multiplier that is none changes nothing here, and was complained about.
    fn twist(&self) -> Twist {
        let factor =
            |value: Option<f64>, usual: Factor| value.and_then(Factor::parse).unwrap_or(usual);
        Twist {
            base: factor(self.base_multiplier, Factor::ONE),
            per_km: factor(self.per_km_multiplier, Factor::ONE),
            per_minute: factor(self.per_minute_multiplier, Factor::ONE),
            surge_cap: factor(self.surge_cap, Factor::CAP),
            discount: self.discount.unwrap_or_default(),
        }
    }

    fn check(&self, place: usize, fields: &mut Fields) {
        let field = |name: &str| format!("variants[{place}].{name}");
        fields.text(&field("name"), &self.name, 1, VARIANT_NAME_MAX);
        if !(1..=WEIGHT_MAX).contains(&self.weight) {
            let text = format!("must be between 1 and {WEIGHT_MAX}");
            fields.wrong(&field("weight"), "out_of_range", &text);
        }
        for (name, value, (low, high)) in [
            ("baseMultiplier", self.base_multiplier, RATE_FACTORS),
            ("perKmMultiplier", self.per_km_multiplier, RATE_FACTORS),
            ("perMinuteMultiplier", self.per_minute_multiplier, RATE_FACTORS),
            ("surgeCap", self.surge_cap, SURGE_CAPS),
        ] {
            let Some(value) = value else { continue };
            if !Factor::parse(value).is_some_and(|factor| low <= factor && factor <= high) {
                let (low, high) = (low.as_f32(), high.as_f32());
                let text = format!("must be between {low} and {high}, with at most two decimals");
                fields.wrong(&field(name), "out_of_range", &text);
            }
        }
        if !(Piasters::ZERO..=DISCOUNT_MAX).contains(&self.discount.unwrap_or_default()) {
            let text = format!("must be between 0 and {DISCOUNT_MAX}");
            fields.wrong(&field("discount"), "out_of_range", &text);
        }
    }
}

impl Check for ExperimentBody {
    fn check(&self, fields: &mut Fields) {
        fields.text("name", &self.name, 1, NAME_MAX);
        if share(self.share_percent).is_none_or(|share| share <= BasisPoints(0)) {
            let text = "must be between 0.01 and 100, with at most two decimals";
            fields.wrong("sharePercent", "out_of_range", text);
        }
        if !(2..=VARIANTS_MAX).contains(&self.variants.len()) {
            let text = format!("must be between 2 and {VARIANTS_MAX}");
            fields.wrong("variants", "out_of_range", &text);
        }
        let mut names = HashSet::new();
        for (place, variant) in self.variants.iter().take(VARIANTS_MAX).enumerate() {
            variant.check(place, fields);
            if !names.insert(variant.name.as_str()) {
                let field = format!("variants[{place}].name");
                fields.wrong(&field, "taken", "another variant has this name");
            }
        }
        if self.variants.first().is_some_and(|control| control.twist() != Twist::NONE) {
            let text = "the first one is the control: it changes nothing";
            fields.wrong("variants[0]", "invalid", text);
        }
        fields.text("reason", &self.reason, 1, REASON_MAX);
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct CityAsked {
    /// Of this city only.
    city: Option<CityId>,
}

impl Check for CityAsked {}

#[derive(Serialize, ToSchema)]
struct ExperimentReply {
    experiment: ExperimentView,
}

/// Experiments of a city with its prices, the newest first; those that are over too. Admins only.
#[utoipa::path(
    get, path = "/admin/cities/{city}/experiments", tag = "admin",
    params(("city" = CityId, Path), PageAsked),
    responses((status = 200, body = Success<'static, ExperimentsPage>)),
    security(("bearer" = []))
)]
async fn experiments(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(city): Id<CityId>,
    Asked(page): Asked<PageAsked>,
) -> Answer<ExperimentsPage> {
    Ok(Reply::ok(flows.experiments(&caller, city, page.after(), page.limit()).await?))
}

/// Tries prices on some of a city's riders, drawn by their ids: each sees one variant as long as
/// the experiment lasts, and his quotes keep it. It can't be changed, only ended; a city has one at
/// a time. Admins only.
#[utoipa::path(
    post, path = "/admin/cities/{city}/experiments", tag = "admin",
    params(("city" = CityId, Path)), request_body = ExperimentBody,
    responses((status = 201, body = Success<'static, ExperimentReply>)),
    security(("bearer" = []))
)]
async fn add(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(city): Id<CityId>,
    Attempt(once): Attempt,
    Valid(body): Valid<ExperimentBody>,
) -> Answer<ExperimentReply> {
    let variant = |body: VariantBody| {
        let twist = body.twist();
        Variant { name: body.name, weight: body.weight, twist }
    };
    let asked = ExperimentRequest {
        name: body.name,
        starts: body.starts_at,
        ends: body.ends_at,
        share: share(body.share_percent).unwrap_or_default(),
        variants: body.variants.into_iter().map(variant).collect(),
    };
    let experiment = flows.add_experiment(&caller, city, asked, &body.reason, once).await?;
    Ok(Reply::created(ExperimentReply { experiment }))
}

/// Ends an experiment from now on; quotes of it keep their prices. Admins only.
#[utoipa::path(
    post, path = "/admin/experiments/{id}/end", tag = "admin", params(("id" = Uuid, Path)),
    request_body = ReasonBody,
    responses((status = 200, body = Success<'static, ExperimentReply>)),
    security(("bearer" = []))
)]
async fn end(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(id): Id<Uuid>,
    Attempt(once): Attempt,
    Valid(body): Valid<ReasonBody>,
) -> Answer<ExperimentReply> {
    let experiment = flows.end_experiment(&caller, id, &body.reason, once).await?;
    Ok(Reply::ok(ExperimentReply { experiment }))
}

/// What riders of each variant did, with 95 % intervals, and how that differs from the control:
/// who booked, who rode, what was earned, whether drivers were found and how long riders waited.
/// Admins only.
#[utoipa::path(
    get, path = "/admin/experiments/{id}/results", tag = "admin", params(("id" = Uuid, Path)),
    responses((status = 200, body = Success<'static, ExperimentResults>)),
    security(("bearer" = []))
)]
async fn results(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(id): Id<Uuid>,
) -> Answer<ExperimentResults> {
    Ok(Reply::ok(flows.experiment_results(&caller, id).await?))
}

/// How prices went in at most 31 days: price per kilometre by day and by zone, how often estimates
/// were taken at which level of surge, how often and how long it surged, how earnings are spread
/// over drivers. As JSON, or as one table whose first column names the list. Admins only.
#[utoipa::path(
    get, path = "/admin/reports/prices", tag = "admin", params(DaysAsked, CityAsked),
    responses((status = 200, content(
        (Success<'static, PriceReport> = "application/json"), (String = "text/csv")))),
    security(("bearer" = []))
)]
async fn prices(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Asked(asked): Asked<DaysAsked>,
    Asked(of): Asked<CityAsked>,
) -> Result<Sheet<PriceReport>, Refusal> {
    let report = flows.price_report(&caller, asked.days()?, of.city).await?;
    Ok(match asked.format.unwrap_or(Format::Json) {
        Format::Json => Sheet::Data(report),
        Format::Csv => Sheet::Table(format!("prices-{}-{}", report.from, report.to), report.csv()),
    })
}
