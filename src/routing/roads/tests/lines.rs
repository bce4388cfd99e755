//! The line of a way: where it begins and ends, how long it is, how it is written.

use super::*;

#[test]
fn a_line_is_written_as_maps_read_it() {
    // The example of the format's description.
    let line = [at(38.5, -120.2), at(40.7, -120.95), at(43.252, -126.453)];
    assert_eq!(encode(&line), "_p~iF~ps|U_ulLnnqC_mqNvxq`@");
    assert_eq!(encode(&[]), "");
    assert_eq!(encode(&[line[0], line[0]]), "_p~iF~ps|U");
}

#[test]
fn a_line_follows_the_streets_from_snap_to_snap() {
    let graph = town(&[(&[(0, 0), (1, 0), (2, 0)], STREET), (&[(2, 0), (2, 1), (2, 2)], STREET)]);
    let check = |from: Point, to: Point, expected: &[(f64, f64)]| {
        let route = graph.route(from, to).expect("a way");
        let expected: Vec<Point> = expected.iter().map(|(r, c)| corner(*r, *c)).collect();
        let same = |(a, b): (&Point, &Point)| a.distance_m(*b) < 0.1;
        assert_eq!(route.line.len(), expected.len(), "{:?}", route.line);
        assert!(route.line.iter().zip(&expected).all(same), "{:?}", route.line);
    };
    let (foot, bend) = (corner(0.5, 0.1), corner(1.9, 1.5));
    check(foot, bend, &[(0.5, 0.0), (1.0, 0.0), (2.0, 0.0), (2.0, 1.0), (2.0, 1.5)]);
    check(bend, foot, &[(2.0, 1.5), (2.0, 1.0), (2.0, 0.0), (1.0, 0.0), (0.5, 0.0)]);
    // On one road, both ways, on one piece and over a point.
    check(foot, corner(1.5, 0.0), &[(0.5, 0.0), (1.0, 0.0), (1.5, 0.0)]);
    check(corner(1.5, 0.0), foot, &[(1.5, 0.0), (1.0, 0.0), (0.5, 0.0)]);
    check(foot, corner(0.7, 0.0), &[(0.5, 0.0), (0.7, 0.0)]);
    check(foot, foot, &[(0.5, 0.0), (0.5, 0.0)]);
    let still = graph.route(foot, foot).expect("a way");
    assert_eq!((still.metres, still.seconds), (0.0, 0.0));
}

#[test]
fn a_car_behind_its_passenger_on_a_one_way_drives_around() {
    let ring = town(&[(&[(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)], CIRCLE)]);
    let (behind, ahead) = (corner(0.2, 0.0), corner(0.8, 0.0));
    let direct = ring.route(behind, ahead).expect("a way");
    near(direct.seconds, rows_s(0.6));
    let around = ring.route(ahead, behind).expect("a way");
    assert!(around.seconds > rows_s(3.0), "{}", around.seconds);
    assert_eq!(around.line.len(), 6);
}

/// On the real map: lines join, start and end where the places snapped, and are as long as told.
#[test]
fn real_lines_are_whole() {
    let dice = Dice::seeded(5);
    let mut seen = 0;
    while seen < 300 {
        let (from, to) = (somewhere(&dice), somewhere(&dice));
        let Ok(route) = MONACO.route(from, to) else { continue };
        seen += 1;
        let (start, end) = (MONACO.snap(from).expect("on"), MONACO.snap(to).expect("on"));
        assert_eq!(route.line.first(), Some(&start.at));
        assert_eq!(route.line.last(), Some(&end.at));
        let drawn: f64 = route.line.windows(2).map(|pair| pair[0].distance_m(pair[1])).sum();
        assert!((drawn - route.metres).abs() < 0.5, "{drawn} {}", route.metres);
        assert_eq!(MONACO.eta_s(from, to), Ok(route.seconds));
        // Nobody drives faster than 112 km/h: the highest limit's share.
        assert!(route.metres / route.seconds.max(1.0) < 112.0 / 3.6 + 1.0);
    }
}
