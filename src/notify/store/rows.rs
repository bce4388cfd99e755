//! Rows of notifications, made into the room's own types.

use base::{DeviceId, Fault, NotificationId, UserId};
use jiff_sqlx::Timestamp;
use serde_json::Value;
use sqlx::FromRow;
use storage::millis;
use uuid::Uuid;

use super::{LOCALE, Told};
use crate::model::{
    Channel, Delivery, DeliveryState, Device, Group, Language, Notification, Platform, Preferences,
    Progress, Quiet,
};
use crate::texts::Faces;

#[derive(FromRow)]
pub(super) struct ToldRow {
    id: Uuid,
    pub user_id: Uuid,
    facts: Value,
    about: Option<Uuid>,
    state: String,
    created_at: Timestamp,
    expires_at: Timestamp,
    pub phone: String,
    #[sqlx(flatten)]
    wishes: WishesRow,
    locale: Option<String>,
    time_zone: String,
    driver: Option<String>,
    car: Option<String>,
    plate: Option<String>,
}

#[derive(Clone, FromRow)]
pub(super) struct WishesRow {
    language: Option<String>,
    email: Option<String>,
    quiet_from: Option<i16>,
    quiet_to: Option<i16>,
    muted: Option<Vec<String>>,
}

impl ToldRow {
    pub(super) fn wishes(&self) -> Result<Preferences, Fault> {
        self.wishes.clone().wishes()
    }

    pub(super) fn told(self) -> Result<Told, Fault> {
        let wishes = self.wishes()?;
        let news = serde_json::from_value(self.facts)
            .map_err(|error| Fault::internal(format!("news can't be read: {error}")))?;
        let spoken = self.locale.as_deref().unwrap_or(LOCALE);
        let phone = if spoken.starts_with("ar") { Language::Ar } else { Language::En };
        let faces = Faces {
            driver: self.driver,
            car: self.car.filter(|car| !car.is_empty()),
            plate: self.plate,
        };
        let notification = Notification {
            id: NotificationId(self.id),
            to: UserId(self.user_id),
            news,
            about: self.about,
            state: known(Progress::parse(&self.state), &self.state)?,
            created_at: millis(self.created_at),
            until: millis(self.expires_at),
        };
        let language = wishes.language.unwrap_or(phone);
        Ok(Told { notification, language, zone: self.time_zone, faces })
    }
}

impl WishesRow {
    pub(super) fn wishes(self) -> Result<Preferences, Fault> {
        let language = self.language.as_deref();
        let language = language.map(|text| known(Language::parse(text), text)).transpose()?;
        let minute = |minute: i16| u16::try_from(minute).unwrap_or_default();
        let quiet = self.quiet_from.zip(self.quiet_to);
        let quiet = quiet.map(|(from, to)| Quiet { from: minute(from), to: minute(to) });
        let muted = self.muted.unwrap_or_default();
        let muted = muted.iter().map(|text| {
            let found = text.split_once(':').and_then(|(group, channel)| {
                Some((Group::parse(group)?, Channel::parse(channel)?))
            });
            known(found, text)
        });
        let muted = muted.collect::<Result<_, _>>()?;
        Ok(Preferences { language, email: self.email, quiet, muted })
    }
}

#[derive(FromRow)]
pub(super) struct DeviceRow {
    id: Uuid,
    platform: String,
    token: String,
    registered_at: Timestamp,
}

impl DeviceRow {
    pub(super) fn device(self) -> Result<Device, Fault> {
        Ok(Device {
            id: DeviceId(self.id),
            platform: known(Platform::parse(&self.platform), &self.platform)?,
            token: self.token,
            registered_at: millis(self.registered_at),
        })
    }
}

#[derive(FromRow)]
pub(super) struct DeliveryRow {
    id: Uuid,
    pub notification_id: Uuid,
    channel: String,
    device_id: Option<Uuid>,
    state: String,
    attempts: i16,
    reference: Option<String>,
    code: Option<String>,
    next_at: Option<Timestamp>,
    changed_at: Timestamp,
}

impl DeliveryRow {
    pub(super) fn delivery(self) -> Result<Delivery, Fault> {
        Ok(Delivery {
            id: self.id,
            channel: known(Channel::parse(&self.channel), &self.channel)?,
            device: self.device_id.map(DeviceId),
            state: known(DeliveryState::parse(&self.state), &self.state)?,
            attempts: self.attempts,
            reference: self.reference,
            code: self.code,
            next_at: self.next_at.map(millis),
            changed_at: millis(self.changed_at),
        })
    }
}

fn known<T>(word: Option<T>, text: &str) -> Result<T, Fault> {
    word.ok_or_else(|| Fault::internal(format!("unknown word {text} in notifications")))
}
