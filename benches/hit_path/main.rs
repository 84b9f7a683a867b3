//! What a HIT costs, beside what one would write by hand, on the same machine in the same run.
//!
//! ```sh
//! cargo bench -p benches --bench hit_path                # throughput, then instructions and allocations
//! cargo bench -p benches --bench hit_path -- throughput  # one of the two
//! cargo bench -p benches --bench hit_path -- counts
//! cargo bench -p benches --bench hit_path --features otel -- counts   # what telemetry adds: off to (c), on as (e)
//! ```
//!
//! Every candidate is a server process of its own with one worker thread, answering the same JSON
//! with the same header fields. Throughput is measured in short rounds that interleave the
//! candidates, each started anew several times; the ratios are medians over the rounds, because a
//! machine's speed drifts. Counting
//! needs valgrind, is slow, and repeats to within a percent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_precision_loss
)]

mod counts;
mod load;
#[path = "../common/median.rs"]
mod median;
mod server;

use std::time::Duration;

use load::Sample;
use median::median;
use server::Candidate;
use test_support::RedisServer;

const SIZES: [usize; 2] = [1024, 64 * 1024];
/// The sizes of responses and the numbers of connections with which throughput is measured.
const LOADS: [(usize, usize); 4] = [(1024, 1), (1024, 32), (1024, 128), (64 * 1024, 32)];
/// The connections with which instructions are counted.
const CONNECTIONS: usize = 8;
const GENERATIONS: usize = 10;
const ROUNDS: usize = 4;
const ROUND: Duration = Duration::from_millis(250);

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", candidate, size, redis] => server::serve(candidate, size, redis),
        ["throughput"] => throughput(),
        ["counts"] => counts::print(),
        [] => {
            throughput();
            counts::print();
        }
        _ => panic!("expected nothing, `throughput` or `counts`, not {words:?}"),
    }
}

fn throughput() {
    let redis = RedisServer::start();
    for (size, connections) in LOADS {
        let mut samples: [Vec<Sample>; Candidate::ALL.len()] = Default::default();
        // Processes of the same program differ by where their memory happens to lie, so every
        // candidate is started anew several times.
        for _ in 0..GENERATIONS {
            one_generation(size, connections, &redis, &mut samples);
        }
        print_throughput(size, connections, &samples);
    }
}

fn one_generation(
    size: usize,
    connections: usize,
    redis: &RedisServer,
    samples: &mut [Vec<Sample>; Candidate::ALL.len()],
) {
    let servers = Candidate::ALL.map(|candidate| server::start(candidate, size, redis, &[]));
    for round in 0..=ROUNDS {
        // Each round starts with another candidate, so that none always follows the same one.
        for turn in 0..servers.len() {
            let candidate = (round + turn) % servers.len();
            let sample = load::for_duration(servers[candidate].address(), connections, ROUND);
            // The first round warms everything up.
            if round > 0 {
                samples[candidate].push(sample);
            }
        }
    }
}

fn print_throughput(
    size: usize,
    connections: usize,
    samples: &[Vec<Sample>; Candidate::ALL.len()],
) {
    println!(
        "\nHIT of {size} bytes, {connections} connections, medians of {} rounds",
        GENERATIONS * ROUNDS
    );
    println!(
        "{:<28} {:>10} {:>9} {:>9} {:>7} {:>7} {:>7}",
        "", "req/s", "p50 µs", "p99 µs", "/(a)", "/(b)", "/(b2)"
    );
    for (candidate, own) in Candidate::ALL.iter().zip(samples) {
        let ratio = |rival: Candidate| {
            let rivals = &samples[rival as usize];
            median(
                own.iter()
                    .zip(rivals)
                    .map(|(own, rival)| own.per_second / rival.per_second),
            )
        };
        println!(
            "{:<28} {:>10.0} {:>9.0} {:>9.0} {:>7.3} {:>7.3} {:>7.3}",
            candidate.label(),
            median(own.iter().map(|sample| sample.per_second)),
            median(own.iter().map(|sample| sample.p50_micros)),
            median(own.iter().map(|sample| sample.p99_micros)),
            ratio(Candidate::Bare),
            ratio(Candidate::Get),
            ratio(Candidate::Mget),
        );
    }
}
