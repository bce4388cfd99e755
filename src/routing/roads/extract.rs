//! Reads an OpenStreetMap extract (`.osm.pbf`): ways that a car may use, where their points lie,
//! and which of them it can't pass.

use std::io::Cursor;

use osmpbf::{Element, ElementReader};

use crate::roads::RoadsError;
use crate::roads::profile::{Drivable, Tags, blocks, drivable};

/// A place in ten-millionths of a degree, as the extract has it: latitude, longitude.
pub(crate) type Spot = [i32; 2];

/// The roads of an extract.
#[derive(Debug, Default)]
pub(crate) struct Extract {
    pub(crate) ways: Vec<Way>,
    pub(crate) points: Points,
}

#[derive(Debug)]
pub(crate) struct Way {
    /// Its points by their place in `Points`.
    pub(crate) points: Vec<u32>,
    pub(crate) drivable: Drivable,
}

/// The points of all ways, each once.
#[derive(Debug, Default)]
pub(crate) struct Points {
    /// `None`: outside of the extract.
    pub(crate) spots: Vec<Option<Spot>>,
    pub(crate) blocked: Vec<bool>,
}

impl Extract {
    /// Reads the bytes twice: points come before the ways that tell which of them matter.
    pub(crate) fn read(pbf: &[u8]) -> Result<Self, RoadsError> {
        let mut found: Vec<(Vec<i64>, Drivable)> = Vec::new();
        each(pbf, |element| {
            if let Element::Way(way) = element
                && let Some(drivable) = drivable(&Tags(way.tags().collect()))
            {
                found.push((way.refs().collect(), drivable));
            }
        })?;
        let mut ids: Vec<i64> = found.iter().flat_map(|(ids, _)| ids).copied().collect();
        ids.sort_unstable();
        ids.dedup();
        if u32::try_from(ids.len()).is_err() {
            return Err(RoadsError::TooLarge);
        }
        let mut points = Points { spots: vec![None; ids.len()], blocked: vec![false; ids.len()] };
        let mut place = |id: i64, spot: Spot, blocked: &dyn Fn() -> bool| {
            if let Ok(place) = ids.binary_search(&id) {
                points.spots[place] = on_earth(spot).then_some(spot);
                points.blocked[place] = blocked();
            }
        };
        each(pbf, |element| match element {
            Element::Node(node) => {
                let spot = [node.decimicro_lat(), node.decimicro_lon()];
                place(node.id(), spot, &|| blocks(&Tags(node.tags().collect())));
            }
            Element::DenseNode(node) => {
                let spot = [node.decimicro_lat(), node.decimicro_lon()];
                place(node.id(), spot, &|| blocks(&Tags(node.tags().collect())));
            }
            Element::Way(_) | Element::Relation(_) => {}
        })?;
        let known = |id: &i64| ids.binary_search(id).expect("every way's points are listed") as u32;
        let ways = found
            .iter()
            .map(|(ids, drivable)| Way {
                points: ids.iter().map(known).collect(),
                drivable: *drivable,
            })
            .collect();
        Ok(Self { ways, points })
    }
}

pub(crate) fn on_earth([lat, lng]: Spot) -> bool {
    let within = |value: i32, most: i32| (-most..=most).contains(&value);
    within(lat, 900_000_000) && within(lng, 1_800_000_000)
}

fn each(pbf: &[u8], tell: impl FnMut(Element<'_>)) -> Result<(), RoadsError> {
    let reader = ElementReader::new(Cursor::new(pbf));
    reader.for_each(tell).map_err(|error| RoadsError::Extract(error.to_string()))
}
