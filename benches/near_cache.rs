//! The costs of near caches: the time of an eviction by the number of processes that have one, and the
//! memory of the copies.
//!
//! ```sh
//! cargo bench -p benches --bench near_cache               # both
//! cargo bench -p benches --bench near_cache -- evictions  # one of the two
//! cargo bench -p benches --bench near_cache -- memory
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/arguments.rs"]
mod arguments;
#[path = "common/spread.rs"]
mod spread;

use std::time::{Duration, Instant};

use axum_redis_cache::{Cache, Settings};
use spread::Spread;
use test_support::RedisServer;
use tokio::task::JoinSet;

const PROCESSES: [usize; 4] = [0, 1, 5, 20];
const EVICTIONS: usize = 500;
/// The number of evictions before those that are measured.
const FOUNDING: usize = 20;

const MIB: usize = 1024 * 1024;
const LIMIT: usize = 256 * MIB;
/// The lengths of the values, and how many there are of each.
const VALUES: [(usize, usize); 5] = [
    (1, 1_000_000),
    (1024, 100_000),
    (64 * 1024, 4_000),
    (MIB, 64),
    (9 * MIB, 8),
];
const TASKS: usize = 64;

#[tokio::main]
async fn main() {
    let arguments = arguments::arguments();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["evictions"] => evictions().await,
        ["memory"] => memory().await,
        [] => {
            evictions().await;
            memory().await;
        }
        _ => panic!("expected nothing, `evictions` or `memory`, not {words:?}"),
    }
}

fn connect(redis: &RedisServer, near_cache_bytes: usize) -> Cache {
    let settings = Settings::from_url(redis.url()).unwrap();
    let settings = settings.socket_timeout(Duration::from_secs(10));
    Cache::connect(settings.near_cache_bytes(near_cache_bytes).unwrap()).unwrap()
}

/// Each process is a cache of its own. All caches are in this program, so the copies of 20 processes
/// share two cores with the evictions.
async fn evictions() {
    println!("Time of an eviction, medians of {EVICTIONS}");
    for count in PROCESSES {
        let redis = RedisServer::start();
        let writer = connect(&redis, 0);
        let mut processes: Vec<Cache> = Vec::new();
        for _ in 0..count {
            processes.push(connect(&redis, 16 * MIB));
        }
        let mut times = Vec::new();
        for round in 0..FOUNDING + EVICTIONS {
            writer.set("key", &round).await;
            for process in &processes {
                assert_eq!(process.get::<usize>("key").await, Some(round));
            }
            let begun = Instant::now();
            writer.delete("key").await;
            times.push(begun.elapsed());
            for process in &processes {
                assert_eq!(process.get::<usize>("key").await, None);
            }
        }
        // The first evictions found the registry.
        let times: Spread = times.into_iter().skip(FOUNDING).collect();
        println!(
            "{count:>3} processes with a near cache: {:>6.3} ms, p99 {:>6.3} ms",
            times.percentile(50),
            times.percentile(99)
        );
    }
}

/// Reads many values through a near cache, and compares the memory of this program with the limit.
async fn memory() {
    println!("\nMemory with a near cache of {} MiB", LIMIT / MIB);
    for (length, count) in VALUES {
        let redis = RedisServer::start();
        let writer = connect(&redis, 0);
        let text = "x".repeat(length);
        let set = move |number: usize| {
            let (writer, text) = (writer.clone(), text.clone());
            async move { writer.set(&number.to_string(), &text).await }
        };
        in_parallel(count, set).await;
        let near = connect(&redis, LIMIT);
        let before = resident();
        for _ in 0..2 {
            let reader = near.clone();
            let get = move |number: usize| {
                let near = reader.clone();
                async move { drop(near.get::<String>(&number.to_string()).await) }
            };
            in_parallel(count, get).await;
        }
        let status = near.status().near_cache.unwrap();
        println!(
            "{count:>8} values of {length:>8} bytes: {:>7} copies, {:>4} MiB by its own count, {:>4} MiB \
             more in this program",
            status.entries,
            status.bytes / MIB,
            resident().saturating_sub(before) / MIB,
        );
    }
}

async fn in_parallel<F>(count: usize, run: impl Fn(usize) -> F + Clone + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let run = run.clone();
        tasks.spawn(async move {
            for number in (task..count).step_by(TASKS) {
                run(number).await;
            }
        });
    }
    tasks.join_all().await;
}

/// Returns the memory of this program, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.unwrap().parse::<usize>().unwrap() * 1024
}
