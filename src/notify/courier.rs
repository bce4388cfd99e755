//! Who carries messages out: the providers that are set up on this node.

use base::{Clock, Fault};
use ops::Breakers;
use tracing::info;
use uuid::Uuid;

use crate::client::apns::Apns;
use crate::client::fcm::Fcm;
use crate::client::mail::Mail;
use crate::client::twilio::Twilio;
use crate::client::{Line, Verdict};
use crate::model::{Device, Service};
use crate::plan::Open;
use crate::push::Push;
use crate::texts::Text;
use crate::{ApnsConfig, FcmConfig, MailConfig, TwilioConfig};

/// Which providers are set up. A channel without one is not available.
#[derive(Clone, Debug, Default)]
pub struct Providers {
    pub fcm: Option<FcmConfig>,
    pub apns: Option<ApnsConfig>,
    pub twilio: Option<TwilioConfig>,
    pub mail: Option<MailConfig>,
}

pub(crate) struct Couriers {
    fcm: Option<Fcm>,
    apns: Option<Apns>,
    twilio: Option<Twilio>,
    mail: Option<Mail>,
}

impl Couriers {
    pub(crate) fn new(
        providers: &Providers,
        breakers: &Breakers,
        clock: &Clock,
    ) -> Result<Self, Fault> {
        let line = |name| Line::new(breakers, name, clock);
        let Providers { fcm, apns, twilio, mail } = providers;
        let couriers = Self {
            fcm: fcm.as_ref().map(|config| Fcm::new(config, line("fcm"))).transpose()?,
            apns: apns.as_ref().map(|config| Apns::new(config, line("apns"))).transpose()?,
            twilio: twilio
                .as_ref()
                .map(|config| Twilio::new(config, line("twilio")))
                .transpose()?,
            mail: mail.as_ref().map(|config| Mail::new(config, line("smtp"))).transpose()?,
        };
        let Open { push, sms, email } = couriers.open();
        for (channel, open) in [("push", push), ("sms", sms), ("email", email)] {
            if !open {
                info!(channel, "no provider is set up: nothing goes out on this channel");
            }
        }
        Ok(couriers)
    }

    pub(crate) const fn open(&self) -> Open {
        Open {
            push: self.fcm.is_some() || self.apns.is_some(),
            sms: self.twilio.is_some(),
            email: self.mail.is_some(),
        }
    }

    pub(crate) fn reaches(&self, device: &Device) -> bool {
        match device.service() {
            Service::Fcm => self.fcm.is_some(),
            Service::Apns => self.apns.is_some(),
        }
    }

    pub(crate) async fn push(&self, service: Service, push: &Push<'_>) -> Verdict {
        match (service, &self.fcm, &self.apns) {
            (Service::Fcm, Some(fcm), _) => fcm.send(push).await,
            (Service::Apns, _, Some(apns)) => apns.send(push).await,
            (Service::Fcm | Service::Apns, _, _) => closed(),
        }
    }

    pub(crate) async fn sms(&self, phone: &str, text: &str, delivery: Uuid) -> Verdict {
        match &self.twilio {
            Some(twilio) => twilio.send(phone, text, delivery).await,
            None => closed(),
        }
    }

    pub(crate) async fn email(&self, to: &str, text: &Text, delivery: Uuid) -> Verdict {
        match &self.mail {
            Some(mail) => mail.send(to, text, delivery).await,
            None => closed(),
        }
    }

    /// Is this call about an SMS the carrier's own?
    pub(crate) fn is_genuine(
        &self,
        delivery: Uuid,
        form: &[(String, String)],
        signature: &str,
    ) -> bool {
        self.twilio.as_ref().is_some_and(|twilio| twilio.is_genuine(delivery, form, signature))
    }
}

/// The channel was open when the message was begun, on a node with other settings.
fn closed() -> Verdict {
    Verdict::Refused { code: "CHANNEL_CLOSED".to_owned() }
}
