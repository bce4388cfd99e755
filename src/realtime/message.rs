//! The outside of a message up: `{type, id?, data?, ack?}`, read without copying or a tree.
//!
//! The data stays raw until the type is known: a tagged enum would buffer it and could not read
//! money exactly.

use std::borrow::Cow;

use base::{Code, Problem, complaint};
use rooms::Topic;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// Longest `id` of a message, bytes of JSON including its quotes.
const ID_BYTES: usize = 66;
/// Most rooms one message acknowledges.
const ACKS: usize = 16;

#[derive(Debug, Deserialize)]
pub(crate) struct Message<'a> {
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Cow<'a, str>,
    /// A JSON string, echoed as it came.
    #[serde(borrow, default)]
    pub(crate) id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    ack: Option<&'a RawValue>,
    /// As the header of REST; the two share their keys.
    #[serde(borrow, default, rename = "idempotencyKey")]
    key: Option<Cow<'a, str>>,
}

impl<'a> Message<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Problem> {
        let message: Self = serde_json::from_str(text).map_err(|error| {
            let why = "a message is JSON: {\"type\":\"…\",\"id\":\"…\",\"data\":{…}}";
            Problem::new(Code::MalformedBody, why).with("reason", complaint(&error.to_string()))
        })?;
        match message.id {
            Some(id) if !id.get().starts_with('"') || id.get().len() > ID_BYTES => {
                Err(Problem::field("id", "invalid", "a string of at most 64 characters"))
            }
            _ => Ok(message),
        }
    }

    /// The data as a `T`, or which field of it was wrong.
    pub(crate) fn data<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let text = self.data.map_or("{}", RawValue::get);
        match serde_json::from_str(text) {
            Ok(data) => Ok(data),
            // Read again to say where: only mistakes pay for it.
            Err(_) => Err(wrong_field::<T>(text)),
        }
    }

    /// The caller's own idempotency key.
    pub(crate) fn key(&self) -> Result<Option<&str>, Problem> {
        self.key.as_deref().map(flows::idempotency_key).transpose()
    }

    /// The numbers the client says it has seen, by room.
    pub(crate) fn acks(&self) -> Result<Vec<(Topic, u64)>, Problem> {
        let Some(raw) = self.ack else { return Ok(Vec::new()) };
        let wrong = || Problem::field("ack", "invalid", "{room: seq} for at most 16 rooms");
        let acks: std::collections::BTreeMap<Cow<'_, str>, u64> =
            serde_json::from_str(raw.get()).map_err(|_| wrong())?;
        if acks.len() > ACKS {
            return Err(wrong());
        }
        let topic = |(room, seq): (Cow<'_, str>, u64)| Some((Topic::parse(&room)?, seq));
        acks.into_iter().map(|ack| topic(ack).ok_or_else(wrong)).collect()
    }
}

fn wrong_field<T: DeserializeOwned>(text: &str) -> Problem {
    let reader = &mut serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, T>(reader) {
        Ok(_) => Problem::field("data", "invalid", "unreadable"),
        Err(error) => {
            let path = error.path().to_string();
            let field = if path == "." { "data" } else { &path };
            Problem::field(field, "invalid", &complaint(&error.inner().to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use base::TripId;

    use super::*;
    use crate::wire::{LocationData, TripRef};

    #[test]
    fn a_message_is_read_and_its_id_stays_as_it_came() {
        let check = |text: &str, expected: Result<(&str, Option<&str>), Code>| {
            let read = Message::parse(text);
            let read = read.as_ref().map(|m| (&*m.kind, m.id.map(RawValue::get)));
            assert_eq!(read.map_err(|problem| problem.code), expected, "{text}");
        };
        check(r#"{"type":"ping"}"#, Ok(("ping", None)));
        check(r#"{"id":"a\n1","type":"auth","data":{}}"#, Ok(("auth", Some(r#""a\n1""#))));
        check(r#"{"type":"x","id":null,"data":null,"more":[1]}"#, Ok(("x", None)));
        check(r#"{"type":"x","id":7}"#, Err(Code::ValidationFailed));
        check(&format!(r#"{{"type":"x","id":"{}"}}"#, "a".repeat(65)), Err(Code::ValidationFailed));
        for wrong in ["", "7", "[]", "null", "{", r#"{"id":"1"}"#, r#"{"type":7}"#, "\u{0}"] {
            check(wrong, Err(Code::MalformedBody));
        }
    }

    #[test]
    fn data_is_read_by_type_and_a_mistake_names_its_field() {
        let trip = r#"{"type":"x","data":{"tripId":"00000000-0000-0000-0000-000000000007"}}"#;
        let data: TripRef = Message::parse(trip).unwrap().data().unwrap();
        assert_eq!(data.trip_id, TripId::from_u128(7));
        let check = |data: &str, field: &str| {
            let text = format!(r#"{{"type":"x","data":{data}}}"#);
            let problem = Message::parse(&text).unwrap().data::<LocationData>().unwrap_err();
            assert_eq!(problem.details["fields"][0]["field"], field, "{problem}");
        };
        check(r#"{"lat":"x"}"#, "lat");
        check(r#"{"lat":1,"lng":2,"timestamp":"yesterday"}"#, "timestamp");
        check(r#"{"lat":1}"#, "data");
        check("7", "data");
        let without = Message::parse(r#"{"type":"x"}"#).unwrap();
        assert_eq!(without.data::<TripRef>().unwrap_err().code, Code::ValidationFailed);
    }

    #[test]
    fn acknowledgements_name_rooms() {
        let trip = Topic::Trip(TripId::from_u128(7));
        let check = |ack: &str, expected: Option<Vec<(Topic, u64)>>| {
            let text = format!(r#"{{"type":"x","ack":{ack}}}"#);
            assert_eq!(Message::parse(&text).unwrap().acks().ok(), expected, "{ack}");
        };
        check(&format!(r#"{{"{trip}":9}}"#), Some(vec![(trip, 9)]));
        check("null", Some(vec![]));
        check(r#"{"elsewhere":9}"#, None);
        check(r#"{"trip:7":-1}"#, None);
        check("[]", None);
    }
}
