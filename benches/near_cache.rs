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

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::routing::get;
use axum_redis_cache::{Cache, Settings, cached};
use http_body_util::BodyExt;
use spread::Spread;
use test_support::RedisServer;
use tokio::task::JoinSet;
use tower::ServiceExt;

const PROCESSES: [usize; 4] = [0, 1, 5, 20];
const EVICTIONS: usize = 500;
/// The number of evictions before those that are measured.
const FOUNDING: usize = 20;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const LIMIT: usize = 256 * MIB;
const TASKS: usize = 64;

/// The entries that the processes read: in each row, numbers of entries and the length of their bodies.
const ROWS: [(Kind, &[(usize, usize)]); 9] = [
    (Kind::Values, &[(1_000_000, 1)]),
    (Kind::Responses, &[(1_000_000, 1)]),
    (Kind::Responses, &[(1_000_000, 100)]),
    (Kind::Responses, &[(1_000_000, KIB)]),
    (Kind::Responses, &[(250_000, 4_000)]),
    (Kind::Responses, &[(20_000, 64 * KIB)]),
    (Kind::Responses, &[(5_000, 250 * KIB)]),
    (Kind::Responses, &[(64, 10 * MIB)]),
    (Kind::Responses, MIXED),
];
const MIXED: &[(usize, usize)] = &[
    (500_000, 1),
    (300_000, 100),
    (200_000, KIB),
    (4_000, 64 * KIB),
    (500, 250 * KIB),
    (8, 10 * MIB),
];

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Values,
    Responses,
}

#[tokio::main]
async fn main() {
    let arguments = arguments::arguments();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["evictions"] => evictions().await,
        ["memory"] => memory().await,
        ["reader", url, limit, row] => reader(url, number(limit), number(row)).await,
        [] => {
            evictions().await;
            memory().await;
        }
        _ => panic!("expected nothing, `evictions` or `memory`, not {words:?}"),
    }
}

fn connect(url: &str, near_cache_bytes: usize) -> Cache {
    let settings = Settings::from_url(url).unwrap();
    let settings = settings.socket_timeout(Duration::from_secs(10));
    Cache::connect(settings.near_cache_bytes(near_cache_bytes).unwrap()).unwrap()
}

/// Each process is a cache of its own. All caches are in this program, so the copies of 20 processes
/// share two cores with the evictions.
async fn evictions() {
    println!("Time of an eviction, medians of {EVICTIONS}");
    for count in PROCESSES {
        let redis = RedisServer::start();
        let writer = connect(&redis.url(), 0);
        let mut processes: Vec<Cache> = Vec::new();
        for _ in 0..count {
            processes.push(connect(&redis.url(), 16 * MIB));
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

/// Reads the same entries in a process with a near cache and in a process without one, and compares the
/// memory of the two.
async fn memory() {
    println!("\nMemory with a near cache of {} MiB", LIMIT / MIB);
    for (row, (kind, entries)) in ROWS.iter().enumerate() {
        let redis = RedisServer::start();
        read(connect(&redis.url(), 0), row).await;
        let [without, with] = [0, LIMIT].map(|limit| run_reader(&redis.url(), limit, row));
        let entries: Vec<String> = entries
            .iter()
            .map(|(count, length)| format!("{count} × {length} B"))
            .collect();
        println!(
            "{:>7} copies, {:>6.1} MiB by the count of the cache, {:>6.1} MiB more in the process: \
             {} {}",
            with.copies,
            in_mib(with.bytes),
            in_mib(with.resident) - in_mib(without.resident),
            match kind {
                Kind::Values => "values",
                Kind::Responses => "responses",
            },
            entries.join(", "),
        );
    }
}

/// The numbers that a reader prints.
struct Reading {
    copies: usize,
    bytes: usize,
    resident: usize,
}

/// Runs this program as a reader. Each reader is a process of its own, because a process does not return
/// all memory of an earlier cache.
fn run_reader(url: &str, limit: usize, row: usize) -> Reading {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["reader", url, &limit.to_string(), &row.to_string()]);
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    let output = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<usize> = output.split_whitespace().map(number).collect();
    let [copies, bytes, resident] = numbers[..] else {
        panic!("expected three numbers, not {output:?}");
    };
    Reading {
        copies,
        bytes,
        resident,
    }
}

async fn reader(url: &str, limit: usize, row: usize) {
    let cache = connect(url, limit);
    for _ in 0..2 {
        read(cache.clone(), row).await;
    }
    let (copies, bytes) = match cache.status().near_cache {
        Some(status) => (status.entries, status.bytes),
        None => (0, 0),
    };
    println!("{copies} {bytes} {}", resident());
}

/// Reads all entries of a row through a cache, which stores those that Redis does not have.
async fn read(cache: Cache, row: usize) {
    let (kind, entries) = ROWS[row];
    let counts = entries.iter().map(|(count, _)| count);
    // Mixes the lengths, in the same order in all processes.
    let mut numbers: Vec<usize> = (0..counts.sum()).collect();
    fastrand::Rng::with_seed(1).shuffle(&mut numbers);
    let numbers: Arc<[usize]> = numbers.into();
    let length = move |mut number: usize| {
        let wanted = entries.iter().find(|(count, _)| {
            let is_here = number < *count;
            number = number.saturating_sub(*count);
            is_here
        });
        wanted.unwrap().1
    };
    let router = Router::new()
        .route("/{number}/{length}", get(body))
        .with_state(cache.clone());
    in_parallel(numbers.len(), move |position| {
        let (cache, router) = (cache.clone(), router.clone());
        let number = numbers[position];
        let length = length(number);
        async move {
            if kind == Kind::Values {
                let make = async || "x".repeat(length);
                let text: String = cache.get_or_insert_with(&number.to_string(), make).await;
                assert_eq!(text.len(), length);
            } else {
                let uri = format!("/{number}/{length}");
                let request = Request::get(uri).body(Body::empty()).unwrap();
                let reply = router.oneshot(request).await.unwrap();
                let bytes = reply.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(bytes.len(), length);
            }
        }
    })
    .await;
}

#[cached(ttl = 3600, group = "bodies")]
async fn body(Path((number, length)): Path<(usize, usize)>) -> String {
    let _ = number;
    "x".repeat(length)
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

fn number(text: &str) -> usize {
    text.parse().unwrap()
}

#[allow(clippy::cast_precision_loss)]
fn in_mib(bytes: usize) -> f64 {
    bytes as f64 / MIB as f64
}

/// Returns the memory of this program, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.unwrap().parse::<usize>().unwrap() * 1024
}
