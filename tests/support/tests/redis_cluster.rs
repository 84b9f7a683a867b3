//! A cluster redirects, survives a primary, and moves slots without losing keys.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod processes;

use std::time::Duration;

use processes::{is_running, until};
use redis::{Connection, RedisResult};
use test_support::RedisCluster;

fn set(key: &str, connection: &mut Connection) -> RedisResult<()> {
    redis::cmd("SET").arg(key).arg("value").query(connection)
}

fn get(key: &str, connection: &mut Connection) -> RedisResult<Option<String>> {
    redis::cmd("GET").arg(key).query(connection)
}

/// Returns the error code and the address with which a node redirects a request for a key.
fn redirection(key: &str, connection: &mut Connection) -> (String, String) {
    let error = get(key, connection).unwrap_err();
    let (address, _) = error.redirect_node().expect("a redirection");
    (error.code().unwrap().to_owned(), address.to_owned())
}

#[test]
fn every_node_but_the_primary_of_a_key_sends_to_it() {
    let cluster = RedisCluster::shared();
    let primary = cluster.primary_of("key");
    set("key", &mut cluster.connection(primary)).unwrap();
    let moved = ("MOVED".to_owned(), cluster.addresses()[primary].to_string());
    for other in (0..cluster.node_count()).filter(|index| *index != primary) {
        assert_eq!(redirection("key", &mut cluster.connection(other)), moved);
    }
    let replicas = cluster.replicas_of(primary);
    assert_eq!(replicas, [primary + 3]);
    let mut replica = cluster.connection(replicas[0]);
    let () = redis::cmd("READONLY").query(&mut replica).unwrap();
    until("the replica has the key", || {
        get("key", &mut replica).unwrap().is_some()
    });
    let sets = |(name, count): (String, u64)| (name == "set").then_some(count);
    // Once by the primary, once by the replica.
    assert_eq!(cluster.command_counts().into_iter().find_map(sets), Some(2));
}

#[test]
fn a_cluster_replaces_a_killed_primary_which_becomes_a_replica() {
    let mut cluster = RedisCluster::start();
    let primary = cluster.primary_of("key");
    let replica = cluster.replicas_of(primary)[0];
    cluster.kill(primary);
    cluster.wait_until_ok();
    assert_eq!(cluster.primary_of("key"), replica);
    assert!(cluster.replicas_of(replica).is_empty());
    cluster.start_again(primary);
    cluster.wait_until_ok();
    assert_eq!(cluster.primary_of("key"), replica);
    assert_eq!(cluster.replicas_of(replica), [primary]);
    cluster.fail_over_to(primary);
    assert_eq!(cluster.primary_of("key"), primary);
}

#[test]
fn a_cluster_replaces_a_stopped_primary_and_takes_it_back() {
    let cluster = RedisCluster::start_with(&["--requirepass", "secret", "--masterauth", "secret"]);
    let primary = cluster.primary_of("key");
    cluster.signal(primary, "STOP");
    cluster.wait_until_ok();
    let replica = cluster.primary_of("key");
    assert_ne!(replica, primary);
    cluster.signal(primary, "CONT");
    cluster.wait_until_ok();
    assert_eq!(cluster.replicas_of(replica), [primary]);
}

#[test]
fn a_slot_on_its_way_makes_nodes_ask_and_loses_no_key() {
    let cluster = RedisCluster::start();
    let from = cluster.primary_of("{slot}");
    let to = (from + 1) % 3;
    let keys: Vec<_> = (0..50).map(|number| format!("{{slot}}{number}")).collect();
    let mut source = cluster.connection(from);
    for key in &keys {
        set(key, &mut source).unwrap();
    }
    let ask = ("ASK".to_owned(), cluster.addresses()[to].to_string());
    let slot = cluster.slot_of("{slot}");
    let pause = Duration::from_millis(200);
    std::thread::scope(|scope| {
        scope.spawn(|| cluster.migrate_slot(slot, to, pause));
        until("the node asks another", || {
            get("{slot}none", &mut source).is_err()
        });
        assert_eq!(redirection("{slot}none", &mut source), ask);
    });
    assert_eq!(cluster.primary_of("{slot}"), to);
    let moved = ("MOVED".to_owned(), ask.1);
    let mut target = cluster.connection(to);
    for key in &keys {
        assert_eq!(get(key, &mut target).unwrap().as_deref(), Some("value"));
        assert_eq!(redirection(key, &mut source), moved);
    }
    cluster.wait_until_ok();
}

#[test]
fn nothing_is_left_of_a_cluster_that_is_dropped() {
    let cluster = RedisCluster::start();
    let processes: Vec<_> = (0..6).map(|index| cluster.process(index)).collect();
    cluster.signal(2, "STOP");
    assert!(processes.iter().all(|process| is_running(*process)));
    drop(cluster);
    assert!(!processes.iter().any(|process| is_running(*process)));
}
