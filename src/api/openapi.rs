//! The OpenAPI document, generated from the routes, and the pages that show it.

use axum::Router;
use axum::http::Method;
use base::Code;
use ops::{By, Limit, Rates};
use serde_json::{Value, json};
use utoipa::PartialSchema;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, HeaderBuilder, InfoBuilder, LicenseBuilder, Object, ObjectBuilder, OpenApi,
    Ref, RefOr, Required, Response, ResponseBuilder, Server, Type,
};
use utoipa_swagger_ui::SwaggerUi;

use crate::envelope::{ErrorBody, ErrorCode, Failure, Meta};
use crate::{keyed, policy, routes};

const INTRODUCTION: &str = "Ride-hailing: accounts, positions, prices, trips, wallets.\n\n\
    Every answer is an envelope: `{success, data, meta}` or `{success, error, meta}`. Money is a \
    JSON number of pounds (EGP) with at most two decimals. Times are RFC 3339 UTC. Distances are \
    metres and durations seconds unless a field says otherwise. Events and positions come by \
    socket at `/ws`, described in the AsyncAPI document.";

/// The header that makes a request safe to send again.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// The document as it is served and kept in `schema/openapi.json`.
pub fn openapi() -> OpenApi {
    finish(routes::all().into_openapi())
}

/// Every refusal with its HTTP status, as kept in `schema/refusals.json`.
pub fn refusals() -> Value {
    let rows = Code::ALL.iter().map(|code| json!({ "code": code.name(), "status": code.status() }));
    json!({ "refusals": rows.collect::<Vec<_>>() })
}

/// Adds what no single route knows: the version, the token, the refusals.
pub(crate) fn finish(mut document: OpenApi) -> OpenApi {
    document.info = InfoBuilder::new()
        .title("SmartLine")
        .version("1")
        .description(Some(INTRODUCTION))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").build()))
        .build();
    document.servers = Some(vec![Server::new("/api/v1")]);
    let components = document.components.get_or_insert_default();
    let scheme = SecurityScheme::Http(
        Http::builder().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build(),
    );
    components.add_security_scheme("bearer", scheme);
    let key = ApiKeyValue::with_description(
        "X-API-Key",
        "A partner's key; also taken as `Authorization: ApiKey …`.",
    );
    components.add_security_scheme("apiKey", SecurityScheme::ApiKey(ApiKey::Header(key)));
    let schemas = [
        ("ErrorCode", ErrorCode::schema()),
        ("ErrorBody", ErrorBody::schema()),
        ("Meta", Meta::schema()),
        ("Failure", Failure::schema()),
    ];
    components.schemas.extend(schemas.map(|(name, schema)| (name.to_owned(), schema)));
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in [(Method::GET, &mut item.get), (Method::POST, &mut item.post)] {
            if let Some(operation) = operation {
                if keyed::takes_key(&method, path) {
                    let needed = keyed::needs_key(&method, path);
                    let key = key_parameter(if needed { Required::True } else { Required::False });
                    operation.parameters.get_or_insert_default().push(key.into());
                }
                add_refusals(operation);
                let limit = limited(policy::limit(&method, path)).into();
                operation.responses.responses.insert("429".to_owned(), limit);
            }
        }
    }
    document
}

/// The refusal of who asked more often than `limit` allows.
fn limited(limit: Limit) -> Response {
    let rates = Rates::default();
    let rate = rates.of(limit);
    let whose = match limit.by() {
        By::Address => "an address",
        By::User => "an account",
        By::Caller => "an account (an address where there is none)",
        By::Phone => "a phone",
    };
    let (name, count, seconds) = (rate.name, rate.count, rate.window.as_secs());
    let what = format!(
        "too many requests: `{name}` allows {count} in {seconds} s for {whose}, unless the \
         deployment says otherwise; a partner's key has its own measure"
    );
    let mut response = refusal(&what);
    let headers = [
        ("Retry-After", "Seconds until there is room."),
        ("RateLimit-Policy", "The limit: its name, `q` requests in `w` seconds."),
        ("RateLimit", "What is left of it: `r` requests; `t` seconds until there is more."),
    ];
    for (name, what) in headers {
        let header = HeaderBuilder::new()
            .schema(Some(Object::with_type(Type::String)))
            .description(Some(what))
            .build();
        response.headers.insert(name.to_owned(), RefOr::T(header));
    }
    response
}

/// Every change may be sent again under a key of the caller's own.
fn key_parameter(required: Required) -> Parameter {
    ParameterBuilder::new()
        .name(IDEMPOTENCY_KEY)
        .parameter_in(ParameterIn::Header)
        .required(required)
        .description(Some(
            "A text of your own, new for each thing you want done. Sent again with the same body \
             it gets the first answer (24 h), with another one 422, while the first is under way 409.",
        ))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).max_length(Some(255))))
        .build()
}

/// Every status that may come, so that a client author knows them all. What only some routes
/// answer stands at the route.
fn add_refusals(operation: &mut Operation) {
    let parameters: Vec<&Parameter> = operation
        .parameters
        .iter()
        .flatten()
        .filter_map(|known| match known {
            RefOr::T(parameter) => Some(parameter),
            RefOr::Ref(_) => None,
        })
        .collect();
    let takes = |place: ParameterIn| parameters.iter().any(|known| known.parameter_in == place);
    let takes_key = parameters.iter().any(|known| known.name == IDEMPOTENCY_KEY);
    let (in_path, in_query) = (takes(ParameterIn::Path), takes(ParameterIn::Query));
    let (has_body, is_guarded) = (operation.request_body.is_some(), operation.security.is_some());
    let refusals = [
        (has_body || in_query || takes_key, "400", "the request is not as documented"),
        (is_guarded, "401", "no valid access token"),
        (is_guarded, "403", "the role may not do this"),
        (in_path, "404", "there is no such thing, or it is someone else's"),
        (has_body && is_guarded, "409", "not as things stand: `error.code` says why"),
        (has_body, "413", "the body is too large"),
        (has_body, "415", "the body is not JSON"),
        (takes_key, "422", "the key belongs to another request"),
        (true, "429", "too many requests"),
        (true, "500", "a fault of ours"),
        (true, "503", "busy, or something needed is away: try again after `Retry-After`"),
    ];
    let responses = &mut operation.responses.responses;
    for (_, status, what) in refusals.into_iter().filter(|(may_come, ..)| *may_come) {
        responses.entry(status.to_owned()).or_insert_with(|| refusal(what).into());
    }
}

fn refusal(what: &str) -> Response {
    let schema = Ref::from_schema_name("Failure");
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new().description(what).content("application/json", content).build()
}

/// The document, and a page to browse it that loads nothing from elsewhere.
pub(crate) fn pages(document: OpenApi) -> Router {
    SwaggerUi::new("/api/docs").url("/api/openapi.json", document).into()
}
