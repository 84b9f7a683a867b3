//! Tests of the queue of lookups.

use std::task::{Context, Waker};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

type Lookups = Arc<SharedLookups<Vec<String>>>;
type Landed = (Ticket<Vec<String>>, Option<Flight<Vec<String>>>);

fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn join(lookups: &Lookups, names: &[&str]) -> Landed {
    let names = names.iter().map(|name| (0, [*name, "", "", ""]));
    let (ticket, departure) = lookups.join(names, later());
    (ticket, departure.and_then(Departure::leave))
}

/// Returns lookups of which one is on its way alone.
fn with_one_alone<R>(max_flights: usize) -> (Arc<SharedLookups<R>>, Departure<R>) {
    let lookups = SharedLookups::new(max_flights);
    let (_, alone) = lookups.join(std::iter::once((0, ["alone", "", "", ""])), later());
    (lookups, alone.unwrap())
}

fn names<R>(flight: &Flight<R>) -> Vec<String> {
    let names = flight.names().commands().flatten();
    names
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect()
}

/// Answers a flight with its names as values.
fn echo(flight: Flight<Vec<String>>, length: usize) -> Option<Flight<Vec<String>>> {
    let values = names(&flight);
    flight.land(values, Some(length))
}

#[test]
fn a_lookup_that_is_alone_leaves_at_once() {
    let lookups = SharedLookups::new(1);
    for _ in 0..2 {
        let (_, departure) = lookups.join(std::iter::once((0, ["a", "", "", ""])), later());
        let Some(Departure::Alone(flight)) = departure else {
            panic!("the lookup waits for others");
        };
        // Another lookup waits for a flight of its own.
        let (_, other) = join(&lookups, &["b"]);
        assert!(echo(flight, 0).is_none());
        assert!(echo(other.unwrap(), 0).is_none());
    }
}

#[test]
fn a_lookup_that_is_alone_and_dropped_lets_another_leave_alone() {
    let (lookups, alone) = with_one_alone::<Vec<String>>(1);
    drop(alone);
    let (_, departure) = lookups.join(std::iter::once((0, ["a", "", "", ""])), later());
    assert!(matches!(departure, Some(Departure::Alone(_))));
}

#[test]
fn lookups_that_arrive_during_a_flight_leave_together_with_each_name_once() {
    let (lookups, _alone) = with_one_alone(1);
    let (_, flight) = join(&lookups, &["a", "nonce"]);
    let (_, none) = join(&lookups, &["a", "nonce"]);
    assert!(none.is_none());
    let (ticket, none) = join(&lookups, &["b", "nonce"]);
    assert!(none.is_none());
    let next = echo(flight.unwrap(), 0).unwrap();
    assert_eq!(names(&next), ["a", "nonce", "b"]);
    assert!(echo(next, 0).is_none());
    let values = ticket.reply().unwrap();
    let places = ticket.places.iter();
    let own: Vec<_> = places.map(|place| values[place.index].as_str()).collect();
    assert_eq!(own, ["b", "nonce"]);
}

#[test]
fn lookups_that_arrive_before_a_flight_leaves_are_in_it() {
    let (lookups, _alone) = with_one_alone::<Vec<String>>(2);
    let begin = |name| {
        lookups
            .join(std::iter::once((0, [name, "", "", ""])), later())
            .1
    };
    let boarding = begin("a").unwrap();
    assert!(begin("b").is_none());
    let flight = boarding.leave().unwrap();
    assert_eq!(names(&flight), ["a", "b"]);
    let second = begin("c").unwrap().leave().unwrap();
    assert!(begin("d").is_none());
    assert!(echo(flight, 0).is_some_and(|next| names(&next) == ["d"]));
    drop(second);
}

#[test]
fn a_flight_without_lookups_ends() {
    let (lookups, _alone) = with_one_alone::<Vec<String>>(1);
    let begin = |name| {
        lookups
            .join(std::iter::once((0, [name, "", "", ""])), later())
            .1
    };
    let boarding = begin("a").unwrap();
    let full = (1..MAX_LOOKUPS).find_map(|_| begin("a")).unwrap();
    assert!(boarding.leave().is_none());
    assert!(begin("b").is_none());
    assert!(echo(full.leave().unwrap(), 0).is_some());
}

#[tokio::test]
async fn a_flight_that_was_dropped_before_it_left_lets_others_begin() {
    let (lookups, _alone) = with_one_alone::<Vec<String>>(1);
    let begin = |name| lookups.join(std::iter::once((0, [name, "", "", ""])), later());
    let (ticket, boarding) = begin("a");
    drop(boarding);
    assert!(ticket.wait().await.is_none());
    let flight = begin("b").1.unwrap().leave().unwrap();
    assert_eq!(names(&flight), ["b"]);
}

#[test]
fn a_full_batch_leaves_without_a_wait() {
    let (lookups, _alone) = with_one_alone(1);
    let (_, first) = join(&lookups, &["a"]);
    let flights = |count| (0..count).filter_map(|_| join(&lookups, &["b"]).1);
    let full: Vec<_> = flights(3 * MAX_LOOKUPS + 5).collect();
    assert_eq!(full.len(), 3);
    // Only the flight that lands last takes the lookups that wait.
    assert!(full.into_iter().all(|flight| echo(flight, 0).is_none()));
    let rest = echo(first.unwrap(), 0).unwrap();
    assert_eq!(rest.batch.lookups, 5);
}

#[test]
fn a_batch_with_many_bytes_of_names_leaves_without_a_wait() {
    let (lookups, _alone) = with_one_alone(1);
    let (_, first) = join(&lookups, &["a"]);
    let half = "x".repeat(MAX_NAMES / 2);
    assert!(join(&lookups, &[&half]).1.is_none());
    let other_half = "y".repeat(MAX_NAMES / 2);
    assert!(join(&lookups, &[&other_half]).1.is_some());
    drop(first);
}

#[test]
fn a_batch_whose_reply_would_be_long_leaves_without_a_wait() {
    let (lookups, _alone) = with_one_alone(1);
    let (_, first) = join(&lookups, &["a"]);
    // The mean is an eighth of the longest reply now, so eight lookups fill a batch.
    assert!(echo(first.unwrap(), MAX_REPLY).is_none());
    let (_, first) = join(&lookups, &["a"]);
    let flights = (0..16).filter_map(|_| join(&lookups, &["b"]).1);
    assert_eq!(flights.count(), 2);
    drop(first);
}

#[tokio::test]
async fn the_lookups_of_a_flight_that_was_dropped_and_those_that_wait_for_it_end() {
    let (lookups, _alone) = with_one_alone(1);
    let (ticket, flight) = join(&lookups, &["a"]);
    let (waiting, none) = join(&lookups, &["b"]);
    assert!(none.is_none());
    drop(flight);
    assert!(ticket.wait().await.is_none());
    assert!(waiting.wait().await.is_none());
    let (_, flight) = join(&lookups, &["c"]);
    assert_eq!(names(&flight.unwrap()), ["c"]);
}

#[test]
fn as_many_flights_as_there_are_connections_leave_at_once() {
    let (lookups, _alone) = with_one_alone(2);
    let (_, first) = join(&lookups, &["a"]);
    let (_, second) = join(&lookups, &["b"]);
    assert!(join(&lookups, &["c"]).1.is_none());
    assert!(echo(first.unwrap(), 0).is_some_and(|next| names(&next) == ["c"]));
    assert!(echo(second.unwrap(), 0).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_is_late_does_not_hold_up_the_others() {
    let (lookups, _alone) = with_one_alone::<Vec<String>>(1);
    let soon = Instant::now() + Duration::from_millis(10);
    let (late, departure) = lookups.join(std::iter::once((0, ["a", "", "", ""])), soon);
    let (other, _) = join(&lookups, &["b"]);
    let flight = departure.unwrap().leave().unwrap();
    assert!(late.wait().await.is_none());
    drop(late);
    assert!(echo(flight, 0).is_none());
    assert_eq!(other.wait().await.unwrap(), &["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn lookups_leave_although_the_task_of_the_last_flight_does_not_run() {
    let (lookups, _alone) = with_one_alone::<Vec<String>>(1);
    let (_, frozen) = join(&lookups, &["a"]);
    let (late, none) = join(&lookups, &["b"]);
    assert!(none.is_none());
    assert!(late.wait().await.is_none());
    let (ticket, flight) = join(&lookups, &["c"]);
    let flight = flight.unwrap();
    assert_eq!(names(&flight), ["b", "c"]);
    let (_, none) = join(&lookups, &["d"]);
    assert!(none.is_none());
    // The task runs again, and takes no lookups from the newer flight.
    assert!(echo(frozen.unwrap(), 0).is_none());
    assert!(echo(flight, 0).is_some_and(|next| names(&next) == ["d"]));
    assert!(ticket.wait().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn lookups_share_again_under_load_although_the_task_of_a_flight_does_not_run() {
    let (lookups, _alone) = with_one_alone::<Vec<String>>(1);
    let (_, _frozen) = join(&lookups, &["a"]);
    let fill_a_batch = || {
        let full = (0..MAX_LOOKUPS).find_map(|_| join(&lookups, &["b"]).1);
        assert!(echo(full.unwrap(), 0).is_none());
    };
    fill_a_batch();
    tokio::time::sleep_until(later()).await;
    let (_, flight) = join(&lookups, &["c"]);
    assert_eq!(names(&flight.unwrap()), ["c"]);
}

#[tokio::test]
async fn every_lookup_of_a_flight_is_woken_when_it_lands() {
    let (lookups, _alone) = with_one_alone::<Vec<String>>(1);
    let (ticket, flight) = join(&lookups, &["a"]);
    let (second, _) = join(&lookups, &["b"]);
    let (third, _) = join(&lookups, &["c"]);
    let wait = |ticket: Ticket<_>| {
        // Another waker takes the place of the first one.
        let mut waiting = Box::pin(async move { ticket.wait().await.is_some() });
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        tokio::spawn(waiting)
    };
    let waiting = [ticket, second, third].map(wait);
    tokio::task::yield_now().await;
    let next = echo(flight.unwrap(), 0).unwrap();
    assert!(echo(next, 0).is_none());
    for arrived in waiting {
        assert!(arrived.await.unwrap());
    }
}

proptest! {
    #[test]
    fn each_lookup_finds_the_values_of_its_own_names(
        all in prop::collection::vec(prop::collection::vec("[ab]{0,2}", 1..5), 1..20),
    ) {
        let (lookups, _alone) = with_one_alone::<Vec<Vec<String>>>(1);
        let (_, first) = lookups.join(std::iter::once((0, ["", "", "", ""])), later());
        let first = first.and_then(Departure::leave);
        // A name belongs to one slot.
        let slot = |name: &str| u16::from(name.ends_with('b'));
        let tickets: Vec<_> = all.iter().map(|names| {
            let names = names.iter().map(|name| (slot(name), [name.as_str(), "", "", ""]));
            lookups.join(names, later()).0
        }).collect();
        let next = first.unwrap().land(Vec::new(), Some(0)).unwrap();
        let values: Vec<Vec<_>> = next
            .names()
            .commands()
            .map(|names| names.map(|name| String::from_utf8(name.to_vec()).unwrap()).collect())
            .collect();
        let mut once: Vec<_> = values.iter().flatten().collect();
        once.sort();
        once.dedup();
        prop_assert_eq!(once.len(), values.iter().flatten().count());
        prop_assert!(next.land(values, Some(0)).is_none());
        for (names, ticket) in all.iter().zip(tickets) {
            let values = ticket.reply().unwrap();
            prop_assert_eq!(names.len(), ticket.places.len());
            for (name, place) in names.iter().zip(&ticket.places) {
                prop_assert_eq!(name, &values[place.command][place.index]);
            }
        }
    }
}
