//! The golden vectors of `schema/vectors`, which client authors test against (README there).
//!
//! A vector that fails here is an app in somebody's pocket that no longer works.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::harness::{CAIRO, Contract, Person, Server, Socket, fund, online_driver, withdraw};

const SOCKET: &str = include_str!("../../schema/vectors/socket.json");
/// By aggregate: what the event store keeps and consumers get.
const EVENTS: [&str; 4] = [
    include_str!("../../schema/vectors/trip-events.json"),
    include_str!("../../schema/vectors/wallet-events.json"),
    include_str!("../../schema/vectors/driver-events.json"),
    include_str!("../../schema/vectors/withdrawal-events.json"),
];
const POSITION: &str = include_str!("../../schema/vectors/position.json");
/// The token of the vectors.
const TOKEN: &str = "an.access.token";
/// Fields whose texts clients compare; of the others only the form counts.
const WORDS: [&str; 9] = [
    "type",
    "event",
    "status",
    "state",
    "code",
    "reason",
    "paymentStatus",
    "vehicleType",
    "paymentMethod",
];

fn ride() -> Value {
    serde_json::from_str(SOCKET).expect("socket.json is JSON")
}

fn steps(ride: &Value) -> &[Value] {
    ride["steps"].as_array().expect("steps")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ride_of_the_vectors_is_ridden_frame_by_frame() {
    let mut server = Some(Server::where_trips_cost(42).await);
    let story = ride();
    let mut ride = Ride::begin(server.as_ref().expect("it has just started"), &story).await;
    let mut stopping = None;
    for step in steps(&story) {
        if step["when"] == "the node stops" {
            stopping = server.take().map(|server| tokio::spawn(server.stop()));
        }
        match step.get("up") {
            Some(_) => ride.say(step).await,
            None => ride.hear(step).await,
        }
    }
    stopping.expect("the last step stops the node").await.expect("it stops");
}

/// Three people at their sockets, and what stands for what in the vectors.
struct Ride {
    sockets: BTreeMap<String, Socket>,
    tokens: BTreeMap<String, String>,
    names: Names,
    contract: Contract,
}

impl Ride {
    async fn begin(server: &Server, story: &Value) -> Self {
        let admin = Person::admin(server).await;
        let (rider, driver) = (Person::rider(server).await, Person::driver(server).await);
        driver.approve(&admin, "economy").await;
        let choice = json!({"strategy": "first_accept", "allowed": ["broadcast_bid"],
            "reason": "a ride"});
        admin.post("/admin/cities/1/dispatch", choice).await.data();
        let began: Timestamp = text(&story["began"]).parse().expect("a time");
        let shift_ms = Timestamp::now().as_millisecond() - began.as_millisecond();
        let mut ride = Self {
            sockets: BTreeMap::new(),
            tokens: BTreeMap::new(),
            names: Names { known: BTreeMap::new(), shift_ms },
            contract: Contract::asyncapi(),
        };
        for (name, person) in [("rider", rider), ("driver", driver), ("admin", admin)] {
            ride.names.known.insert(text(&story["people"][name]).to_owned(), person.id.clone());
            ride.sockets.insert(name.to_owned(), Socket::open(server, &person).await);
            ride.tokens.insert(name.to_owned(), person.token);
        }
        ride
    }

    fn socket(&mut self, name: &Value) -> &mut Socket {
        self.sockets.get_mut(text(name)).unwrap_or_else(|| panic!("nobody is called {name}"))
    }

    /// Sends a frame, and gets the answer of the vector where it has one.
    async fn say(&mut self, step: &Value) {
        let frame = self.names.fill(&step["up"], &self.tokens[text(&step["from"])]);
        assert_eq!(self.contract.frame_faults("up", &frame), [""; 0], "{}", step["name"]);
        let socket = self.socket(&step["from"]);
        socket.send_text(frame.to_string()).await;
        let Some(expected) = step.get("answer") else { return };
        let answer = socket.wait(|answer| answer["id"] == frame["id"]).await;
        let mut faults = self.contract.frame_faults("down", &answer);
        if answer["type"] == "ack" {
            faults.extend(self.contract.ack_faults(text(&frame["type"]), &answer["data"]));
        }
        assert_eq!(faults, [""; 0], "{}", step["name"]);
        if let Err(fault) = self.names.learn(expected, &answer) {
            panic!("{}: {fault}\n{answer:#}", step["name"]);
        }
    }

    /// Waits for a frame that has all that the vector has.
    async fn hear(&mut self, step: &Value) {
        let (names, name) = (self.names.clone(), text(&step["name"]));
        let is_it = |frame: &Value| names.clone().learn(&step["down"], frame).is_ok();
        let frame = self.socket(&step["to"]).wait_for(name, is_it).await;
        assert_eq!(self.contract.frame_faults("down", &frame), [""; 0], "{}", step["name"]);
        self.names.learn(&step["down"], &frame).expect("it was awaited");
    }
}

/// Which of our ids stands for which of the vectors', and how much later it is.
#[derive(Clone)]
struct Names {
    known: BTreeMap<String, String>,
    shift_ms: i64,
}

impl Names {
    /// A vector as it is sent today.
    fn fill(&self, vector: &Value, token: &str) -> Value {
        match vector {
            Value::String(text) => self.fill_text(text, token).into(),
            Value::Array(list) => list.iter().map(|part| self.fill(part, token)).collect(),
            Value::Object(map) => {
                let part = |(key, part): (&String, &Value)| {
                    (self.fill_text(key, token), self.fill(part, token))
                };
                Value::Object(map.iter().map(part).collect::<Map<String, Value>>())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => vector.clone(),
        }
    }

    fn fill_text(&self, text: &str, token: &str) -> String {
        if let Ok(time) = text.parse::<Timestamp>() {
            let shifted = Timestamp::from_millisecond(time.as_millisecond() + self.shift_ms);
            return shifted.expect("a time of our days").to_string();
        }
        let filled = text.replace(TOKEN, token);
        self.known.iter().fold(filled, |made, (ours, theirs)| made.replace(ours, theirs))
    }

    /// Takes `real` for `vector` when it has all of its fields in their form; else what is wrong.
    fn learn(&mut self, vector: &Value, real: &Value) -> Result<(), String> {
        self.compare("", vector, real)
    }

    fn compare(&mut self, field: &str, vector: &Value, real: &Value) -> Result<(), String> {
        let differ = || Err(format!("{field}: {real} is not like {vector}"));
        match (vector, real) {
            // What may be null is asked for nothing else.
            (Value::Null, _) | (Value::Bool(_), Value::Bool(_)) => Ok(()),
            // Who reads a whole number must go on getting one.
            (Value::Number(whole), Value::Number(number)) if whole.is_u64() => {
                if number.is_u64() {
                    Ok(())
                } else {
                    differ()
                }
            }
            (Value::Number(_), Value::Number(_)) => Ok(()),
            (Value::String(vector), Value::String(real)) => self.compare_text(field, vector, real),
            (Value::Array(vector), Value::Array(real)) => {
                let Some(first) = vector.first() else { return Ok(()) };
                if real.is_empty() {
                    return differ();
                }
                let mut parts = real.iter().enumerate();
                parts.try_for_each(|(at, part)| {
                    self.compare(field, vector.get(at).unwrap_or(first), part)
                })
            }
            (Value::Object(vector), Value::Object(real)) => {
                let mut parts = vector.iter();
                parts.try_for_each(|(key, part)| {
                    self.compare(key, part, real.get(key).unwrap_or(&Value::Null))
                })
            }
            _ => differ(),
        }
    }

    fn compare_text(&mut self, field: &str, vector: &str, real: &str) -> Result<(), String> {
        let is_time = |text: &str| text.parse::<Timestamp>().is_ok();
        let same = match (room(vector), room(real)) {
            _ if is_time(vector) => is_time(real),
            (Some((kind, id)), Some((same_kind, same_id))) => {
                kind == same_kind && self.stands_for(id, same_id)
            }
            (Some(_), None) => false,
            (None, _) if is_id(vector) => self.stands_for(vector, real),
            (None, _) => !WORDS.contains(&field) || vector == real,
        };
        if same { Ok(()) } else { Err(format!("{field}: {real} is not like {vector}")) }
    }

    /// From the first time on always the same.
    fn stands_for(&mut self, ours: &str, theirs: &str) -> bool {
        let known = self.known.entry(ours.to_owned()).or_insert_with(|| theirs.to_owned());
        known == theirs
    }
}

/// `trip:<id>` and `user:<id>` by their parts.
fn room(text: &str) -> Option<(&str, &str)> {
    text.split_once(':').filter(|(_, id)| is_id(id))
}

fn is_id(text: &str) -> bool {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

#[test]
fn every_kind_of_frame_has_a_vector_and_every_vector_is_as_documented() {
    let (mut contract, ride) = (Contract::asyncapi(), ride());
    let mut seen = BTreeSet::new();
    for step in steps(&ride).iter().chain(ride["others"].as_array().expect("others")) {
        for (part, direction) in [("up", "up"), ("answer", "down"), ("down", "down")] {
            let Some(frame) = step.get(part) else { continue };
            seen.insert(format!("{direction}.{}", text(&frame["type"])));
            assert_eq!(contract.frame_faults(direction, frame), [""; 0], "{}", step["name"]);
        }
        if step["answer"]["type"] == "ack" {
            let faults = contract.ack_faults(text(&step["up"]["type"]), &step["answer"]["data"]);
            assert_eq!(faults, [""; 0], "{}", step["name"]);
        }
    }
    let messages = contract.document()["components"]["messages"].as_object().expect("messages");
    for (name, message) in messages {
        assert!(seen.contains(name), "{name} has no step in schema/vectors/socket.json");
        let examples = message["examples"].as_array().map_or(0, Vec::len);
        assert!(examples > 0, "{name} has no example in the document");
    }
}

/// One withdrawal that is rejected, and one that is paid out by hand.
async fn withdrawn(admin: &Person, driver: &Person) {
    fund(admin, driver, 200.0).await;
    let manage = async |id: &Value, action: &str| {
        let body =
            json!({"requestId": id, "action": action, "reason": "x", "bankReference": "FT-1"});
        admin.post("/payment/withdraw/manage", body).await.data();
    };
    let rejected = withdraw(driver, 150.5, "a").await.data()["request"]["id"].clone();
    manage(&rejected, "reject").await;
    for end in ["confirm", "fail"] {
        let id = withdraw(driver, 60.0, end).await.data()["request"]["id"].clone();
        for action in ["approve", "sent", end] {
            manage(&id, action).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_that_is_stored_has_its_vector_with_all_its_fields() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let (rider, other) = (Person::rider(&server).await, Person::rider(&server).await);
    let driver = online_driver(&server, &admin, CAIRO).await;
    let gift = json!({"amount": 5, "reason": "a gift"});
    admin.post(&format!("/admin/wallets/{}/adjust", rider.id), gift).await.data();
    let trip = crate::races::started_trip(&server, &rider, &driver).await;
    let done = json!({"status": "completed"});
    driver.post(&format!("/trips/{trip}/status"), done).await.data();
    let asked = other.request_trip(CAIRO).await.data()["tripId"].clone();
    let path = format!("/trips/{}/cancel", text(&asked));
    other.post(&path, json!({"reason": "changed_mind"})).await.data();
    withdrawn(&admin, &Person::driver(&server).await).await;

    let mut vectors = Vec::new();
    for file in EVENTS {
        let file: Value = serde_json::from_str(file).expect("vectors are JSON");
        vectors.extend(file["events"].as_array().expect("events").clone());
    }
    let mut owner = storage::testing::owner(server.db()).await;
    let stored: Vec<(String, sqlx::types::Json<Value>)> =
        sqlx::query_as("SELECT event_type, payload FROM event_store")
            .fetch_all(&mut owner)
            .await
            .expect("events are read");
    assert!(stored.len() >= 8, "{stored:?}");
    for (kind, sqlx::types::Json(payload)) in stored {
        let of_kind = vectors.iter().filter(|vector| vector["type"] == kind.as_str());
        let compared = of_kind.map(|vector| {
            let mut names = Names { known: BTreeMap::new(), shift_ms: 0 };
            names.learn(&vector["payload"], &payload)
        });
        let compared: Vec<Result<(), String>> = compared.collect();
        assert!(compared.iter().any(Result::is_ok), "{kind}: {payload:#}\n{compared:?}");
    }
}

#[test]
fn the_sockets_document_is_asyncapi_3() {
    let packed: &[u8] = include_bytes!("data/asyncapi-3.0.0.json.xz");
    let mut schema = String::new();
    liblzma::read::XzDecoder::new(packed).read_to_string(&mut schema).expect("it unpacks");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let contract = Contract::asyncapi();
    let faults: Vec<String> = validator
        .iter_errors(contract.document())
        .map(|fault| format!("{fault} at {}", fault.instance_path()))
        .collect();
    assert_eq!(faults, [""; 0]);
    assert!(!validator.is_valid(&json!({"asyncapi": "3.0.0"})), "the schema wants something");
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_positions_are_taken_and_passed_on_byte_for_byte() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let (rider, driver) =
        (Person::rider(&server).await, online_driver(&server, &admin, CAIRO).await);
    let trip = crate::races::started_trip(&server, &rider, &driver).await;
    let mut seat = Socket::open_binary(&server, &rider).await;
    seat.ok("trip.subscribe", json!({"tripId": trip})).await;
    let mut wheel = Socket::open(&server, &driver).await;
    wheel.ok("ping", json!({})).await;

    let vectors: Value = serde_json::from_str(POSITION).expect("position.json is JSON");
    let vectors = vectors["valid"].as_array().expect("a list");
    for vector in vectors {
        let now = Timestamp::now().as_millisecond().to_le_bytes();
        let (mut up, mut down) = (bytes(&vector["up"]), bytes(&vector["down"]));
        up[24..].copy_from_slice(&now);
        wheel.send_binary(up).await;
        // The answer behind it says that it was taken: a wrong one has an error before.
        wheel.ok("ping", json!({})).await;
        assert_eq!(wheel.waiting("error"), None, "{}", vector["name"]);
        if text(&vector["name"]).starts_with("Cairo") {
            let id = bytes(&json!(trip.replace('-', "")));
            down[..16].copy_from_slice(&id);
            down[40..].copy_from_slice(&now);
            assert_eq!(seat.binary().await, down, "{}", vector["name"]);
        }
    }
    assert!(!vectors.is_empty());
}

fn bytes(hex: &Value) -> Vec<u8> {
    let digits = text(hex).as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.map(|pair| byte(pair).unwrap_or_else(|| panic!("no hex: {hex}"))).collect()
}
