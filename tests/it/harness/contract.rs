//! The documents of `schema/`, asked whether what the server says is what they promise.

use std::collections::HashMap;

use app::Document;
use jsonschema::Validator;
use serde_json::{Value, json};

pub struct Contract {
    document: Value,
    /// By place in the document.
    known: HashMap<String, Validator>,
}

impl Contract {
    pub fn openapi() -> Self {
        Self::of(Document::Openapi)
    }

    pub fn asyncapi() -> Self {
        Self::of(Document::Asyncapi)
    }

    fn of(document: Document) -> Self {
        let text = document.text().expect("it prints");
        Self { document: serde_json::from_str(&text).expect("JSON"), known: HashMap::new() }
    }

    pub const fn document(&self) -> &Value {
        &self.document
    }

    /// What is wrong with a REST answer. `operation` is `POST /trips/{}/cancel`, whatever the
    /// document calls what stands in the braces.
    pub fn answer_faults(&mut self, operation: &str, status: u16, body: &Value) -> Vec<String> {
        let Some(place) = self.operation(operation) else {
            return vec![format!("{operation} is not documented")];
        };
        let answers = format!("{place}/responses");
        let found = [status.to_string(), "default".to_owned()]
            .map(|name| format!("{answers}/{name}"))
            .into_iter()
            .find(|place| self.document.pointer(place).is_some());
        let Some(found) = found else {
            return vec![format!("{operation} answers {status}, which is not documented")];
        };
        let schema = format!("{found}/content/application~1json/schema");
        if self.document.pointer(&schema).is_none() {
            let silent = body.as_str() == Some("");
            return if silent { vec![] } else { vec![format!("{operation} {status} says {body}")] };
        }
        let faults = self.faults(&schema, body);
        faults.into_iter().map(|fault| format!("{operation} {status}: {fault}")).collect()
    }

    /// What is wrong with a frame: `direction` is `up` or `down`.
    pub fn frame_faults(&mut self, direction: &str, frame: &Value) -> Vec<String> {
        let kind = frame["type"].as_str().unwrap_or_default();
        let place = format!("/components/messages/{direction}.{kind}/payload");
        if self.document.pointer(&place).is_none() {
            return vec![format!("{direction}.{kind} is not documented: {frame}")];
        }
        let faults = self.faults(&place, frame);
        faults.into_iter().map(|fault| format!("{direction}.{kind}: {fault} in {frame}")).collect()
    }

    /// What is wrong with the `data` of an ack to `command`.
    pub fn ack_faults(&mut self, command: &str, data: &Value) -> Vec<String> {
        let faults = self.faults(&format!("/components/messages/up.{command}/x-ack-data"), data);
        faults.into_iter().map(|fault| format!("ack of {command}: {fault} in {data}")).collect()
    }

    /// The place of an operation, if there is one.
    fn operation(&self, operation: &str) -> Option<String> {
        let (method, wanted) = operation.split_once(' ')?;
        let paths = self.document["paths"].as_object()?;
        let path = paths.keys().find(|path| nameless(path) == wanted)?;
        let place = format!("/paths/{}/{}", path.replace('/', "~1"), method.to_lowercase());
        self.document.pointer(&place).map(|_| place)
    }

    fn faults(&mut self, place: &str, value: &Value) -> Vec<String> {
        let validator = self.known.entry(place.to_owned()).or_insert_with(|| {
            let mut schema = self.document.clone();
            // A reference is an address, which has no braces.
            schema["$ref"] = json!(format!("#{place}").replace('{', "%7B").replace('}', "%7D"));
            jsonschema::options()
                .should_validate_formats(true)
                .build(&schema)
                .unwrap_or_else(|error| panic!("{place}: {error}"))
        });
        let faults = validator.iter_errors(value);
        faults.map(|fault| format!("{} at {}", fault, fault.instance_path())).collect()
    }
}

/// `/trips/{id}` as `/trips/{}`.
pub fn nameless(path: &str) -> String {
    let mut parts = path.split('{');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |made, part| {
        let (_, rest) = part.split_once('}').unwrap_or(("", part));
        format!("{made}{{}}{rest}")
    })
}

/// The HTTP status that a socket's answer would have over REST; 200 for an `ack`.
pub fn status_of(answer: &Value) -> u16 {
    if answer["type"] == "ack" {
        return 200;
    }
    let refusals: Value = serde_json::from_str(include_str!("../../../schema/refusals.json"))
        .expect("schema/refusals.json is JSON");
    let rows = refusals["refusals"].as_array().expect("a list");
    let row = rows.iter().find(|row| row["code"] == answer["error"]["code"]);
    let status = row.and_then(|row| row["status"].as_u64());
    status.and_then(|status| u16::try_from(status).ok()).unwrap_or_else(|| panic!("{answer}"))
}
