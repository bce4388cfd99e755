//! One request, one effect, one answer, over REST and over the socket alike.
//!
//! An edge takes a turn for a request before it calls a flow, hands the [`Once`] it gets to the
//! flow (which passes it on to the transaction of the effect), and leaves the answer here. Whoever
//! sends the request again gets that answer, whichever edge he comes to. Without a key of his own,
//! the same body within five seconds is the same request where something is created, and nowhere
//! else: a repeated change has an answer of its own.

use std::time::Duration;

use base::{Code, Fault, Problem, UserId};
use bytes::Bytes;
use events::{Asked, Begun, Once};
use metrics::counter;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tracing::warn;

use crate::Flows;

/// How long the answer to a key is kept.
const KEEP: Duration = Duration::from_secs(24 * 3600);
/// How long the same body is the same request.
const SAME_FOR: Duration = Duration::from_secs(5);
/// Whoever sent the same body again waits so long for the first answer.
const WAIT: Duration = Duration::from_secs(5);
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long an answer may take to be kept; after that another attempt may have the key.
const KEEP_WITHIN: Duration = Duration::from_secs(30);
/// Longest idempotency key, characters.
const KEY_MAX: usize = 255;

/// A request that may have been sent before.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    pub user: UserId,
    /// Method and path without the version: `POST /trips/request`, over the socket too.
    pub route: &'a str,
    /// JSON.
    pub body: &'a [u8],
    /// The caller's own key.
    pub key: Option<&'a str>,
}

/// What an edge may do with a request.
#[derive(Debug)]
pub enum Turn {
    /// Call the flow, and leave the answer with [`Flows::answered`].
    Go(Attempt),
    /// It was answered before, with this HTTP status.
    Answered { status: u16, said: Said },
}

/// JSON of the data, or a refusal.
pub type Said = Result<Bytes, Problem>;

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    pub once: Once,
    is_named: bool,
}

/// Reads a key as a client gives it, quoted or bare.
pub fn idempotency_key(text: &str) -> Result<&str, Problem> {
    let text = text.trim();
    let bare = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
    let visible = bare.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if bare.is_empty() || bare.len() > KEY_MAX || !visible {
        let why = "must have 1 to 255 visible ASCII characters";
        return Err(Problem::field("Idempotency-Key", "length", why));
    }
    Ok(bare)
}

impl Flows {
    /// Is it the first time that this is asked?
    pub async fn turn(&self, sent: Sent<'_>) -> Result<Turn, Problem> {
        let fingerprint = events::fingerprint(sent.route, sent.body);
        let is_named = sent.key.is_some();
        let (key, keep) = match sent.key {
            Some(key) => (format!("key:{key}"), KEEP),
            None => (format!("body:{}", hex(&fingerprint)), SAME_FOR),
        };
        let (scope, route) = (sent.user, sent.route);
        let asked = Asked { scope, route, key: &key, fingerprint, keep };
        let until = Instant::now() + WAIT;
        loop {
            match self.keys.begin(&asked).await? {
                Begun::Run(once) => return Ok(Turn::Go(Attempt { once, is_named })),
                Begun::Replay { status, answer } => {
                    counter!("smartline_idempotent_replays_total").increment(1);
                    return Ok(Turn::Answered { status, said: read(&answer)? });
                }
                Begun::Reused => {
                    let why = "this idempotency key was used for another request";
                    return Err(Problem::new(Code::IdempotencyKeyReused, why));
                }
                // Without a key of his own he can't ask for the answer later.
                Begun::Running if !is_named && Instant::now() < until => {
                    tokio::time::sleep(ASK_AGAIN).await;
                }
                Begun::Running => return Err(events::Superseded::ByAnother.into()),
            }
        }
    }

    /// Keeps the answer to a request if it says what became of it. One that says that nothing was
    /// tried (bad form, no right, too busy) is not kept: the key is free again.
    ///
    /// Nobody hears an answer before it is kept, so that whoever asks again hears no other one:
    /// while the database is away it waits, as long as the attempt has its key.
    pub async fn answered(&self, attempt: Attempt, status: u16, said: &Said) {
        let is_final = match said {
            Ok(_) => true,
            Err(problem) => attempt.is_named && matches!(problem.code.status(), 404 | 409),
        };
        let text = is_final.then(|| write(said)).flatten();
        if text.is_some() {
            return self.keep(attempt.once, status, text).await;
        }
        if self.keys.release(&attempt.once).await.is_err() {
            // He may hear now that nothing was done, and should not be told to wait when he asks
            // again.
            let flows = self.clone();
            self.tasks.spawn("key given back", async move {
                flows.keep(attempt.once, status, None).await;
            });
        }
    }

    /// Keeps the answer, or gives the key back for `None`; again and again while the database is
    /// away.
    async fn keep(&self, once: Once, status: u16, text: Option<String>) {
        let (until, stopping) = (Instant::now() + KEEP_WITHIN, self.tasks.stopping());
        let kept = loop {
            let kept = match &text {
                Some(text) => self.keys.answer(&once, status, text).await,
                None => self.keys.release(&once).await,
            };
            match kept {
                Err(Fault::Unavailable(_) | Fault::Unknown(_)) if Instant::now() < until => {}
                kept => break kept,
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(ASK_AGAIN) => {}
            }
        };
        if let Err(fault) = kept {
            warn!(%fault, "an answer was not kept, who asks again is told how things stand");
        }
    }
}

/// An answer as it is kept: without the envelope's time and request id, which belong to each
/// asking.
#[derive(Serialize, Deserialize)]
struct Form<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    error: Option<Refused>,
}

#[derive(Serialize, Deserialize)]
struct Refused {
    code: String,
    message: String,
    details: Value,
}

fn write(said: &Said) -> Option<String> {
    let form = match said {
        Ok(data) => Form { data: Some(serde_json::from_slice(data).ok()?), error: None },
        Err(problem) => {
            let (code, message) = (problem.code.name().to_owned(), problem.message.to_string());
            let details = problem.details.clone();
            Form { data: None, error: Some(Refused { code, message, details }) }
        }
    };
    serde_json::to_string(&form).ok()
}

fn read(text: &str) -> Result<Said, Problem> {
    let unreadable = || Problem::new(Code::Internal, "the kept answer can't be read");
    let form: Form<'_> = serde_json::from_str(text).map_err(|_| unreadable())?;
    match (form.data, form.error) {
        (Some(data), None) => Ok(Ok(Bytes::copy_from_slice(data.get().as_bytes()))),
        (None, Some(refused)) => {
            let code = Code::ALL.iter().find(|code| code.name() == refused.code);
            let mut problem = Problem::new(*code.ok_or_else(unreadable)?, refused.message);
            problem.details = refused.details;
            Ok(Err(problem))
        }
        _ => Err(unreadable()),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_was_kept() {
        let check = |said: Said, text: &str| {
            assert_eq!(write(&said).as_deref(), Some(text));
            assert_eq!(write(&read(text).expect("it is readable")).as_deref(), Some(text));
        };
        // Money stays as it was written: no number goes through a float.
        check(Ok(r#"{"price":42.50}"#.into()), r#"{"data":{"price":42.50}}"#);
        check(
            Err(Problem::new(Code::InvalidTransition, "no").with("current", "started")),
            r#"{"error":{"code":"INVALID_TRANSITION","message":"no","details":{"current":"started"}}}"#,
        );
        assert!(read("{}").is_err());
    }

    #[test]
    fn a_key_is_taken_quoted_or_bare() {
        let check = |given: &str, expected: Option<&str>| {
            assert_eq!(idempotency_key(given).ok(), expected, "{given}");
        };
        check("abc", Some("abc"));
        check("\"abc\"", Some("abc"));
        check(" abc ", Some("abc"));
        check("", None);
        check("a\u{7}b", None);
        check("\u{661}", None);
        check(&"x".repeat(256), None);
    }
}
