//! Tells people things: on the socket in their hand, by push, by SMS, by e-mail.
//!
//! Owns devices, preferences, what was told and how far it came, the texts in both languages, and
//! the clients of FCM, APNs, Twilio and SMTP. Decides nothing about what there is to tell.
//!
//! Guarantees:
//! - what is told in a transaction is told if and only if that commits, and once for its name;
//! - each way is claimed before it is taken: a crash in between shows as a lost answer and is
//!   settled by the rule of its kind and channel;  (test: `a_crash_between_claim_and_answer…`)
//! - a dead push token is forgotten, unless it was registered again since;
//! - no token, phone or text is logged, and none stands in a job.

mod client;
mod courier;
mod desk;
mod job;
mod model;
mod plan;
mod push;
mod speech;
mod store;
mod texts;
mod wire;

#[cfg(test)]
mod tests;

pub use client::apns::ApnsConfig;
pub use client::fcm::FcmConfig;
pub use client::mail::MailConfig;
pub use client::twilio::{Sender, TwilioConfig};
pub use courier::Providers;
pub use desk::{Notify, SmsReport};
pub use job::{CALM_NOTIFICATION, NOTIFICATION};
pub use model::{
    Channel, DeliveryState, EndedBy, Group, Kind, Language, Message, News, Platform, Progress,
    Receipt,
};
pub use wire::{
    DeliveryView, DeviceBody, DeviceGone, DeviceView, Mute, NoticeView, NotificationView,
    NotificationsPage, PreferencesView, QuietHours,
};
