//! A push as both services send it.

use std::collections::BTreeMap;

use base::{Millis, NotificationId};
use uuid::Uuid;

use crate::model::Kind;
use crate::plan::{Urgency, rule};
use crate::texts::Text;

/// Does it wake a sleeping phone?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loudness {
    Rings,
    Waits,
}

impl Loudness {
    pub(crate) const fn of(kind: Kind) -> Self {
        match rule(kind).urgency {
            Urgency::Critical | Urgency::Live => Self::Rings,
            Urgency::Calm => Self::Waits,
        }
    }
}

pub(crate) struct Push<'a> {
    pub token: &'a str,
    pub text: &'a Text,
    pub kind: Kind,
    pub notification: NotificationId,
    /// The same at every attempt, so that a service which knows names sends one.
    pub delivery: Uuid,
    pub about: Option<Uuid>,
    /// A device shows the newest of this name only.
    pub collapse: &'a str,
    pub until: Millis,
    pub loudness: Loudness,
}

impl Push<'_> {
    /// An offer is drawn by the app.
    pub(crate) const fn is_data_only(&self) -> bool {
        matches!(self.kind, Kind::Offer)
    }

    /// What the app needs to know what it is about.
    pub(crate) fn data(&self) -> BTreeMap<&'static str, String> {
        let mut data = BTreeMap::from([
            ("notificationId", self.notification.to_string()),
            ("kind", self.kind.name().to_owned()),
            ("expiresAt", self.until.to_string()),
        ]);
        if let Some(about) = self.about {
            data.insert("about", about.to_string());
        }
        data
    }
}
