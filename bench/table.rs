//! What comes out: rows of figures with their rivals and bounds, as a table for the terminal and
//! as markdown between the README's markers.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use comfy_table::presets::{ASCII_MARKDOWN, UTF8_FULL_CONDENSED};
use comfy_table::{Table, TableStyle};

/// One claim.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub what: String,
    pub ours: Figure,
    /// What a user would pick instead, by name.
    pub rival: Option<(String, Figure)>,
    /// How many times better ours is (or larger, where the row says so); by the medians.
    pub ratio: Option<f64>,
    pub bound: Option<Bound>,
}

/// A quantity measured several times.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub unit: &'static str,
    /// One value per run; never empty.
    pub runs: Vec<f64>,
}

/// What is promised.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// The ratio is at least this.
    RatioMin(f64),
    /// The ratio is at most this.
    RatioMax(f64),
    /// Our figure is at least this, in its unit.
    Min(f64),
    /// Our figure is at most this, in its unit.
    Max(f64),
}

impl Figure {
    pub fn new(unit: &'static str, runs: Vec<f64>) -> Self {
        Self { unit, runs }
    }

    pub fn median(&self) -> f64 {
        median(&self.runs)
    }

    /// From the lowest run to the highest, as a share of the median: 0.1 is ten per cent in all.
    pub fn spread(&self) -> f64 {
        let low = self.runs.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self.runs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let median = self.median();
        if median == 0.0 || self.runs.is_empty() { 0.0 } else { (high - low) / median.abs() }
    }

    fn text(&self) -> String {
        let spread = (self.spread() * 50.0).round();
        let spread = if spread > 0.0 { format!(" ±{spread} %") } else { String::new() };
        format!("{} {}{spread}", number(self.median()), self.unit)
    }
}

impl Row {
    /// A figure of ours alone.
    pub fn alone(what: impl Into<String>, ours: Figure) -> Self {
        Self { what: what.into(), ours, rival: None, ratio: None, bound: None }
    }

    /// A figure of which more is better: the ratio is ours over theirs.
    pub fn more(what: impl Into<String>, ours: Figure, name: &str, theirs: Figure) -> Self {
        let ratio = Some(ours.median() / theirs.median());
        Self { ratio, rival: Some((name.to_owned(), theirs)), ..Self::alone(what, ours) }
    }

    /// A figure of which less is better: the ratio is theirs over ours.
    pub fn less(what: impl Into<String>, ours: Figure, name: &str, theirs: Figure) -> Self {
        let ratio = Some(theirs.median() / ours.median());
        Self { ratio, rival: Some((name.to_owned(), theirs)), ..Self::alone(what, ours) }
    }

    pub fn bound(self, bound: Bound) -> Self {
        Self { bound: Some(bound), ..self }
    }

    /// Whether the bound is met; `None` when nothing is promised.
    pub fn met(&self) -> Option<bool> {
        let ratio = self.ratio.unwrap_or(f64::NAN);
        // A figure that isn't a number meets nothing.
        self.bound.map(|bound| match bound {
            Bound::RatioMin(times) => ratio >= times,
            Bound::RatioMax(times) => ratio <= times,
            Bound::Min(least) => self.ours.median() >= least,
            Bound::Max(most) => self.ours.median() <= most,
        })
    }

    fn cells(&self) -> [String; 6] {
        let bound = self.bound.map_or_else(String::new, |bound| match bound {
            Bound::RatioMin(times) => format!("≥ {}×", number(times)),
            Bound::RatioMax(times) => format!("≤ {}×", number(times)),
            Bound::Min(least) => format!("≥ {} {}", number(least), self.ours.unit),
            Bound::Max(most) => format!("≤ {} {}", number(most), self.ours.unit),
        });
        let verdict = match self.met() {
            None => "",
            Some(true) => "met",
            Some(false) => "NOT met",
        };
        let rival = self.rival.as_ref();
        [
            self.what.clone(),
            self.ours.text(),
            rival.map_or_else(String::new, |(name, figure)| format!("{name}: {}", figure.text())),
            self.ratio.map_or_else(String::new, |ratio| format!("{}×", number(ratio))),
            bound,
            verdict.to_owned(),
        ]
    }
}

/// The middle value, or the mean of the two in the middle; NaN of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

/// The value that `share` of the sorted values don't exceed (0.99: the 99th percentile); NaN of
/// nothing.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(place.max(1) - 1).copied().unwrap_or(f64::NAN)
}

/// Three digits that count, large ones grouped.
fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "–".to_owned();
    }
    if size >= 1000.0 {
        let digits = format!("{}", value.round());
        let head = digits.len() % 3;
        let mut text = digits[..head].to_owned();
        for group in digits.as_bytes()[head..].chunks(3) {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&String::from_utf8_lossy(group));
        }
        return text;
    }
    if size > 0.0 && size < 0.001 {
        return "< 0.001".to_owned();
    }
    let places = if size >= 100.0 || size == size.round() {
        0
    } else if size >= 10.0 {
        1
    } else if size >= 1.0 {
        2
    } else {
        3
    };
    format!("{value:.places$}")
}

fn table(rows: &[Row], style: TableStyle) -> String {
    let mut table = Table::new();
    table.load_style(style);
    table.set_header(["what", "SmartLine", "instead", "ratio", "bound", ""]);
    for row in rows {
        table.add_row(row.cells());
    }
    table.to_string()
}

pub(crate) fn text(rows: &[Row]) -> String {
    table(rows, UTF8_FULL_CONDENSED)
}

/// Replaces what stands between `<!-- name -->` and `<!-- /name -->`.
pub(crate) fn write(readme: &Path, name: &str, rows: &[Row]) -> anyhow::Result<()> {
    let whose = || format!("{} (run from the root, or pass --readme)", readme.display());
    let old = fs::read_to_string(readme).with_context(whose)?;
    let (open, close) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let Some((head, rest)) = old.split_once(&open) else { bail!("{} lacks {open}", whose()) };
    let Some((_, tail)) = rest.split_once(&close) else { bail!("{} lacks {close}", whose()) };
    let table = table(rows, ASCII_MARKDOWN);
    fs::write(readme, format!("{head}{open}\n\n{table}\n\n{close}{tail}")).with_context(whose)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_whether_its_bound_is_met() {
        let figure = |value| Figure::new("ops/s", vec![value]);
        let row = Row::more("moves", figure(900.0), "rival", figure(3.0));
        assert_eq!(row.met(), None);
        assert_eq!(row.clone().bound(Bound::RatioMin(300.0)).met(), Some(true));
        assert_eq!(row.clone().bound(Bound::RatioMin(301.0)).met(), Some(false));
        assert_eq!(row.bound(Bound::Max(899.0)).met(), Some(false));
        let broken = Row::less("cpu", figure(f64::NAN), "rival", figure(3.0));
        assert_eq!(broken.bound(Bound::RatioMin(0.0)).met(), Some(false));
    }

    #[test]
    fn numbers_keep_three_digits_that_count() {
        let check = |value: f64, expected: &str| assert_eq!(number(value), expected);
        check(1_612_345.4, "1 612 345");
        check(999.6, "1000");
        check(12.34, "12.3");
        check(1.7, "1.70");
        check(0.0123, "0.012");
        check(0.0004, "< 0.001");
        check(0.0, "0");
        check(f64::NAN, "–");
    }

    #[test]
    fn medians_and_quantiles() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        let sorted: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!((quantile(&sorted, 0.5), quantile(&sorted, 0.99)), (50.0, 99.0));
    }
}
