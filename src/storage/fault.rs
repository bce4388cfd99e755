//! What a database error means, and time as the database keeps it.

use base::{Cursor, Fault, Millis};
use sqlx::postgres::PgDatabaseError;
use uuid::Uuid;

/// Sorts an error of the driver: away, slow or in the way of others is [`Fault::Unavailable`], the
/// rest is a bug.
pub fn fault(error: sqlx::Error) -> Fault {
    match &error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => Fault::unavailable(error.to_string()),
        _ => match code(&error) {
            Some(state) if passes(state) => Fault::unavailable(describe(&error)),
            _ => Fault::internal(describe(&error)),
        },
    }
}

/// SQLSTATEs that go away by themselves: connection lost, server restarting or full, statement or
/// lock timeout, serialization failure, deadlock.
fn passes(state: &str) -> bool {
    matches!(&state[..2.min(state.len())], "08" | "53" | "57")
        || matches!(state, "55P03" | "40001" | "40P01" | "25P03" | "25P04")
}

/// Did the connection end, rather than the server say no? Then nobody knows what became of the
/// statement.
pub(crate) fn is_gone(error: &sqlx::Error) -> bool {
    match error.as_database_error().and_then(|e| e.code()) {
        Some(state) => state.starts_with("57P") || state.starts_with("08"),
        None => true,
    }
}

/// The server's message with its code and where it was raised; parameters are never in it.
fn describe(error: &sqlx::Error) -> String {
    let server = error.as_database_error().and_then(|e| e.try_downcast_ref::<PgDatabaseError>());
    match server {
        Some(e) => {
            let place = e.r#where().map(|text| format!(" ({text})")).unwrap_or_default();
            format!("{} [{}]{place}", e.message(), e.code())
        }
        None => error.to_string(),
    }
}

/// Did the statement break the constraint of this name: unique, check, foreign key, exclusion, or
/// one that a function raised with `USING CONSTRAINT`?
pub fn breaks(error: &sqlx::Error, constraint: &str) -> bool {
    error.as_database_error().and_then(|e| e.constraint()) == Some(constraint)
}

/// The SQLSTATE of an exception our own functions raise: class `SL`.
pub fn raised(error: &sqlx::Error) -> Option<&str> {
    code(error).filter(|state| state.starts_with("SL"))
}

fn code(error: &sqlx::Error) -> Option<&str> {
    let server = error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?;
    Some(server.code())
}

/// A moment as a `timestamptz` parameter. The database's calendar ends where [`Millis`]' does not:
/// what no calendar holds becomes its nearest end.
pub fn at(moment: Millis) -> jiff_sqlx::Timestamp {
    jiff_sqlx::Timestamp::from(moment.timestamp().unwrap_or(if moment.0 < 0 {
        jiff::Timestamp::MIN
    } else {
        jiff::Timestamp::MAX
    }))
}

/// Where a page of a list begins, as parameters of `(time, id) < ($1, $2)`: without a cursor before
/// everything, so that one statement with one plan serves every page.
pub fn before(cursor: Option<Cursor>) -> (jiff_sqlx::Timestamp, Uuid) {
    match cursor {
        Some(last) => (at(last.at), last.id),
        None => (at(Millis(i64::MAX)), Uuid::max()),
    }
}

/// A `timestamptz` column as a moment, cut to milliseconds.
pub fn millis(column: jiff_sqlx::Timestamp) -> Millis {
    Millis::from(column.to_jiff())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_the_trip_to_a_column() {
        for ms in [0, 1, -1, 1_700_000_000_123] {
            assert_eq!(millis(at(Millis(ms))), Millis(ms));
        }
        assert!(millis(at(Millis(i64::MAX))) > Millis(0));
        assert!(millis(at(Millis(i64::MIN))) < Millis(0));
    }

    #[test]
    fn a_lost_connection_is_unavailable_and_a_bug_is_not() {
        let io = sqlx::Error::Io(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        assert!(matches!(fault(io), Fault::Unavailable(_)));
        assert!(matches!(fault(sqlx::Error::PoolTimedOut), Fault::Unavailable(_)));
        assert!(matches!(fault(sqlx::Error::RowNotFound), Fault::Internal(_)));
        assert!(passes("57014") && passes("08006") && !passes("23505") && !passes(""));
    }
}
