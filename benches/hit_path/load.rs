//! A closed loop of requests over raw connections: cheap, so that it measures the server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The number of requests on each connection after which every response must be a HIT.
pub(crate) const WARM_UP: usize = 4;

/// The number of products. Each connection requests one of its own.
pub(crate) const PRODUCTS: usize = 256;

pub(crate) struct Sample {
    pub(crate) per_second: f64,
    pub(crate) p50_micros: f64,
    pub(crate) p99_micros: f64,
}

/// Loads a server for a while.
pub(crate) fn for_duration(address: SocketAddr, connections: usize, duration: Duration) -> Sample {
    let started = Instant::now();
    let deadline = started + duration;
    let mut latencies = run(address, connections, move |_| Instant::now() < deadline);
    let elapsed = started.elapsed();
    latencies.sort_unstable();
    let micros = |percent: usize| {
        latencies[(latencies.len() - 1) * percent / 100].as_nanos() as f64 / 1000.0
    };
    Sample {
        per_second: latencies.len() as f64 / elapsed.as_secs_f64(),
        p50_micros: micros(50),
        p99_micros: micros(99),
    }
}

/// Sends that many requests on each connection.
pub(crate) fn for_requests(address: SocketAddr, connections: usize, requests: usize) {
    run(address, connections, move |sent| sent < requests);
}

fn run(
    address: SocketAddr,
    connections: usize,
    go_on: impl Fn(usize) -> bool + Copy + Send + 'static,
) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let tasks = (0..connections).map(|id| tokio::spawn(one_connection(address, id, go_on)));
        let mut latencies = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            latencies.extend(task.await.unwrap());
        }
        latencies
    })
}

async fn one_connection(
    address: SocketAddr,
    id: usize,
    go_on: impl Fn(usize) -> bool,
) -> Vec<Duration> {
    let id = id % PRODUCTS;
    let request = format!("GET /products/{id} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 128 * 1024];
    let mut latencies = Vec::new();
    while go_on(latencies.len()) {
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
        assert!(
            latencies.len() < WARM_UP || is_hit(&buffer[..filled]),
            "not a HIT"
        );
        assert_eq!(filled, total, "more than one response");
        latencies.push(sent.elapsed());
    }
    latencies
}

fn is_hit(response: &[u8]) -> bool {
    const HIT: &[u8] = b"x-redis-cache: HIT\r\n";
    response.windows(HIT.len()).any(|field| field == HIT)
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
