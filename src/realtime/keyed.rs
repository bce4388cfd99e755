//! Commands that may be sent again: over a new socket, or over REST, under the same key.
//!
//! A command is named as the route that does the same, and its data without what the route's path
//! names is its body, so that the two edges share their keys and their answers.

use std::future::Future;

use base::{Fault, Problem, TripId};
use bytes::Bytes;
use events::Once;
use flows::{Said, Sent, Turn};
use ops::Limit;
use rooms::Outlet;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::answer;
use crate::desk::Asked;
use crate::session::Taken;

/// What a command is called, and how REST answers it.
#[derive(Clone, Debug)]
pub(crate) struct Deed {
    route: String,
    status: u16,
}

impl Deed {
    /// Makes something: the same data within seconds is one command.
    pub(crate) fn creates(path: &str) -> Self {
        Self { route: format!("POST {path}"), status: 201 }
    }

    /// Does something to a trip.
    pub(crate) fn to_trip(trip: TripId, what: &str) -> Self {
        Self { route: format!("POST /trips/{trip}/{what}"), status: 200 }
    }
}

impl Asked<'_> {
    /// As [`Asked::later`]; a command that was done already is answered as it was then.
    pub(crate) fn later_once<T, F>(
        &self,
        deed: Deed,
        limit: Option<Limit>,
        work: impl FnOnce(Once) -> F + Send + 'static,
    ) -> Result<Taken, Problem>
    where
        T: Serialize,
        F: Future<Output = Result<T, Problem>> + Send + 'static,
    {
        let key = self.message.key()?.map(str::to_owned);
        // What is asked again counts too, as it does over REST.
        let admitted = limit.map(|limit| self.admitted(limit));
        let admitted = async move {
            match admitted {
                Some(admitted) => admitted.await,
                None => Ok(()),
            }
        };
        if key.is_none() && deed.status != 201 {
            return Ok(self.later(async move {
                admitted.await?;
                work(Once::NONE).await
            }));
        }
        let body = body(self.message.data);
        let (flows, user) = (self.flows.clone(), self.socket.user());
        Ok(self.later(async move {
            admitted.await?;
            let sent = Sent { user, route: &deed.route, body: &body, key: key.as_deref() };
            let attempt = match flows.turn(sent).await? {
                Turn::Answered { said, .. } => return raw(said),
                Turn::Go(attempt) => attempt,
            };
            let (done, answer) = oneshot::channel();
            let keeper = flows.clone();
            // Goes on when nobody waits any more: he will ask again for what became of it.
            flows.tasks.spawn("keyed command", async move {
                let said: Said = work(attempt.once).await.map(|data| answer::json(&data));
                let refused = said.as_ref().err().map(|problem| problem.code.status());
                keeper.answered(attempt, refused.unwrap_or(deed.status), &said).await;
                done.send(said).ok();
            });
            raw(answer.await.unwrap_or_else(|_| Err(Fault::internal("it broke off").into())))
        }))
    }
}

/// What REST would have in the body: trip and offer are named by the path there.
fn body(data: Option<&RawValue>) -> Bytes {
    let text = data.map_or("{}", RawValue::get);
    match serde_json::from_str::<Map<String, Value>>(text) {
        Ok(mut members) => {
            members.remove("tripId");
            members.remove("offerId");
            answer::json(&members)
        }
        Err(_) => Bytes::copy_from_slice(text.as_bytes()),
    }
}

fn raw(said: Said) -> Result<Box<RawValue>, Problem> {
    let text = String::from_utf8(said?.to_vec());
    let text = text.map_err(|error| Fault::internal(error.to_string()))?;
    Ok(RawValue::from_string(text).map_err(|error| Fault::internal(error.to_string()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_and_its_route_have_the_same_name_and_body() {
        let trip = TripId::from_u128(7);
        let deed = Deed::to_trip(trip, "cancel");
        assert_eq!(deed.route, "POST /trips/00000000-0000-0000-0000-000000000007/cancel");
        let data = r#"{"reason":"other","tripId":"00000000-0000-0000-0000-000000000007"}"#;
        let data = RawValue::from_string(data.to_owned()).unwrap();
        assert_eq!(body(Some(&data)), r#"{"reason":"other"}"#);
        let pick = r#"{"tripId":"1","offerId":"2","price":42.5}"#;
        let pick = RawValue::from_string(pick.to_owned()).unwrap();
        assert_eq!(body(Some(&pick)), r#"{"price":42.5}"#);
        assert_eq!(body(None), "{}");
    }
}
