//! Outward shapes: devices, preferences, the list of what was told, the notice on the socket.

use base::{DeviceId, Fields, Millis, NotificationId, Problem, trimmed, trimmed_option};
use lettre::Address;
use rooms::Frame;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::model::{
    Channel, DeliveryState, Group, Language, Platform, Preferences, Progress, Quiet,
};

const TOKEN_MIN: usize = 8;
const TOKEN_MAX: usize = 512;
const LOCALE_MAX: usize = 35;
/// Longest address that mail knows.
const EMAIL_MAX: usize = 254;

/// A phone that is to take pushes.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceBody {
    pub platform: Platform,
    /// What the push service gave the app: Firebase's registration token, or Apple's device token
    /// in hex.
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 8, max_length = 512)]
    pub token: String,
    /// The phone's language, like `ar-EG`: the language of texts unless another is chosen.
    #[serde(default, deserialize_with = "trimmed_option")]
    #[schema(example = "ar-EG")]
    pub locale: Option<String>,
}

impl DeviceBody {
    /// Adds what is wrong.
    pub fn check(&self, fields: &mut Fields) {
        check_token(&self.token, fields);
        if let Some(locale) = &self.locale {
            let plain = locale.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
            if !plain || !(2..=LOCALE_MAX).contains(&locale.len()) {
                fields.wrong("locale", "invalid", "must be a language tag, like ar-EG");
            }
        }
    }
}

/// A phone that takes no more pushes for this account.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceGone {
    #[serde(deserialize_with = "trimmed")]
    pub token: String,
}

impl DeviceGone {
    /// Adds what is wrong.
    pub fn check(&self, fields: &mut Fields) {
        check_token(&self.token, fields);
    }
}

fn check_token(token: &str, fields: &mut Fields) {
    let visible = token.bytes().all(|b| b.is_ascii_graphic());
    if !visible || !(TOKEN_MIN..=TOKEN_MAX).contains(&token.len()) {
        fields.wrong("token", "invalid", "must be a push token: 8 to 512 visible characters");
    }
}

/// A registered phone; its token is not shown.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceView {
    pub id: DeviceId,
    pub platform: Platform,
    pub locale: String,
    pub registered_at: Millis,
}

/// When nothing that can wait may ring, on the clock of the person's city.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuietHours {
    /// `HH:MM`.
    #[schema(example = "22:30")]
    pub from: String,
    /// `HH:MM`, not after `from` when it crosses midnight.
    #[schema(example = "07:00")]
    pub to: String,
}

/// One kind of news that is not wanted on one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Mute {
    pub group: Group,
    pub channel: Channel,
}

/// What a person wants to be told, and how. Saving replaces all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreferencesView {
    /// Language of texts; absent: the phone's.
    #[serde(default)]
    pub language: Option<Language>,
    /// Where receipts and statements go; absent: nowhere.
    #[serde(default, deserialize_with = "trimmed_option")]
    pub email: Option<String>,
    #[serde(default)]
    pub quiet_hours: Option<QuietHours>,
    #[serde(default)]
    #[schema(max_items = 28)]
    pub muted: Vec<Mute>,
}

impl PreferencesView {
    pub(crate) fn of(wishes: &Preferences) -> Self {
        let quiet =
            wishes.quiet.map(|quiet| QuietHours { from: hours(quiet.from), to: hours(quiet.to) });
        let mute = |&(group, channel): &(Group, Channel)| Mute { group, channel };
        Self {
            language: wishes.language,
            email: wishes.email.clone(),
            quiet_hours: quiet,
            muted: wishes.muted.iter().map(mute).collect(),
        }
    }

    /// As it is stored, or what is wrong with it.
    pub(crate) fn parse(&self) -> Result<Preferences, Problem> {
        let mut fields = Fields::default();
        if let Some(email) = &self.email
            && (email.len() > EMAIL_MAX || email.parse::<Address>().is_err())
        {
            fields.wrong("email", "invalid", "must be an e-mail address");
        }
        let quiet = self.quiet_hours.as_ref().and_then(|hours| {
            let (from, to) = (minute(&hours.from), minute(&hours.to));
            for (field, found) in [("quietHours.from", from), ("quietHours.to", to)] {
                if found.is_none() {
                    fields.wrong(field, "invalid", "must be a time of day, HH:MM");
                }
            }
            if from.is_some() && from == to {
                fields.wrong("quietHours.to", "invalid", "must not be the same as from");
            }
            Some(Quiet { from: from?, to: to? })
        });
        fields.done()?;
        let mut muted: Vec<(Group, Channel)> = Vec::new();
        for mute in &self.muted {
            if !muted.contains(&(mute.group, mute.channel)) {
                muted.push((mute.group, mute.channel));
            }
        }
        Ok(Preferences { language: self.language, email: self.email.clone(), quiet, muted })
    }
}

fn hours(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str, below: u16| {
        let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|n| digits && *n < below)
    };
    Some(number(hours, 24)? * 60 + number(minutes, 60)?)
}

/// How far something told has come on one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryView {
    pub channel: Channel,
    pub status: DeliveryState,
    pub attempts: i16,
    /// What the provider said last, when it was not yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    pub at: Millis,
}

/// Something the person was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotificationView {
    pub id: NotificationId,
    pub kind: &'static str,
    pub title: String,
    pub body: String,
    /// The trip, payment or withdrawal that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<Uuid>,
    pub status: Progress,
    pub created_at: Millis,
    pub deliveries: Vec<DeliveryView>,
}

/// Newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotificationsPage {
    pub notifications: Vec<NotificationView>,
    pub next_cursor: Option<String>,
}

/// Something told, on the socket.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NoticeView {
    pub id: NotificationId,
    pub kind: &'static str,
    pub title: String,
    pub body: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<Uuid>,
    pub expires_at: Millis,
}

#[derive(Serialize)]
struct Notice<'a> {
    r#type: &'static str,
    room: String,
    epoch: u64,
    seq: u64,
    data: &'a NoticeView,
}

/// The numbered frame of the user's own room.
pub(crate) fn notice_frame(room: String, epoch: u64, seq: u64, data: &NoticeView) -> Frame {
    let notice = Notice { r#type: "notice", room, epoch, seq, data };
    Frame::json(serde_json::to_vec(&notice).unwrap_or_default().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_read_and_written() {
        let check =
            |text: &str, expected: Option<u16>| assert_eq!(minute(text), expected, "{text}");
        check("00:00", Some(0));
        check("23:59", Some(1439));
        check("07:30", Some(450));
        for wrong in ["24:00", "7:30", "07:60", "0730", "+7:30", "", "07:30:00"] {
            check(wrong, None);
        }
        assert_eq!(hours(450), "07:30");
    }

    #[test]
    fn preferences_are_checked_field_by_field() {
        let check = |json: &str, expected: &str| {
            let view: PreferencesView = serde_json::from_str(json).unwrap();
            let found = match view.parse() {
                Ok(wishes) => format!("{:?} {} muted", wishes.quiet, wishes.muted.len()),
                Err(problem) => {
                    let fields = problem.details["fields"].as_array().cloned().unwrap_or_default();
                    let names = fields.iter().map(|f| f["field"].as_str().unwrap_or("").to_owned());
                    names.collect::<Vec<_>>().join(" ")
                }
            };
            assert_eq!(found, expected, "{json}");
        };
        check("{}", "None 0 muted");
        check(
            r#"{"quietHours":{"from":"22:00","to":"07:00"}}"#,
            "Some(Quiet { from: 1320, to: 420 }) 0 muted",
        );
        check(r#"{"quietHours":{"from":"22:00","to":"22:00"}}"#, "quietHours.to");
        check(
            r#"{"quietHours":{"from":"x","to":"y"},"email":"z"}"#,
            "email quietHours.from quietHours.to",
        );
        check(
            r#"{"muted":[{"group":"trips","channel":"sms"},{"group":"trips","channel":"sms"}]}"#,
            "None 1 muted",
        );
    }
}
