//! Who carries messages out, from the configuration. A provider with half of its settings is a
//! mistake and no absence.

use anyhow::{Context, bail};
use clap::Args;
use notify::{ApnsConfig, FcmConfig, MailConfig, Providers, Sender, TwilioConfig};

use crate::config::Secrets;

/// Hosts and names of the providers; what is secret comes from the environment only.
#[derive(Args, Clone, Debug)]
pub struct ProviderArgs {
    /// Firebase Cloud Messaging's host.
    #[arg(long, env = "FCM_URL", default_value = "https://fcm.googleapis.com")]
    pub fcm_url: String,
    /// Apple's push host; the sandbox is https://api.sandbox.push.apple.com.
    #[arg(long, env = "APNS_URL", default_value = "https://api.push.apple.com")]
    pub apns_url: String,
    /// Name of the signing key.
    #[arg(long, env = "APNS_KEY_ID")]
    pub apns_key_id: Option<String>,
    /// The developer team.
    #[arg(long, env = "APNS_TEAM_ID")]
    pub apns_team_id: Option<String>,
    /// The app's bundle.
    #[arg(long, env = "APNS_TOPIC")]
    pub apns_topic: Option<String>,
    /// Twilio's host.
    #[arg(long, env = "TWILIO_URL", default_value = "https://api.twilio.com")]
    pub twilio_url: String,
    #[arg(long, env = "TWILIO_ACCOUNT_SID")]
    pub twilio_account_sid: Option<String>,
    /// The number that SMS come from.
    #[arg(long, env = "TWILIO_FROM", conflicts_with = "twilio_messaging_service_sid")]
    pub twilio_from: Option<String>,
    /// The messaging service that SMS come from, in place of a number.
    #[arg(long, env = "TWILIO_MESSAGING_SERVICE_SID")]
    pub twilio_messaging_service_sid: Option<String>,
    /// This server as Twilio reaches it, like https://api.example.com; without it nobody tells what
    /// became of an SMS.
    #[arg(long, env = "TWILIO_PUBLIC_URL")]
    pub twilio_public_url: Option<String>,
    /// Who e-mail comes from, like SmartLine <receipts@example.com>.
    #[arg(long, env = "SMTP_FROM")]
    pub smtp_from: Option<String>,
}

impl ProviderArgs {
    pub(crate) fn providers(&self, secrets: &Secrets) -> anyhow::Result<Providers> {
        let fcm = secrets.fcm_account.clone();
        let fcm = fcm.map(|account| FcmConfig { account, url: self.fcm_url.clone() });
        Ok(Providers {
            fcm,
            apns: self.apns(secrets)?,
            twilio: self.twilio(secrets)?,
            mail: self.mail(secrets)?,
        })
    }

    fn apns(&self, secrets: &Secrets) -> anyhow::Result<Option<ApnsConfig>> {
        let Some(key) = secrets.apns_key.clone() else { return Ok(None) };
        let needed = |value: &Option<String>| {
            value.clone().context("APNS_KEY needs APNS_KEY_ID, APNS_TEAM_ID and APNS_TOPIC")
        };
        Ok(Some(ApnsConfig {
            key,
            key_id: needed(&self.apns_key_id)?,
            team_id: needed(&self.apns_team_id)?,
            topic: needed(&self.apns_topic)?,
            url: self.apns_url.clone(),
        }))
    }

    fn twilio(&self, secrets: &Secrets) -> anyhow::Result<Option<TwilioConfig>> {
        let Some(auth_token) = secrets.twilio_token.clone() else { return Ok(None) };
        let account_sid = self.twilio_account_sid.clone();
        let account_sid = account_sid.context("TWILIO_AUTH_TOKEN needs TWILIO_ACCOUNT_SID")?;
        let from = match (&self.twilio_from, &self.twilio_messaging_service_sid) {
            (Some(number), _) => Sender::Number(number.clone()),
            (None, Some(sid)) => Sender::MessagingService(sid.clone()),
            (None, None) => {
                bail!("TWILIO_AUTH_TOKEN needs TWILIO_FROM or TWILIO_MESSAGING_SERVICE_SID")
            }
        };
        let (url, public_url) = (self.twilio_url.clone(), self.twilio_public_url.clone());
        Ok(Some(TwilioConfig { account_sid, auth_token, from, url, public_url }))
    }

    fn mail(&self, secrets: &Secrets) -> anyhow::Result<Option<MailConfig>> {
        let Some(url) = secrets.smtp_url.clone() else { return Ok(None) };
        let from = self.smtp_from.clone().context("SMTP_URL needs SMTP_FROM")?;
        Ok(Some(MailConfig { url, from }))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use secrecy::SecretString;

    use super::*;

    #[derive(Parser)]
    struct Probe {
        #[command(flatten)]
        providers: ProviderArgs,
    }

    #[test]
    fn a_provider_is_set_up_whole_or_not_at_all() {
        let secret = || Some(SecretString::from("x"));
        let check = |args: &[&str], secrets: Secrets, expected: &str| {
            let probe = Probe::parse_from(std::iter::once(&"probe").chain(args));
            let found = match probe.providers.providers(&secrets) {
                Ok(Providers { fcm, apns, twilio, mail }) => {
                    let set = [fcm.is_some(), apns.is_some(), twilio.is_some(), mail.is_some()];
                    format!("{set:?}")
                }
                Err(error) => error.to_string(),
            };
            assert!(found.contains(expected), "{args:?}: {found}");
        };
        let twilio = || Secrets { twilio_token: secret(), ..Secrets::default() };
        let smtp = || Secrets { smtp_url: secret(), ..Secrets::default() };
        check(&[], Secrets::default(), "[false, false, false, false]");
        let fcm = Secrets { fcm_account: secret(), ..Secrets::default() };
        check(&[], fcm, "[true, false, false, false]");
        let apns = Secrets { apns_key: secret(), ..Secrets::default() };
        check(&["--apns-key-id", "k", "--apns-team-id", "t"], apns, "APNS_TOPIC");
        check(&[], twilio(), "TWILIO_ACCOUNT_SID");
        check(&["--twilio-account-sid", "AC1"], twilio(), "TWILIO_FROM");
        let whole = ["--twilio-account-sid", "AC1", "--twilio-from", "+15550001111"];
        check(&whole, twilio(), "[false, false, true, false]");
        check(&[], smtp(), "SMTP_FROM");
        check(&["--smtp-from", "a@b.c"], smtp(), "[false, false, false, true]");
    }
}
