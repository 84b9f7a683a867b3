//! Requests at a steady rate, however long the answers take.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::MissedTickBehavior;

use crate::common::answer::{self, Answer, Pace};
use crate::common::server::unix_micros;

const CONNECTIONS: usize = 640;
/// Between the requests of one connection, which makes 2,000 a second. It is longer than the default
/// time budget and the handler together, so that a slow answer does not hold back the load that
/// should meet the outage.
const INTERVAL: Duration = Duration::from_millis(320);
/// A request without a response by then has failed.
const PATIENCE: Duration = Duration::from_secs(10);
const WARM_KEYS: usize = 100;
/// Every so many requests, one asks for what no one asked for before.
const ONE_COLD_IN: usize = 20;

/// What became of a request.
pub(crate) struct Sample {
    pub(crate) server: usize,
    pub(crate) sent: Instant,
    pub(crate) latency: Duration,
    /// `None` of a request that failed.
    pub(crate) answered: Option<Answered>,
}

pub(crate) struct Answered {
    pub(crate) outcome: &'static str,
    /// How long a run of the handler worked for this request while it waited.
    pub(crate) handler: Duration,
}

/// A client on a thread of its own.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Sample>>,
}

impl Load {
    pub(crate) fn start(addresses: &[SocketAddr], route: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (addresses, stopped) = (addresses.to_vec(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || run(&addresses, route, &stopped));
        Self { stop, thread }
    }

    pub(crate) fn end(self) -> Vec<Sample> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load ran")
    }
}

fn run(addresses: &[SocketAddr], route: &'static str, stop: &Arc<AtomicBool>) -> Vec<Sample> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let tasks = (0..CONNECTIONS).map(|number| {
            let server = number % addresses.len();
            let connection = Connection {
                number,
                route,
                server,
                address: addresses[server],
                stream: None,
            };
            tokio::spawn(connection.run(Arc::clone(stop)))
        });
        let mut samples = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            samples.extend(task.await.unwrap());
        }
        samples
    })
}

/// One client, which connects again after a failure.
struct Connection {
    number: usize,
    route: &'static str,
    server: usize,
    address: SocketAddr,
    stream: Option<TcpStream>,
}

impl Connection {
    async fn run(mut self, stop: Arc<AtomicBool>) -> Vec<Sample> {
        // The connections take turns, evenly over the interval.
        let own_turn = Instant::now() + INTERVAL.mul_f64(self.number as f64 / CONNECTIONS as f64);
        let mut turns = tokio::time::interval_at(own_turn.into(), INTERVAL);
        turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut samples = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            turns.tick().await;
            samples.push(self.one_request(samples.len()).await);
        }
        samples
    }

    async fn one_request(&mut self, turn: usize) -> Sample {
        let request = answer::request(&self.target(turn));
        let (sent, sent_at) = (Instant::now(), unix_micros());
        let exchange = tokio::time::timeout(PATIENCE, self.exchange(&request)).await;
        let latency = sent.elapsed();
        let answer = exchange.ok().and_then(Result::ok);
        if answer.is_none() {
            self.stream = None;
        }
        Sample {
            server: self.server,
            sent,
            latency,
            answered: answer.map(|answer| Answered {
                outcome: answer.outcome,
                handler: overlap(run_of(&answer), [sent_at, unix_micros()]),
            }),
        }
    }

    fn target(&self, turn: usize) -> String {
        let count = turn * CONNECTIONS + self.number;
        let id = if (turn + self.number).is_multiple_of(ONE_COLD_IN) {
            WARM_KEYS + count
        } else {
            count % WARM_KEYS
        };
        format!("/{}/{id}?millis=20&size=1024", self.route)
    }

    async fn exchange(&mut self, request: &str) -> std::io::Result<Answer> {
        if self.stream.is_none() {
            self.stream = Some(TcpStream::connect(self.address).await?);
        }
        let stream = self.stream.as_ref().expect("just connected");
        answer::exchange(stream, request, Pace::AT_ONCE).await
    }
}

/// When the run of the handler that made the response began and ended.
fn run_of(answer: &Answer) -> [u64; 2] {
    let run = answer.field("x-run").and_then(|text| text.split_once(' '));
    let (began, ended) = run.expect("every response tells it");
    [began, ended].map(|micros| micros.parse().expect("a number"))
}

fn overlap(one: [u64; 2], other: [u64; 2]) -> Duration {
    let (began, ended) = (one[0].max(other[0]), one[1].min(other[1]));
    Duration::from_micros(ended.saturating_sub(began))
}
