//! Cursors of lists: where the last page ended, as `(created_at, id)`, opaque on the wire.

use std::fmt;

use uuid::Uuid;

use crate::Millis;

/// The place after which the next page starts; newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub at: Millis,
    pub id: Uuid,
}

impl Cursor {
    /// Reads what [`fmt::Display`] wrote; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (at, id) = text.split_once('.')?;
        // A sign or a year that no calendar knows was not written by us.
        let at = Millis(i64::from_str_radix(at, 16).ok().filter(|at| *at >= 0)?);
        at.timestamp()?;
        Some(Self { at, id: Uuid::try_parse(id).ok()? })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{}", self.at.0, self.id.simple())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_what_it_wrote_and_nothing_else() {
        let cursor = Cursor { at: Millis(1_700_000_000_120), id: Uuid::from_u128(77) };
        assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        for wrong in ["", ".", "zz.0", "12", "12.nope", "-7f.00000000000000000000000000000001"] {
            assert_eq!(Cursor::parse(wrong), None, "{wrong}");
        }
    }
}
