//! The cost of a HIT, beside what one would write by hand and beside other crates, on the same machine
//! in the same run.
//!
//! ```sh
//! cargo bench -p benches --bench hit_path                # throughput, then instructions and allocations
//! cargo bench -p benches --bench hit_path -- throughput  # one of the two
//! cargo bench -p benches --bench hit_path -- counts
//! cargo bench -p benches --bench hit_path --features otel -- counts   # what telemetry adds: off to (c), on as (e)
//! cargo bench -p benches --bench hit_path -- table       # a summary in Markdown
//! ```
//!
//! Every candidate is a server process of its own, answering the same JSON with the same header
//! fields. Throughput is measured in short rounds that interleave the candidates, each started anew
//! several times; the ratios are medians over the rounds, because a machine's speed drifts. Client,
//! server and Redis share the processors of the machine. The last load starts with empty caches, so that
//! not every response is a HIT. Counting needs valgrind, is slow, and repeats to within a few percent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_precision_loss
)]

#[path = "../common/arguments.rs"]
mod arguments;
mod candidates;
mod counts;
mod load;
#[path = "../common/median.rs"]
mod median;
mod rivals;
mod server;
mod shared_mget;
#[path = "../common/spread.rs"]
mod spread;
mod table;
mod throughput;
mod zipf;

fn main() {
    let arguments = arguments::arguments();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", candidate, size, threads, redis] => {
            server::serve(candidate, size, threads, redis);
        }
        ["throughput"] => throughput(),
        ["counts"] => counts::print(),
        ["table"] => table::print(),
        [] => {
            throughput();
            counts::print();
        }
        _ => panic!("expected nothing, `throughput`, `counts` or `table`, not {words:?}"),
    }
}

fn throughput() {
    throughput::print();
    zipf::print();
}
