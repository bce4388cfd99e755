//! A road graph as a file: made once from an extract, loaded in a moment.
//!
//! Magic, version, length of what follows, its SHA-256, then tables of little-endian numbers, each
//! after its count. A file of another version is refused: it is made again from the extract.
//!
//! Guarantees: a file that was cut off or changed is refused, and what is loaded holds together, so
//! that a search can't leave it (tests: `a_damaged_file_is_refused`,
//! `a_file_that_contradicts_itself_is_refused`).

use sha2::{Digest, Sha256};

use crate::roads::RoadsError;
use crate::roads::extract::{Spot, on_earth};
use crate::roads::hierarchy::{Arc, Arcs, Hierarchy, Kind, Over};
use crate::roads::network::{Network, Road};
use crate::roads::search::halves;

const MAGIC: [u8; 8] = *b"SLROADS\n";
/// Counts up with every change of what is written here, or of what it means.
const VERSION: u32 = 1;
const HEADER: usize = MAGIC.len() + 4 + 8 + 32;

const ROAD: usize = 10;
const ARC: usize = 4;

pub(crate) fn write(network: &Network, hierarchy: &Hierarchy) -> Vec<u8> {
    let mut body = Vec::new();
    table(&mut body, &[[network.junctions]]);
    table(&mut body, &network.spots.iter().map(|s| s.map(i32::cast_unsigned)).collect::<Vec<_>>());
    table(&mut body, &network.roads.iter().map(road_row).collect::<Vec<_>>());
    for arcs in [&hierarchy.up, &hierarchy.down] {
        table(&mut body, &arcs.first.iter().map(|first| [*first]).collect::<Vec<_>>());
        table(&mut body, &arcs.arcs.iter().map(arc_row).collect::<Vec<_>>());
    }
    let mut file = Vec::with_capacity(HEADER + body.len());
    file.extend_from_slice(&MAGIC);
    file.extend_from_slice(&VERSION.to_le_bytes());
    file.extend_from_slice(&(body.len() as u64).to_le_bytes());
    file.extend_from_slice(&Sha256::digest(&body));
    file.extend_from_slice(&body);
    file
}

pub(crate) fn read(file: &[u8]) -> Result<(Network, Hierarchy), RoadsError> {
    let (magic, rest) = file.split_first_chunk().ok_or(RoadsError::NoRoadFile)?;
    if *magic != MAGIC {
        return Err(RoadsError::NoRoadFile);
    }
    let (version, rest) = rest.split_first_chunk().ok_or(RoadsError::Truncated)?;
    let version = u32::from_le_bytes(*version);
    if version != VERSION {
        return Err(RoadsError::Version { found: version, known: VERSION });
    }
    let (length, rest) = rest.split_first_chunk().ok_or(RoadsError::Truncated)?;
    let (sum, body) = rest.split_first_chunk::<32>().ok_or(RoadsError::Truncated)?;
    if (body.len() as u64) < u64::from_le_bytes(*length) {
        return Err(RoadsError::Truncated);
    }
    if body.len() as u64 != u64::from_le_bytes(*length) || Sha256::digest(body)[..] != sum[..] {
        return Err(RoadsError::Damaged("its checksum"));
    }
    let mut body = body;
    let [[junctions]] = rows(&mut body)?[..] else { return Err(RoadsError::Damaged("its count")) };
    let spots: Vec<[u32; 2]> = rows(&mut body)?;
    let spots: Vec<Spot> = spots.into_iter().map(|spot| spot.map(u32::cast_signed)).collect();
    let roads = rows(&mut body)?.into_iter().map(road).collect();
    let mut arcs = || -> Result<Arcs, RoadsError> {
        let first = rows(&mut body)?.into_iter().map(|[first]| first).collect();
        Ok(Arcs { first, arcs: rows(&mut body)?.into_iter().map(arc).collect() })
    };
    let hierarchy = Hierarchy { up: arcs()?, down: arcs()? };
    let network = Network { junctions, roads, spots };
    if !body.is_empty() {
        return Err(RoadsError::Damaged("its end"));
    }
    check(&network, &hierarchy)?;
    Ok((network, hierarchy))
}

fn table<const N: usize>(body: &mut Vec<u8>, rows: &[[u32; N]]) {
    body.extend_from_slice(&(rows.len() as u64).to_le_bytes());
    rows.iter().flatten().for_each(|number| body.extend_from_slice(&number.to_le_bytes()));
}

fn rows<const N: usize>(body: &mut &[u8]) -> Result<Vec<[u32; N]>, RoadsError> {
    let (count, rest) = body.split_first_chunk().ok_or(RoadsError::Truncated)?;
    let count = usize::try_from(u64::from_le_bytes(*count)).map_err(|_| RoadsError::Truncated)?;
    let size = count.checked_mul(4 * N).filter(|size| *size <= rest.len());
    let (table, rest) = rest.split_at(size.ok_or(RoadsError::Truncated)?);
    *body = rest;
    let (numbers, _) = table.as_chunks::<4>();
    let (rows, _) = numbers.as_chunks::<N>();
    Ok(rows.iter().map(|row| row.map(u32::from_le_bytes)).collect())
}

fn road_row(road: &Road) -> [u32; ROAD] {
    let Road { from, to, first, length_mm, time, weight, component, stops } = *road;
    let stops = u32::from(stops);
    [from, to, first, length_mm, time[0], time[1], weight[0], weight[1], component, stops]
}

fn road(row: [u32; ROAD]) -> Road {
    let [from, to, first, length_mm, time_0, time_1, weight_0, weight_1, component, stops] = row;
    Road {
        from,
        to,
        first,
        length_mm,
        time: [time_0, time_1],
        weight: [weight_0, weight_1],
        component,
        stops: stops != 0,
    }
}

fn arc_row(arc: &Arc) -> [u32; ARC] {
    [arc.junction, arc.weight, arc.time, arc.over.bits()]
}

fn arc([junction, weight, time, over]: [u32; ARC]) -> Arc {
    Arc { junction, weight, time, over: Over::from_bits(over) }
}

/// Everything that searches rely on.
fn check(network: &Network, hierarchy: &Hierarchy) -> Result<(), RoadsError> {
    let spots = network.spots.len() as u32;
    let mut next = 0;
    for road in &network.roads {
        let begins = if next == 0 { road.first == 0 } else { road.first >= next };
        next = road.first.saturating_add(2);
        if !begins || next > spots || road.from.max(road.to) >= network.junctions {
            return Err(RoadsError::Damaged("a road"));
        }
    }
    if network.roads.is_empty() || !network.spots.iter().copied().all(on_earth) {
        return Err(RoadsError::Damaged("a place"));
    }
    let whole = |arcs: &Arcs| {
        arcs.first.len() == network.junctions as usize + 1
            && arcs.first.first() == Some(&0)
            && arcs.first.is_sorted()
            && arcs.first.last().map(|last| *last as usize) == Some(arcs.arcs.len())
    };
    if !whole(&hierarchy.up) || !whole(&hierarchy.down) {
        return Err(RoadsError::Damaged("a list of arcs"));
    }
    for low in 0..network.junctions {
        let up = hierarchy.up.of(low).iter().map(|arc| (low, arc.junction, arc));
        let down = hierarchy.down.of(low).iter().map(|arc| (arc.junction, low, arc));
        let climbs = |arc: &Arc| (low + 1..network.junctions).contains(&arc.junction);
        let stands = |from: u32, to: u32, arc: &Arc| match arc.over.kind() {
            Kind::Road { road, way } => network.roads.get(road as usize).is_some_and(|road| {
                let ends = [[road.from, road.to], [road.to, road.from]];
                ends[way] == [from, to]
            }),
            Kind::Junction(middle) => middle < low && halves(hierarchy, from, middle, to).is_some(),
        };
        if !up.chain(down).all(|(from, to, arc)| climbs(arc) && stands(from, to, arc)) {
            return Err(RoadsError::Damaged("an arc"));
        }
    }
    Ok(())
}
