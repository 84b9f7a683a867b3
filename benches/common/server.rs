//! The application that the benches load: one slow handler, with and without the cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{FromRef, Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_redis_cache::{Cache, Settings, cached};
use serde::Deserialize;

#[derive(Clone, FromRef)]
struct AppState {
    cache: Cache,
    runs: Runs,
}

/// How often the handler ran in this process.
#[derive(Clone, Default)]
struct Runs(Arc<AtomicUsize>);

/// What a request asks of the handler.
#[derive(Deserialize)]
struct Work {
    millis: u64,
    size: usize,
}

/// Tells when it ran in `x-run`, so that a client can tell the handler's time from the cache's,
/// also when another request's run answered it.
#[cached(ttl = 60, group = "g")]
async fn item(
    Path(_id): Path<u64>,
    Query(work): Query<Work>,
    State(Runs(runs)): State<Runs>,
) -> Response {
    runs.fetch_add(1, Ordering::Relaxed);
    let began = unix_micros();
    tokio::time::sleep(Duration::from_millis(work.millis)).await;
    let run = format!("{began} {}", unix_micros());
    ([("x-run", run)], vec![b'x'; work.size]).into_response()
}

/// The same work without the cache.
async fn bare(id: Path<u64>, work: Query<Work>, runs: State<Runs>) -> Response {
    item::uncached(id, work, runs).await
}

/// The handler's runs, and the resident set of this process in KiB: now, and its peak.
async fn status(State(Runs(runs)): State<Runs>) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next())
            .expect("a size")
    };
    let (now, peak) = (kib("VmRSS:"), kib("VmHWM:"));
    format!("{} {now} {peak}", runs.load(Ordering::Relaxed))
}

/// The time of day in microseconds, which the processes of a machine share.
pub(crate) fn unix_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_micros()).unwrap()
}

/// Prints its address, serves, and ends when its standard input does.
pub(crate) fn serve(redis: &str, prefix: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let settings = Settings::from_url(redis).unwrap().prefix(prefix).unwrap();
        let state = AppState {
            cache: Cache::connect(settings).unwrap(),
            runs: Runs::default(),
        };
        let app = Router::new()
            .route("/item/{id}", get(item))
            .route("/bare/{id}", get(bare))
            .route("/runs", get(status))
            .with_state(state);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, app).into_future());
        tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()))
            .await
            .unwrap()
            .unwrap();
    });
}
