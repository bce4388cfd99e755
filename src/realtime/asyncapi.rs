//! The socket's contract as an AsyncAPI 3 document, from the types that read and write it.

use std::collections::BTreeMap;

use demand::HintView;
use fleet::QueuePlaceView;
use flows::{
    Answered, BatchReply, BidView, MatchingView, OfferRevokedView, OfferView, TripForm,
    TripLocationView, TripRequested,
};
use notify::NoticeView;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use trips::{TripEventView, TripView};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::answer::ServerTime;
use crate::desk::Kind;
use crate::live::{LiveUpdate, LiveView};
use crate::nearby::{NearbyUpdate, NearbyView};
use crate::wire::{
    AuthData, AuthView, BidAcceptData, LiveSubscribeData, LocationBatchData, LocationData,
    NearbySubscribeData, NoData, OfferRespondData, ReconnectData, ResumeData, RoomView, StateView,
    StatusData, TripCancelData, TripRef, TripStatusData, TripSubscribeData,
};

/// The document of `schema/asyncapi.json`.
pub fn asyncapi() -> Value {
    let mut book = Book::default();
    Kind::ALL.iter().for_each(|kind| book.up(*kind));
    book.answers();
    book.pushes();
    book.examples();
    let names = |direction: &str| -> Vec<Value> {
        let prefix = format!("{direction}.");
        let names = book.messages.keys().filter(|name| name.starts_with(&prefix));
        names.map(|name| json!({"$ref": format!("#/channels/socket/messages/{name}")})).collect()
    };
    let (up, down) = (names("up"), names("down"));
    let in_channel: Map<String, Value> = book
        .messages
        .keys()
        .map(|name| (name.clone(), json!({"$ref": format!("#/components/messages/{name}")})))
        .collect();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "SmartLine socket",
            "version": "1",
            "description": DESCRIPTION,
        },
        "channels": {"socket": {"address": "/ws", "messages": in_channel}},
        "operations": {
            "up": {
                "action": "receive",
                "channel": {"$ref": "#/channels/socket"},
                "messages": up,
            },
            "down": {
                "action": "send",
                "channel": {"$ref": "#/channels/socket"},
                "messages": down,
            },
        },
        "components": {"messages": book.messages, "schemas": book.schemas},
    })
}

/// One ride over three sockets, for client authors to replay; its frames are the examples.
const VECTORS: &str = include_str!("../../schema/vectors/socket.json");

#[derive(Deserialize)]
struct Vectors {
    steps: Vec<Vector>,
    others: Vec<Vector>,
}

/// A frame up with its answer, or one down.
#[derive(Deserialize)]
struct Vector {
    name: String,
    up: Option<Value>,
    answer: Option<Value>,
    down: Option<Value>,
}

const DESCRIPTION: &str = "\
One WebSocket per client at /ws. The access token comes at the upgrade, as `Authorization: \
Bearer` or as second subprotocol `bearer.<jwt>` beside `smartline.v1`; positions come down in \
binary when `smartline.v1.bin` is negotiated.

A message up is `{type, id?, data, ack?}`; one with an `id` (a string of at most 64 characters) is \
answered by exactly one `ack` or `error`. `ack` up names the newest number seen by room.

Events are numbered `(epoch, seq)` by room without gaps. A client that comes back asks for what it \
missed (`trip.subscribe` with `afterSeq`, `resume`) and gets it in order, or a `snapshot`. A \
`resume` of the user's own room should be the first message: the room flows from the first \
message on, or after half a second to a second and a half.

`nearby.update` speaks of one room (cell). Keep drivers by room: who enters a room has left every \
other, and `whole` means that `entered` is all there is in the room. Rooms that nobody is in \
are silent.

Where drivers bid (`offer` has a `bid`), the rider gets a `bid` for each price, each change of one \
and each that is over, and picks with `bid.accept`; the driver he picked gets a `bid` that is won.

Where a city is overloaded, a rider whose search stands in line gets a `matching.status` with his \
`queuePosition` whenever it has changed enough to matter, every three seconds at most, and one \
without when it is his turn.

A trip may be booked ahead (`scheduledAt`). Who accepts it early has a `confirmBy`: he loses it \
unless he says `trip.confirm` by then. An `offer` with `standby` asks for one who comes should he \
not; who accepts that is free, and told by `offer.revoked` when he is not needed any more.

`live.update` shows admins a whole city once a second: drivers, requests and trips that are new or \
changed, who left, what ended. The first frame, and any after one that was not read in time, is \
`whole`: what it lists is all there is.

Binary positions, little-endian, 32 bytes: u8 kind=1, u8 version=1, u16 flags (1 no heading, 2 no \
speed, 4 no accuracy), u32 newest number seen of the user's own room (0 none), i32 latitude*1e7, \
i32 longitude*1e7, u16 heading*100, u16 speed*10 (km/h), u16 accuracy*10 (m), u16 0, i64 unix \
milliseconds. Down: the 16 bytes of the trip's id, then the same.

Close codes: 1002 not WebSocket, 1008 ten malformed messages in 10 s or 200 over the rate, 1009 \
a message over 64 KiB, 1012 the node restarts (after `reconnect`), 1013 reader too slow \
(resume), 4401 token ended or login revoked, 4408 silent for 20 s, 4409 replaced by a newer \
socket.";

#[derive(Default)]
struct Book {
    messages: BTreeMap<String, Value>,
    schemas: BTreeMap<String, Value>,
}

impl Book {
    fn up(&mut self, kind: Kind) {
        let (data, answer) = match kind {
            Kind::Location => (self.schema::<LocationData>(), self.schema::<ServerTime>()),
            Kind::LocationBatch => {
                (self.schema::<LocationBatchData>(), self.schema::<BatchReply>())
            }
            Kind::Status => (self.schema::<StatusData>(), self.schema::<StateView>()),
            Kind::OfferRespond => (self.schema::<OfferRespondData>(), self.schema::<Answered>()),
            Kind::TripStatus => (self.schema::<TripStatusData>(), self.schema::<TripView>()),
            Kind::TripConfirm => (self.schema::<TripRef>(), self.schema::<TripView>()),
            Kind::TripSubscribe => (self.schema::<TripSubscribeData>(), self.schema::<RoomView>()),
            Kind::TripUnsubscribe => (self.schema::<TripRef>(), self.schema::<NoData>()),
            Kind::TripRequest => (self.schema::<TripForm>(), self.schema::<TripRequested>()),
            Kind::TripCancel => (self.schema::<TripCancelData>(), self.schema::<TripView>()),
            Kind::BidAccept => (self.schema::<BidAcceptData>(), self.schema::<TripView>()),
            Kind::NearbySubscribe => {
                (self.schema::<NearbySubscribeData>(), self.schema::<NearbyView>())
            }
            Kind::NearbyUnsubscribe => (self.schema::<NoData>(), self.schema::<NoData>()),
            Kind::LiveSubscribe => (self.schema::<LiveSubscribeData>(), self.schema::<LiveView>()),
            Kind::LiveUnsubscribe => (self.schema::<NoData>(), self.schema::<NoData>()),
            Kind::Auth => (self.schema::<AuthData>(), self.schema::<AuthView>()),
            Kind::Ping => (self.schema::<NoData>(), self.schema::<ServerTime>()),
            Kind::Resume => (self.schema::<ResumeData>(), self.schema::<RoomView>()),
        };
        let roles: Vec<&str> = kind.roles().iter().map(|role| role.name()).collect();
        let payload = json!({
            "type": "object",
            "required": ["type"],
            "properties": {
                "type": {"const": kind.name()},
                "id": {"type": "string", "maxLength": 64},
                "data": data,
                "ack": {"type": "object", "additionalProperties": {"type": "integer"}},
            },
        });
        let mut message = message(kind.name(), payload);
        message["description"] = format!("From: {}.", roles.join(", ")).into();
        message["x-roles"] = roles.into();
        message["x-ack-data"] = answer;
        self.messages.insert(format!("up.{}", kind.name()), message);
    }

    fn answers(&mut self) {
        let ack = json!({
            "type": "object",
            "required": ["type", "id"],
            "properties": {
                "type": {"const": "ack"},
                "id": {"type": "string"},
                "data": {"type": "object", "description": "what REST would answer"},
            },
        });
        let codes: Vec<&str> = base::Code::ALL.iter().map(|code| code.name()).collect();
        let error = json!({
            "type": "object",
            "required": ["type", "error"],
            "properties": {
                "type": {"const": "error"},
                "id": {"type": "string"},
                "error": {
                    "type": "object",
                    "required": ["code", "message", "details"],
                    "properties": {
                        "code": {"enum": codes},
                        "message": {"type": "string"},
                        "details": {"type": "object"},
                    },
                },
            },
        });
        self.messages.insert("down.ack".to_owned(), message("ack", ack));
        self.messages.insert("down.error".to_owned(), message("error", error));
    }

    fn pushes(&mut self) {
        let trip = self.schema::<TripView>();
        let state = json!({"oneOf": [trip, {"type": "object", "maxProperties": 0}]});
        let numbered = [
            ("offer", self.schema::<OfferView>()),
            ("offer.revoked", self.schema::<OfferRevokedView>()),
            ("bid", self.schema::<BidView>()),
            ("matching.status", self.schema::<MatchingView>()),
            ("notice", self.schema::<NoticeView>()),
            ("demand.hint", self.schema::<HintView>()),
            ("queue.position", self.schema::<QueuePlaceView>()),
            ("trip.event", self.schema::<TripEventView>()),
            ("snapshot", state),
        ];
        for (kind, data) in numbered {
            self.push(kind, &["room", "epoch", "seq", "data"], data);
        }
        let (location, nearby) =
            (self.schema::<TripLocationView>(), self.schema::<NearbyUpdate<'_>>());
        self.push("trip.location", &["room", "data"], location);
        self.push("nearby.update", &["room", "data"], nearby);
        let live = self.schema::<LiveUpdate>();
        self.push("live.update", &["room", "data"], live);
        let (reconnect, time) = (self.schema::<ReconnectData>(), self.schema::<ServerTime>());
        self.push("reconnect", &["data"], reconnect);
        self.push("pong", &["data"], time);
    }

    fn examples(&mut self) {
        let vectors: Vectors = serde_json::from_str(VECTORS).expect("the tests read them too");
        for Vector { name, up, answer, down } in vectors.steps.into_iter().chain(vectors.others) {
            for (direction, frame) in [("up", up), ("down", answer), ("down", down)] {
                let Some(frame) = frame else { continue };
                let kind = frame["type"].as_str().unwrap_or_default();
                let Some(message) = self.messages.get_mut(&format!("{direction}.{kind}")) else {
                    continue;
                };
                if let Value::Array(examples) = &mut message["examples"] {
                    examples.push(json!({"summary": name, "payload": frame}));
                }
            }
        }
    }

    fn push(&mut self, kind: &str, fields: &[&str], data: Value) {
        let mut properties = Map::new();
        properties.insert("type".to_owned(), json!({"const": kind}));
        for field in fields {
            let schema = match *field {
                "room" => json!({"type": "string"}),
                "data" => data.clone(),
                _ => json!({"type": "integer", "format": "int64", "minimum": 0}),
            };
            properties.insert((*field).to_owned(), schema);
        }
        let mut required = vec!["type"];
        required.extend(fields);
        let payload = json!({"type": "object", "required": required, "properties": properties});
        self.messages.insert(format!("down.{kind}"), message(kind, payload));
    }

    /// A reference to `T`, which the book holds from now on with all it is made of.
    fn schema<T: ToSchema>(&mut self) -> Value {
        let mut parts: Vec<(String, RefOr<Schema>)> = Vec::new();
        T::schemas(&mut parts);
        parts.push((T::name().into_owned(), <T as PartialSchema>::schema()));
        for (name, schema) in parts {
            self.schemas.insert(name, serde_json::to_value(schema).unwrap_or_default());
        }
        json!({"$ref": format!("#/components/schemas/{}", T::name())})
    }
}

fn message(name: &str, payload: Value) -> Value {
    json!({"name": name, "contentType": "application/json", "payload": payload, "examples": []})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(target)) = map.get("$ref") {
                    found.push(target.clone());
                }
                map.values().for_each(|inner| references(inner, found));
            }
            Value::Array(list) => list.iter().for_each(|inner| references(inner, found)),
            _ => {}
        }
    }

    #[test]
    fn the_document_names_every_type_and_refers_to_nothing_that_is_missing() {
        let document = asyncapi();
        for kind in Kind::ALL {
            let name = format!("up.{}", kind.name());
            assert!(document["components"]["messages"].get(&name).is_some(), "{name}");
        }
        let mut found = Vec::new();
        references(&document, &mut found);
        for target in found {
            let path = target.trim_start_matches('#');
            assert!(document.pointer(path).is_some(), "{target} is missing");
        }
    }
}
