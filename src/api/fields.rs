//! What is wrong with a request's fields, collected before anything is refused.

use base::{FieldProblem, Problem};
use serde::{Deserialize, Deserializer};

/// A request body that knows its own rules beyond its types.
pub(crate) trait Check {
    /// Adds what is wrong; nothing by default.
    fn check(&self, _: &mut Fields) {}
}

#[derive(Default)]
pub(crate) struct Fields(Vec<FieldProblem>);

impl Fields {
    pub(crate) fn wrong(&mut self, field: &str, code: &str, message: &str) {
        self.0.push(FieldProblem {
            field: field.to_owned(),
            code: code.to_owned(),
            message: message.to_owned(),
        });
    }

    /// A text of `min` to `max` characters without control characters but line breaks.
    pub(crate) fn text(&mut self, field: &str, text: &str, min: usize, max: usize) {
        let length = text.chars().count();
        if !(min..=max).contains(&length) {
            self.wrong(field, "length", &format!("must have {min} to {max} characters"));
        } else if text.chars().any(|c| c.is_control() && c != '\n') {
            self.wrong(field, "invalid", "must not have control characters");
        }
    }

    pub(crate) fn done(self) -> Result<(), Problem> {
        if self.0.is_empty() { Ok(()) } else { Err(Problem::fields(self.0)) }
    }
}

/// A string without the blanks around it.
pub(crate) fn trimmed<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    Ok(String::deserialize(input)?.trim().to_owned())
}

/// Like [`trimmed`]; empty counts as absent.
pub(crate) fn trimmed_option<'de, D: Deserializer<'de>>(
    input: D,
) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(input)?;
    Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
}
