//! The OpenAPI document, generated from the routes, and the pages that show it.

use axum::Router;
use base::Code;
use serde_json::{Value, json};
use utoipa::PartialSchema;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, Ref, Response, ResponseBuilder, Server,
};
use utoipa_swagger_ui::SwaggerUi;

use crate::envelope::{ErrorBody, ErrorCode, Failure, Meta};
use crate::routes;

const INTRODUCTION: &str = "Ride-hailing: accounts, positions, prices, trips, wallets.\n\n\
    Every answer is an envelope: `{success, data, meta}` or `{success, error, meta}`. Money is a \
    JSON number of pounds (EGP) with at most two decimals. Times are RFC 3339 UTC. Distances are \
    metres and durations seconds unless a field says otherwise. Events and positions come by \
    socket at `/ws`, described in the AsyncAPI document.";

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
    for item in document.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
            add_refusals(operation);
        }
    }
    document
}

fn add_refusals(operation: &mut Operation) {
    let responses = &mut operation.responses.responses;
    let mut add = |status: &str, what: &str| {
        responses.entry(status.to_owned()).or_insert_with(|| refusal(what).into());
    };
    add("default", "refused or failed: `error.code` says why");
    if operation.security.is_some() {
        add("401", "no valid access token");
        add("403", "the role may not do this");
    }
    if operation.request_body.is_some() {
        add("400", "the body is not as documented");
        add("413", "the body is too large");
        add("415", "the body is not JSON");
    }
    if operation.parameters.is_some() {
        add("404", "there is no such thing, or it is someone else's");
    }
    add("429", "too many requests");
    add("503", "busy, or something needed is away: try again after `Retry-After`");
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
