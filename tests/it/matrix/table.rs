//! The rows of `table.txt`, and the operations that the documents of `schema/` say there are.

use std::collections::BTreeSet;

use app::Document;
use serde_json::Value;

use super::scene::CALLERS;
use crate::harness::nameless;

/// What stands before a command of the socket in place of a method.
pub const SOCKET: &str = "WS";

pub struct Row {
    pub method: String,
    /// A path below `/api/v1`, or a command; with its braces.
    pub target: String,
    /// By caller, in the order of [`CALLERS`].
    pub expected: Vec<u16>,
    /// With its braces; empty where nothing is said.
    pub body: String,
}

pub fn rows() -> Vec<Row> {
    let lines = include_str!("table.txt").lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(row).collect()
}

fn row(line: &str) -> Row {
    let (words, body) = match line.find(" {") {
        // A path's braces have no blank before them.
        Some(at) => (&line[..at], line[at..].trim()),
        None => (line, ""),
    };
    let mut words = words.split_whitespace();
    let mut word = || words.next().unwrap_or_else(|| panic!("too short: {line}")).to_owned();
    let (method, target) = (word(), word());
    let status = |_| word().parse().unwrap_or_else(|error| panic!("{error}: {line}"));
    let expected = (0..CALLERS.len()).map(status).collect();
    assert_eq!(words.next(), None, "too long: {line}");
    Row { method, target, expected, body: body.to_owned() }
}

impl Row {
    /// The operation as documents name it, whatever stands in its braces.
    pub fn operation(&self) -> String {
        let path = self.target.split('?').next().unwrap_or_default();
        format!("{} {}", self.method, nameless(path))
    }
}

/// An operation of the documents.
pub struct Documented {
    /// As [`Row::operation`] says it.
    pub operation: String,
    /// The row to begin with.
    pub draft: String,
    pub needs_token: bool,
}

pub fn documented() -> Vec<Documented> {
    let read = |document: Document| -> Value {
        serde_json::from_str(&document.text().expect("it prints")).expect("JSON")
    };
    let (rest, socket) = (read(Document::Openapi), read(Document::Asyncapi));
    let mut found = Vec::new();
    for (path, item) in rest["paths"].as_object().expect("paths") {
        for (method, about) in item.as_object().expect("methods") {
            let (method, needs_token) = (method.to_uppercase(), about["security"].is_array());
            let body = if about["requestBody"].is_null() { "" } else { "{}" };
            found.push(documented_as(&method, path, needs_token, body));
        }
    }
    let messages = socket["components"]["messages"].as_object().expect("messages");
    for command in messages.keys().filter_map(|name| name.strip_prefix("up.")) {
        found.push(documented_as(SOCKET, command, true, "{}"));
    }
    found
}

fn documented_as(method: &str, target: &str, needs_token: bool, body: &str) -> Documented {
    let nobody = if needs_token { "401" } else { "???" };
    let others = "   ???".repeat(CALLERS.len() - 1);
    Documented {
        operation: format!("{method} {}", nameless(target)),
        draft: format!("{method:<4} {target:<40} {nobody} {others}  {body}"),
        needs_token,
    }
}

#[test]
fn every_route_and_every_command_has_a_row_and_every_row_its_operation() {
    let (rows, documented) = (rows(), documented());
    let have: BTreeSet<String> = rows.iter().map(Row::operation).collect();
    let missing: Vec<&str> = documented
        .iter()
        .filter(|known| !have.contains(&known.operation))
        .map(|known| known.draft.as_str())
        .collect();
    assert!(
        missing.is_empty(),
        "Nobody said who may do this. Add to tests/it/matrix/table.txt, whose head explains how, \
         with the status that each caller must get:\n\n{}\n\n{}\n",
        CALLERS.join(" "),
        missing.join("\n")
    );
    for row in &rows {
        let known = documented.iter().find(|known| known.operation == row.operation());
        let Some(known) = known else { panic!("no document knows {}", row.operation()) };
        let refused = row.expected[0] == 401;
        assert!(refused || !known.needs_token, "{}: nobody is let in", row.operation());
    }
}
