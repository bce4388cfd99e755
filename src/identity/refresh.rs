//! Refresh tokens: derived, never stored; and the rule for one that comes back.
//!
//! A token is the session's id, its generation and an HMAC over both. The database keeps only the
//! generation that is live, so a stolen database holds no token, and the predecessor's late answer
//! is the same token again.

use std::time::Duration;

use base::{Millis, SessionId};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

/// How long the predecessor gets the same successor: the answer to it may have been lost.
pub(crate) const GRACE: Duration = Duration::from_secs(10);
/// A session that nobody refreshes ends after this.
pub(crate) const IDLE_TTL: Duration = Duration::from_secs(30 * 86_400);
/// A session ends after this, however busy.
pub(crate) const SESSION_TTL: Duration = Duration::from_secs(90 * 86_400);

const ID_BYTES: usize = 16;
const BODY_BYTES: usize = ID_BYTES + 4;
const TOKEN_BYTES: usize = BODY_BYTES + 32;

/// Which token of which family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RefreshToken {
    pub session: SessionId,
    pub generation: i32,
}

impl RefreshToken {
    /// The token's text under `key`.
    pub(crate) fn write(self, key: &[u8; 32]) -> String {
        let body = self.body();
        let mut bytes = [0; TOKEN_BYTES];
        bytes[..BODY_BYTES].copy_from_slice(&body);
        bytes[BODY_BYTES..].copy_from_slice(&mac(key, &body).finalize().into_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The token in `text`, if one of `keys` made it. Compared in constant time.
    pub(crate) fn read(text: &str, keys: &[[u8; 32]]) -> Option<Self> {
        let mut bytes = [0; TOKEN_BYTES];
        // A shorter or longer text is no token: the length is checked by the decoder's count.
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        if length != TOKEN_BYTES {
            return None;
        }
        let (body, tag) = bytes.split_at(BODY_BYTES);
        keys.iter().find(|key| mac(key, body).verify_slice(tag).is_ok())?;
        let (id, generation) = body.split_at(ID_BYTES);
        Some(Self {
            session: SessionId(Uuid::from_slice(id).ok()?),
            generation: i32::from_be_bytes(generation.try_into().ok()?),
        })
    }

    fn body(self) -> [u8; BODY_BYTES] {
        let mut body = [0; BODY_BYTES];
        body[..ID_BYTES].copy_from_slice(self.session.0.as_bytes());
        body[ID_BYTES..].copy_from_slice(&self.generation.to_be_bytes());
        body
    }
}

fn mac(key: &[u8; 32], body: &[u8]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes any key");
    mac.update(body);
    mac
}

/// A session as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// The live generation.
    pub generation: i32,
    pub rotated_at: Millis,
    pub expires_at: Millis,
    pub revoked: Revoked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revoked {
    No,
    Yes,
}

/// What becomes of a refresh token that was not the live one when it was presented, or was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the live one: the next generation takes its place.
    Rotate,
    /// It was replaced moments ago: its successor once more.
    Again { generation: i32 },
    /// It was used before: somebody has a copy, so the family ends.
    Reused,
    /// The family has ended, or the token is from no past of ours.
    Ended,
}

/// Judges generation `presented` of `session` at `now`.
pub(crate) fn judge(session: &Session, presented: i32, now: Millis) -> Verdict {
    let idle_end = session.rotated_at + IDLE_TTL;
    if session.revoked == Revoked::Yes || now >= session.expires_at || now >= idle_end {
        return Verdict::Ended;
    }
    let behind = session.generation.saturating_sub(presented);
    match behind {
        0 => Verdict::Rotate,
        1 if now.after(session.rotated_at) <= GRACE => {
            Verdict::Again { generation: session.generation }
        }
        // A generation that was never given out: the database was set back to an older state.
        ..0 => Verdict::Ended,
        1.. => Verdict::Reused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];
    const OLD_KEY: [u8; 32] = [9; 32];

    #[test]
    fn a_token_is_read_under_the_keys_that_made_it_only() {
        let token = RefreshToken { session: SessionId::from_u128(5), generation: 3 };
        let text = token.write(&OLD_KEY);
        assert_eq!(RefreshToken::read(&text, &[KEY, OLD_KEY]), Some(token));
        assert_eq!(RefreshToken::read(&text, &[KEY]), None);
        assert_eq!(token.write(&KEY), token.write(&KEY), "derived, not drawn");
    }

    #[test]
    fn an_altered_token_is_refused() {
        let token = RefreshToken { session: SessionId::from_u128(5), generation: 3 };
        let text = token.write(&KEY);
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(bytes).expect("ASCII");
            assert_eq!(RefreshToken::read(&forged, &[KEY]), None, "{at}");
        }
        for wrong in ["", "x", &text[1..], &format!("{text}AA"), "a.b.c", &"A".repeat(100_000)] {
            assert_eq!(RefreshToken::read(wrong, &[KEY]), None);
        }
    }

    fn check(presented: i32, now: i64, expected: Verdict) {
        // Generation 3 is live since 100 s; the session ends at 10 000 s.
        let session = Session {
            generation: 3,
            rotated_at: Millis(100_000),
            expires_at: Millis(10_000_000),
            revoked: Revoked::No,
        };
        assert_eq!(judge(&session, presented, Millis(now)), expected, "{presented} at {now}");
        let revoked = Session { revoked: Revoked::Yes, ..session };
        assert_eq!(judge(&revoked, presented, Millis(now)), Verdict::Ended);
    }

    #[test]
    fn a_used_token_ends_its_family_except_right_after_its_replacement() {
        check(3, 100_001, Verdict::Rotate);
        check(3, 9_999_999, Verdict::Rotate);
        check(3, 10_000_000, Verdict::Ended);
        check(2, 100_000, Verdict::Again { generation: 3 });
        check(2, 110_000, Verdict::Again { generation: 3 });
        check(2, 110_001, Verdict::Reused);
        check(1, 100_001, Verdict::Reused);
        check(0, 100_001, Verdict::Reused);
        check(4, 100_001, Verdict::Ended);
        check(i32::MAX, 100_001, Verdict::Ended);
    }

    #[test]
    fn a_session_ends_when_nobody_refreshes_it() {
        let session = Session {
            generation: 0,
            rotated_at: Millis(0),
            expires_at: Millis(0) + SESSION_TTL,
            revoked: Revoked::No,
        };
        let idle_end = Millis(0) + IDLE_TTL;
        assert_eq!(judge(&session, 0, Millis(idle_end.0 - 1)), Verdict::Rotate);
        assert_eq!(judge(&session, 0, idle_end), Verdict::Ended);
    }
}
