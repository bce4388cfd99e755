//! The report as one HTML page that needs nothing else: no script, no font, no network.

use std::fmt::Write;

use crate::invariants::Rule;
use crate::plots::{Line, bars, escape, lines};
use crate::report::{Report, columns, millis};
use crate::stats::{Sample, Spread};

pub const STYLE: &str = "
:root{color-scheme:light dark;--a:#2563eb;--b:#16a34a;--c:#dc2626;--d:#d97706;
--e:#9333ea;--f:#0891b2;--grid:#8884}
body{font:15px/1.5 system-ui,sans-serif;max-width:1160px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:0}h2{font-size:1.05rem;margin:1.6rem 0 .4rem}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(440px,1fr));gap:1rem 2rem}
table{border-collapse:collapse;width:100%}td,th{padding:.2rem .6rem;text-align:left}
tr{border-bottom:1px solid var(--grid)}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.good{color:var(--b)}.bad{color:var(--c);font-weight:600}svg{width:100%;height:auto}
svg text{font-size:11px;fill:currentColor;opacity:.75}
text.y{text-anchor:end}text.x{text-anchor:middle}
.grid{stroke:var(--grid)}.line{fill:none;stroke-width:1.8}.bar,.key{stroke:none}
.c0{stroke:var(--a);fill:var(--a)}.c1{stroke:var(--b);fill:var(--b)}
.c2{stroke:var(--c);fill:var(--c)}.c3{stroke:var(--d);fill:var(--d)}
.c4{stroke:var(--e);fill:var(--e)}.c5{stroke:var(--f);fill:var(--f)}path.line{fill:none}
.whisker{stroke:currentColor}
";

pub fn page(report: &Report) -> String {
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>SmartLine load test: {}</title><style>{STYLE}</style></head><body>",
        escape(&report.scenario),
    );
    let (class, verdict) = if report.good() {
        ("good", "every promise held".to_owned())
    } else {
        ("bad", format!("{} promises broken", report.verdict.total()))
    };
    let _ = write!(
        html,
        "<h1>SmartLine load test</h1><p>{}<br><span class=\"{class}\">{verdict}</span></p>",
        escape(&report.headline()),
    );
    let _ = write!(html, "<div class=\"plots\">{}</div>", plots(report));
    html.push_str("<h2>Numbers</h2><table>");
    for (name, value) in report.numbers() {
        let _ = write!(
            html,
            "<tr><td>{}</td><td class=\"n\">{}</td></tr>",
            escape(name),
            escape(&value)
        );
    }
    html.push_str("</table>");
    spreads(&mut html, "Times", report.times().into_iter());
    spreads(&mut html, "Answers", report.answers.iter().map(|(what, spread)| (*what, spread)));
    promises(&mut html, report);
    failures(&mut html, report);
    html.push_str("</body></html>\n");
    html
}

fn plots(report: &Report) -> String {
    let series = |of: fn(&Sample) -> f64| {
        report.series.iter().map(|sample| (sample.at_s, of(sample))).collect::<Vec<_>>()
    };
    let line = |name, of| Line { name, points: series(of) };
    let figure = |title: &str, svg: String| {
        format!("<figure style=\"margin:0\"><h2>{title}</h2>{svg}</figure>")
    };
    let per_second = |name, of: fn(&Sample) -> u64| Line { name, points: rate(&report.series, of) };
    let mut all = vec![
        figure(
            "Trips so far",
            lines(
                "seconds",
                "trips",
                &[
                    line("asked", |s| s.asked as f64),
                    line("completed", |s| s.completed as f64),
                    line("cancelled", |s| s.cancelled as f64),
                    line("no driver", |s| s.no_drivers as f64),
                ],
            ),
        ),
        figure(
            "Now",
            lines(
                "seconds",
                "",
                &[
                    line("drivers online", |s| s.online as f64),
                    line("trips running", |s| s.running as f64),
                    line("riders waiting", |s| s.waiting as f64),
                ],
            ),
        ),
        figure(
            "Wait for a driver",
            bars("seconds", "trips", report.wait_bars.step_ms / 1e3, &report.wait_bars.counts),
        ),
        figure(
            "Position, driver to rider",
            bars("milliseconds", "positions", report.delay_bars.step_ms, &report.delay_bars.counts),
        ),
        figure(
            "Position latency over time",
            lines(
                "seconds",
                "ms",
                &[line("p50", |s| s.latency_p50_ms), line("p99", |s| s.latency_p99_ms)],
            ),
        ),
        figure(
            "Positions per second",
            lines(
                "seconds",
                "per s",
                &[
                    per_second("from drivers", |s| s.positions_up),
                    per_second("to riders", |s| s.positions_down),
                ],
            ),
        ),
    ];
    if report.cost.is_some() {
        all.extend(server_plots(report).map(|(title, svg)| figure(title, svg)));
    }
    all.concat()
}

fn server_plots(report: &Report) -> [(&'static str, String); 2] {
    let readings = report.series.iter();
    let points = readings.filter_map(|sample| Some((sample.at_s, sample.usage?.rss_mib))).collect();
    let memory = Line { name: "server memory", points };
    [
        ("Server memory", lines("seconds", "MiB", &[memory])),
        ("Cores busy", lines("seconds", "cores", &cores(&report.series))),
    ]
}

/// The change per second of a total.
fn rate(series: &[Sample], of: fn(&Sample) -> u64) -> Vec<(f64, f64)> {
    let slope = |two: &[Sample]| {
        let seconds = (two[1].at_s - two[0].at_s).max(0.001);
        (two[1].at_s, of(&two[1]).saturating_sub(of(&two[0])) as f64 / seconds)
    };
    series.windows(2).map(slope).collect()
}

/// Usage is read less often than samples are taken: the slope is between two readings.
fn cores(series: &[Sample]) -> [Line<'static>; 3] {
    let mut readings: Vec<&Sample> = series.iter().filter(|s| s.usage.is_some()).collect();
    readings.dedup_by_key(|sample| sample.usage.map(|usage| usage.own_cpu_s.to_bits()));
    let slopes = |of: fn(&crate::stats::Usage) -> f64| {
        let slope = |two: &[&Sample]| {
            let seconds = (two[1].at_s - two[0].at_s).max(0.001);
            Some((two[1].at_s, (of(two[1].usage.as_ref()?) - of(two[0].usage.as_ref()?)) / seconds))
        };
        readings.windows(2).filter_map(slope).collect::<Vec<_>>()
    };
    [
        Line { name: "server", points: slopes(|usage| usage.cpu_s) },
        Line { name: "its children", points: slopes(|usage| usage.children_cpu_s) },
        Line { name: "this program", points: slopes(|usage| usage.own_cpu_s) },
    ]
}

fn spreads<'a>(html: &mut String, title: &str, rows: impl Iterator<Item = (&'a str, &'a Spread)>) {
    let _ = write!(html, "<h2>{title}</h2><table><tr><th></th><th class=\"n\">count</th>");
    for name in ["mean", "p50", "p90", "p99", "p99.9", "max"] {
        let _ = write!(html, "<th class=\"n\">{name}</th>");
    }
    html.push_str("</tr>");
    for (name, spread) in rows {
        let _ = write!(html, "<tr><td>{}</td><td class=\"n\">{}</td>", escape(name), spread.count);
        for value in columns(spread) {
            let _ = write!(html, "<td class=\"n\">{}</td>", millis(value));
        }
        html.push_str("</tr>");
    }
    html.push_str("</table>");
}

fn promises(html: &mut String, report: &Report) {
    html.push_str("<h2>Promises</h2><table>");
    for rule in Rule::ALL {
        let broken = report.verdict.counts.get(&rule).copied().unwrap_or(0);
        let (class, mark) = if broken == 0 {
            ("good", "held".to_owned())
        } else {
            ("bad", format!("broken {broken}×"))
        };
        let _ = write!(
            html,
            "<tr><td>{rule:?}</td><td>{}</td><td class=\"n {class}\">{mark}</td></tr>",
            rule.says(),
        );
    }
    html.push_str("</table>");
    for violation in &report.verdict.violations {
        let _ =
            write!(html, "<p class=\"bad\">{:?}: {}</p>", violation.rule, escape(&violation.what));
    }
}

fn failures(html: &mut String, report: &Report) {
    if report.failures.is_empty() {
        return;
    }
    html.push_str("<h2>Refusals and errors</h2><table>");
    for failures in &report.failures {
        let _ = write!(
            html,
            "<tr><td class=\"n\">{}</td><td>{}</td><td>{}</td></tr>",
            failures.count,
            escape(&failures.what),
            escape(&failures.first),
        );
    }
    html.push_str("</table>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn the_page_is_whole_and_needs_nothing_else() {
        let html = page(&sample());
        assert!(html.starts_with("<!doctype html>") && html.trim_end().ends_with("</html>"));
        assert_eq!(html.matches("<svg").count(), 6);
        for outside in ["src=", "href=", "<script", "url(", "@import"] {
            assert!(!html.contains(outside), "{outside}");
        }
        assert!(html.contains("event &lt;3&gt; after 1"), "what the server said is escaped");
        assert!(!html.contains("NaN"));
    }

    #[test]
    fn a_rate_is_the_change_per_second() {
        let sample = |at_s, positions_up| Sample { at_s, positions_up, ..Sample::default() };
        let slopes = rate(&[sample(0.0, 0), sample(2.0, 10)], |s| s.positions_up);
        assert_eq!(slopes, [(2.0, 5.0)]);
    }
}
