//! What people are told: their phones, their wishes, the list; and what carriers report.

use base::{Caller, Cursor, Problem};
use fraud::Note;
use notify::{DeviceBody, DeviceView, NotificationsPage, PreferencesView, SmsReport};
use uuid::Uuid;

use crate::Flows;

impl Flows {
    /// The caller's phone takes pushes from now on, and no other account's any more.
    pub async fn register_device(
        &self,
        caller: &Caller,
        device: &DeviceBody,
    ) -> Result<DeviceView, Problem> {
        let registered = self.notify.register(caller, device).await?;
        self.note_of(caller.user, Note::Device(&device.token)).await;
        Ok(registered)
    }

    /// The caller's phone takes no more pushes; one that is not his is left alone.
    pub async fn remove_device(&self, caller: &Caller, token: &str) -> Result<(), Problem> {
        Ok(self.notify.unregister(caller, token).await?)
    }

    pub async fn notification_preferences(
        &self,
        caller: &Caller,
    ) -> Result<PreferencesView, Problem> {
        Ok(self.notify.preferences(caller).await?)
    }

    /// Replaces all of the caller's preferences.
    pub async fn save_notification_preferences(
        &self,
        caller: &Caller,
        wishes: &PreferencesView,
    ) -> Result<PreferencesView, Problem> {
        self.notify.save_preferences(caller, wishes).await
    }

    /// What the caller was told, newest first.
    pub async fn notifications(
        &self,
        caller: &Caller,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<NotificationsPage, Problem> {
        Ok(self.notify.list(caller, after, limit).await?)
    }

    /// The carrier says what became of an SMS; it proves itself by its signature.
    pub async fn sms_report(&self, delivery: Uuid, report: &SmsReport) -> Result<(), Problem> {
        self.notify.sms_report(delivery, report).await
    }
}
