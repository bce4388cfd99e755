//! The envelope of every answer: `{success, data | error, meta}`, or RFC 9457 where a refusal was
//! asked for as `application/problem+json`.

use base::{Code, Millis, Problem};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

pub(crate) const VERSION: &str = "v1";

/// About the answer itself.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Meta<'a> {
    /// The request's id, also in `X-Request-Id`; name it when you report a problem.
    pub request_id: &'a str,
    pub timestamp: Millis,
    pub version: &'static str,
}

/// An answer that worked.
#[derive(Serialize, ToSchema)]
pub(crate) struct Success<'a, T> {
    pub success: bool,
    pub data: T,
    pub meta: Meta<'a>,
}

/// A refusal or failure.
#[derive(Serialize, ToSchema)]
pub(crate) struct Failure<'a> {
    /// Always false.
    pub success: bool,
    pub error: ErrorBody<'a>,
    pub meta: Meta<'a>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorBody<'a> {
    /// Stable; the sentence beside it may change.
    #[schema(value_type = ErrorCode)]
    pub code: &'static str,
    pub message: &'a str,
    /// `{fields}`, `{current}`, `{quote}`, …; empty when there is nothing to add.
    #[schema(value_type = Object)]
    pub details: &'a Value,
}

/// The codes as the document lists them.
pub(crate) struct ErrorCode;

impl PartialSchema for ErrorCode {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("A stable reason; `refusals.json` has the HTTP status of each."))
            .enum_values(Some(Code::ALL.iter().map(|code| code.name())))
            .into()
    }
}

impl ToSchema for ErrorCode {}

/// RFC 9457.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProblemJson<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'static str,
    details: &'a Value,
    request_id: &'a str,
}

/// `data` is JSON already.
pub(crate) fn success(data: &[u8], meta: Meta<'_>) -> Vec<u8> {
    let Ok(data) = serde_json::from_slice::<&RawValue>(data) else { return Vec::new() };
    serde_json::to_vec(&Success { success: true, data, meta }).unwrap_or_default()
}

pub(crate) fn failure(problem: &Problem, meta: Meta<'_>) -> Vec<u8> {
    let error = ErrorBody {
        code: problem.code.name(),
        message: &problem.message,
        details: &problem.details,
    };
    serde_json::to_vec(&Failure { success: false, error, meta }).unwrap_or_default()
}

pub(crate) fn problem_json(problem: &Problem, meta: &Meta<'_>) -> Vec<u8> {
    let body = ProblemJson {
        r#type: format!("urn:smartline:problem:{}", problem.code.name()),
        title: &problem.message,
        status: problem.code.status(),
        code: problem.code.name(),
        details: &problem.details,
        request_id: meta.request_id,
    };
    serde_json::to_vec(&body).unwrap_or_default()
}
