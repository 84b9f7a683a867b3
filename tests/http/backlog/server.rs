//! An application on a Redis of its own that stops doing anything.

use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use axum_redis_cache::{Cache, Settings, cache_evict, cache_put, cached};
use test_support::{Client, Gate, RedisServer, until};

use crate::support::{App, Store, serve, stored};

#[cached(ttl = 30, group = "g")]
pub(super) async fn read(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30, group = "g")]
pub(super) async fn numbered(Path(number): Path<u32>, State(app): State<App>) -> Response {
    let _ = number;
    app.run().await
}

#[cached(ttl = 30, group = "g")]
async fn read_slow(State(app): State<App>) -> Response {
    app.run().await
}

/// Works once, and its response is good for answering instead of an error.
#[cached(ttl = 30, stale_if_error = 30)]
pub(super) async fn fails(State(app): State<App>) -> Result<&'static str, StatusCode> {
    if app.runs() > 0 {
        return Err(StatusCode::INTERNAL_SERVER_ERROR);
    }
    app.run().await;
    Ok("worked once")
}

#[cache_evict(read)]
pub(super) async fn evict_key() {}

#[cache_evict(group = "g")]
async fn evict_group() {}

#[cache_evict(all)]
async fn evict_all() {}

#[cache_evict(read_slow)]
async fn slow_evict(Extension(gate): Extension<Gate>) {
    gate.pass().await;
}

#[cache_put(read)]
async fn write() -> &'static str {
    "written"
}

#[cache_put(read_slow)]
async fn slow_write(Extension(gate): Extension<Gate>) -> &'static str {
    gate.pass().await;
    "written slowly"
}

pub(super) struct Server {
    pub(super) redis: RedisServer,
    pub(super) process: u32,
    pub(super) client: Client,
    pub(super) cache: Cache,
    pub(super) gate: Gate,
}

impl Server {
    pub(super) async fn start() -> Self {
        let redis = RedisServer::start();
        let settings = Settings::from_url(redis.url()).unwrap();
        Self::start_with(redis, settings).await
    }

    pub(super) async fn start_with(redis: RedisServer, settings: Settings) -> Self {
        let (cache, gate) = (Store::Redis.cache_with(settings), Gate::new());
        let item = get(read).delete(evict_key).put(write);
        let router = Router::new()
            .route("/item", item)
            .route("/item/{number}", get(numbered))
            .route("/fails", get(fails))
            .route("/slow", get(read_slow).delete(slow_evict).put(slow_write))
            .route("/group", post(evict_group))
            .route("/all", post(evict_all))
            .layer(Extension(gate.clone()))
            .with_state(App::counting(cache.clone()));
        Self {
            process: redis.process(),
            client: serve(router).await,
            redis,
            cache,
            gate,
        }
    }

    /// Redis stays connected, and does nothing any more.
    pub(super) fn freeze(&self) {
        self.redis.signal("STOP", self.process);
    }

    /// Redis goes on where it was, with everything it had.
    pub(super) fn thaw(&self) {
        self.redis.signal("CONT", self.process);
    }

    pub(super) async fn stored(&self, path: &str) -> String {
        stored(&self.client, path).await
    }

    pub(super) async fn succeeds(&self, method: &str, path: &str) {
        let started = Instant::now();
        let reply = self.client.send(method, path, &[]).await;
        assert_eq!(reply.status, StatusCode::OK, "{method} {path}");
        let time = started.elapsed();
        assert!(time < Duration::from_secs(5), "{method} {path}: {time:?}");
    }

    /// Gets anything but what is evicted.
    pub(super) async fn answers_without(&self, old: &str, path: &str) {
        let reply = self.client.get(path).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_ne!(reply.text(), old, "{path}: {}", reply.outcome());
    }

    /// Waits until Redis took every eviction, and gets nothing evicted meanwhile.
    pub(super) async fn is_told(&self, old: &str, path: &str) {
        until("Redis takes the evictions", async || {
            self.answers_without(old, path).await;
            self.cache.pending_evictions() == 0
        })
        .await;
    }

    /// Returns the value of a name in Redis.
    pub(super) fn value(&self, name: &str) -> Option<Vec<u8>> {
        let get = redis::cmd("GET").arg(name).to_owned();
        get.query(&mut self.redis.connection()).unwrap()
    }
}
