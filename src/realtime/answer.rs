//! What answers a message: exactly one `ack` or `error` for each that carries an id.

use base::{Clock, Problem};
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use tracing::error;

#[derive(Serialize)]
struct Ack<'a, T> {
    r#type: &'static str,
    id: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<T>,
}

#[derive(Serialize)]
struct Refused<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
    error: ErrorView<'a>,
}

#[derive(Serialize)]
struct ErrorView<'a> {
    code: &'static str,
    message: &'a str,
    details: &'a serde_json::Value,
}

#[derive(Serialize)]
struct Push<'a, T> {
    r#type: &'static str,
    data: &'a T,
}

/// `{"type":"ack","id":…,"data":…}`; nothing for a message without id.
pub(crate) fn ack<T: Serialize>(id: Option<&RawValue>, data: T) -> Option<Bytes> {
    let ack = Ack { r#type: "ack", id: id?, data: Some(data) };
    Some(json(&ack))
}

/// `{"type":"error","id"?:…,"error":{code,message,details}}`; the cause goes to the log only.
pub(crate) fn refusal(id: Option<&RawValue>, problem: &Problem) -> Bytes {
    if let Some(cause) = &problem.cause {
        error!(code = problem.code.name(), cause, "a socket's message failed");
    }
    let view = ErrorView {
        code: problem.code.name(),
        message: &problem.message,
        details: &problem.details,
    };
    json(&Refused { r#type: "error", id, error: view })
}

/// `{"type":…,"data":…}`: a push outside of every numbered stream.
pub(crate) fn push<T: Serialize>(kind: &'static str, data: &T) -> Bytes {
    json(&Push { r#type: kind, data })
}

/// The server's time, as the answer to a position or a ping.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServerTime {
    pub(crate) server_time: base::Millis,
}

impl ServerTime {
    pub(crate) fn now(clock: &Clock) -> Self {
        Self { server_time: clock.now() }
    }
}

pub(crate) fn json<T: Serialize>(value: &T) -> Bytes {
    serde_json::to_vec(value).expect("our own shapes have string keys and finite numbers").into()
}

#[cfg(test)]
mod tests {
    use base::Code;

    use super::*;

    #[test]
    fn an_answer_carries_the_id_as_it_came() {
        let id = RawValue::from_string(r#""a\u0041""#.to_owned()).unwrap();
        let acked = ack(Some(&id), 7).unwrap();
        assert_eq!(acked, r#"{"type":"ack","id":"a\u0041","data":7}"#);
        assert_eq!(ack(None, 7), None);
        let problem = Problem::new(Code::Forbidden, "no").with("current", "x");
        assert_eq!(
            refusal(Some(&id), &problem),
            concat!(
                r#"{"type":"error","id":"a\u0041","error":{"code":"FORBIDDEN","#,
                r#""message":"no","details":{"current":"x"}}}"#
            )
        );
        assert!(refusal(None, &problem).starts_with(br#"{"type":"error","error":{"#));
    }
}
