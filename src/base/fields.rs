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

/// For serde: a string without the blanks around it.
pub fn trimmed<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    Ok(String::deserialize(input)?.trim().to_owned())
}

/// Like [`trimmed`]; empty counts as absent.
pub fn trimmed_option<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(input)?;
    Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
}
