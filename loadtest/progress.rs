//! What the run looks like while it runs.
//!
//! Owns the terminal: a few lines redrawn every half second on a terminal, a line every five
//! seconds where there is none. Lines said meanwhile appear above.
#![expect(clippy::print_stdout, reason = "showing progress is what this file is for")]

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::city::clock_text;
use crate::stats::{Counted, Sample};
use crate::world::{Phase, World};

/// Time between two lines where there is no terminal, in samples.
pub const LINE_EVERY: u64 = 5;

static BAR: OnceLock<ProgressBar> = OnceLock::new();

/// Says a line without disturbing what is drawn.
pub fn say(line: &str) {
    match BAR.get() {
        Some(bar) if !bar.is_finished() => bar.suspend(|| println!("{line}")),
        _ => println!("{line}"),
    }
}

/// The live display.
pub struct Progress {
    live: bool,
    last: Option<(Sample, Counted)>,
    shown: u64,
}

impl Progress {
    pub fn new() -> Self {
        let live = std::io::stderr().is_terminal();
        if live {
            let bar = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{spinner:.green} {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(250));
            let _ = BAR.set(bar);
        }
        Self { live, last: None, shown: 0 }
    }

    /// Shows a new sample, once a second.
    pub fn show(&mut self, world: &World, sample: Sample) {
        let counted = world.stats.totals.read();
        let last = self.last.replace((sample, counted));
        let Some((before, _)) = last else { return };
        self.shown += 1;
        if self.live {
            if let Some(bar) = BAR.get() {
                bar.set_message(screen(world, &before, &sample, &counted));
            }
        } else if self.shown.is_multiple_of(LINE_EVERY) {
            println!("{}", line(world, &before, &sample, &counted));
        }
    }
}

/// Clears the display: what follows is the report.
pub fn finish() {
    if let Some(bar) = BAR.get() {
        bar.finish_and_clear();
    }
}

/// Updates per second up and down since the sample before.
fn rates(before: &Sample, now: &Sample) -> (f64, f64) {
    let seconds = (now.at_s - before.at_s).max(0.001);
    let rate = |from: u64, to: u64| to.saturating_sub(from) as f64 / seconds;
    (rate(before.positions_up, now.positions_up), rate(before.positions_down, now.positions_down))
}

const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Running => "running",
        Phase::WindingDown => "winding down",
        Phase::Hurrying => "ending trips",
        Phase::Over => "going home",
    }
}

fn screen(world: &World, before: &Sample, now: &Sample, counted: &Counted) -> String {
    let (up, down) = rates(before, now);
    let broken = world.judge.broken();
    let seconds = now.at_s as u64;
    let mut text = format!(
        "{} {} ×{} · {} {:02}:{:02} · drivers {}/{} online",
        world.city.name,
        clock_text(world.city_s()),
        world.args.lapse,
        phase(world.now()),
        seconds / 60,
        seconds % 60,
        now.online,
        world.args.drivers,
    );
    text.push_str(&format!(
        "\n  trips   asked {} · waiting {} · running {} · completed {} · cancelled {} \
         · no driver {}",
        counted.asked,
        now.waiting,
        now.running,
        counted.completed,
        counted.cancelled,
        counted.no_drivers,
    ));
    text.push_str(&format!(
        "\n  offers  seen {} · accepted {} · declined {} · too late {}",
        counted.offers, counted.offers_accepted, counted.offers_declined, counted.offers_lost,
    ));
    text.push_str(&format!(
        "\n  socket  positions {up:.0}/s up, {down:.0}/s to riders · p50 {:.1} ms p99 {:.1} ms",
        now.latency_p50_ms, now.latency_p99_ms,
    ));
    text.push_str(&format!(
        "\n  errors  {} · lost connections {} · cut {} · promises broken {broken}",
        world.stats.failure_count(),
        counted.lost,
        counted.cut,
    ));
    text
}

fn line(world: &World, before: &Sample, now: &Sample, counted: &Counted) -> String {
    let (up, down) = rates(before, now);
    format!(
        "{} {:>4.0}s {} drivers={}/{} asked={} waiting={} running={} completed={} cancelled={} \
         no_drivers={} offers={} up={up:.0}/s down={down:.0}/s p50={:.1}ms p99={:.1}ms errors={} \
         lost={} broken={}",
        clock_text(world.city_s()),
        now.at_s,
        phase(world.now()),
        now.online,
        world.args.drivers,
        counted.asked,
        now.waiting,
        now.running,
        counted.completed,
        counted.cancelled,
        counted.no_drivers,
        counted.offers,
        now.latency_p50_ms,
        now.latency_p99_ms,
        world.stats.failure_count(),
        counted.lost,
        world.judge.broken(),
    )
}
