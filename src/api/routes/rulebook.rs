//! `/admin/cities/{city}/…`: the prices of a city as operators keep them, and what changed.

use axum::extract::State;
use base::{BasisPoints, CityId, Millis, Piasters, Point, Tier, limits, trimmed};
use flows::{EventRequest, Flows, HoursRequest, TariffRequest};
use pricing::{ChangeSubject, ChangesPage, EventView, EventsPage, Factor, HoursView, TariffView};
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
use crate::reply::{Answer, Reply};
use crate::routes::places::PointBody;

pub(crate) const REASON_MAX: usize = 500;
pub(crate) const NAME_MAX: usize = 100;
/// Most corners that are looked at; the flow knows how many are allowed.
const CORNERS_READ: usize = 1000;
/// What hours may multiply with, and events.
const HOURS_FACTORS: (Factor, Factor) = (Factor(5_000), Factor::CAP);
const EVENT_FACTORS: (Factor, Factor) = (Factor(5_000), Factor(50_000));

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new()
        .routes(routes!(tariffs, schedule))
        .routes(routes!(withdraw))
        .routes(routes!(hours, add_hours))
        .routes(routes!(end_hours))
        .routes(routes!(events, add_event))
        .routes(routes!(end_event))
        .routes(routes!(approve_event))
        .routes(routes!(changes))
}

/// Rates that are to be in force.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TariffBody {
    vehicle_type: Tier,
    base_fare: Piasters,
    per_km: Piasters,
    per_minute: Piasters,
    minimum_fare: Piasters,
    /// Nothing when absent.
    booking_fee: Option<Piasters>,
    /// Of the price, with at most two decimals.
    #[schema(minimum = 0, maximum = 100)]
    commission_percent: f64,
    /// At once when absent.
    valid_from: Option<Millis>,
    /// Kept with the change.
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

impl Check for TariffBody {
    fn check(&self, fields: &mut Fields) {
        let highest = Piasters(limits::FARE_MAX);
        let fee = self.booking_fee.unwrap_or_default();
        for (field, amount) in [
            ("baseFare", self.base_fare),
            ("perKm", self.per_km),
            ("perMinute", self.per_minute),
            ("minimumFare", self.minimum_fare),
            ("bookingFee", fee),
        ] {
            if !(Piasters::ZERO..=highest).contains(&amount) {
                let text = format!("must be between 0 and {highest}");
                fields.wrong(field, "out_of_range", &text);
            }
        }
        if share(self.commission_percent).is_none() {
            let text = "must be between 0 and 100, with at most two decimals";
            fields.wrong("commissionPercent", "out_of_range", text);
        }
        fields.text("reason", &self.reason, 1, REASON_MAX);
    }
}

/// A share with at most two decimals.
pub(crate) fn share(percent: f64) -> Option<BasisPoints> {
    let hundredths = (percent * 100.0).round();
    let exact = (percent * 100.0 - hundredths).abs() < 1e-6;
    (exact && (0.0..=10_000.0).contains(&hundredths)).then_some(BasisPoints(hundredths as i64))
}

/// Tells what is wrong with a multiplier.
pub(crate) fn check_factor(value: f64, (low, high): (Factor, Factor), fields: &mut Fields) {
    if !Factor::parse(value).is_some_and(|factor| low <= factor && factor <= high) {
        let (low, high) = (low.as_f32(), high.as_f32());
        let text = format!("must be between {low} and {high}, with at most two decimals");
        fields.wrong("multiplier", "out_of_range", &text);
    }
}

/// A checked multiplier.
pub(crate) fn factor(value: f64) -> Factor {
    Factor::parse(value).unwrap_or(Factor::ONE)
}

/// Tells which corners are no places.
pub(crate) fn check_corners(corners: &[PointBody], fields: &mut Fields) {
    for (index, corner) in corners.iter().take(CORNERS_READ).enumerate() {
        corner.check(&format!("corners[{index}]"), fields);
    }
}

/// Corners that were checked; more than are allowed stay too many.
pub(crate) fn corners(bodies: &[PointBody]) -> Vec<Point> {
    bodies.iter().take(CORNERS_READ).filter_map(|corner| corner.point()).collect()
}

/// Hours of the city's own clock.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct HoursBody {
    /// 0 = Sunday … 6 = Saturday, the day on which it starts; every day when absent.
    #[schema(minimum = 0, maximum = 6)]
    day: Option<i16>,
    #[schema(minimum = 0, maximum = 23)]
    start_hour: i16,
    /// The first hour outside; not after `startHour` means over midnight.
    #[schema(minimum = 0, maximum = 23)]
    end_hour: i16,
    /// With at most two decimals.
    #[schema(minimum = 0.5, maximum = 3)]
    multiplier: f64,
    /// Riders read it beside the price.
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

impl Check for HoursBody {
    fn check(&self, fields: &mut Fields) {
        let mut number = |field: &str, value: i16, most: i16| {
            if !(0..=most).contains(&value) {
                fields.wrong(field, "out_of_range", &format!("must be between 0 and {most}"));
            }
        };
        number("day", self.day.unwrap_or(0), 6);
        number("startHour", self.start_hour, 23);
        number("endHour", self.end_hour, 23);
        check_factor(self.multiplier, HOURS_FACTORS, fields);
        fields.text("name", &self.name, 1, NAME_MAX);
        fields.text("reason", &self.reason, 1, REASON_MAX);
    }
}

/// A happening that is to raise prices where it is.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EventBody {
    /// Riders read it beside the price.
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// Around it, in order; closed or not. It must not cross itself, and lie within the city.
    #[schema(min_items = 3, max_items = 500)]
    corners: Vec<PointBody>,
    /// At once when absent.
    starts_at: Option<Millis>,
    ends_at: Millis,
    /// With at most two decimals. Above 3 it is 3 until another admin agrees.
    #[schema(minimum = 0.5, maximum = 5)]
    multiplier: f64,
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

impl Check for EventBody {
    fn check(&self, fields: &mut Fields) {
        fields.text("name", &self.name, 1, NAME_MAX);
        check_corners(&self.corners, fields);
        check_factor(self.multiplier, EVENT_FACTORS, fields);
        fields.text("reason", &self.reason, 1, REASON_MAX);
    }
}

/// Why something is changed.
#[derive(Deserialize, ToSchema)]
pub(crate) struct ReasonBody {
    /// Kept with the change and in the audit log.
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 500)]
    pub(crate) reason: String,
}

impl Check for ReasonBody {
    fn check(&self, fields: &mut Fields) {
        fields.text("reason", &self.reason, 1, REASON_MAX);
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ChangesAsked {
    /// Changes of this kind only.
    subject: Option<ChangeSubject>,
}

impl Check for ChangesAsked {}

#[derive(Serialize, ToSchema)]
struct TariffsReply {
    tariffs: Vec<TariffView>,
}

#[derive(Serialize, ToSchema)]
struct TariffReply {
    tariff: TariffView,
}

#[derive(Serialize, ToSchema)]
struct HoursListReply {
    hours: Vec<HoursView>,
}

#[derive(Serialize, ToSchema)]
struct HoursReply {
    hours: HoursView,
}

#[derive(Serialize, ToSchema)]
struct EventReply {
    event: EventView,
}

/// What is no more.
#[derive(Serialize, ToSchema)]
struct RemovedReply {
    id: Uuid,
}

/// Tariffs of a city that are or will be in force. Admins only.
#[utoipa::path(
    get, path = "/admin/cities/{city}/tariffs", tag = "admin", params(("city" = CityId, Path)),
    responses((status = 200, body = Success<'static, TariffsReply>)),
    security(("bearer" = []))
)]
async fn tariffs(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(city): Id<CityId>,
) -> Answer<TariffsReply> {
    Ok(Reply::ok(TariffsReply { tariffs: flows.tariffs(&caller, city).await? }))
}

/// New rates of a tier, at once or from a moment ahead, until the next change that is scheduled;
/// the ones before end there. Booked trips keep their price. Admins only.
#[utoipa::path(
    post, path = "/admin/cities/{city}/tariffs", tag = "admin",
    params(("city" = CityId, Path)), request_body = TariffBody,
    responses((status = 201, body = Success<'static, TariffReply>)),
    security(("bearer" = []))
)]
async fn schedule(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(city): Id<CityId>,
    Attempt(once): Attempt,
    Valid(body): Valid<TariffBody>,
) -> Answer<TariffReply> {
    let asked = TariffRequest {
        tier: body.vehicle_type,
        base_fare: body.base_fare,
        per_km: body.per_km,
        per_minute: body.per_minute,
        minimum_fare: body.minimum_fare,
        booking_fee: body.booking_fee.unwrap_or_default(),
        commission: share(body.commission_percent).unwrap_or_default(),
        from: body.valid_from,
    };
    let tariff = flows.schedule_tariff(&caller, city, asked, &body.reason, once).await?;
    Ok(Reply::created(TariffReply { tariff }))
}

/// Takes a tariff back that is not in force yet; the one before it goes on. Admins only.
#[utoipa::path(
    post, path = "/admin/tariffs/{id}/withdraw", tag = "admin", params(("id" = Uuid, Path)),
    request_body = ReasonBody,
    responses((status = 200, body = Success<'static, RemovedReply>)),
    security(("bearer" = []))
)]
async fn withdraw(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(id): Id<Uuid>,
    Attempt(once): Attempt,
    Valid(body): Valid<ReasonBody>,
) -> Answer<RemovedReply> {
    flows.withdraw_tariff(&caller, id, &body.reason, once).await?;
    Ok(Reply::ok(RemovedReply { id }))
}

/// Hours that cost more or less, by the city's own clock. Admins only.
#[utoipa::path(
    get, path = "/admin/cities/{city}/hours", tag = "admin", params(("city" = CityId, Path)),
    responses((status = 200, body = Success<'static, HoursListReply>)),
    security(("bearer" = []))
)]
async fn hours(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(city): Id<CityId>,
) -> Answer<HoursListReply> {
    Ok(Reply::ok(HoursListReply { hours: flows.hours(&caller, city).await? }))
}

/// Hours that cost more or less from now on; where some overlap the highest counts. Admins only.
#[utoipa::path(
    post, path = "/admin/cities/{city}/hours", tag = "admin", params(("city" = CityId, Path)),
    request_body = HoursBody,
    responses((status = 201, body = Success<'static, HoursReply>)),
    security(("bearer" = []))
)]
async fn add_hours(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(city): Id<CityId>,
    Attempt(once): Attempt,
    Valid(body): Valid<HoursBody>,
) -> Answer<HoursReply> {
    let HoursBody { day, start_hour, end_hour, multiplier, name, reason } = body;
    let asked = HoursRequest { day, start_hour, end_hour, factor: factor(multiplier), name };
    let hours = flows.add_hours(&caller, city, asked, &reason, once).await?;
    Ok(Reply::created(HoursReply { hours }))
}

/// Ends hours from now on. Admins only.
#[utoipa::path(
    post, path = "/admin/hours/{id}/end", tag = "admin", params(("id" = Uuid, Path)),
    request_body = ReasonBody,
    responses((status = 200, body = Success<'static, RemovedReply>)),
    security(("bearer" = []))
)]
async fn end_hours(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(id): Id<Uuid>,
    Attempt(once): Attempt,
    Valid(body): Valid<ReasonBody>,
) -> Answer<RemovedReply> {
    flows.end_hours(&caller, id, &body.reason, once).await?;
    Ok(Reply::ok(RemovedReply { id }))
}

/// Events of a city, the newest first; ended ones too. Admins only.
#[utoipa::path(
    get, path = "/admin/cities/{city}/events", tag = "admin",
    params(("city" = CityId, Path), PageAsked),
    responses((status = 200, body = Success<'static, EventsPage>)),
    security(("bearer" = []))
)]
async fn events(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(city): Id<CityId>,
    Asked(page): Asked<PageAsked>,
) -> Answer<EventsPage> {
    Ok(Reply::ok(flows.city_events(&caller, city, page.after(), page.limit()).await?))
}

/// A happening that raises prices where it is; where some overlap the highest counts. Above three
/// times the fare it is three times until another admin agrees. Admins only.
#[utoipa::path(
    post, path = "/admin/cities/{city}/events", tag = "admin", params(("city" = CityId, Path)),
    request_body = EventBody,
    responses((status = 201, body = Success<'static, EventReply>)),
    security(("bearer" = []))
)]
async fn add_event(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(city): Id<CityId>,
    Attempt(once): Attempt,
    Valid(body): Valid<EventBody>,
) -> Answer<EventReply> {
    let asked = EventRequest {
        name: body.name,
        corners: corners(&body.corners),
        starts: body.starts_at,
        ends: body.ends_at,
        factor: factor(body.multiplier),
    };
    let event = flows.add_event(&caller, city, asked, &body.reason, once).await?;
    Ok(Reply::created(EventReply { event }))
}

/// Ends an event from now on. Admins only.
#[utoipa::path(
    post, path = "/admin/events/{id}/end", tag = "admin", params(("id" = Uuid, Path)),
    request_body = ReasonBody,
    responses((status = 200, body = Success<'static, EventReply>)),
    security(("bearer" = []))
)]
async fn end_event(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(id): Id<Uuid>,
    Attempt(once): Attempt,
    Valid(body): Valid<ReasonBody>,
) -> Answer<EventReply> {
    Ok(Reply::ok(EventReply { event: flows.end_event(&caller, id, &body.reason, once).await? }))
}

/// A second admin's word on an event above three times the fare. Admins only.
#[utoipa::path(
    post, path = "/admin/events/{id}/approve", tag = "admin", params(("id" = Uuid, Path)),
    request_body = ReasonBody,
    responses((status = 200, body = Success<'static, EventReply>)),
    security(("bearer" = []))
)]
async fn approve_event(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(id): Id<Uuid>,
    Attempt(once): Attempt,
    Valid(body): Valid<ReasonBody>,
) -> Answer<EventReply> {
    let event = flows.approve_event(&caller, id, &body.reason, once).await?;
    Ok(Reply::ok(EventReply { event }))
}

/// What changed in a city, by whom and why, the newest first. Admins only.
#[utoipa::path(
    get, path = "/admin/cities/{city}/changes", tag = "admin",
    params(("city" = CityId, Path), ChangesAsked, PageAsked),
    responses((status = 200, body = Success<'static, ChangesPage>)),
    security(("bearer" = []))
)]
async fn changes(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(city): Id<CityId>,
    Asked(asked): Asked<ChangesAsked>,
    Asked(page): Asked<PageAsked>,
) -> Answer<ChangesPage> {
    let (after, limit) = (page.after(), page.limit());
    Ok(Reply::ok(flows.city_changes(&caller, city, asked.subject, after, limit).await?))
}
