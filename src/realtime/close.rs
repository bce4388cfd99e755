//! Why the server ends a socket: the codes of SPEC 3, each with a reason that says what to do.

/// A close code (RFC 6455) and its reason, at most 123 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
}

pub(crate) const PROTOCOL: Close = Close { code: 1002, reason: "not a WebSocket message" };
pub(crate) const NOT_TEXT: Close = Close { code: 1007, reason: "text must be UTF-8" };
pub(crate) const MALFORMED: Close = Close { code: 1008, reason: "too many malformed messages" };
pub(crate) const TOO_MANY: Close = Close { code: 1008, reason: "too many messages, slow down" };
pub(crate) const TOO_BIG: Close = Close { code: 1009, reason: "a message has at most 64 KiB" };
pub(crate) const RESTART: Close =
    Close { code: 1012, reason: "this node restarts, reconnect as told and resume" };
pub(crate) const SLOW: Close =
    Close { code: 1013, reason: "reader too slow, reconnect and resume from the last seq you saw" };
pub(crate) const EXPIRED: Close =
    Close { code: 4401, reason: "the access token has ended, reconnect with a fresh one" };
pub(crate) const REVOKED: Close = Close { code: 4401, reason: "this login was ended" };
pub(crate) const SILENT: Close = Close { code: 4408, reason: "nothing heard for 20 seconds" };
pub(crate) const REPLACED: Close = Close { code: 4409, reason: "replaced by a newer socket" };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_fits_into_a_close_frame() {
        let all = [
            PROTOCOL, NOT_TEXT, MALFORMED, TOO_MANY, TOO_BIG, RESTART, SLOW, EXPIRED, REVOKED,
            SILENT, REPLACED,
        ];
        for close in all {
            assert!(close.reason.len() <= 123 && close.code >= 1000, "{close:?}");
        }
    }
}
