//! Road files: what was written is read, what was harmed is refused.

use super::super::hierarchy::Over;
use super::super::{file, hierarchy};
use super::*;

fn small() -> RoadGraph {
    let side = |row: i32| [(row, 0), (row, 1), (row, 2)];
    let rise = |column: i32| [(0, column), (1, column), (2, column)];
    let (a, b, c) = (side(0), side(1), side(2));
    let (d, e, f) = (rise(0), rise(1), rise(2));
    let ways = [&a, &b, &c, &d, &e, &f].map(|points| (points.as_slice(), STREET));
    town(&ways)
}

#[test]
fn a_file_holds_the_whole_graph() {
    let read = RoadGraph::from_bytes(&MONACO.to_bytes()).expect("a graph");
    assert_eq!(read.network, MONACO.network);
    assert_eq!(read.hierarchy, MONACO.hierarchy);
    let dice = Dice::seeded(4);
    for _ in 0..50 {
        let (from, to) = (somewhere(&dice), somewhere(&dice));
        assert_eq!(read.route(from, to), MONACO.route(from, to));
    }
}

#[test]
fn a_damaged_file_is_refused() {
    let whole = small().to_bytes();
    assert!(RoadGraph::from_bytes(&whole).is_ok());
    let read = |file: &[u8]| RoadGraph::from_bytes(file).map(drop).expect_err("damaged");
    for length in 0..whole.len() {
        let error = read(&whole[..length]);
        let expected = if length < 8 { RoadsError::NoRoadFile } else { RoadsError::Truncated };
        assert_eq!(error, expected, "{length}");
    }
    for place in 0..whole.len() {
        let mut file = whole.clone();
        file[place] ^= 0x10;
        let error = read(&file);
        let fits = match place {
            0..8 => error == RoadsError::NoRoadFile,
            8..12 => matches!(error, RoadsError::Version { known: 1, .. }),
            12..20 => matches!(error, RoadsError::Truncated | RoadsError::Damaged(_)),
            _ => error == RoadsError::Damaged("its checksum"),
        };
        assert!(fits, "{place}: {error}");
    }
    let longer = [whole.as_slice(), &[0]].concat();
    assert_eq!(read(&longer), RoadsError::Damaged("its checksum"));
    assert_eq!(
        read(b"SLROADS\n\x02\0\0\0").to_string(),
        "it is of version 2, this program reads 1: build it again"
    );
}

/// Checksums right, content wrong: a search must not run out of its tables.
#[test]
fn a_file_that_contradicts_itself_is_refused() {
    let check = |expected: &'static str, harm: fn(&mut Network, &mut hierarchy::Hierarchy)| {
        let RoadGraph { mut network, mut hierarchy, .. } = small();
        harm(&mut network, &mut hierarchy);
        let error = RoadGraph::from_bytes(&file::write(&network, &hierarchy)).map(drop);
        assert_eq!(error, Err(RoadsError::Damaged(expected)));
    };
    check("a road", |network, _| network.roads[0].to = network.junctions);
    check("a road", |network, _| network.roads[1].first = 1);
    check("a road", |network, _| network.roads[0].first = 1);
    check("a road", |network, _| network.spots.truncate(5));
    check("a place", |network, _| network.spots[3][0] = 900_000_001);
    check("a place", |network, _| network.spots[3][1] = i32::MIN);
    check("a place", |network, _| network.roads.clear());
    check("a list of arcs", |_, hierarchy| hierarchy.up.first.truncate(1));
    check("a list of arcs", |_, hierarchy| hierarchy.down.first[1] = u32::MAX);
    check("a list of arcs", |_, hierarchy| hierarchy.down.arcs.truncate(1));
    check("an arc", |_, hierarchy| hierarchy.up.arcs[0].junction = 0);
    check("an arc", |network, hierarchy| hierarchy.up.arcs[0].junction = network.junctions);
    check("an arc", |_, hierarchy| hierarchy.up.arcs[0].over = Over::road(9_999, 0));
    check("an arc", |_, hierarchy| hierarchy.up.arcs[0].over = Over::from_bits(1 << 31));
    check("an arc", |network, hierarchy| {
        let other = Over::from_bits(1 << 31 | (network.junctions - 1));
        hierarchy.down.arcs[0].over = other;
    });
}
