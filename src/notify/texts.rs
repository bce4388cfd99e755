//! What news says, in Arabic and English.
//!
//! A text is made when it is sent or shown, from the news and the names as they are then.

mod arabic;
mod english;

use base::Millis;

use crate::model::{Language, News};
use crate::speech::{Speech, isolated};

/// A title and a sentence or two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub title: String,
    pub body: String,
}

impl Text {
    fn new(title: &str, body: impl Into<String>) -> Self {
        Self { title: title.to_owned(), body: body.into() }
    }
}

/// The driver and his car, where news is about a trip that has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faces {
    pub driver: Option<String>,
    /// Colour, make and model.
    pub car: Option<String>,
    pub plate: Option<String>,
}

impl Faces {
    fn car(&self) -> Option<(String, String)> {
        Some((isolated(self.car.as_deref()?), isolated(self.plate.as_deref()?)))
    }
}

pub(crate) fn text(news: &News, faces: &Faces, speech: &Speech<'_>, now: Millis) -> Text {
    match speech.language {
        Language::En => english::text(news, faces, speech, now),
        Language::Ar => arabic::text(news, faces, speech, now),
    }
}
