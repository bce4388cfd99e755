//! What handlers answer with. The envelope around it is written by `edge`, which knows the request.

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base::{Code, Problem};
use bytes::Bytes;
use serde::Serialize;

/// A handler's result.
pub(crate) type Answer<T> = Result<Reply<T>, Refusal>;

/// Data with the status it travels under.
pub(crate) struct Reply<T> {
    status: StatusCode,
    data: T,
}

impl<T> Reply<T> {
    pub(crate) const fn ok(data: T) -> Self {
        Self { status: StatusCode::OK, data }
    }

    /// Noted, and to be done once somebody else has agreed.
    pub(crate) const fn accepted(data: T) -> Self {
        Self { status: StatusCode::ACCEPTED, data }
    }

    pub(crate) const fn created(data: T) -> Self {
        Self { status: StatusCode::CREATED, data }
    }
}

/// Data in the envelope, or as a table to keep.
pub(crate) enum Sheet<T> {
    Data(T),
    /// Its name without the ending, and the rows (RFC 4180).
    Table(String, String),
}

impl<T: Serialize> IntoResponse for Sheet<T> {
    fn into_response(self) -> Response {
        let (name, table) = match self {
            Self::Data(data) => return Reply::ok(data).into_response(),
            Self::Table(name, table) => (name, table),
        };
        let mut response = table.into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("text/csv; charset=utf-8; header=present");
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let place = format!("attachment; filename=\"{name}.csv\"");
        if let Ok(place) = HeaderValue::from_str(&place) {
            headers.insert(header::CONTENT_DISPOSITION, place);
        }
        response
    }
}

/// A refusal on its way out.
pub(crate) struct Refusal(pub Problem);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

/// What a response will hold once it has its envelope; travels in the response's extensions.
#[derive(Clone)]
pub(crate) enum Outcome {
    /// JSON of the data.
    Data(Bytes),
    Refused(Arc<Problem>),
}

impl<T: Serialize> IntoResponse for Reply<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.data) {
            Ok(json) => with_outcome(self.status, Outcome::Data(json.into())),
            Err(error) => {
                let mut problem = Problem::new(Code::Internal, "something went wrong on our side");
                problem.cause = Some(format!("the answer can't be written: {error}"));
                Refusal(problem).into_response()
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        with_outcome(status, Outcome::Refused(Arc::new(self.0)))
    }
}

pub(crate) fn with_outcome(status: StatusCode, outcome: Outcome) -> Response {
    let mut response = status.into_response();
    response.extensions_mut().insert(outcome);
    response
}
