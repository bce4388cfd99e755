//! Tables as text that any spreadsheet reads (RFC 4180), and none executes.

/// A cell.
pub enum Cell<'a> {
    /// Anybody's words.
    Text(&'a str),
    /// Our own digits.
    Number(String),
    Empty,
}

/// Adds a row to `out`.
pub fn row(out: &mut String, cells: &[Cell<'_>]) {
    for (place, cell) in cells.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        match cell {
            Cell::Text(text) => quoted(out, text),
            Cell::Number(digits) => out.push_str(digits),
            Cell::Empty => {}
        }
    }
    out.push_str("\r\n");
}

/// A text that a spreadsheet would take for a formula begins with an apostrophe, which it shows as
/// no part of the text.
fn quoted(out: &mut String, text: &str) {
    let harmful = |first: char| matches!(first, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n');
    let is_formula = text.trim_start_matches(' ').starts_with(harmful);
    if !is_formula && !text.contains(['"', ',', '\r', '\n', ';']) {
        out.push_str(text);
        return;
    }
    out.push('"');
    if is_formula {
        out.push('\'');
    }
    out.push_str(&text.replace('"', "\"\""));
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_a_formula_or_another_cell() {
        let check = |text: &str, expected: &str| {
            let mut out = String::new();
            row(&mut out, &[Cell::Text(text), Cell::Number("-1.5".to_owned()), Cell::Empty]);
            assert_eq!(out, format!("{expected},-1.5,\r\n"), "{text}");
        };
        check("Cairo", "Cairo");
        check("", "");
        check("a,b", "\"a,b\"");
        check("say \"no\"", "\"say \"\"no\"\"\"");
        check("two\nlines", "\"two\nlines\"");
        check("=1+1", "\"'=1+1\"");
        check("  =cmd|' /C calc'!A0", "\"'  =cmd|' /C calc'!A0\"");
        check("+20", "\"'+20\"");
        check("-3", "\"'-3\"");
        check("@SUM(A1)", "\"'@SUM(A1)\"");
        check("\t=1", "\"'\t=1\"");
        check("\r=1", "\"'\r=1\"");
    }
}
