//! Instructions and allocations per HIT, counted by valgrind.

use test_support::RedisServer;

use crate::candidates::Candidate;
use crate::load::{self, Load, WARM_UP};
use crate::server;

const LOADS: [Load; 3] = [Load::small(1, 8), Load::small(1, 128), Load::long(8)];
/// The number of requests on each connection that are counted.
const COUNTED: usize = 40;

const CALLGRIND: [&str; 3] = [
    "valgrind",
    "--tool=callgrind",
    "--callgrind-out-file=/dev/null",
];
const DHAT: [&str; 3] = ["valgrind", "--tool=dhat", "--dhat-out-file=/dev/null"];

pub(crate) fn print() {
    for load in LOADS {
        println!(
            "\nPer HIT of {} bytes, counted by valgrind; connections: {}",
            load.size, load.connections
        );
        println!(
            "{:<40} {:>12} {:>7} {:>7} {:>7} {:>7} {:>12} {:>16}",
            "", "instructions", "/(a)", "/(b)", "/(b2)", "/(b3)", "allocations", "allocated bytes"
        );
        let count = |candidate: &Candidate| Counts::of(*candidate, load);
        let all: Vec<Counts> = Candidate::ALL.iter().map(count).collect();
        let base = |candidate: Candidate| all[candidate as usize].instructions;
        for (candidate, counts) in Candidate::ALL.iter().zip(&all) {
            println!(
                "{:<40} {:>12.0} {:>7.3} {:>7.3} {:>7.3} {:>7.3} {:>12.1} {:>16.0}",
                candidate.label(),
                counts.instructions,
                counts.instructions / base(Candidate::Bare),
                counts.instructions / base(Candidate::Get),
                counts.instructions / base(Candidate::Mget),
                counts.instructions / base(Candidate::SharedMget),
                counts.allocations,
                counts.bytes,
            );
        }
    }
}

struct Counts {
    instructions: f64,
    allocations: f64,
    bytes: f64,
}

impl Counts {
    fn of(candidate: Candidate, load: Load) -> Self {
        let memory = per_hit(candidate, load, &DHAT, "Total:");
        Self {
            instructions: instructions(candidate, load),
            allocations: memory[1],
            bytes: memory[0],
        }
    }
}

/// Returns the number of instructions that a server executes for a HIT.
pub(crate) fn instructions(candidate: Candidate, load: Load) -> f64 {
    per_hit(candidate, load, &CALLGRIND, "Collected :")[0]
}

/// Returns the differences between a long and a short run, so that starting, filling and stopping do
/// not count. They are the numbers after `mark` in what a tool writes.
fn per_hit(candidate: Candidate, load: Load, tool: &[&str], mark: &str) -> Vec<f64> {
    let run = |requests| {
        let redis = RedisServer::start();
        let server = server::start(candidate, load, &redis, tool);
        load.for_requests(server.address(), requests);
        let runs = load::runs(server.address());
        assert!(
            runs <= WARM_UP * load.connections,
            "not every response was a HIT"
        );
        numbers_after(&server.end(), mark)
    };
    let (idle, busy) = (run(WARM_UP), run(WARM_UP + COUNTED));
    let requests = (COUNTED * load.connections) as f64;
    let numbers = idle.iter().zip(busy);
    numbers
        .map(|(idle, busy)| (busy - idle) / requests)
        .collect()
}

/// The numbers in the line that has `mark`.
fn numbers_after(text: &str, mark: &str) -> Vec<f64> {
    let line = text
        .lines()
        .find_map(|line| line.split_once(mark))
        .expect("valgrind's summary")
        .1;
    let number = |word: &str| word.replace(',', "").parse().ok();
    line.split_whitespace().filter_map(number).collect()
}
