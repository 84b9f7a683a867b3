//! One scenario: a crowd of clients that send at the same time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use test_support::RedisServer;
use tokio::net::{TcpSocket, TcpStream};

use crate::common::answer::{self, OUTCOMES, Pace};
use crate::common::spread::Spread;
use crate::servers::{Servers, Status};

/// A client that has no whole response by then has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// When a client that leaves does so.
const LEAVES_AFTER: Duration = Duration::from_millis(100);
/// 16 bytes in a millisecond, in steps that 1,000 clients can take beside the servers.
const SLOWLY: Pace = Pace {
    bytes: 1600,
    pause: Duration::from_millis(100),
};
/// So small that the server's system cannot hand it the whole body at once.
const SLOW_BUFFER: u32 = 4096;
/// How long the servers get to notice that all clients have left.
const SETTLING: Duration = Duration::from_secs(1);

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) route: &'static str,
    pub(crate) one_key: bool,
    pub(crate) size: usize,
    /// Otherwise one client in ten leaves early, and one in ten reads slowly.
    pub(crate) orderly: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Orderly,
    Leaves,
    ReadsSlowly,
}

/// What became of a request.
struct Sample {
    manner: Manner,
    latency: Duration,
    /// `None` of one that failed or left.
    outcome: Option<&'static str>,
}

pub(crate) fn print_header() {
    print!(
        "\n{:<28} {:>8} {:>6} {:>5} {:>6}",
        "", "answered", "failed", "left", "runs"
    );
    for outcome in OUTCOMES {
        print!(" {outcome:>6}");
    }
    println!(
        " {:>7} {:>7} {:>7}   resident MiB of each server: before < peak > after",
        "p50", "p99", "max"
    );
}

impl Scenario {
    /// Prints what it measured, and returns the p99 of the latency.
    pub(crate) async fn run(&self, clients: usize, redis: &RedisServer) -> f64 {
        let servers = Servers::start(redis, &RedisServer::unique_prefix()).await;
        let mut crowd = Vec::with_capacity(clients);
        for client in 0..clients {
            let manner = self.manner(client);
            crowd.push((manner, connect(servers.address(client), manner).await));
        }
        // A server that answers this has accepted every connection before it.
        let before = servers.status().await;
        let samples = self.send(crowd).await;
        tokio::time::sleep(SETTLING).await;
        self.print(&samples, &before, &servers.status().await)
    }

    fn manner(&self, client: usize) -> Manner {
        match client % 10 {
            1 if !self.orderly => Manner::Leaves,
            2 if !self.orderly => Manner::ReadsSlowly,
            _ => Manner::Orderly,
        }
    }

    async fn send(&self, crowd: Vec<(Manner, TcpStream)>) -> Vec<Sample> {
        let tasks = crowd
            .into_iter()
            .enumerate()
            .map(|(client, (manner, stream))| {
                let id = if self.one_key { 0 } else { client };
                let target = format!("/{}/{id}?millis=1000&size={}", self.route, self.size);
                tokio::spawn(one_request(stream, manner, answer::request(&target)))
            });
        let mut samples = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            samples.push(task.await.unwrap());
        }
        samples
    }

    fn print(&self, samples: &[Sample], before: &[Status], after: &[Status]) -> f64 {
        let count = |outcome| {
            samples
                .iter()
                .filter(|sample| sample.outcome == outcome)
                .count()
        };
        let (left, failed): (Vec<&Sample>, Vec<&Sample>) = samples
            .iter()
            .filter(|sample| sample.outcome.is_none())
            .partition(|sample| sample.manner == Manner::Leaves);
        let (left, failed) = (left.len(), failed.len());
        let runs = |status: &[Status]| status.iter().map(|status| status.runs).sum::<usize>();
        print!(
            "{:<28} {:>8} {failed:>6} {left:>5} {:>6}",
            self.name,
            samples.len() - left - failed,
            runs(after) - runs(before),
        );
        for outcome in OUTCOMES {
            print!(" {:>6}", count(Some(outcome)));
        }
        let latency = Latency::of(samples, Manner::Orderly);
        print!("{latency}  ");
        for (before, after) in before.iter().zip(after) {
            let sizes = [before.resident_kib, after.peak_kib, after.resident_kib];
            let [before, peak, after] = sizes.map(|kib| kib / 1024);
            print!(" {before} < {peak} > {after};");
        }
        println!();
        if !self.orderly {
            let slow = Latency::of(samples, Manner::ReadsSlowly);
            println!("{:>92}{slow}", "slow readers:");
        }
        latency.p99
    }
}

/// In milliseconds, of the answered clients of one manner.
struct Latency {
    p50: f64,
    p99: f64,
    max: f64,
}

impl Latency {
    fn of(samples: &[Sample], manner: Manner) -> Self {
        let answered = samples.iter().filter(|sample| sample.outcome.is_some());
        let alike = answered.filter(|sample| sample.manner == manner);
        let spread: Spread = alike.map(|sample| sample.latency).collect();
        Self {
            p50: spread.percentile(50),
            p99: spread.percentile(99),
            max: spread.percentile(100),
        }
    }
}

impl std::fmt::Display for Latency {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            " {:>7.0} {:>7.0} {:>7.0}",
            self.p50, self.p99, self.max
        )
    }
}

async fn connect(address: SocketAddr, manner: Manner) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    if manner == Manner::ReadsSlowly {
        socket.set_recv_buffer_size(SLOW_BUFFER).unwrap();
    }
    socket.connect(address).await.expect("a connection")
}

async fn one_request(stream: TcpStream, manner: Manner, request: String) -> Sample {
    let sent = Instant::now();
    let (pace, patience) = match manner {
        Manner::Orderly => (Pace::AT_ONCE, PATIENCE),
        Manner::Leaves => (Pace::AT_ONCE, LEAVES_AFTER),
        Manner::ReadsSlowly => (SLOWLY, PATIENCE),
    };
    let exchange = answer::exchange(&stream, &request, pace);
    let answer = tokio::time::timeout(patience, exchange).await;
    Sample {
        manner,
        latency: sent.elapsed(),
        outcome: answer
            .ok()
            .and_then(Result::ok)
            .map(|answer| answer.outcome),
    }
}
