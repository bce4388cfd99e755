//! The checkers stay green on what the server promises and go red on what it must never do.

use super::*;

const TRIP: Uuid = Uuid::from_u128(1);
const OTHER_TRIP: Uuid = Uuid::from_u128(2);
const ALI: Uuid = Uuid::from_u128(11);
const MONA: Uuid = Uuid::from_u128(12);

fn event(status: Status, driver: Option<Uuid>, at: i64) -> TripEvent {
    named("", status, driver, at)
}

fn named(name: &str, status: Status, driver_id: Option<Uuid>, at: i64) -> TripEvent {
    TripEvent { trip_id: TRIP, event: name.to_owned(), status, driver_id, at }
}

/// Feeds numbered events and shows the rules that broke.
fn check(events: &[(u64, Status, Option<Uuid>)], expected: &[Rule]) {
    let mut follow = TripFollow::new(TRIP);
    let mut broken = Vec::new();
    for (seq, status, driver) in events {
        broken.extend(follow.event(*seq, &event(*status, *driver, 0)).into_iter().map(|v| v.rule));
    }
    assert_eq!(broken, expected, "{events:?}");
}

#[test]
fn a_good_trip_breaks_nothing() {
    use Status::*;
    check(
        &[
            (1, Requested, None),
            (2, Accepted, Some(ALI)),
            (3, Requested, None),
            (4, Accepted, Some(MONA)),
            (5, Arrived, Some(MONA)),
            (6, Started, Some(MONA)),
            (7, Completed, Some(MONA)),
            (8, Completed, Some(MONA)),
        ],
        &[],
    );
    check(&[(1, Requested, None), (2, NoDrivers, None)], &[]);
}

#[test]
fn a_gap_or_a_repeat_is_seen() {
    use Status::*;
    check(&[(1, Requested, None), (3, Accepted, Some(ALI))], &[Rule::S1]);
    check(&[(1, Requested, None), (1, Requested, None)], &[Rule::S1]);
    check(&[(2, Requested, None)], &[Rule::S1]);
    check(&[(1, Requested, None), (2, Accepted, Some(ALI)), (1, Requested, None)], &[Rule::S1]);
}

#[test]
fn a_status_off_the_graph_is_seen() {
    use Status::*;
    check(&[(1, Requested, None), (2, Started, Some(ALI))], &[Rule::T4]);
    check(&[(1, Requested, None), (2, Cancelled, None), (3, Accepted, Some(ALI))], &[Rule::T4]);
    check(&[(1, Accepted, Some(ALI))], &[Rule::T4]);
}

#[test]
fn a_silent_change_of_driver_is_seen() {
    use Status::*;
    check(&[(1, Requested, None), (2, Accepted, Some(ALI)), (3, Arrived, Some(MONA))], &[Rule::T3]);
    check(&[(1, Requested, None), (2, Accepted, None)], &[Rule::T3]);
    let mut follow = TripFollow::new(TRIP);
    follow.event(1, &event(Requested, None, 0));
    follow.event(2, &event(Accepted, Some(ALI), 10));
    let said = named("trip.reassigned", Accepted, Some(MONA), 20);
    assert_eq!(follow.event(3, &said), []);
    let stint = |driver, from, to| Stint { driver, trip: TRIP, from, to };
    assert_eq!(follow.stints(), [stint(ALI, 10, 20), stint(MONA, 20, i64::MAX)]);
}

#[test]
fn a_booking_socket_may_replay_once_and_a_resumed_one_may_not() {
    let requested = event(Status::Requested, None, 0);
    let mut follow = TripFollow::new(TRIP);
    follow.subscribing(Subscription::AfterBooking);
    assert_eq!(follow.event(1, &requested), [], "joined by the server itself");
    assert_eq!(follow.event(1, &requested), [], "and again by the subscription");
    assert_eq!(follow.event(1, &requested).len(), 1, "but not a third time");
    follow.subscribing(Subscription::Resume);
    assert_eq!(follow.event(1, &requested).len(), 1, "asked after 1, got 1 again");
    assert_eq!(follow.event(2, &event(Status::Cancelled, None, 5)), []);
}

#[test]
fn who_joins_late_may_begin_anywhere_and_must_go_on_from_there() {
    let mut follow = TripFollow::joining(TRIP);
    assert_eq!(follow.event(3, &event(Status::Arrived, Some(ALI), 0)), []);
    assert_eq!(follow.event(4, &event(Status::Started, Some(ALI), 1)), []);
    assert_eq!(follow.event(6, &event(Status::Completed, Some(ALI), 2)).len(), 1);
}

#[test]
fn a_snapshot_replaces_a_gap_but_never_goes_back() {
    let mut follow = TripFollow::new(TRIP);
    assert_eq!(follow.snapshot(5, Status::Started, Some(ALI)), []);
    assert_eq!(follow.event(6, &event(Status::Completed, Some(ALI), 9)), []);
    assert_eq!(follow.snapshot(4, Status::Arrived, Some(ALI)).len(), 1);
    assert_eq!(follow.status(), Some(Status::Completed));
}

#[test]
fn the_driver_is_known_as_long_as_he_has_the_trip() {
    let mut follow = TripFollow::new(TRIP);
    follow.event(1, &event(Status::Requested, None, 0));
    follow.event(2, &event(Status::Accepted, Some(ALI), 1));
    follow.event(3, &event(Status::Arrived, None, 2));
    assert_eq!(follow.driver(), Some(ALI));
    follow.event(4, &event(Status::Requested, None, 3));
    assert_eq!(follow.driver(), None);
    assert_eq!(follow.stints(), [Stint { driver: ALI, trip: TRIP, from: 1, to: 3 }]);
}

#[test]
fn a_gap_in_a_users_stream_is_seen() {
    let mut stream = UserStream::default();
    assert!(stream.event("offer", 41).is_none(), "a socket may begin anywhere");
    assert!(stream.event("offer.revoked", 42).is_none());
    assert!(stream.event("offer", 44).is_some());
    assert!(stream.event("offer", 44).is_some());
}

#[test]
fn an_older_position_after_a_newer_one_is_seen() {
    let mut order = PositionOrder::default();
    assert!(order.seen(TRIP, 100).is_none());
    assert!(order.seen(TRIP, 100).is_none(), "the newest may be said again");
    assert!(order.seen(TRIP, 300).is_none(), "some may be left out");
    assert!(order.seen(TRIP, 200).is_some());
    assert!(order.seen(TRIP, 250).is_some(), "still older than 300");
    order.new_driver();
    assert!(order.seen(TRIP, 50).is_none());
}

#[test]
fn two_winners_of_one_trip_are_seen() {
    let mut claims = Claims::default();
    assert!(claims.accepted(ALI, TRIP).is_empty());
    claims.accepted(MONA, TRIP);
    claims.left(ALI, TRIP);
    let stint = |driver, from, to| Stint { driver, trip: TRIP, from, to };
    assert_eq!(claims.unsettled(&[stint(MONA, 10, 20)]).len(), 1, "it never was his");
    let mut claims = Claims::default();
    claims.accepted(ALI, TRIP);
    claims.left(ALI, TRIP);
    claims.accepted(MONA, TRIP);
    assert!(claims.unsettled(&[]).is_empty(), "he gave it back");
    let mut claims = Claims::default();
    claims.accepted(ALI, TRIP);
    claims.accepted(MONA, TRIP);
    let passed = [stint(ALI, 10, 20), stint(MONA, 20, 30)];
    assert!(claims.unsettled(&passed).is_empty(), "it was taken over");
}

#[test]
fn two_trips_of_one_driver_are_seen() {
    let mut claims = Claims::default();
    claims.accepted(ALI, TRIP);
    assert_eq!(claims.accepted(ALI, OTHER_TRIP).len(), 1);
    let stint = |trip, from, to| Stint { driver: ALI, trip, from, to };
    let mut apart = [stint(OTHER_TRIP, 20, 30), stint(TRIP, 10, 20)];
    assert!(overlaps(&mut apart).is_empty());
    let mut clash = [stint(TRIP, 10, 21), stint(OTHER_TRIP, 20, 30)];
    assert_eq!(overlaps(&mut clash).len(), 1);
    let mut endless = [stint(TRIP, 10, i64::MAX), stint(OTHER_TRIP, 20, 30)];
    assert_eq!(overlaps(&mut endless).len(), 1);
}

#[test]
fn the_judge_counts_all_and_keeps_the_first() {
    let judge = Judge::default();
    judge.report((0..300).map(|n| Violation::new(Rule::S2, n.to_string())));
    judge.accepted(ALI, TRIP);
    judge.accepted(MONA, TRIP);
    let verdict = judge.verdict();
    assert_eq!((verdict.total(), verdict.violations.len()), (301, KEPT));
    assert_eq!(verdict.counts[&Rule::T1], 1);
}
