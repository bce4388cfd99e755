//! JSON bodies: read whole, or refused with the field that was wrong. Nothing is half applied.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use base::{Code, Problem, complaint, limits};
use serde::de::DeserializeOwned;

use crate::fields::{Check, Fields};
use crate::reply::Refusal;

/// A body that was understood and keeps its own rules.
pub(crate) struct Valid<T>(pub T);

impl<T, S> FromRequest<S> for Valid<T>
where
    T: DeserializeOwned + Check,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        if declared_length(&parts.headers).is_some_and(|length| length > limits::BODY_BYTES) {
            return Err(too_large().into());
        }
        let bytes = axum::body::to_bytes(body, limits::BODY_BYTES).await;
        let bytes = bytes.map_err(|_| too_large())?;
        Ok(Self(parse(&parts.headers, &bytes)?))
    }
}

/// A body that isn't there is an empty object, unless it must be said: some routes need nothing
/// said, and the others say which fields they miss.
fn parse<T: DeserializeOwned + Check>(headers: &HeaderMap, bytes: &Bytes) -> Result<T, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !bytes.is_empty() && !content_type.is_some_and(is_json) {
        let why = "the body must be JSON: set Content-Type to application/json";
        return Err(Problem::new(Code::UnsupportedMediaType, why));
    }
    if bytes.is_empty() && T::MUST_BE_SAID {
        return Err(Problem::field("body", "required", "is required"));
    }
    let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { bytes };
    if has_nul(bytes) {
        return Err(Problem::new(Code::MalformedBody, "texts must not hold the NUL character"));
    }
    let value: T = read(bytes)?;
    let mut fields = Fields::default();
    value.check(&mut fields);
    fields.done()?;
    Ok(value)
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // A struct could be read from an array too, by position: nobody should rely on that.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::new(Code::MalformedBody, "the body must be a JSON object"));
    }
    let mut input = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut input).map_err(|error| {
        let path = error.path().to_string();
        refused(&path, error.inner())
    })?;
    input.end().map_err(|error| refused("", &error))?;
    Ok(value)
}

fn refused(path: &str, error: &serde_json::Error) -> Problem {
    if !error.is_data() {
        return Problem::new(Code::MalformedBody, "the body is not valid JSON");
    }
    field_problem(path, &complaint(&error.to_string()))
}

/// Makes a field's problem of what a parser said: `path` is the place, a missing field's name is
/// only in the text.
pub(crate) fn field_problem(path: &str, message: &str) -> Problem {
    let parent = if path == "." { "" } else { path };
    let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    match missing {
        Some(name) if parent.is_empty() => Problem::field(name, "required", "is required"),
        Some(name) => Problem::field(&format!("{parent}.{name}"), "required", "is required"),
        None if parent.is_empty() => Problem::field("body", "invalid", message),
        None => Problem::field(parent, "invalid", message),
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// PostgreSQL's texts can't hold it. An escaped backslash before `u0000` makes it plain text.
fn has_nul(bytes: &[u8]) -> bool {
    let escapes = bytes.windows(6).enumerate().filter(|(_, window)| window == b"\\u0000");
    let mut odd = escapes.map(|(at, _)| {
        bytes[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0
    });
    odd.any(|is_escape| is_escape)
}

fn declared_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

pub(crate) fn too_large() -> Problem {
    let why = format!("the body may have at most {} bytes", limits::BODY_BYTES);
    Problem::new(Code::PayloadTooLarge, why).with("limit", limits::BODY_BYTES)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use base::{Piasters, Point};
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Probe {
        pickup: Point,
        #[serde(default)]
        price: Option<Piasters>,
        #[serde(default)]
        stops: Vec<Point>,
    }

    impl Check for Probe {
        fn check(&self, fields: &mut Fields) {
            if self.stops.len() > 1 {
                fields.wrong("stops", "too_many", "at most 1");
            }
        }
    }

    fn check(content_type: &str, body: &str, expected: &str) {
        let mut headers = HeaderMap::new();
        if !content_type.is_empty() {
            headers.insert(header::CONTENT_TYPE, content_type.parse().expect("a header value"));
        }
        let found = match parse::<Probe>(&headers, &Bytes::copy_from_slice(body.as_bytes())) {
            Ok(probe) => format!("{} {:?}", probe.pickup.lat(), probe.price.map(|p| p.0)),
            Err(problem) => {
                let field = &problem.details["fields"][0];
                format!("{} {} {}", problem.code.name(), field["field"], field["code"])
            }
        };
        assert_eq!(found.replace('"', ""), expected, "{body}");
    }

    #[test]
    fn a_body_is_taken_whole_or_refused_with_its_field() {
        let json = "application/json";
        let place = r#"{"lat":30.5,"lng":31}"#;
        check(json, &format!(r#"{{"pickup":{place},"price":42.5,"x":1}}"#), "30.5 Some(4250)");
        check("application/json; charset=utf-8", &format!(r#"{{"pickup":{place}}}"#), "30.5 None");
        check(
            "application/vnd.smartline.v1+json",
            &format!(r#"{{"pickup":{place}}}"#),
            "30.5 None",
        );
        check(
            "text/plain",
            &format!(r#"{{"pickup":{place}}}"#),
            "UNSUPPORTED_MEDIA_TYPE null null",
        );
        check("", &format!(r#"{{"pickup":{place}}}"#), "UNSUPPORTED_MEDIA_TYPE null null");
        check(json, "{", "MALFORMED_BODY null null");
        check(json, "", "VALIDATION_FAILED pickup required");
        check(json, " ", "MALFORMED_BODY null null");
        check(json, &format!(r#"{{"pickup":{place}}} x"#), "MALFORMED_BODY null null");
        check(json, &"[".repeat(100_000), "MALFORMED_BODY null null");
        check(json, &r#"{"x":"#.repeat(100_000), "MALFORMED_BODY null null");
        check("", "", "VALIDATION_FAILED pickup required");
        check(json, "[]", "MALFORMED_BODY null null");
        check(json, "null", "MALFORMED_BODY null null");
        check(json, r#"{"pickup":{"lat":30}}"#, "VALIDATION_FAILED pickup.lng required");
        check(json, r#"{"pickup":{"lat":"a","lng":1}}"#, "VALIDATION_FAILED pickup.lat invalid");
        check(json, r#"{"pickup":{"lat":91,"lng":1}}"#, "VALIDATION_FAILED pickup invalid");
        check(json, r#"{"pickup":{"lat":1e999,"lng":1}}"#, "MALFORMED_BODY null null");
        check(
            json,
            &format!(r#"{{"pickup":{place},"price":1.005}}"#),
            "VALIDATION_FAILED price invalid",
        );
        check(
            json,
            &format!(r#"{{"pickup":{place},"stops":[{place},{{"lat":1}}]}}"#),
            "VALIDATION_FAILED stops[1].lng required",
        );
        check(
            json,
            &format!(r#"{{"pickup":{place},"stops":[{place},{place}]}}"#),
            "VALIDATION_FAILED stops too_many",
        );
    }

    #[derive(Debug, Deserialize)]
    struct Wishes {
        language: Option<String>,
    }

    impl Check for Wishes {
        const MUST_BE_SAID: bool = true;
    }

    #[test]
    fn a_body_that_must_be_said_is_not_taken_for_an_empty_one() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let taken = |body: &'static [u8]| parse::<Wishes>(&headers, &Bytes::from_static(body));
        assert_eq!(taken(b"{}").expect("nothing is wished").language, None);
        let problem = taken(b"").expect_err("nothing was said");
        assert_eq!(problem.details["fields"][0]["field"], "body");
    }

    #[test]
    fn a_nul_is_found_and_a_backslash_before_it_respected() {
        assert!(has_nul(br#"{"a":"x\u0000"}"#));
        assert!(has_nul(br#"{"a":"\\\u0000"}"#));
        assert!(!has_nul(br#"{"a":"\\u0000"}"#));
        assert!(!has_nul(br#"{"a":"u0000"}"#));
    }
}
