//! What is wrong with the fields of a form, collected before anything is refused.

use serde::{Deserialize, Deserializer};

use crate::{FieldProblem, Point, Problem};

/// Every wrong field of one request. `field` is a path as the caller wrote it: `stops[2].lat`.
#[derive(Debug, Default)]
pub struct Fields(Vec<FieldProblem>);

impl Fields {
    pub fn wrong(&mut self, field: &str, code: &str, message: &str) {
        self.0.push(FieldProblem {
            field: field.to_owned(),
            code: code.to_owned(),
            message: message.to_owned(),
        });
    }

    /// A text of `min` to `max` characters without control characters but line breaks.
    pub fn text(&mut self, field: &str, text: &str, min: usize, max: usize) {
        let length = text.chars().count();
        if !(min..=max).contains(&length) {
            self.wrong(field, "length", &format!("must have {min} to {max} characters"));
        } else if text.chars().any(|c| c.is_control() && c != '\n') {
            self.wrong(field, "invalid", "must not have control characters");
        }
    }

    /// Degrees; tells which of the two numbers is out of range. `field` may be empty: then the
    /// numbers stand at the top.
    pub fn point(&mut self, field: &str, lat: f64, lng: f64) -> Option<Point> {
        let error = match Point::new(lat, lng) {
            Ok(point) => return Some(point),
            Err(error) => error,
        };
        let name = error.field();
        let path = if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
        self.wrong(&path, "out_of_range", &error.to_string());
        None
    }

    pub fn done(self) -> Result<(), Problem> {
        if self.0.is_empty() { Ok(()) } else { Err(Problem::fields(self.0)) }
    }
}

/// What serde minded, for whoever wrote the request: without what he wrote (a secret may stand in
/// the wrong field), without the place, which a path says better, and without names of our types.
pub fn complaint(said: &str) -> String {
    let said = said.rfind(" at line ").map_or(said, |at| &said[..at]);
    let said = match said.rsplit_once(", expected ") {
        Some((found, expected)) => {
            let kind = found.split(['`', '"']).next().unwrap_or_default();
            format!("{}, expected {expected}", kind.trim_end())
        }
        None => said.to_owned(),
    };
    said.replace("f64", "a number").replace("f32", "a number")
}

/// For serde: a string without the blanks around it.
pub fn trimmed<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    Ok(String::deserialize(input)?.trim().to_owned())
}

/// Like [`trimmed`]; empty counts as absent.
pub fn trimmed_option<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(input)?;
    Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_does_not_repeat_what_was_written() {
        let check = |said: &str, expected: &str| assert_eq!(complaint(said), expected, "{said}");
        check(
            "invalid type: integer `990011`, expected a string at line 1 column 20",
            "invalid type: integer, expected a string",
        );
        check(
            "invalid type: string \"tahrir99, expected `x`\", expected f64 at line 1 column 9",
            "invalid type: string, expected a number",
        );
        check("invalid type: map, expected a string", "invalid type: map, expected a string");
        check(
            "unknown variant `tahrir99`, expected one of `accept`, `decline`",
            "unknown variant, expected one of `accept`, `decline`",
        );
        check("missing field `lat` at line 1 column 2", "missing field `lat`");
    }
}
