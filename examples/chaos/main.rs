//! Proves that nothing stale is served and no request fails, whatever happens to Redis.
//!
//! ```sh
//! cargo run --release -p examples --example chaos                      # 20 seconds
//! cargo run --release -p examples --example chaos -- --seconds 600 --seed 7
//! cargo run --release -p examples --example chaos -- --servers cluster
//! cargo run --release -p examples --example chaos -- --servers sentinel
//! ```
//!
//! Several processes serve an application that caches in one Redis, in a cluster, or in what
//! sentinels say is the primary. Clients read and write the same few items through all processes, and
//! some leave in the middle of a request; two of the items are large. Meanwhile Redis is killed,
//! stopped, slowed down, emptied and filled up, refuses writes or lets them wait, comes back with older
//! data, connections to it are cut or forward nothing, primaries are replaced, slots move, and
//! processes of the application are stopped for seconds. A read that is sent after a write was
//! answered must see that write, or a newer one, on whatever process; and when everything has come to
//! rest, every process must serve what is in the database. A request has failed if it has no answer
//! after five seconds, of which those do not count in which its process was stopped.
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
mod processes;
mod recovery;
mod server;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use test_support::ServerProcess;
use tokio::runtime::Handle;

use checker::Checker;
use cold::ColdKeys;
use database::Database;
use faults::cluster::Cluster;
use faults::one::One;
use faults::sentinel::Sentinel;
use faults::{Fault, Servers, between, chosen};
use load::Load;
use options::{Options, usage};
use processes::Processes;

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
    if let ["serve", servers, address, database] = words[..] {
        server::serve(servers, address, database).await;
        return ExitCode::SUCCESS;
    }
    let end = match Options::parse(&words) {
        Some(options) => run_on(&options).await,
        None => None,
    };
    end.unwrap_or_else(|| {
        eprintln!("{}", usage());
        ExitCode::FAILURE
    })
}

/// `None`: there are no such servers, or no such faults of them.
async fn run_on(options: &Options<'_>) -> Option<ExitCode> {
    println!("seed: {}", options.seed);
    let faults = options.faults;
    Some(match options.servers {
        One::NAME => {
            run(
                options,
                chosen(faults)?,
                One::start(options.processes).await,
            )
            .await
        }
        Cluster::NAME => run(options, chosen(faults)?, Cluster::start()).await,
        Sentinel::NAME => run(options, chosen(faults)?, Sentinel::start()).await,
        _ => return None,
    })
}

async fn run<S: Servers>(
    options: &Options<'_>,
    faults: Vec<&'static Fault<S>>,
    servers: S,
) -> ExitCode {
    let database = Database::start();
    let start = |process| {
        let (address, database) = (servers.address(process), database.address().to_string());
        ServerProcess::start(&["serve", S::NAME, &address, &database])
    };
    let start_all = || (0..options.processes).map(start).collect();
    let processes = Processes::new(tokio::task::block_in_place(start_all));
    let addresses = processes.addresses();

    let checker = Arc::new(Checker::new(processes));
    let cold = ColdKeys::new(&addresses, database.clone(), Arc::clone(&checker));
    let started = Instant::now();
    let load = Load::start(&addresses, &checker, options.seed);
    let course = Course {
        servers,
        faults,
        cold,
        checker: Arc::clone(&checker),
        random: Rng::with_seed(options.seed),
        suffered: 0,
    };
    let end = started + Duration::from_secs(options.seconds);
    // It waits for processes and for Redis.
    let course = tokio::task::spawn_blocking(move || course.run(end)).await;
    let course = course.unwrap();
    load.stop().await;
    let elapsed = started.elapsed();
    checker.set_condition("load stopped".to_owned());

    tokio::time::sleep(QUIET).await;
    load::read_all(&addresses, &checker, |item| database.version(item)).await;
    report(&checker, course.suffered, course.cold.runs(), elapsed)
}

/// Calm and faults in turn.
struct Course<S: Servers> {
    servers: S,
    faults: Vec<&'static Fault<S>>,
    cold: ColdKeys,
    checker: Arc<Checker>,
    random: Rng,
    suffered: u64,
}

impl<S: Servers> Course<S> {
    fn run(mut self, end: Instant) -> Self {
        let [shortest, longest] = S::CALM;
        loop {
            std::thread::sleep(between(&mut self.random, shortest, longest));
            Handle::current().block_on(self.cold.ask());
            if Instant::now() >= end {
                self.checker.recovery.end();
                return self;
            }
            if let Some(fault) = self.random.choice(&self.faults).copied() {
                self.suffered += 1;
                self.checker.recovery.begin(fault.name);
                (fault.suffer)(&mut self.servers, &mut self.random, &self.checker);
            }
        }
    }
}

#[allow(clippy::cast_precision_loss)]
fn report(checker: &Checker, suffered: u64, runs: &[u64], elapsed: Duration) -> ExitCode {
    let (reads, hits) = (checker.reads.get(), checker.hits.get());
    let mean = runs.iter().sum::<u64>() as f64 / runs.len() as f64;
    let (slowest, what) = checker.slowest();
    println!(
        "reads checked: {reads} ({:.0} per second)",
        reads as f64 / elapsed.as_secs_f64()
    );
    println!("hits: {hits} ({:.0} %)", 100.0 * hits as f64 / reads as f64);
    println!(
        "of large entries: {} reads, {} hits",
        checker.large_reads.get(),
        checker.large_hits.get()
    );
    println!("stale answers: {}", checker.stale.get());
    println!("failed requests: {}", checker.failed.get());
    println!("wrong answers in the end: {}", checker.mismatches.get());
    println!("writes: {}", checker.writes.get());
    println!(
        "requests left by their clients: {}",
        checker.disconnects.get()
    );
    println!("faults injected: {suffered}");
    println!(
        "handler runs per cold key: mean {mean:.2}, max {} (of {} keys)",
        runs.iter().max().unwrap_or(&0),
        runs.len()
    );
    println!("slowest request: {slowest:.0?} ({what})");
    print!("{}", checker.recovery);
    let wrong = [&checker.stale, &checker.failed, &checker.mismatches];
    if wrong.iter().all(|count| count.get() == 0) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
