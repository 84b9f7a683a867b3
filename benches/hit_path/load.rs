//! A closed loop of requests over raw connections: cheap, so that it measures the server.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use crate::spread::Spread;

/// The number of requests on each connection after which every response must be a HIT.
pub(crate) const WARM_UP: usize = 4;

/// The number of products. Each connection requests one of its own.
const PRODUCTS: usize = 256;

/// The conditions under which a server is measured.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// The worker threads of the server.
    pub(crate) threads: usize,
    /// The bytes of a body.
    pub(crate) size: usize,
    /// Connections that each wait for a response before the next request.
    pub(crate) connections: usize,
}

/// The rate and the latencies of a round.
pub(crate) struct Sample {
    pub(crate) requests: usize,
    pub(crate) per_second: f64,
    pub(crate) p50_micros: f64,
    pub(crate) p99_micros: f64,
}

impl Sample {
    fn of(latencies: Vec<Duration>, elapsed: Duration) -> Self {
        let requests = latencies.len();
        let per_second = requests as f64 / elapsed.as_secs_f64();
        let latencies: Spread = latencies.into_iter().collect();
        Self {
            requests,
            per_second,
            p50_micros: latencies.percentile(50) * 1000.0,
            p99_micros: latencies.percentile(99) * 1000.0,
        }
    }
}

impl Load {
    /// Returns a load of small responses.
    pub(crate) const fn small(threads: usize, connections: usize) -> Self {
        Self {
            threads,
            size: 1024,
            connections,
        }
    }

    /// Returns a load of long responses from a server with one worker thread.
    pub(crate) const fn long(connections: usize) -> Self {
        Self {
            threads: 1,
            size: 64 * 1024,
            connections,
        }
    }

    /// Requests for a while, on each connection a product of its own.
    pub(crate) fn for_duration(self, address: SocketAddr, duration: Duration) -> Sample {
        self.send(address, move |connection, started| {
            std::iter::repeat(connection % PRODUCTS)
                .take_while(move |_| started.elapsed() < duration)
        })
    }

    /// Sends that many requests on each connection for a product of its own.
    pub(crate) fn for_requests(self, address: SocketAddr, requests: usize) -> Sample {
        self.send(address, move |connection, _| {
            std::iter::repeat_n(connection % PRODUCTS, requests)
        })
    }

    /// Requests on each connection the products that an iterator names. The iterator is told when
    /// the requests started, which is after all connections were made.
    pub(crate) fn send<P>(
        self,
        address: SocketAddr,
        products: impl Fn(usize, Instant) -> P,
    ) -> Sample
    where
        P: Iterator<Item = usize> + Send + 'static,
    {
        let (latencies, elapsed) = self.client_runtime().block_on(async {
            let mut streams = Vec::new();
            for _ in 0..self.connections {
                streams.push(TcpStream::connect(address).await.unwrap());
            }
            let started = Instant::now();
            let tasks = streams.into_iter().enumerate().map(|(connection, stream)| {
                tokio::spawn(one_connection(stream, products(connection, started)))
            });
            let mut latencies = Vec::new();
            for task in tasks.collect::<Vec<_>>() {
                latencies.extend(task.await.unwrap());
            }
            (latencies, started.elapsed())
        });
        Sample::of(latencies, elapsed)
    }

    /// Returns a runtime with as many threads as the server has, but not more than the machine.
    fn client_runtime(self) -> Runtime {
        let processors = std::thread::available_parallelism().map_or(1, Into::into);
        let mut builder = match self.threads.min(processors) {
            1 => Builder::new_current_thread(),
            threads => {
                let mut builder = Builder::new_multi_thread();
                builder.worker_threads(threads);
                builder
            }
        };
        builder.enable_all().build().unwrap()
    }
}

async fn one_connection(
    mut stream: TcpStream,
    products: impl Iterator<Item = usize>,
) -> Vec<Duration> {
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 128 * 1024];
    let mut latencies = Vec::new();
    for product in products {
        let request = format!("GET /products/{product} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let sent = Instant::now();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut filled = 0;
        let mut total = usize::MAX;
        while filled < total {
            let read = stream.read(&mut buffer[filled..]).await.unwrap();
            assert!(read > 0, "the server closed the connection");
            filled += read;
            if total == usize::MAX {
                total = response_length(&buffer[..filled]).unwrap_or(usize::MAX);
            }
        }
        assert_eq!(filled, total, "more than one response");
        latencies.push(sent.elapsed());
    }
    latencies
}

/// The length of the response at the start of a buffer, once its head is complete.
fn response_length(buffer: &[u8]) -> Option<usize> {
    let head = buffer.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&buffer[..head]).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    let length = text
        .split("content-length: ")
        .nth(1)?
        .split("\r\n")
        .next()?;
    Some(head + length.parse::<usize>().unwrap())
}

/// Returns the number of runs of the handler of a server.
pub(crate) fn runs(address: SocketAddr) -> usize {
    let (_, runs) = one_response(address, "/runs");
    runs.parse().unwrap()
}

/// Returns the names of the fields, in the order of the alphabet, and the body of a HIT.
pub(crate) fn answer(address: SocketAddr) -> (Vec<String>, String) {
    let (head, body) = one_response(address, "/products/0");
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    let mut names: Vec<String> = fields.map(|(name, _)| name.to_owned()).collect();
    names.sort_unstable();
    (names, body)
}

fn one_response(address: SocketAddr, target: &str) -> (String, String) {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}
