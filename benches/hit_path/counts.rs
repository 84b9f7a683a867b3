//! Instructions and allocations per HIT, counted by valgrind.

use test_support::RedisServer;

use crate::load::WARM_UP;
use crate::server::{self, Candidate};
use crate::{CONNECTIONS, SIZES, load};

const COUNTED: usize = 40;

pub(crate) fn print() {
    let redis = RedisServer::start();
    for size in SIZES {
        println!("\nPer HIT of {size} bytes, {CONNECTIONS} connections, counted by valgrind");
        println!(
            "{:<28} {:>12} {:>7} {:>12} {:>10}",
            "", "instructions", "/(b2)", "allocations", "bytes"
        );
        let all = Candidate::ALL.map(|candidate| Counts::of(candidate, size, &redis));
        for (candidate, counts) in Candidate::ALL.iter().zip(&all) {
            println!(
                "{:<28} {:>12.0} {:>7.3} {:>12.1} {:>10.0}",
                candidate.label(),
                counts.instructions,
                counts.instructions / all[Candidate::Mget as usize].instructions,
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
    /// The difference between a long and a short run, so that starting and stopping do not count.
    fn of(candidate: Candidate, size: usize, redis: &RedisServer) -> Self {
        let per_request = |tool: &[&str], read: &dyn Fn(&str) -> Vec<f64>| -> Vec<f64> {
            let run = |requests| {
                let server = server::start(candidate, size, redis, tool);
                load::for_requests(server.address(), CONNECTIONS, requests);
                read(&server.end())
            };
            let (idle, busy) = (run(WARM_UP), run(WARM_UP + COUNTED));
            let requests = (COUNTED * CONNECTIONS) as f64;
            idle.iter()
                .zip(busy)
                .map(|(idle, busy)| (busy - idle) / requests)
                .collect()
        };
        let callgrind = [
            "valgrind",
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
        ];
        let dhat = ["valgrind", "--tool=dhat", "--dhat-out-file=/dev/null"];
        let instructions = per_request(&callgrind, &|text| numbers_after(text, "Collected :"));
        let memory = per_request(&dhat, &|text| numbers_after(text, "Total:"));
        Self {
            instructions: instructions[0],
            allocations: memory[1],
            bytes: memory[0],
        }
    }
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
