//! Many requests at once for what is not stored yet.
//!
//! ```sh
//! cargo bench -p benches --bench stampede          # 10,000 clients
//! cargo bench -p benches --bench stampede -- 1000  # so many clients
//! ```
//!
//! Four server processes share one Redis. The clients connect first, then all of them send one
//! request at the same time; the handler takes a second. The same handler without the cache
//! shows what so many requests cost on this machine anyway. Every scenario has processes and keys
//! of its own. The servers' memory is what they hold before the requests and at their peak, and
//! once all clients have left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod crowd;
mod servers;

use common::{arguments, server};
use crowd::Scenario;
use test_support::RedisServer;

const ROUNDS: usize = 3;
/// Connections that the client's process may need besides the crowd's, and its files.
const SPARE_FILES: usize = 100;

const BARE: Scenario = Scenario {
    name: "    no cache, one key",
    route: "bare",
    one_key: true,
    size: 1024,
    orderly: true,
};

const ONE_KEY: Scenario = Scenario {
    name: "(a) one key",
    route: "item",
    ..BARE
};

const REST: [Scenario; 4] = [
    Scenario {
        name: "    no cache, a key each",
        one_key: false,
        ..BARE
    },
    Scenario {
        name: "(b) a key each",
        one_key: false,
        ..ONE_KEY
    },
    Scenario {
        name: "    no cache, 64 KiB, unruly",
        size: 64 * 1024,
        orderly: false,
        ..BARE
    },
    Scenario {
        name: "(c) one key, 64 KiB, unruly",
        size: 64 * 1024,
        orderly: false,
        ..ONE_KEY
    },
];

fn main() {
    let arguments = arguments();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", redis, prefix] => server::serve(redis, prefix),
        [] => measure(10_000),
        [clients] => measure(clients.parse().expect("a number of clients")),
        _ => panic!("expected nothing or a number of clients, not {words:?}"),
    }
}

fn measure(clients: usize) {
    let (needed, limit) = (clients + SPARE_FILES, open_files());
    assert!(
        limit >= needed,
        "{clients} clients need {needed} open files, and `ulimit -n` is {limit}"
    );
    let redis = RedisServer::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    println!("{clients} clients. Latency in ms, of those that neither leave nor read slowly.");
    crowd::print_header();
    let run = |scenario: &Scenario| runtime.block_on(scenario.run(clients, &redis));
    let mut ratios: Vec<f64> = (0..ROUNDS).map(|_| run(&ONE_KEY) / run(&BARE)).collect();
    for scenario in &REST {
        run(scenario);
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "\np99 of (a) / p99 without cache, in each of {ROUNDS} rounds: {ratios:.3?}, median {:.3}",
        ratios[ROUNDS / 2]
    );
}

/// How many files this process may open.
fn open_files() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .expect("a limit");
    let soft = line.split_whitespace().next().unwrap();
    soft.parse().unwrap_or(usize::MAX)
}
