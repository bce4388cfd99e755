//! E-mail by SMTP.

use base::Fault;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::Error;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::client::{Line, NoAnswer, Verdict};
use crate::texts::Text;

/// How mail leaves.
#[derive(Clone, Debug)]
pub struct MailConfig {
    /// `smtps://user:password@host`, or `smtp://…?tls=required` for STARTTLS.
    pub url: SecretString,
    /// `SmartLine <receipts@example.com>`.
    pub from: String,
}

pub(crate) struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    line: Line,
    from: Mailbox,
}

/// Tells answering machines to keep quiet (RFC 3834).
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

impl Mail {
    pub(crate) fn new(config: &MailConfig, line: Line) -> Result<Self, Fault> {
        // The parser's message can repeat the URL, which holds a password.
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(config.url.expose_secret())
            .map_err(|_| Fault::internal("SMTP_URL can't be read"))?
            .build();
        let from = config.from.parse();
        let from = from.map_err(|_| Fault::internal("SMTP_FROM is no e-mail address"))?;
        Ok(Self { transport, line, from })
    }

    /// Sends one letter, always under the same name, so that a mailbox may know it again.
    pub(crate) async fn send(&self, to: &str, text: &Text, delivery: Uuid) -> Verdict {
        let reference = format!("<{delivery}@{}>", self.from.email.domain());
        let refused = |code: &str| Verdict::Refused { code: code.to_owned() };
        let Ok(address) = to.parse::<Address>() else { return refused("BAD_ADDRESS") };
        let Ok(letter) = self.letter(address, text, &reference) else {
            return refused("BAD_LETTER");
        };
        let sent = self.line.run(async {
            match self.transport.send(letter).await {
                Ok(_) => Ok(None),
                // The server's word is an answer too; only its silence speaks against it.
                Err(error) if error.status().is_some() => Ok(Some(error)),
                Err(error) if error.is_client() || error.is_tls() => Err(NoAnswer::NotSent),
                Err(_) => Err(NoAnswer::Lost),
            }
        });
        match sent.await {
            Ok(None) => Verdict::Accepted { reference },
            Ok(Some(error)) => judge(&error),
            Err(verdict) => verdict,
        }
    }

    fn letter(
        &self,
        to: Address,
        text: &Text,
        reference: &str,
    ) -> Result<Message, lettre::error::Error> {
        MessageBuilder::new()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(&text.title)
            .message_id(Some(reference.to_owned()))
            .header(AutoSubmitted)
            .header(ContentType::TEXT_PLAIN)
            .body(text.body.clone())
    }
}

fn judge(error: &Error) -> Verdict {
    let code = error.status().map(|code| code.to_string()).unwrap_or_default();
    match code.as_str() {
        // Credentials or relaying: nothing that one letter could change.
        "530" | "534" | "535" | "538" => Verdict::Alert { code },
        _ if error.is_transient() => Verdict::Again { code, after: None },
        _ => Verdict::Refused { code },
    }
}
