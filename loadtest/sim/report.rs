//! What the runs came to, as text and as a page with plots.
//!
//! Owns no number: it takes measures and shows mean and standard deviation over the seeds.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table};

use super::measures::{Loss, Measures, spread};
use crate::page::STYLE;
use crate::plots::{Bar, Line, escape, groups, lines};

/// The policies beside each other, at one demand and one willingness of drivers.
pub struct Scene {
    pub per_minute: f64,
    pub acceptance: f64,
    /// Name of a policy, and its measures, one per seed.
    pub rows: Vec<(String, Vec<Measures>)>,
}

impl Scene {
    fn title(&self) -> String {
        let accept = self.acceptance * 100.0;
        format!("{} requests a minute, {accept:.0} % of offers accepted", self.per_minute)
    }
}

/// A title, a unit, and what is drawn.
type Plot = (&'static str, &'static str, fn(&Measures) -> f64);

/// Mean and spread of a measure.
fn over_seeds(seeds: &[Measures], of: impl Fn(&Measures) -> f64) -> (f64, f64) {
    spread(&seeds.iter().map(of).collect::<Vec<_>>())
}

pub fn text(headline: &str, scenes: &[Scene]) -> String {
    let mut text = format!("\n{headline}\n");
    for scene in scenes {
        let (measures, losses) = (measures(scene), losses(scene));
        let _ = writeln!(text, "\n{}\n{measures}\n\nriders lost\n{losses}", scene.title());
    }
    text
}

/// A row per policy, a column per measure.
fn measures(scene: &Scene) -> Table {
    let header = [""].into_iter().chain(Measures::NAMES);
    let row = |(name, seeds): &(String, Vec<Measures>)| {
        let cell = |measure: usize| shown(over_seeds(seeds, |of| of.all()[measure]));
        [name.clone()].into_iter().chain((0..Measures::NAMES.len()).map(cell)).collect()
    };
    aligned(header, scene.rows.iter().map(row))
}

/// A row per cause, a column per policy.
fn losses(scene: &Scene) -> Table {
    let header = [""].into_iter().chain(scene.rows.iter().map(|(name, _)| name.as_str()));
    let row = |(place, loss): (usize, Loss)| {
        let cell = |(_, seeds): &(String, Vec<Measures>)| {
            let (pct, _) = over_seeds(seeds, |of| of.lost[place].pct);
            let (after_s, _) = over_seeds(seeds, |of| of.lost[place].after_s);
            if pct > 0.0 { format!("{pct:.1} % after {after_s:.0} s") } else { "0".to_owned() }
        };
        [loss.name().to_owned()].into_iter().chain(scene.rows.iter().map(cell)).collect()
    };
    aligned(header, Loss::ALL.into_iter().enumerate().map(row))
}

fn aligned<'a>(
    header: impl Iterator<Item = &'a str>,
    rows: impl Iterator<Item = Vec<String>>,
) -> Table {
    let mut table = crate::report::plain();
    table.set_header(header);
    rows.for_each(|row| {
        table.add_row(row);
    });
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn shown((mean, sd): (f64, f64)) -> String {
    let digits = match mean {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{mean:.digits$} ±{sd:.digits$}")
}

/// One page that needs nothing else: no script, no font, no network.
pub fn page(headline: &str, scenes: &[Scene]) -> String {
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>SmartLine dispatch simulator</title><style>{STYLE}\
         body{{max-width:1400px}}.wide{{overflow-x:auto}}.n{{white-space:nowrap}}\
         </style></head><body>\
         <h1>SmartLine dispatch simulator</h1><p>{}<br>Mean over the seeds; ± and whiskers are \
         their standard deviation.</p>",
        escape(headline),
    );
    let mut rates: Vec<f64> = scenes.iter().map(|scene| scene.acceptance).collect();
    rates.dedup();
    for rate in rates {
        let of_rate: Vec<&Scene> = scenes.iter().filter(|s| s.acceptance == rate).collect();
        let _ = write!(
            html,
            "<h2>{:.0} % of offers accepted, by requests a minute</h2>\
             <div class=\"plots\">{}</div>",
            rate * 100.0,
            bars(&of_rate),
        );
    }
    for scene in scenes {
        let _ = write!(html, "<h2>{}</h2>", escape(&scene.title()));
        let _ = write!(html, "<div class=\"plots\">{}</div>", waits(scene));
        for table in [measures(scene), losses(scene)] {
            html.push_str(&markup(&table));
        }
    }
    html.push_str("</body></html>\n");
    html
}

fn figure(title: &str, svg: &str) -> String {
    format!("<figure style=\"margin:0\"><h2>{}</h2>{svg}</figure>", escape(title))
}

/// What matters most, demand by demand.
fn bars(scenes: &[&Scene]) -> String {
    let plots: [Plot; 6] = [
        ("Riders served", "%", |of| of.served_pct),
        ("Wait from asking to pickup, 95 of 100", "s", |of| of.wait_p95_s),
        ("Empty way per trip", "km", |of| of.empty_km_per_trip),
        ("Offers taken by another, per trip", "", |of| of.taken_per_trip),
        ("Inequality of earnings (Gini)", "", |of| of.gini),
        ("Matched within 60 s", "%", |of| of.matched_60s_pct),
    ];
    let names: Vec<&str> = scenes
        .first()
        .map_or_else(Vec::new, |scene| scene.rows.iter().map(|(name, _)| name.as_str()).collect());
    let draw = |(title, unit, of): Plot| {
        let group = |scene: &&Scene| {
            let bar = |(_, seeds): &(String, Vec<Measures>)| {
                let (height, spread) = over_seeds(seeds, of);
                Bar { height, spread }
            };
            (scene.per_minute.to_string(), scene.rows.iter().map(bar).collect())
        };
        let of_scenes: Vec<(String, Vec<Bar>)> = scenes.iter().map(group).collect();
        figure(title, &groups(unit, &names, &of_scenes))
    };
    plots.into_iter().map(draw).collect()
}

/// How many of those who asked were picked up within which time.
fn waits(scene: &Scene) -> String {
    let line = |(name, seeds): &(String, Vec<Measures>)| {
        let point = |place: usize| {
            let (wait_s, _) = over_seeds(seeds, |of| of.wait_steps_s[place]);
            let (served, _) = over_seeds(seeds, |of| of.served_pct);
            let share = (place + 1) as f64 / Measures::STEPS as f64;
            (wait_s, served * share)
        };
        (name.clone(), (0..Measures::STEPS).map(point).collect::<Vec<_>>())
    };
    let of_all: Vec<(String, Vec<(f64, f64)>)> = scene.rows.iter().map(line).collect();
    let drawn: Vec<Line<'_>> =
        of_all.iter().map(|(name, points)| Line { name, points: points.clone() }).collect();
    figure("Picked up within, of those who asked", &lines("seconds", "%", &drawn))
}

fn markup(table: &Table) -> String {
    let cells = |row: &comfy_table::Row, tag: &str| {
        let cell = |(place, cell): (usize, &comfy_table::Cell)| {
            let class = if place == 0 { "" } else { " class=\"n\"" };
            format!("<{tag}{class}>{}</{tag}>", escape(&cell.content()))
        };
        row.cell_iter().enumerate().map(cell).collect::<String>()
    };
    let head = table.header().map_or_else(String::new, |row| cells(row, "th"));
    let rows: String =
        table.row_iter().map(|row| format!("<tr>{}</tr>", cells(row, "td"))).collect();
    format!("<div class=\"wide\"><table><tr>{head}</tr>{rows}</table></div>")
}

#[cfg(test)]
mod tests {
    use super::super::measures::Tally;
    use super::*;

    fn scene() -> Scene {
        let tally = Tally {
            asked: 4,
            served: 3,
            waits_s: vec![100.0, 200.0, 300.0],
            losses: vec![(Loss::Below15Min, 20.0)],
            ..Tally::default()
        };
        let rows = vec![("a & b".to_owned(), vec![Measures::of(&tally); 2])];
        Scene { per_minute: 28.0, acceptance: 0.65, rows }
    }

    #[test]
    fn the_text_says_how_many_were_served_and_lost() {
        let text = text("a city", &[scene()]);
        assert!(text.contains("28 requests a minute, 65 % of offers accepted"), "{text}");
        assert!(text.contains("75.0 ±0.0"), "{text}");
        let lost = text.lines().find(|line| line.contains("10 to 15 min")).expect("a line");
        assert!(lost.contains("25.0 % after 20 s"), "{lost}");
    }

    #[test]
    fn the_page_is_whole_and_needs_nothing_else() {
        let html = page("a <city>", &[scene()]);
        assert!(html.starts_with("<!doctype html>") && html.trim_end().ends_with("</html>"));
        assert!(html.contains("a &lt;city&gt;") && html.contains("a &amp; b"));
        assert!(!html.contains("http") && !html.contains("<script") && !html.contains("NaN"));
        assert_eq!(html.matches("<svg").count(), html.matches("</svg>").count());
        assert_eq!(html.matches("<svg").count(), 7);
    }
}
