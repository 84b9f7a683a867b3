//! The candidates, each in a process of its own.

use std::process::{Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRef, Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_redis_cache::{Cache, Settings, cached};
use bytes::Bytes;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use test_support::{RedisServer, ServerProcess};

use crate::load::PRODUCTS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Candidate {
    Bare,
    Get,
    Mget,
    Redis,
    Memory,
    /// On Redis, with metrics and spans of OpenTelemetry.
    #[cfg(feature = "otel")]
    Watched,
}

impl Candidate {
    #[cfg(not(feature = "otel"))]
    pub(crate) const ALL: [Self; 5] =
        [Self::Bare, Self::Get, Self::Mget, Self::Redis, Self::Memory];
    #[cfg(feature = "otel")]
    pub(crate) const ALL: [Self; 6] = [
        Self::Bare,
        Self::Get,
        Self::Mget,
        Self::Redis,
        Self::Memory,
        Self::Watched,
    ];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Bare => "(a)  bare handler",
            Self::Get => "(b)  hand-written GET",
            Self::Mget => "(b2) hand-written MGET of 2",
            Self::Redis => "(c)  #[cached] on Redis",
            Self::Memory => "(d)  #[cached] in memory",
            #[cfg(feature = "otel")]
            Self::Watched => "(e)  (c) with otel_enabled",
        }
    }
}

/// Starts a candidate, behind `wrapper` if that is not empty.
pub(crate) fn start(
    candidate: Candidate,
    size: usize,
    redis: &RedisServer,
    wrapper: &[&str],
) -> ServerProcess {
    let own = std::env::current_exe().unwrap();
    let own = own.to_str().unwrap().to_owned();
    let mut words = wrapper.iter().copied().chain([&*own]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).arg("serve");
    command.args([
        (candidate as usize).to_string(),
        size.to_string(),
        redis.url(),
    ]);
    ServerProcess::start_command(command.stderr(Stdio::piped()))
}

#[derive(Clone, FromRef)]
struct AppState {
    body: Bytes,
    cache: Cache,
    redis: MultiplexedConnection,
}

const FIELDS: [(axum::http::HeaderName, &str); 4] = [
    (CONTENT_TYPE, "application/json"),
    (ETAG, "W/\"3508d3f7f9e6cacaa4e15f417f2e3009\""),
    (axum::http::HeaderName::from_static("x-redis-cache"), "HIT"),
    (CACHE_CONTROL, "max-age=3600"),
];

async fn bare(Path(_): Path<u64>, State(body): State<Bytes>) -> Response {
    (FIELDS, body).into_response()
}

async fn by_get(Path(id): Path<u64>, State(mut redis): State<MultiplexedConnection>) -> Response {
    match redis.get::<_, Bytes>(format!("bench:product:{id}")).await {
        Ok(body) => (FIELDS, body).into_response(),
        Err(_) => axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn by_mget(Path(id): Path<u64>, State(mut redis): State<MultiplexedConnection>) -> Response {
    let names = (format!("bench:product:{id}"), "bench:nonce");
    match redis.mget::<_, (Bytes, Bytes)>(names).await {
        Ok((body, _)) => (FIELDS, body).into_response(),
        Err(_) => axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cached(ttl = 3600)]
async fn by_cache(Path(_): Path<u64>, State(body): State<Bytes>) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

/// The process of a candidate: prints its address, and ends when its standard input does.
pub(crate) fn serve(candidate: &str, size: &str, redis: &str) {
    let candidate = Candidate::ALL[candidate.parse::<usize>().unwrap()];
    let body = json(size.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut connection = redis::Client::open(redis)
            .unwrap()
            .get_multiplexed_async_connection()
            .await
            .unwrap();
        let nonce: [u8; 16] = *b"0123456789abcdef";
        for id in 0..PRODUCTS {
            let name = format!("bench:product:{id}");
            let () = connection.set(name, &body[..]).await.unwrap();
        }
        let () = connection.set("bench:nonce", &nonce).await.unwrap();
        let settings = Settings::from_url(redis)
            .unwrap()
            .prefix(format!("bench{size}"))
            .unwrap()
            // Under valgrind, replies take longer than the default time budget.
            .socket_timeout(Duration::from_secs(10));
        let (route, cache) = match candidate {
            Candidate::Bare => (get(bare), Cache::in_memory()),
            Candidate::Get => (get(by_get), Cache::in_memory()),
            Candidate::Mget => (get(by_mget), Cache::in_memory()),
            Candidate::Redis => (get(by_cache), Cache::connect(settings).unwrap()),
            Candidate::Memory => (get(by_cache), Cache::in_memory()),
            #[cfg(feature = "otel")]
            Candidate::Watched => {
                watch();
                let settings = settings.otel_enabled(true);
                (get(by_cache), Cache::connect(settings).unwrap())
            }
        };
        let state = AppState {
            body,
            cache,
            redis: connection,
        };
        let app = Router::new()
            .route("/products/{id}", route)
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

/// Sets providers of OpenTelemetry that collect everything and export nothing.
#[cfg(feature = "otel")]
fn watch() {
    use opentelemetry_sdk::metrics::SdkMeterProvider;
    use opentelemetry_sdk::trace::SdkTracerProvider;

    let reader = opentelemetry_prometheus::exporter().build().unwrap();
    let meters = SdkMeterProvider::builder().with_reader(reader).build();
    opentelemetry::global::set_meter_provider(meters);
    opentelemetry::global::set_tracer_provider(SdkTracerProvider::builder().build());
}

fn json(size: usize) -> Bytes {
    let frame = r#"{"text":""}"#.len();
    format!(r#"{{"text":"{}"}}"#, "x".repeat(size - frame)).into()
}
