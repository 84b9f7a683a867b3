//! Metrics and spans of the cache: for Prometheus at `/metrics`, and over OTLP to a collector.
//!
//! ```sh
//! cargo run -p examples --example observability
//! ```
//!
//! It is in memory, or in Redis with `REDIS_URL`. Then try:
//!
//! ```sh
//! for id in 1 1 1 2; do curl -s http://127.0.0.1:3000/products/$id; done
//! curl -s -X DELETE http://127.0.0.1:3000/products/1
//! curl -s http://127.0.0.1:3000/metrics | grep -v '^#'
//! ```
//!
//! With `OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318` it sends metrics and spans there too, by
//! HTTP. `dashboards/axum-redis-cache.json` is a dashboard of Grafana for what Prometheus gets here. It
//! listens on `ADDR`, by default `127.0.0.1:3000`.

use std::error::Error;
use std::pin::Pin;
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRef, Path, State};
use axum::http::{Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum_redis_cache::{Cache, Settings, cache_evict, cached};
use bytes::Bytes;
use opentelemetry::global;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prometheus::{Registry, TextEncoder};
use tokio::runtime::Handle;

#[derive(Clone, FromRef)]
struct AppState {
    cache: Cache,
    registry: Registry,
}

#[cached(ttl = 60, group = "products")]
async fn get_product(Path(id): Path<u64>) -> String {
    tokio::time::sleep(Duration::from_millis(100)).await;
    format!("product {id}\n")
}

#[cache_evict(get_product)]
async fn delete_product(Path(_): Path<u64>) -> StatusCode {
    StatusCode::NO_CONTENT
}

/// What Prometheus asks for.
async fn metrics(State(registry): State<Registry>) -> impl IntoResponse {
    let text = TextEncoder::new().encode_to_string(&registry.gather());
    let media_type = [(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)];
    text.map(|text| (media_type, text))
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// The providers of this process, which must be shut down to send what is left.
struct Telemetry {
    meters: SdkMeterProvider,
    tracers: SdkTracerProvider,
}

impl Telemetry {
    /// Sets the global providers, which the cache uses from when it is made.
    fn start(registry: &Registry) -> Result<Self, Box<dyn Error>> {
        let resource = Resource::builder().with_service_name("shop").build();
        let reader = opentelemetry_prometheus::exporter().with_registry(registry.clone());
        let mut meters = SdkMeterProvider::builder()
            .with_resource(resource.clone())
            .with_reader(reader.build()?);
        let mut tracers = SdkTracerProvider::builder().with_resource(resource);
        if std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").is_some() {
            let metrics = MetricExporter::builder().with_http();
            let metrics = metrics.with_http_client(OnTokio::new()).build()?;
            meters = meters.with_periodic_exporter(metrics);
            let spans = SpanExporter::builder().with_http();
            let spans = spans.with_http_client(OnTokio::new()).build()?;
            tracers = tracers.with_batch_exporter(spans);
        }
        let (meters, tracers) = (meters.build(), tracers.build());
        global::set_meter_provider(meters.clone());
        global::set_tracer_provider(tracers.clone());
        Ok(Self { meters, tracers })
    }

    /// Sends what is left. It waits for the exporters, so it must not do so on a thread that they
    /// need.
    async fn shutdown(self) -> Result<(), Box<dyn Error>> {
        let shutdown = move || self.meters.shutdown().and(self.tracers.shutdown());
        Ok(tokio::task::spawn_blocking(shutdown).await??)
    }
}

/// The exporters have threads of their own, and an HTTP client that needs Tokio: it is run there.
#[derive(Debug)]
struct OnTokio {
    client: HyperClient,
    runtime: Handle,
}

impl OnTokio {
    fn new() -> Self {
        Self {
            client: HyperClient::with_default_connector(Duration::from_secs(10), None),
            runtime: Handle::current(),
        }
    }
}

impl HttpClient for OnTokio {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
    {
        let (client, runtime) = (self.client.clone(), &self.runtime);
        let sent = runtime.spawn(async move { client.send_bytes(request).await });
        Box::pin(async { sent.await? })
    }
}

fn cache() -> Result<Cache, Box<dyn Error>> {
    let settings = Settings::from_env()?.otel_enabled(true);
    Ok(match std::env::var_os("REDIS_URL") {
        Some(_) => Cache::connect(settings)?,
        None => Cache::in_memory_with(settings),
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let registry = Registry::new();
    let telemetry = Telemetry::start(&registry)?;
    let state = AppState {
        cache: cache()?,
        registry,
    };
    let app = Router::new()
        .route("/products/{id}", get(get_product).delete(delete_product))
        .route("/metrics", get(metrics))
        .with_state(state);
    let address = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app)
        .with_graceful_shutdown(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    telemetry.shutdown().await
}
