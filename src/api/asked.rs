//! What is asked in the address: ids in the path, the query, pages of lists.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use base::{Cursor, Problem, complaint, limits};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use crate::body::field_problem;
use crate::fields::{Check, Fields};
use crate::reply::Refusal;

/// An id in the path. What is no id names nothing that exists.
pub(crate) struct Id<T>(pub T);

impl<T, S> FromRequestParts<S> for Id<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(id)) => Ok(Self(id)),
            Err(_) => Err(Problem::not_found().into()),
        }
    }
}

/// The query, understood and within its rules.
pub(crate) struct Asked<T>(pub T);

impl<T, S> FromRequestParts<S> for Asked<T>
where
    T: DeserializeOwned + Check,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let read = Query::<T>::try_from_uri(&parts.uri);
        let Query(value) = read.map_err(|refused| query_problem(&refused.body_text()))?;
        let mut fields = Fields::default();
        value.check(&mut fields);
        fields.done()?;
        Ok(Self(value))
    }
}

/// The parser says `…: field: what`, or `…: what` for a field that is missing.
fn query_problem(text: &str) -> Problem {
    let text = text.split_once(": ").map_or(text, |(_, rest)| rest);
    match text.split_once(": ") {
        Some((field, what)) => field_problem(field, &complaint(what)),
        None => field_problem("", text),
    }
}

/// Rows per page when nothing is said.
const PAGE: u32 = 20;

/// Which page of a list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageAsked {
    /// Rows, at most 100; 20 when absent.
    #[param(minimum = 1, maximum = 100)]
    pub limit: Option<u32>,
    /// `nextCursor` of the page before.
    pub cursor: Option<String>,
}

impl PageAsked {
    pub(crate) fn limit(&self) -> u32 {
        self.limit.unwrap_or(PAGE)
    }

    /// Checked to be one already.
    pub(crate) fn after(&self) -> Option<Cursor> {
        self.cursor.as_deref().and_then(Cursor::parse)
    }
}

impl Check for PageAsked {
    fn check(&self, fields: &mut Fields) {
        if !(1..=limits::PAGE_MAX).contains(&self.limit()) {
            fields.wrong("limit", "out_of_range", "must be between 1 and 100");
        }
        if self.cursor.as_deref().is_some_and(|cursor| Cursor::parse(cursor).is_none()) {
            fields.wrong("cursor", "invalid", "must be the nextCursor of an earlier page");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_checked() {
        let check = |query: &str, expected: &str| {
            let uri = format!("/trips?{query}").parse().expect("a URI");
            let found = match Query::<PageAsked>::try_from_uri(&uri) {
                Err(refused) => {
                    let problem = query_problem(&refused.body_text());
                    problem.details["fields"][0]["field"].as_str().unwrap_or("").to_owned()
                }
                Ok(Query(page)) => {
                    let mut fields = Fields::default();
                    page.check(&mut fields);
                    fields.done().map_or_else(
                        |p| p.details["fields"][0]["field"].as_str().unwrap_or("").to_owned(),
                        |()| format!("{} {:?}", page.limit(), page.after().is_some()),
                    )
                }
            };
            assert_eq!(found, expected, "{query}");
        };
        check("", "20 false");
        check("limit=100", "100 false");
        check("cursor=18bcfe56800.00000000000000000000000000000007", "20 true");
        check("limit=0", "limit");
        check("limit=101", "limit");
        check("limit=-1", "limit");
        check("limit=x", "limit");
        check("cursor=x", "cursor");
    }
}
