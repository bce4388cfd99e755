//! Plots as SVG text, small enough to read.
//!
//! Owns axes, lines and bars. Knows nothing of what is plotted: it takes numbers and names and
//! gives text that a browser draws without anything else. Colours are classes, so that the page
//! decides.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 34.0;

/// One line of a plot.
pub struct Line<'a> {
    pub name: &'a str,
    /// x and y, x rising.
    pub points: Vec<(f64, f64)>,
}

/// Lines over a common x axis.
pub fn lines(x_name: &str, y_name: &str, lines: &[Line<'_>]) -> String {
    let points = || lines.iter().flat_map(|line| line.points.iter());
    let x_top = points().map(|p| p.0).fold(1e-9, f64::max);
    let y_top = nice(points().map(|p| p.1).filter(|y| y.is_finite()).fold(0.0, f64::max));
    let mut svg = open();
    axes(&mut svg, (x_name, x_top), (y_name, y_top));
    for (index, line) in lines.iter().enumerate() {
        let mut path = String::new();
        for (x, y) in line.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite()) {
            let command = if path.is_empty() { 'M' } else { 'L' };
            let (px, py) = (across(*x, x_top), down(*y, y_top));
            let _ = write!(path, "{command}{px:.1},{py:.1}");
        }
        let _ = write!(svg, r#"<path class="line c{index}" d="{path}"/>"#);
        key(&mut svg, index, line.name);
    }
    svg.push_str("</svg>");
    svg
}

/// Bars of equal width; the last one holds everything above.
pub fn bars(x_name: &str, y_name: &str, step: f64, counts: &[u64]) -> String {
    let y_top = nice(counts.iter().copied().max().unwrap_or(0) as f64);
    let x_top = (step * counts.len() as f64).max(1e-9);
    let mut svg = open();
    axes(&mut svg, (x_name, x_top), (y_name, y_top));
    for (index, count) in counts.iter().enumerate() {
        let (x, next) =
            (across(index as f64 * step, x_top), across((index + 1) as f64 * step, x_top));
        let y = down(*count as f64, y_top);
        let _ = write!(
            svg,
            r#"<rect class="bar c0" x="{x:.1}" y="{y:.1}" width="{:.1}" height="{:.1}">"#,
            (next - x - 1.0).max(0.5),
            HEIGHT - BOTTOM - y,
        );
        let _ = write!(svg, "<title>{count}</title></rect>");
    }
    svg.push_str("</svg>");
    svg
}

/// One bar of a group.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    pub height: f64,
    /// Half of the whisker.
    pub spread: f64,
}

/// Groups of bars side by side, a name below each group; a bar of each name per group.
pub fn groups(y_name: &str, names: &[&str], groups: &[(String, Vec<Bar>)]) -> String {
    let bars = || groups.iter().flat_map(|(_, bars)| bars);
    let y_top = nice(bars().map(|bar| bar.height + bar.spread).fold(0.0, f64::max));
    let mut svg = open();
    heights(&mut svg, y_name, y_top);
    let width = (WIDTH - LEFT - RIGHT) / groups.len().max(1) as f64;
    let each = width * 0.8 / names.len().max(1) as f64;
    for (index, (name, bars)) in groups.iter().enumerate() {
        let left = LEFT + width * (index as f64 + 0.1);
        text(&mut svg, "x", (left + width * 0.4, HEIGHT - BOTTOM + 15.0), name);
        for (place, Bar { height, spread }) in bars.iter().enumerate() {
            let (x, y) = (left + each * place as f64, down(*height, y_top));
            let _ = write!(
                svg,
                r#"<rect class="bar c{place}" x="{x:.1}" y="{y:.1}" width="{:.1}" height="{:.1}">"#,
                (each - 2.0).max(0.5),
                HEIGHT - BOTTOM - y,
            );
            let _ = write!(svg, "<title>{height:.2} ±{spread:.2}</title></rect>");
            let (middle, up) = (x + each / 2.0 - 1.0, down(height + spread, y_top));
            let low = down((height - spread).max(0.0), y_top);
            let _ = write!(
                svg,
                r#"<path class="whisker" d="M{middle:.1},{up:.1}L{middle:.1},{low:.1}"/>"#
            );
        }
    }
    names.iter().enumerate().for_each(|(index, name)| key(&mut svg, index, name));
    svg.push_str("</svg>");
    svg
}

/// The name of a colour, above the plot.
fn key(svg: &mut String, index: usize, name: &str) {
    let x = LEFT + 8.0 + index as f64 * 108.0;
    let _ = write!(svg, r#"<rect class="key c{index}" x="{x:.0}" y="8" width="10" height="10"/>"#);
    text(svg, "", (x + 15.0, 17.0), name);
}

fn open() -> String {
    format!(r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">"#)
}

fn across(x: f64, top: f64) -> f64 {
    LEFT + x / top * (WIDTH - LEFT - RIGHT)
}

fn down(y: f64, top: f64) -> f64 {
    HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM)
}

const STEPS: usize = 4;

fn axes(svg: &mut String, (x_name, x_top): (&str, f64), (y_name, y_top): (&str, f64)) {
    heights(svg, y_name, y_top);
    for step in 0..=STEPS {
        let x = x_top * step as f64 / STEPS as f64;
        text(svg, "x", (across(x, x_top), HEIGHT - BOTTOM + 15.0), &short(x));
    }
    text(svg, "x", ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 4.0), x_name);
}

/// The y axis and its lines.
fn heights(svg: &mut String, y_name: &str, y_top: f64) {
    for step in 0..=STEPS {
        let value = y_top * step as f64 / STEPS as f64;
        let (y, end) = (down(value, y_top), WIDTH - RIGHT);
        let _ = write!(
            svg,
            r#"<line class="grid" x1="{LEFT}" y1="{y:.1}" x2="{end:.1}" y2="{y:.1}"/>"#
        );
        text(svg, "y", (LEFT - 6.0, y + 4.0), &short(value));
    }
    text(svg, "y", (LEFT - 6.0, 17.0), y_name);
}

fn text(svg: &mut String, class: &str, (x, y): (f64, f64), what: &str) {
    let what = escape(what);
    let _ = write!(svg, r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{what}</text>"#);
}

/// The next of 1, 2, 2.5, 5, 10 times a power of ten.
pub fn nice(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|top| *top >= value).unwrap_or(value)
}

fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.1}M", v / 1e6),
        v if v >= 1e4 => format!("{:.0}k", v / 1e3),
        v if v >= 10.0 || v == v.trunc() => format!("{v:.0}"),
        v => format!("{v:.2}"),
    }
}

/// Text made safe inside markup.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        let check = |value: f64, expected: f64| assert_eq!(nice(value), expected, "{value}");
        check(0.0, 1.0);
        check(7.0, 10.0);
        check(23.0, 25.0);
        check(200.0, 200.0);
        check(0.03, 0.05);
    }

    #[test]
    fn a_plot_draws_every_line_inside_its_frame() {
        let points: Vec<(f64, f64)> = (0..50).map(|x| (f64::from(x), f64::from(x * x))).collect();
        let svg = lines("s", "<n>", &[Line { name: "a & b", points }]);
        assert!(svg.contains("a &amp; b") && svg.contains("&lt;n&gt;"));
        let path = svg.split(r#"d=""#).nth(1).and_then(|rest| rest.split('"').next());
        let inside = path.expect("a path").split(['M', 'L']).skip(1).all(|pair| {
            let (x, y) = pair.split_once(',').expect("two numbers");
            let (x, y): (f64, f64) = (x.parse().expect("x"), y.parse().expect("y"));
            (LEFT - 0.1..=WIDTH - RIGHT + 0.1).contains(&x)
                && (TOP - 0.1..=HEIGHT - BOTTOM + 0.1).contains(&y)
        });
        assert!(inside, "{svg}");
    }

    #[test]
    fn plots_of_nothing_are_still_plots() {
        for svg in [lines("s", "n", &[]), bars("s", "n", 5.0, &[0, 0]), bars("s", "n", 5.0, &[])] {
            assert!(svg.ends_with("</svg>") && !svg.contains("NaN"), "{svg}");
        }
        assert_eq!(bars("s", "n", 5.0, &[1, 2, 3]).matches(r#"class="bar"#).count(), 3);
        let group = |name: &str| (name.to_owned(), vec![Bar { height: 2.0, spread: 0.5 }; 2]);
        let svg = groups("n", &["a", "b"], &[group("28"), group("34")]);
        assert_eq!(svg.matches(r#"class="bar"#).count(), 4);
        assert!(groups("n", &[], &[]).ends_with("</svg>"));
    }
}
