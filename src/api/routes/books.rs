//! `/wallet/statement` and what operators read of the books: reports, reconciliation.

use axum::extract::State;
use base::{BusinessDay, CityId, DayRange, PaymentMethod, Tier, UserId, trimmed};
use books::{
    DailyReport, FindingFilter, FindingKind, FindingStatus, FindingView, FindingsPage, ReportAsked,
    Resolution, RunsPage, StatementView,
};
use flows::Flows;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::asked::{Asked, Id, PageAsked};
use crate::body::Valid;
use crate::callers::{Admin, Member};
use crate::envelope::Success;
use crate::fields::{Check, Fields};
use crate::keyed::Attempt;
use crate::reply::{Answer, Refusal, Reply, Sheet};

/// Longest reason, characters.
const REASON_MAX: usize = 500;
/// Days of a report or statement.
const DAYS_MAX: u16 = 366;

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new()
        .routes(routes!(own_statement))
        .routes(routes!(statement))
        .routes(routes!(daily))
        .routes(routes!(runs))
        .routes(routes!(findings))
        .routes(routes!(resolve))
}

base::words! {
    /// How it is written.
    Format {
        Json = "json",
        /// RFC 4180, with a row of names.
        Csv = "csv",
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DaysAsked {
    /// The first day, in Cairo.
    #[param(format = Date, example = "2026-01-01")]
    from: String,
    /// The last day, at most a year after the first.
    #[param(format = Date, example = "2026-01-31")]
    to: String,
    /// `json` when absent.
    #[param(inline)]
    pub(crate) format: Option<Format>,
}

impl DaysAsked {
    fn range(&self) -> Option<DayRange> {
        DayRange::new(BusinessDay::parse(&self.from)?, BusinessDay::parse(&self.to)?, DAYS_MAX)
    }

    /// Checked to be one already.
    pub(crate) fn days(&self) -> Result<DayRange, Refusal> {
        let wrong = || base::Problem::field("to", "out_of_range", "no range of days");
        Ok(self.range().ok_or_else(wrong)?)
    }
}

impl Check for DaysAsked {
    fn check(&self, fields: &mut Fields) {
        let mut are_days = true;
        for (field, day) in [("from", &self.from), ("to", &self.to)] {
            if BusinessDay::parse(day).is_none() {
                fields.wrong(field, "invalid", "must be a day like 2026-01-31");
                are_days = false;
            }
        }
        if are_days && self.range().is_none() {
            fields.wrong("to", "out_of_range", "must be from the first day on, within 366 days");
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct TripsAsked {
    /// Trips of this city only.
    city: Option<CityId>,
    /// Trips of this tier only.
    #[param(inline)]
    tier: Option<Tier>,
    /// Trips paid like this only.
    #[param(inline)]
    method: Option<PaymentMethod>,
}

impl Check for TripsAsked {}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct FindingsAsked {
    /// Findings that stand like this only.
    status: Option<FindingStatus>,
    /// Findings of this kind only.
    kind: Option<FindingKind>,
}

impl Check for FindingsAsked {}

/// How a finding was resolved.
#[derive(Deserialize, ToSchema)]
struct ResolveBody {
    resolution: Resolution,
    /// Kept with the finding and in the audit log.
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

impl Check for ResolveBody {
    fn check(&self, fields: &mut Fields) {
        fields.text("reason", &self.reason, 1, REASON_MAX);
    }
}

/// What moved on the caller's account between two days, with what there was before and after, as
/// JSON or as a table. Riders and drivers.
#[utoipa::path(
    get, path = "/wallet/statement", tag = "wallet", params(DaysAsked),
    responses((status = 200, content(
        (Success<'static, StatementView> = "application/json"), (String = "text/csv")))),
    security(("bearer" = []))
)]
async fn own_statement(
    Member(caller): Member,
    State(flows): State<Flows>,
    Asked(asked): Asked<DaysAsked>,
) -> Result<Sheet<StatementView>, Refusal> {
    let statement = flows.own_statement(&caller, asked.days()?).await?;
    Ok(statement_in(asked.format, statement))
}

/// The same of anybody's account; the look stands in the audit log. Admins only.
#[utoipa::path(
    get, path = "/admin/wallets/{userId}/statement", tag = "admin",
    params(("userId" = UserId, Path), DaysAsked),
    responses((status = 200, content(
        (Success<'static, StatementView> = "application/json"), (String = "text/csv")))),
    security(("bearer" = []))
)]
async fn statement(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(user): Id<UserId>,
    Asked(asked): Asked<DaysAsked>,
) -> Result<Sheet<StatementView>, Refusal> {
    let statement = flows.statement_of(&caller, user, asked.days()?).await?;
    Ok(statement_in(asked.format, statement))
}

fn statement_in(format: Option<Format>, statement: StatementView) -> Sheet<StatementView> {
    match format.unwrap_or(Format::Json) {
        Format::Json => Sheet::Data(statement),
        Format::Csv => {
            let name = format!("statement-{}-{}", statement.from, statement.to);
            Sheet::Table(name, statement.csv())
        }
    }
}

/// Trips and their money by day, city, tier and payment method, and what else the company took in,
/// paid out and owes; days that are over as they were added up, today as it stands. Admins only.
#[utoipa::path(
    get, path = "/admin/reports/daily", tag = "admin", params(DaysAsked, TripsAsked),
    responses((status = 200, content(
        (Success<'static, DailyReport> = "application/json"), (String = "text/csv")))),
    security(("bearer" = []))
)]
async fn daily(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Asked(asked): Asked<DaysAsked>,
    Asked(trips): Asked<TripsAsked>,
) -> Result<Sheet<DailyReport>, Refusal> {
    let TripsAsked { city, tier, method } = trips;
    let wanted = ReportAsked { days: asked.days()?, city, tier, method };
    let report = flows.daily_report(&caller, &wanted).await?;
    Ok(match asked.format.unwrap_or(Format::Json) {
        Format::Json => Sheet::Data(report),
        Format::Csv => Sheet::Table(format!("daily-{}-{}", report.from, report.to), report.csv()),
    })
}

/// Looks at business days, newest first, and how many findings are open of each kind. Admins only.
#[utoipa::path(
    get, path = "/admin/reconciliation", tag = "admin", params(PageAsked),
    responses((status = 200, body = Success<'static, RunsPage>)),
    security(("bearer" = []))
)]
async fn runs(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Asked(page): Asked<PageAsked>,
) -> Answer<RunsPage> {
    Ok(Reply::ok(flows.reconciliation(&caller, page.after(), page.limit()).await?))
}

/// What does not fit, the newest opened first. Admins only.
#[utoipa::path(
    get, path = "/admin/reconciliation/findings", tag = "admin",
    params(FindingsAsked, PageAsked),
    responses((status = 200, body = Success<'static, FindingsPage>)),
    security(("bearer" = []))
)]
async fn findings(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Asked(asked): Asked<FindingsAsked>,
    Asked(page): Asked<PageAsked>,
) -> Answer<FindingsPage> {
    let filter = FindingFilter { status: asked.status, kind: asked.kind };
    Ok(Reply::ok(flows.findings(&caller, filter, page.after(), page.limit()).await?))
}

/// Closes an open finding, with a reason. One that is `fixed` is opened again when it is seen
/// again, one that is `accepted` only when it has changed. Admins only.
#[utoipa::path(
    post, path = "/admin/reconciliation/findings/{id}/resolve", tag = "admin",
    params(("id" = Uuid, Path)), request_body = ResolveBody,
    responses((status = 200, body = Success<'static, FindingView>)),
    security(("bearer" = []))
)]
async fn resolve(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(id): Id<Uuid>,
    Attempt(once): Attempt,
    Valid(body): Valid<ResolveBody>,
) -> Answer<FindingView> {
    let ResolveBody { resolution, reason } = body;
    Ok(Reply::ok(flows.resolve_finding(&caller, id, resolution, &reason, once).await?))
}
