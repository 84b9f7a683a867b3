//! Proves that nothing stale is served and no request fails, whatever happens to Redis.
//!
//! ```sh
//! cargo run --release --example chaos                      # 20 seconds
//! cargo run --release --example chaos -- --seconds 600 --seed 7
//! ```
//!
//! Several processes serve an application that caches in one Redis. Clients read and write the
//! same few items through all of them, and some leave in the middle of a request. Meanwhile Redis
//! is killed, stopped, slowed down, emptied and filled up, and connections to it are cut. A read
//! that is sent after a write was answered must see that write, or a newer one, on whatever process;
//! and when everything has come to rest, every process must serve what is in the database.
//!
//! One limit is known and kept clear of: while one process alone cannot reach Redis for longer than
//! its time budget, the others cannot know what it has to evict.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod checker;
mod cold;
mod database;
mod faults;
mod http;
mod items;
mod load;
mod options;
mod server;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use test_support::{Proxy, RedisServer, ServerProcess};
use tokio::runtime::Handle;

use checker::Checker;
use cold::ColdKeys;
use database::Database;
use faults::{Fault, Network, between};
use load::Load;
use options::{Options, USAGE};

/// For what is under way when the load stops: evictions, and attempts to reconnect.
const QUIET: Duration = Duration::from_secs(6);

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["serve", redis, database] = words[..] {
        server::serve(redis, database).await;
        return ExitCode::SUCCESS;
    }
    let Some(options) = Options::parse(&words) else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    println!("seed: {}", options.seed);
    run(options).await
}

async fn run(options: Options) -> ExitCode {
    let database = Database::start();
    let redis = tokio::task::block_in_place(RedisServer::start);
    let mut network = Network {
        proxies: Vec::new(),
        redis,
    };
    let mut servers = Vec::new();
    for _ in 0..options.processes {
        let proxy = Proxy::start(network.redis.address().into()).await;
        let arguments = [proxy.url(), database.address().to_string()];
        let start = || ServerProcess::start(&["serve", &arguments[0], &arguments[1]]);
        servers.push(tokio::task::block_in_place(start));
        network.proxies.push(proxy);
    }
    let addresses: Vec<SocketAddr> = servers.iter().map(ServerProcess::address).collect();

    let checker = Arc::new(Checker::new());
    let cold = ColdKeys::new(&addresses, database.clone(), Arc::clone(&checker));
    let started = Instant::now();
    let load = Load::start(&addresses, &checker, options.seed);
    let course = Course {
        network,
        cold,
        checker: Arc::clone(&checker),
        random: Rng::with_seed(options.seed),
        suffered: 0,
    };
    // It waits for processes and for Redis.
    let course = tokio::task::spawn_blocking(move || course.run(&options)).await;
    let course = course.unwrap();
    load.stop().await;
    let elapsed = started.elapsed();
    checker.set_condition("load stopped".to_owned());

    tokio::time::sleep(QUIET).await;
    load::read_all(&addresses, &checker, |item| database.version(item)).await;
    report(&checker, &course, elapsed)
}

/// Calm and faults in turn.
struct Course {
    network: Network,
    cold: ColdKeys,
    checker: Arc<Checker>,
    random: Rng,
    suffered: u64,
}

impl Course {
    fn run(mut self, options: &Options) -> Self {
        let end = Instant::now() + Duration::from_secs(options.seconds);
        loop {
            // Long enough to reconnect, and to have many hits.
            std::thread::sleep(between(&mut self.random, 1500, 3000));
            Handle::current().block_on(self.cold.ask());
            if Instant::now() >= end {
                return self;
            }
            if let Some(fault) = self.random.choice(&options.faults).copied() {
                self.suffer(fault);
            }
        }
    }

    fn suffer(&mut self, fault: Fault) {
        self.suffered += 1;
        let say = |name| self.checker.set_condition(name);
        self.network.suffer(fault, &mut self.random, say);
    }
}

#[allow(clippy::cast_precision_loss)]
fn report(checker: &Checker, course: &Course, elapsed: Duration) -> ExitCode {
    let (reads, hits) = (checker.reads.get(), checker.hits.get());
    let runs = course.cold.runs();
    let mean = runs.iter().sum::<u64>() as f64 / runs.len() as f64;
    let (slowest, what) = checker.slowest();
    println!(
        "reads checked: {reads} ({:.0} per second)",
        reads as f64 / elapsed.as_secs_f64()
    );
    println!("hits: {hits} ({:.0} %)", 100.0 * hits as f64 / reads as f64);
    println!("stale answers: {}", checker.stale.get());
    println!("failed requests: {}", checker.failed.get());
    println!("wrong answers in the end: {}", checker.mismatches.get());
    println!("writes: {}", checker.writes.get());
    println!(
        "requests left by their clients: {}",
        checker.disconnects.get()
    );
    println!("faults injected: {}", course.suffered);
    println!(
        "handler runs per cold key: mean {mean:.2}, max {} (of {} keys)",
        runs.iter().max().unwrap_or(&0),
        runs.len()
    );
    println!("slowest request: {slowest:.0?} ({what})");
    let wrong = [&checker.stale, &checker.failed, &checker.mismatches];
    if wrong.iter().all(|count| count.get() == 0) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
