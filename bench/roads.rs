//! Ways along roads: how far twenty cars are from one pickup, and one way with its line, beside
//! OSRM's `table` and `route` over loopback.
//!
//! Both are built from the same extract and asked the same questions, ours first, theirs right
//! after. Pickups and cars are drawn from the places of `src/routing/data`. OSRM is asked on one
//! kept connection. Both must answer alike, or the run fails its bound.

use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, iter};

use anyhow::Context;
use base::{Dice, Point};
use routing::RoadGraph;
use serde::Deserialize;

use crate::Options;
use crate::cpu::Cpu;
use crate::osrm::{self, Osrm};
use crate::table::{Bound, Figure, Row, median};

const DATA: &str = "src/routing/data";
/// Cars that are compared for one pickup.
const CARS: usize = 20;
const QUESTIONS: usize = 2_000;

/// A pickup and the cars around it.
struct Question {
    cars: Vec<Point>,
    pickup: Point,
}

/// What one side took, a value per run.
#[derive(Default)]
struct Taken {
    wall_us: Vec<f64>,
    cpu_us: Vec<f64>,
}

impl Taken {
    fn add(&mut self, wall: Duration, cpu: Duration, count: usize) {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
        self.wall_us.push(each(wall));
        self.cpu_us.push(each(cpu));
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    let extract = Path::new(DATA).join("monaco.osm.pbf");
    let bytes = fs::read(&extract)
        .with_context(|| format!("can't read {} (run from the root)", extract.display()))?;
    let begun = Instant::now();
    let graph = RoadGraph::from_extract(&bytes)?;
    let built_s = begun.elapsed().as_secs_f64();
    let file = graph.to_bytes();
    let mut loaded_ms = Vec::new();
    for _ in 0..options.runs {
        let begun = Instant::now();
        RoadGraph::from_bytes(&file)?;
        loaded_ms.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let places = places()?;
    let count = if options.quick { QUESTIONS / 10 } else { QUESTIONS };
    let questions = questions(&places, count);
    let rival = Osrm::start(&extract)?;
    if rival.is_none() {
        eprintln!("roads: without OSRM_ROUTED there is nothing to compare with");
    }
    let mut rows = Vec::new();
    rows.extend(many_to_one(&graph, rival.as_ref(), &questions, options)?);
    rows.extend(one_way(&graph, rival.as_ref(), &questions, options)?);
    let name = |what: &str| format!("Monaco, {} roads: {what}", graph.roads());
    rows.push(Row::alone(name("built from the extract"), Figure::new("s", vec![built_s])));
    rows.push(Row::alone(name("its file loaded"), Figure::new("ms", loaded_ms)));
    Ok(rows)
}

fn many_to_one(
    graph: &RoadGraph,
    rival: Option<&Osrm>,
    questions: &[Question],
    options: &Options,
) -> anyhow::Result<Vec<Row>> {
    let requests: Vec<Vec<u8>> =
        questions.iter().map(|question| osrm::table(&question.cars, question.pickup)).collect();
    let (mut mine, mut other) = (Taken::default(), Taken::default());
    let (mut found, mut apart) = (Vec::new(), Vec::new());
    for _ in 0..options.runs {
        found.clear();
        let (begun, cpu) = (Instant::now(), Cpu::thread()?);
        for question in questions {
            graph.etas_to(question.pickup, &question.cars, |_, eta| found.push(eta))?;
        }
        mine.add(begun.elapsed(), Cpu::thread()? - cpu, questions.len());
        let Some(rival) = rival else { continue };
        let answers = asked(rival, &requests, &mut other)?;
        for (answer, ours) in answers.iter().zip(found.chunks(CARS)) {
            let table: Table = serde_json::from_slice(answer).context("a table")?;
            let theirs = table.durations.iter().flatten().copied();
            // Places that OSRM puts on a stub of road, from where nothing leads on, are no answer.
            let both = theirs.zip(ours).filter_map(|(a, b)| Some((a?, b.as_ref().ok()?)));
            apart.extend(both.map(|(theirs, ours)| (ours - theirs).abs() / theirs.max(1.0)));
        }
    }
    let what = format!("Monaco: {CARS} cars to one pickup");
    let mut rows = beside(&what, mine, rival, other, Some(10.0));
    if !apart.is_empty() {
        let percent = Figure::new("%", vec![median(&apart) * 100.0]);
        let row = Row::alone(format!("{what}: how far the answers are apart, median"), percent);
        rows.push(row.bound(Bound::Max(2.0)));
    }
    Ok(rows)
}

fn one_way(
    graph: &RoadGraph,
    rival: Option<&Osrm>,
    questions: &[Question],
    options: &Options,
) -> anyhow::Result<Vec<Row>> {
    let pairs: Vec<(Point, Point)> =
        questions.iter().map(|question| (question.cars[0], question.pickup)).collect();
    let requests: Vec<Vec<u8>> = pairs.iter().map(|(from, to)| osrm::route(*from, *to)).collect();
    let (mut mine, mut other) = (Taken::default(), Taken::default());
    for _ in 0..options.runs {
        let mut metres = 0.0;
        let (begun, cpu) = (Instant::now(), Cpu::thread()?);
        for (from, to) in &pairs {
            metres += graph.route(*from, *to)?.metres;
        }
        mine.add(begun.elapsed(), Cpu::thread()? - cpu, pairs.len());
        anyhow::ensure!(metres > 0.0, "cars drive somewhere");
        if let Some(rival) = rival {
            asked(rival, &requests, &mut other)?;
        }
    }
    Ok(beside("Monaco: one way with its line", mine, rival, other, None))
}

/// Every answer, after the clock.
fn asked(rival: &Osrm, requests: &[Vec<u8>], taken: &mut Taken) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut connection = rival.connect()?;
    let mut answers: Vec<Vec<u8>> = iter::repeat_with(Vec::new).take(requests.len()).collect();
    let (begun, cpu) = (Instant::now(), Cpu::of(rival.pid())?);
    for (request, answer) in requests.iter().zip(&mut answers) {
        connection.ask(request, answer)?;
    }
    taken.add(begun.elapsed(), Cpu::of(rival.pid())? - cpu, requests.len());
    Ok(answers)
}

fn beside(
    what: &str,
    mine: Taken,
    rival: Option<&Osrm>,
    other: Taken,
    times: Option<f64>,
) -> Vec<Row> {
    let Some(rival) = rival else {
        return vec![Row::alone(what, Figure::new("µs", mine.wall_us))];
    };
    let name = format!("OSRM {}", rival.version());
    let wall = |taken: Vec<f64>| Figure::new("µs", taken);
    let cpu = |taken: Vec<f64>| Figure::new("µs CPU", taken);
    let faster = Row::less(what, wall(mine.wall_us), &name, wall(other.wall_us));
    let cpu = Row::less(format!("{what}, CPU"), cpu(mine.cpu_us), &name, cpu(other.cpu_us));
    vec![Row { bound: times.map(Bound::RatioMin), ..faster }, cpu]
}

#[derive(Deserialize)]
struct Table {
    durations: Vec<Vec<Option<f64>>>,
}

/// Places by roads, both ends of every pair that the tests compare.
/// Places on roads of Monaco.
pub(crate) fn places() -> anyhow::Result<Vec<Point>> {
    let file = Path::new(DATA).join("monaco_osrm.csv");
    let csv = fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
    let mut places = Vec::new();
    for line in csv.lines().skip(1) {
        let cells: Vec<f64> = line.split(',').filter_map(|cell| cell.parse().ok()).collect();
        for pair in cells.chunks_exact(2).take(2) {
            places.push(Point::new(pair[0], pair[1])?);
        }
    }
    Ok(places)
}

fn questions(places: &[Point], count: usize) -> Vec<Question> {
    let dice = Dice::seeded(20_261_128);
    let mut any = || places[dice.below(places.len() as u64) as usize];
    iter::repeat_with(|| {
        let pickup = any();
        Question { cars: iter::repeat_with(&mut any).take(CARS).collect(), pickup }
    })
    .take(count)
    .collect()
}
