//! Sentinels replace a primary that is gone, and take it back as a replica.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod processes;

use std::net::SocketAddrV4;

use processes::is_running;
use test_support::{Passwords, RedisSentinels};

fn role(sentinels: &RedisSentinels, address: SocketAddrV4) -> String {
    let info = redis::cmd("INFO").arg("replication").to_owned();
    let info: redis::InfoDict = info.query(&mut sentinels.connection(address)).unwrap();
    info.get("role").unwrap()
}

/// Returns the reply of a sentinel to a client that may ask it.
fn named_primary(sentinels: &RedisSentinels) -> (String, u16) {
    let mut command = redis::cmd("SENTINEL");
    command.arg("GET-MASTER-ADDR-BY-NAME");
    command.arg(sentinels.master_name());
    let address = sentinels.sentinel_addresses()[0];
    command.query(&mut sentinels.connection(address)).unwrap()
}

#[test]
fn sentinels_name_the_primary_that_replicas_follow() {
    let sentinels = RedisSentinels::shared();
    let primary = sentinels.primary();
    let name = (primary.ip().to_string(), primary.port());
    assert_eq!(named_primary(sentinels), name);
    for address in sentinels.server_addresses() {
        let wanted = if address == primary {
            "master"
        } else {
            "slave"
        };
        assert_eq!(role(sentinels, address), wanted);
    }
}

#[test]
fn a_replica_replaces_a_killed_primary_which_becomes_a_replica() {
    let mut sentinels = RedisSentinels::start();
    let killed = sentinels.kill_primary();
    let primary = sentinels.wait_for_failover(killed);
    assert_eq!(sentinels.primary(), primary);
    assert_eq!(role(&sentinels, primary), "master");
    sentinels.start_again(killed);
    sentinels.wait_until_ok();
    assert_eq!(role(&sentinels, killed), "slave");
}

#[test]
fn a_replica_replaces_a_stopped_primary_which_becomes_a_replica() {
    let sentinels = RedisSentinels::start();
    let stopped = sentinels.primary();
    sentinels.signal(stopped, "STOP");
    let primary = sentinels.wait_for_failover(stopped);
    sentinels.signal(stopped, "CONT");
    sentinels.wait_until_ok();
    assert_eq!(sentinels.primary(), primary);
    assert_eq!(role(&sentinels, stopped), "slave");
}

#[test]
fn sentinels_with_passwords_fail_over_when_they_are_told_to() {
    let sentinels = RedisSentinels::start_with_passwords(Passwords {
        servers: Some("secret"),
        sentinels: Some("other"),
    });
    let before = sentinels.primary();
    for address in [before, sentinels.sentinel_addresses()[0]] {
        let client = redis::Client::open(format!("redis://{address}")).unwrap();
        let refused = redis::cmd("PING").query::<()>(&mut client.get_connection().unwrap());
        assert_eq!(refused.unwrap_err().code(), Some("NOAUTH"));
    }
    let after = sentinels.fail_over();
    assert_ne!(after, before);
    sentinels.wait_until_ok();
    assert_eq!(role(&sentinels, before), "slave");
}

#[test]
fn nothing_is_left_of_sentinels_that_are_dropped() {
    let sentinels = RedisSentinels::start();
    let addresses = [sentinels.server_addresses(), sentinels.sentinel_addresses()].concat();
    let process = |address: &SocketAddrV4| sentinels.process(*address);
    let processes: Vec<_> = addresses.iter().map(process).collect();
    sentinels.signal(addresses[0], "STOP");
    sentinels.signal(addresses[5], "STOP");
    drop(sentinels);
    assert!(!processes.iter().any(|process| is_running(*process)));
}
