//! Requests for many products, of which some are popular: not every response is a HIT.

use std::sync::Arc;

use test_support::RedisServer;

use crate::candidates::Candidate;
use crate::load::{self, Load, Sample};
use crate::median::median;
use crate::server;

const PRODUCTS: usize = 100_000;
const EXPONENT: f64 = 1.0;
const LOAD: Load = Load::small(1, 32);
/// The number of requests on each connection.
const REQUESTS: usize = 4000;
/// The number of times that every candidate is measured.
const GENERATIONS: usize = 3;

/// A table of products, in which the popularity of a product is a power of its rank.
#[derive(Clone)]
struct Zipf {
    /// The probability of each product and all more popular ones.
    cumulative: Arc<[f64]>,
}

impl Zipf {
    fn new(products: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let sums = (1..=products).map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        });
        let sums: Vec<f64> = sums.collect();
        Self {
            cumulative: sums.iter().map(|part| part / sum).collect(),
        }
    }

    /// Returns random products, which are the same for the same seed.
    fn products(&self, seed: usize) -> impl Iterator<Item = usize> + Send + use<> {
        let (table, mut random) = (self.clone(), fastrand::Rng::with_seed(seed as u64));
        std::iter::repeat_with(move || {
            let drawn = random.f64();
            table.cumulative.partition_point(|part| *part <= drawn)
        })
    }
}

/// One run of a candidate, from an empty cache on.
struct Run {
    sample: Sample,
    /// The share of responses for which the handler did not run.
    hits: f64,
}

/// Measures and prints all candidates with a cache.
pub(crate) fn print() {
    let zipf = Zipf::new(PRODUCTS, EXPONENT);
    let all = Candidate::ALL.iter().copied();
    let candidates: Vec<Candidate> = all.filter(|own| *own != Candidate::Bare).collect();
    let mut runs: Vec<Vec<Run>> = candidates.iter().map(|_| Vec::new()).collect();
    for _ in 0..GENERATIONS {
        for (candidate, own) in candidates.iter().zip(&mut runs) {
            own.push(measure(*candidate, &zipf));
        }
    }
    println!(
        "\nRequests for {PRODUCTS} products of {} bytes, whose popularity is 1 / rank^{EXPONENT:.1} (Zipf); \
         connections: {},\nworker threads of the server: {}; {REQUESTS} requests on each connection, from \
         an empty cache on; medians of {GENERATIONS} runs.\nHITs: the share of responses for which the \
         handler did not run, which here takes no time",
        LOAD.size, LOAD.connections, LOAD.threads
    );
    println!(
        "{:<40} {:>10} {:>9} {:>9} {:>7}",
        "", "req/s", "p50 µs", "p99 µs", "HITs"
    );
    for (candidate, own) in candidates.iter().zip(&runs) {
        let median = |value: fn(&Run) -> f64| median(own.iter().map(value));
        println!(
            "{:<40} {:>10.0} {:>9.0} {:>9.0} {:>6.1}%",
            candidate.label(),
            median(|run| run.sample.per_second),
            median(|run| run.sample.p50_micros),
            median(|run| run.sample.p99_micros),
            median(|run| run.hits * 100.0),
        );
    }
}

fn measure(candidate: Candidate, zipf: &Zipf) -> Run {
    let redis = RedisServer::start();
    let server = server::start(candidate, LOAD, &redis, &[]);
    let products = |connection, _| zipf.products(connection).take(REQUESTS);
    let sample = LOAD.send(server.address(), products);
    let misses = load::runs(server.address()) as f64;
    let hits = 1.0 - misses / (LOAD.connections * REQUESTS) as f64;
    Run { sample, hits }
}
