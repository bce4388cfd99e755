//! The hierarchy against Dijkstra's algorithm, the grid against looking at every road.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::super::hierarchy::Hierarchy;
use super::super::network::{Network, Road};
use super::super::search::{NEVER, Scratch};
use super::super::snap::REACH_M;
use super::*;

/// Weights from one junction to all, the plain way.
fn dijkstra(network: &Network, from: u32) -> Vec<u32> {
    let mut heads: Vec<Vec<(u32, u32)>> = vec![Vec::new(); network.junctions as usize];
    for (from, to, road, way) in network.arcs() {
        heads[from as usize].push((to, network.roads[road as usize].weight[way]));
    }
    let mut weights = vec![u32::MAX; heads.len()];
    let mut queue = BinaryHeap::from([Reverse((0, from))]);
    while let Some(Reverse((weight, junction))) = queue.pop() {
        if weight >= weights[junction as usize] {
            continue;
        }
        weights[junction as usize] = weight;
        for (to, more) in &heads[junction as usize] {
            queue.push(Reverse((weight + more, *to)));
        }
    }
    weights
}

/// Each junction's way to `to` has the least weight, and its roads follow each other and make up
/// its weight and time.
fn compare(network: &Network, hierarchy: &Hierarchy, scratch: &mut Scratch, to: u32, from: &[u32]) {
    let zero = Cost { weight: 0, time: 0 };
    scratch.aim(hierarchy, &[(to, zero)]);
    for from in from.iter().copied() {
        let found = scratch.cost(hierarchy, from);
        assert_eq!(found.weight, dijkstra(network, from)[to as usize], "{from} to {to}");
        if found == NEVER {
            continue;
        }
        let mut roads = Vec::new();
        assert_eq!(scratch.roads(hierarchy, from, &mut roads), to);
        let (mut here, mut sum) = (from, zero);
        for (road, way) in roads {
            let road = &network.roads[road as usize];
            let ends = [(road.from, road.to), (road.to, road.from)];
            assert_eq!(ends[way].0, here);
            here = ends[way].1;
            sum = sum.plus(Cost { weight: road.weight[way], time: road.time[way] });
        }
        assert_eq!((here, sum), (to, found));
    }
}

/// Any roads at all: one-way, doubled, circles of one road, of no component.
fn any_network() -> impl Strategy<Value = Network> {
    let road = (0u32..24, 0u32..24, 1u32..60, prop_oneof![Just(CLOSED), 1u32..60]);
    prop::collection::vec(road, 1..70).prop_map(|roads| {
        let roads = roads.into_iter().zip(0u32..).map(|((from, to, forward, backward), number)| {
            let weight = [forward, backward];
            let time = weight.map(|weight| if weight == CLOSED { CLOSED } else { weight / 2 });
            let (first, length_mm) = (number * 2, 1);
            Road { from, to, first, length_mm, time, weight, component: 0, stops: true }
        });
        let roads: Vec<Road> = roads.collect();
        let spots = vec![[0, 0]; roads.len() * 2];
        Network { junctions: 24, roads, spots }
    })
}

proptest! {
    // The folder for failures would lie in src, where every folder is a room.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_hierarchy_finds_what_dijkstra_finds(mut network in any_network()) {
        let hierarchy = Hierarchy::new(&mut network);
        let mut scratch = Scratch::new(&hierarchy);
        let all: Vec<u32> = (0..network.junctions).collect();
        for to in 0..network.junctions {
            compare(&network, &hierarchy, &mut scratch, to, &all);
        }
    }

    /// What is kept of a network leads from everywhere to everywhere in its component.
    #[test]
    fn a_component_joins_all_its_junctions(network in any_network()) {
        let mut kept = network.clone();
        kept.keep_components();
        let component = |junction: u32| {
            let at = kept.roads.iter().find(|road| road.from == junction || road.to == junction);
            at.expect("every junction has a road").component
        };
        for from in 0..kept.junctions {
            let weights = dijkstra(&kept, from);
            for to in 0..kept.junctions {
                let reached = weights[to as usize] != u32::MAX;
                prop_assert_eq!(reached, component(from) == component(to), "{} to {}", from, to);
            }
        }
        prop_assert!(kept.roads.len() <= network.roads.len());
    }
}

#[test]
fn the_hierarchy_of_a_real_city_finds_what_dijkstra_finds() {
    let (network, hierarchy) = (&MONACO.network, &MONACO.hierarchy);
    let dice = Dice::seeded(6);
    let any = || dice.below(u64::from(network.junctions)) as u32;
    let mut scratch = Scratch::new(hierarchy);
    for _ in 0..40 {
        let starts: Vec<u32> = (0..5).map(|_| any()).collect();
        compare(network, hierarchy, &mut scratch, any(), &starts);
    }
}

#[test]
fn a_place_snaps_to_the_nearest_road() {
    let (network, grid) = (&MONACO.network, &MONACO.grid);
    let dice = Dice::seeded(7);
    let (mut on, mut off) = (0, 0);
    for _ in 0..150 {
        let place = somewhere(&dice);
        // By the distance to the nearest of many points along every road: 2 m apart at most.
        let mut nearest = f64::INFINITY;
        for road in (0..network.roads.len() as u32).filter(|r| network.roads[*r as usize].stops) {
            for pair in network.points(road).windows(2) {
                let [a, b] = [point(&pair[0]), point(&pair[1])];
                if a.distance_m(place).min(b.distance_m(place)) > nearest + a.distance_m(b) {
                    continue;
                }
                let steps = (a.distance_m(b) / 2.0).ceil().max(1.0) as u32;
                for step in 0..=steps {
                    let share = f64::from(step) / f64::from(steps);
                    let lat = a.lat() + share * (b.lat() - a.lat());
                    let lng = a.lng() + share * (b.lng() - a.lng());
                    nearest = nearest.min(at(lat, lng).distance_m(place));
                }
            }
        }
        match grid.snap(network, place) {
            Some(snap) => {
                on += 1;
                assert!(snap.away_m <= nearest + 0.01, "{} > {nearest}", snap.away_m);
                assert!(snap.away_m >= nearest - 1.1, "{} < {nearest}", snap.away_m);
                assert!((snap.at.distance_m(place) - snap.away_m).abs() < 0.01);
            }
            None => {
                off += 1;
                assert!(nearest > REACH_M - 1.1, "{nearest}");
            }
        }
    }
    assert!(on > 20 && off > 20, "{on} {off}");
}

#[test]
fn many_to_one_is_one_to_one_many_times() {
    let dice = Dice::seeded(8);
    for _ in 0..30 {
        let to = somewhere(&dice);
        let from: Vec<Point> = (0..20).map(|_| somewhere(&dice)).collect();
        let mut told = Vec::new();
        let known = MONACO.etas_to(to, &from, |place, eta| told.push((place, eta)));
        let alone: Vec<(Point, Result<f64, NoRoad>)> = from
            .iter()
            .map(|from| {
                // Another question in between, so that nothing is left of the one before.
                let _ = MONACO.eta_s(to, *from);
                (*from, MONACO.eta_s(*from, to))
            })
            .collect();
        match known {
            Ok(()) => assert_eq!(told, alone),
            Err(why) => assert!(alone.iter().all(|(_, eta)| *eta == Err(why))),
        }
    }
}

#[test]
fn many_threads_ask_at_once() {
    let dice = Dice::seeded(9);
    let pairs: Vec<(Point, Point)> =
        (0..200).map(|_| (somewhere(&dice), somewhere(&dice))).collect();
    let ask = || pairs.iter().map(|(from, to)| MONACO.eta_s(*from, *to)).collect::<Vec<_>>();
    let alone = ask();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(ask)).collect();
        for thread in threads {
            assert_eq!(thread.join().expect("no panic"), alone);
        }
    });
}
