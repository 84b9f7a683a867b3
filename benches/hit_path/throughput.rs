//! Requests per second and latencies of HITs.

use std::time::Duration;

use test_support::{RedisServer, ServerProcess};

use crate::candidates::Candidate;
use crate::load::{self, Load, Sample, WARM_UP};
use crate::median::median;
use crate::server;

/// The loads with which all candidates are measured.
const LOADS: [Load; 7] = [
    Load::small(1, 1),
    Load::small(1, 32),
    Load::small(1, 128),
    Load::small(1, 256),
    Load::long(32),
    Load::small(8, 32),
    Load::small(8, 256),
];
/// The number of times that every candidate is started.
const GENERATIONS: usize = 5;
/// The number of times that every candidate is measured after each start.
const ROUNDS: usize = 4;
pub(crate) const ALL_ROUNDS: usize = GENERATIONS * ROUNDS;
const ROUND: Duration = Duration::from_millis(200);
const WARM_UP_ROUND: Duration = Duration::from_millis(100);

pub(crate) fn print() {
    let processors = std::thread::available_parallelism().map_or(1, Into::into);
    println!(
        "\nreq/s: requests per second. p50, p99: latencies as the client sees them. /(a), /(b), /(b2), /(b3):\n\
         requests per second relative to that candidate, as a median over the rounds. Redis µs: the processor\n\
         time of Redis for each request. The client, the servers and Redis share {processors} processors."
    );
    for load in LOADS {
        Measured::under(load).print(load);
    }
}

/// The rounds of each candidate.
pub(crate) struct Measured(Vec<Vec<Round>>);

/// One round of a candidate.
pub(crate) struct Round {
    pub(crate) sample: Sample,
    /// The processor time of Redis for each request, in microseconds.
    pub(crate) redis_micros: f64,
}

impl Measured {
    /// Measures all candidates under a load.
    pub(crate) fn under(load: Load) -> Self {
        let redis = RedisServer::start();
        let mut rounds: Vec<Vec<Round>> = Candidate::ALL.iter().map(|_| Vec::new()).collect();
        // Processes of the same program differ by where their memory happens to lie, so every
        // candidate is started anew several times.
        for _ in 0..GENERATIONS {
            one_generation(load, &redis, &mut rounds);
        }
        Self(rounds)
    }

    /// Returns the median of what a function returns for the rounds of a candidate.
    pub(crate) fn median(&self, candidate: Candidate, value: impl Fn(&Round) -> f64) -> f64 {
        median(self.0[candidate as usize].iter().map(value))
    }

    /// Returns the median over the rounds of the requests per second, relative to another candidate.
    pub(crate) fn ratio(&self, candidate: Candidate, other: Candidate) -> f64 {
        let rounds = self.0[candidate as usize]
            .iter()
            .zip(&self.0[other as usize]);
        median(rounds.map(|(own, other)| own.sample.per_second / other.sample.per_second))
    }

    fn print(&self, load: Load) {
        println!(
            "\nHITs of {} bytes; connections: {}, worker threads of the server: {}; medians of {} rounds",
            load.size, load.connections, load.threads, ALL_ROUNDS
        );
        println!(
            "{:<40} {:>10} {:>9} {:>9} {:>7} {:>7} {:>7} {:>7} {:>9}",
            "", "req/s", "p50 µs", "p99 µs", "/(a)", "/(b)", "/(b2)", "/(b3)", "Redis µs"
        );
        for &candidate in Candidate::ALL {
            println!(
                "{:<40} {:>10.0} {:>9.0} {:>9.0} {:>7.3} {:>7.3} {:>7.3} {:>7.3} {:>9.2}",
                candidate.label(),
                self.median(candidate, |round| round.sample.per_second),
                self.median(candidate, |round| round.sample.p50_micros),
                self.median(candidate, |round| round.sample.p99_micros),
                self.ratio(candidate, Candidate::Bare),
                self.ratio(candidate, Candidate::Get),
                self.ratio(candidate, Candidate::Mget),
                self.ratio(candidate, Candidate::SharedMget),
                self.median(candidate, |round| round.redis_micros),
            );
        }
    }
}

fn one_generation(load: Load, redis: &RedisServer, rounds: &mut [Vec<Round>]) {
    let start = |candidate: &Candidate| server::start(*candidate, load, redis, &[]);
    let servers: Vec<ServerProcess> = Candidate::ALL.iter().map(start).collect();
    for server in &servers {
        load.for_requests(server.address(), WARM_UP);
        load.for_duration(server.address(), WARM_UP_ROUND);
    }
    let runs = assert_alike(&servers);
    for round in 0..ROUNDS {
        // Each round starts with another candidate, so that none always follows the same one.
        for turn in 0..servers.len() {
            let candidate = (round + turn) % servers.len();
            let before = processor_seconds(redis);
            let sample = load.for_duration(servers[candidate].address(), ROUND);
            let redis_micros = (processor_seconds(redis) - before) * 1e6 / sample.requests as f64;
            rounds[candidate].push(Round {
                sample,
                redis_micros,
            });
        }
    }
    assert_eq!(runs, assert_alike(&servers), "not every response was a HIT");
}

/// Returns the processor time that Redis has used.
fn processor_seconds(redis: &RedisServer) -> f64 {
    let mut connection = redis.connection();
    let info: String = redis::cmd("INFO")
        .arg("cpu")
        .query(&mut connection)
        .unwrap();
    let used = |name| {
        let value = info.lines().find_map(|line| line.strip_prefix(name));
        value.unwrap().parse::<f64>().unwrap()
    };
    used("used_cpu_user:") + used("used_cpu_sys:")
}

/// Panics if the responses differ by a field or by the body. Returns the number of runs of each handler.
fn assert_alike(servers: &[ServerProcess]) -> Vec<usize> {
    let expected = load::answer(servers[Candidate::Bare as usize].address());
    for (server, candidate) in servers.iter().zip(Candidate::ALL) {
        let answer = load::answer(server.address());
        assert_eq!(answer, expected, "{}", candidate.label());
    }
    servers
        .iter()
        .map(|server| load::runs(server.address()))
        .collect()
}
