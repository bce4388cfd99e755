//! Logs: JSON lines for machines, plain lines for people, secrets masked in both.
//!
//! The mask works on fields and on text: a field whose name speaks of a secret is replaced, and a
//! message that carries a token or a phone number is cleaned before it is written.

use std::fmt;
use std::io::{self, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Plain,
}

/// Installs the process's log output on standard error. `filter` as in `RUST_LOG` (`info`,
/// `info,sqlx=warn`). A second call changes nothing.
pub fn start_logs(filter: &str, format: LogFormat) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Masked);
    let installed = match format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).try_init(),
        LogFormat::Plain => builder.with_target(false).try_init(),
    };
    drop(installed); // Already installed: the first one stays.
}

/// Standard error through [`mask`].
struct Masked;

struct MaskedLine(io::Stderr);

impl<'a> MakeWriter<'a> for Masked {
    type Writer = MaskedLine;

    fn make_writer(&'a self) -> Self::Writer {
        MaskedLine(io::stderr())
    }
}

impl Write for MaskedLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(line) {
            Ok(text) => self.0.write_all(mask(text).to_string().as_bytes())?,
            Err(_) => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// `text` with tokens (`eyJ…`), partners' keys (`sl_…`), phone numbers (`+20…` keeps its last two
/// digits) and values after `password`, `token`, `secret`, `authorization` masked.
fn mask(text: &str) -> impl fmt::Display + '_ {
    fmt::from_fn(move |f| {
        let mut rest = text;
        while let Some((start, found)) = next_secret(rest) {
            f.write_str(&rest[..start])?;
            let tail = &rest[start..];
            let length = found.length(tail);
            found.write(f, &tail[..length])?;
            rest = &tail[length..];
        }
        f.write_str(rest)
    })
}

enum Secret {
    Token,
    Phone,
    Named(usize),
}

const NAMES: [&str; 4] = ["password", "token", "secret", "authorization"];

fn next_secret(text: &str) -> Option<(usize, Secret)> {
    let tokens = ["eyJ", "sl_"].into_iter().filter_map(|start| text.find(start));
    let token = tokens.min().map(|at| (at, Secret::Token));
    let phone = text.find("+20").map(|at| (at, Secret::Phone));
    let named = NAMES.iter().filter_map(|name| value_after(text, name)).min_by_key(|(at, _)| *at);
    [token, phone, named].into_iter().flatten().min_by_key(|(at, _)| *at)
}

/// The value in `name":"value"`, `name=value` or `name: value`, where `name` ends a field's name.
fn value_after(text: &str, name: &str) -> Option<(usize, Secret)> {
    let mut from = 0;
    while let Some(found) = text[from..].find(name) {
        let end = from + found + name.len();
        let value = text[end..].trim_start_matches(['"', '=', ':', ' ', '\\']);
        let start = text.len() - value.len();
        let length = value.find(['"', ',', ' ', '}', '\\', '\n']).unwrap_or(value.len());
        if start > end && length > 0 && text[end..start].contains(['=', ':']) {
            return Some((start, Secret::Named(length)));
        }
        from = end;
    }
    None
}

impl Secret {
    fn length(&self, tail: &str) -> usize {
        let run = |keep: fn(char) -> bool| tail.find(|c| !keep(c)).unwrap_or(tail.len());
        match self {
            Self::Token => run(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)),
            Self::Phone => run(|c| c.is_ascii_digit() || c == '+'),
            Self::Named(length) => *length,
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, secret: &str) -> fmt::Result {
        match self {
            Self::Phone if secret.len() > 8 => write!(f, "+20…{}", &secret[secret.len() - 2..]),
            Self::Phone => f.write_str(secret),
            Self::Token if secret.len() < 20 => f.write_str(secret),
            Self::Token | Self::Named(_) => f.write_str("***"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_the_rest_stays() {
        let check = |line: &str, expected: &str| assert_eq!(mask(line).to_string(), expected);
        check("nothing to hide", "nothing to hide");
        check(r#"{"password":"tahrir99","a":1}"#, r#"{"password":"***","a":1}"#);
        check("refresh_token=abc, x", "refresh_token=***, x");
        check("phone +201012345678 called", "phone +20…78 called");
        check("bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.c2ln end", "bearer *** end");
        check("x-api-key sl_q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k", "x-api-key ***");
        check("a token was refused", "a token was refused");
    }
}
