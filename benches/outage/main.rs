//! Redis stops answering under load.
//!
//! ```sh
//! cargo bench -p benches --bench outage
//! ```
//!
//! Two server processes with the default settings share one Redis and get 2,000 requests a second,
//! most of them for what is stored, while Redis freezes, comes back, is killed, starts again empty,
//! and freezes again and again for a short time. The handler takes 20 ms.
//!
//! The added cost of a request is its latency without the time in which a run of the handler worked
//! for it. The same load on the same handler without the cache shows what this machine adds anyway.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_precision_loss
)]

#[path = "../common/mod.rs"]
mod common;
mod load;
mod report;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::{arguments, server};
use load::Load;
use report::{Phase, print_first_hits, print_header};
use test_support::{RedisServer, ServerProcess};

const SERVERS: usize = 2;
const PHASE: Duration = Duration::from_secs(5);
const WARM_UP: Duration = Duration::from_secs(1);
/// Twice the default time budget: a breaker that opens has done so by then.
const AT_FIRST: Duration = Duration::from_millis(500);
/// Shorter than the default time budget, so that Redis is slow and not away.
const STUTTER: Duration = Duration::from_millis(100);

fn main() {
    let arguments = arguments();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", redis, prefix] => server::serve(redis, prefix),
        [] => measure(),
        _ => panic!("expected nothing, not {words:?}"),
    }
}

fn measure() {
    let mut redis = RedisServer::start();
    let servers = [(); SERVERS].map(|()| ServerProcess::start(&["serve", &redis.url(), "outage"]));
    let addresses = servers.each_ref().map(ServerProcess::address);
    print_header();
    without_cache(&addresses);
    with_cache(&addresses, &mut redis);
    without_cache(&addresses);
}

fn without_cache(addresses: &[SocketAddr]) {
    let load = Load::start(addresses, "bare");
    std::thread::sleep(WARM_UP);
    let phase = Phase::lasting("no cache", || std::thread::sleep(PHASE));
    phase.print(&load.end());
}

fn with_cache(addresses: &[SocketAddr], redis: &mut RedisServer) {
    let load = Load::start(addresses, "item");
    let process = redis.process();
    let wait = || std::thread::sleep(PHASE);
    std::thread::sleep(WARM_UP);
    let healthy = Phase::lasting("healthy", wait);
    redis.signal("STOP", process);
    let frozen = Phase::lasting("frozen", wait);
    redis.signal("CONT", process);
    let thawed = Phase::lasting("thawed", wait);
    redis.kill();
    let killed = Phase::lasting("killed", wait);
    redis.start_again();
    let restarted = Phase::lasting("restarted, empty", wait);
    let process = redis.process();
    let stutters = Phase::lasting("away 100 ms of 200", || stutter(redis, process));
    let recovered = Phase::lasting("healthy again", wait);
    let samples = load.end();

    healthy.print(&samples);
    for (outage, then) in [(&frozen, &thawed), (&killed, &restarted)] {
        outage.print(&samples);
        let [first, rest] = outage.split(AT_FIRST);
        first.print(&samples);
        rest.print(&samples);
        then.print(&samples);
    }
    stutters.print(&samples);
    recovered.print(&samples);
    print_first_hits(&thawed, SERVERS, &samples);
    print_first_hits(&restarted, SERVERS, &samples);
}

/// Freezes Redis half of the time, for as long as a phase lasts.
fn stutter(redis: &RedisServer, process: u32) {
    let deadline = Instant::now() + PHASE;
    while Instant::now() < deadline {
        redis.signal("STOP", process);
        std::thread::sleep(STUTTER);
        redis.signal("CONT", process);
        std::thread::sleep(STUTTER);
    }
}
