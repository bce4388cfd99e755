//! Redis's side of the map: GEOADD and GEOSEARCH, pipelined over one connection.
//!
//! Commands of a pipeline are encoded before the clock starts. How much of the stream is done
//! depends on the budget, since Redis looks at every driver in the circle.

use std::time::{Duration, Instant};

use base::Point;

use super::crowd::{Crowd, Step, Work};
use super::{LIMIT, RADIUS_M, Taken};
use crate::Options;
use crate::cpu::Cpu;
use crate::redis::{Commands, Connection, Redis};

const KEY: &[u8] = b"drivers";
/// Drivers of one GEOADD while the map is filled.
const FILL: usize = 500;

pub(super) struct Rival<'a> {
    redis: &'a Redis,
    connection: Connection,
}

impl<'a> Rival<'a> {
    pub(super) fn filled(redis: &'a Redis, crowd: &Crowd) -> anyhow::Result<Self> {
        let mut connection = redis.connect()?;
        let places: Vec<_> = crowd.places().collect();
        for some in places.chunks(FILL) {
            let words: Vec<Vec<u8>> =
                some.iter().flat_map(|(slot, at)| named(*slot, *at)).collect();
            let head: [&[u8]; 2] = [b"GEOADD", KEY];
            let words: Vec<&[u8]> =
                head.into_iter().chain(words.iter().map(Vec::as_slice)).collect();
            let mut commands = Commands::default();
            commands.push(&words);
            connection.pipeline(&commands)?;
        }
        Ok(Self { redis, connection })
    }

    /// Whom Redis finds, by slot, nearest first.
    pub(super) fn nearest(&mut self, from: Point) -> anyhow::Result<Vec<u32>> {
        let found =
            self.connection.ask(&search(from).iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        found.into_iter().map(|name| Ok(String::from_utf8(name)?.parse()?)).collect()
    }

    /// As much of the stream as the budget allows, at least one pipeline.
    pub(super) fn measure(
        &mut self,
        steps: &[Step],
        work: Work,
        options: &Options,
        taken: &mut Taken,
    ) -> anyhow::Result<()> {
        let budget = Duration::from_millis(if options.quick { 300 } else { 1500 });
        let pipeline = match work {
            Work::Moves => 1000,
            Work::Questions => 10,
            Work::Mixed => 200,
        };
        let (mut count, mut wall_s, mut cpu_s) = (0, 0.0, 0.0);
        for some in steps.chunks(pipeline) {
            let commands = encoded(some);
            let (begun, cpu) = (Instant::now(), Cpu::of(self.redis.pid())?);
            self.connection.pipeline(&commands)?;
            wall_s += begun.elapsed().as_secs_f64();
            cpu_s += (Cpu::of(self.redis.pid())? - cpu).as_secs_f64();
            count += some.len();
            if wall_s > budget.as_secs_f64() {
                break;
            }
        }
        taken.add(count, wall_s, cpu_s);
        Ok(())
    }
}

fn encoded(steps: &[Step]) -> Commands {
    let mut commands = Commands::default();
    for step in steps {
        match *step {
            Step::Move { slot, to } => {
                let [lng, lat, name] = named(slot, to);
                commands.push(&[b"GEOADD", KEY, &lng, &lat, &name]);
            }
            Step::Ask { from } => {
                commands.push(&search(from).iter().map(Vec::as_slice).collect::<Vec<_>>());
            }
        }
    }
    commands
}

/// The question as our index is asked it: the nearest, and only their names.
fn search(from: Point) -> Vec<Vec<u8>> {
    let [lng, lat] = degrees(from);
    let word = |text: &str| text.as_bytes().to_vec();
    let (radius, limit) = (RADIUS_M.to_string(), LIMIT.to_string());
    let around = [word("GEOSEARCH"), KEY.to_vec(), word("FROMLONLAT"), lng, lat];
    let how = ["BYRADIUS", &radius, "m", "ASC", "COUNT", &limit].map(word);
    around.into_iter().chain(how).collect()
}

/// Longitude, latitude, member.
fn named(slot: u32, at: Point) -> [Vec<u8>; 3] {
    let [lng, lat] = degrees(at);
    [lng, lat, slot.to_string().into_bytes()]
}

fn degrees(at: Point) -> [Vec<u8>; 2] {
    [at.lng(), at.lat()].map(|degrees| format!("{degrees:.7}").into_bytes())
}
