//! The process of a candidate.

use std::process::{Command, Stdio};

use axum::Router;
use axum::extract::FromRef;
use axum::routing::get;
use axum_redis_cache::Cache;
use bytes::Bytes;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use test_support::{RedisServer, ServerProcess};
use tokio::net::TcpSocket;

use crate::candidates::{self, Candidate};
use crate::load::Load;
use crate::rivals::REDIS_VARIABLE;
use crate::shared_mget::SharedLookups;

#[derive(Clone, FromRef)]
pub(crate) struct AppState {
    body: Bytes,
    cache: Cache,
    lookups: SharedLookups,
    redis: MultiplexedConnection,
}

/// Starts a candidate, behind `wrapper` if that is not empty.
pub(crate) fn start(
    candidate: Candidate,
    load: Load,
    redis: &RedisServer,
    wrapper: &[&str],
) -> ServerProcess {
    let own = std::env::current_exe().unwrap();
    let own = own.to_str().unwrap().to_owned();
    let mut words = wrapper.iter().copied().chain([&*own]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).arg("serve");
    command.args([candidate as usize, load.size, load.threads].map(|number| number.to_string()));
    command.arg(redis.url()).env(REDIS_VARIABLE, redis.url());
    ServerProcess::start_command(command.stderr(Stdio::piped()))
}

/// Prints its address, serves, and ends when its standard input does.
pub(crate) fn serve(candidate: &str, size: &str, threads: &str, redis: &str) {
    let candidate = Candidate::ALL[candidate.parse::<usize>().unwrap()];
    let body = json(size.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.parse().unwrap())
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = redis::Client::open(redis).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let nonce = b"0123456789abcdef";
        let () = connection.set(candidates::NONCE, nonce).await.unwrap();
        let (route, cache) = candidate.route(redis).await;
        let state = AppState {
            body,
            cache,
            lookups: SharedLookups::start(connection.clone()),
            redis: connection,
        };
        let app = Router::new()
            .route("/products/{id}", route)
            .route("/runs", get(candidates::runs))
            .with_state(state);
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        // The default has no room for 256 clients that connect at once, and such a client waits for a
        // second before it tries again.
        let listener = socket.listen(1024).unwrap();
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
pub(crate) fn watch() {
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
