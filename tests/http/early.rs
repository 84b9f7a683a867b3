//! Extractors run before the cache is asked. What they read is never stored past an eviction.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{FromRef, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::routing::{get, post};
use axum_redis_cache::{Cache, cache_evict, cache_put, cached};
use test_support::{Client, Gate, RedisServer, Reply};
use tokio::task::JoinHandle;

use crate::support::{Store, answer, asked, on_every_store, patient, serve, settings};

/// An application whose users have names, which an extractor reads.
#[derive(Clone)]
struct App {
    cache: Cache,
    name: Arc<Mutex<&'static str>>,
    /// The gate at which an extraction waits after its read, if there is one.
    gate: Arc<Mutex<Option<Gate>>>,
}

impl App {
    fn of(cache: Cache) -> Self {
        Self {
            cache,
            name: Arc::new(Mutex::new("old")),
            gate: Arc::default(),
        }
    }
}

impl FromRef<App> for Cache {
    fn from_ref(app: &App) -> Self {
        app.cache.clone()
    }
}

struct User {
    id: u32,
    name: &'static str,
}

impl FromRequestParts<App> for User {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let name = *app.name.lock().unwrap();
        let gate = app.gate.lock().unwrap().take();
        if let Some(gate) = gate {
            gate.pass().await;
        }
        Ok(Self { id: 1, name })
    }
}

#[cached(ttl = 60, vary_by(user.id), group = "users")]
async fn profile(user: User) -> &'static str {
    user.name
}

/// All that it reads beside the row is in the request.
#[cached(ttl = 60, vary("accept-language"), ignore(headers))]
async fn language(headers: HeaderMap) -> String {
    let language = headers.get("accept-language");
    format!("{language:?}")
}

/// An extractor that is named like the one of axum.
mod session {
    pub(super) struct State {
        pub(super) name: &'static str,
    }
}

impl FromRequestParts<App> for session::State {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let User { name, .. } = User::from_request_parts(parts, app).await?;
        Ok(Self { name })
    }
}

#[cached(ttl = 60, ignore(state, headers), group = "users")]
async fn by_session(state: session::State, headers: HeaderMap) -> &'static str {
    drop(headers);
    state.name
}

/// The bounds of its type parameter do not tell the compiler what it reads.
#[cached(ttl = 60, ignore(user), group = "users", name = "generic")]
async fn generic<T>(user: T) -> &'static str
where
    T: FromRequestParts<App> + Named + Send + 'static,
{
    user.name()
}

trait Named {
    fn name(&self) -> &'static str;
}

impl Named for User {
    fn name(&self) -> &'static str {
        self.name
    }
}

/// Its key says nothing of what it reads.
#[cached(ttl = 60, ignore(user))]
async fn greeting(user: User) -> &'static str {
    user.name
}

#[cache_evict(profile)]
async fn evict_profile() {}

#[cache_evict(greeting)]
async fn evict_greeting() {}

#[cache_evict(group = "users")]
async fn evict_group() {}

#[cache_evict(all)]
async fn evict_all() {}

#[cache_evict(group = "other")]
async fn evict_other() {}

#[cache_put(profile, vary_by(user.id))]
async fn put_profile(user: User) -> &'static str {
    user.name
}

#[cached(ttl = 60)]
async fn other() -> &'static str {
    "other"
}

#[cache_put(other)]
async fn put_other() -> &'static str {
    "put"
}

struct Server {
    app: App,
    client: Client,
}

impl Server {
    async fn start(store: Store) -> Self {
        Self::with(App::of(store.cache())).await
    }

    async fn with(app: App) -> Self {
        let router = Router::new()
            .route("/profile", get(profile).put(put_profile))
            .route("/greeting", get(greeting))
            .route("/session", get(by_session))
            .route("/generic", get(generic::<User>))
            .route("/language", get(language))
            .route("/profile/evict", post(evict_profile))
            .route("/greeting/evict", post(evict_greeting))
            .route("/group/evict", post(evict_group))
            .route("/all/evict", post(evict_all))
            .route("/other/evict", post(evict_other))
            .route("/other", get(other).put(put_other))
            .with_state(app.clone());
        let client = serve(router).await;
        Self { app, client }
    }

    /// Another process of the application.
    async fn another(&self, cache: Cache) -> Self {
        let app = App {
            cache,
            ..self.app.clone()
        };
        Self::with(app).await
    }

    /// Sends a request whose extractor reads the name, and then waits.
    async fn reading(&self, method: &'static str, path: &'static str) -> (Gate, JoinHandle<Reply>) {
        let gate = Gate::new();
        *self.app.gate.lock().unwrap() = Some(gate.clone());
        let client = self.client;
        let reply = tokio::spawn(async move { client.send(method, path, &[]).await });
        gate.entered().await;
        (gate, reply)
    }

    /// Renames the user by a request that evicts.
    async fn rename(&self, method: &str, path: &str, name: &'static str) {
        *self.app.name.lock().unwrap() = name;
        assert!(
            self.client
                .send(method, path, &[])
                .await
                .status
                .is_success()
        );
    }

    async fn get(&self, path: &str) -> (String, String) {
        asked(&self.client, path).await
    }
}

on_every_store!(
    a_value_read_by_an_extractor_before_an_eviction_is_not_stored,
    a_value_read_by_an_extractor_before_a_write_is_not_stored,
    a_value_read_by_an_extractor_is_stored_by_the_first_run_when_nothing_was_evicted,
    a_value_read_by_an_extractor_of_a_write_before_an_eviction_is_not_stored,
    evictions_of_other_entries_delay_the_storing_of_a_response_only_briefly,
);

async fn a_value_read_by_an_extractor_before_an_eviction_is_not_stored(store: Store) {
    for (path, evict) in [
        ("/profile", "/profile/evict"),
        ("/profile", "/group/evict"),
        ("/profile", "/all/evict"),
        ("/greeting", "/greeting/evict"),
        ("/greeting", "/all/evict"),
        ("/session", "/group/evict"),
        ("/generic", "/group/evict"),
    ] {
        for is_warm in [false, true] {
            let server = Server::start(store).await;
            if is_warm {
                assert_eq!(server.get(path).await, answer("MISS", "old"));
                server.rename("POST", evict, "old").await;
            }
            let (gate, reply) = server.reading("GET", path).await;
            server.rename("POST", evict, "new").await;
            gate.open();
            assert_eq!(reply.await.unwrap().text(), "old");
            assert_eq!(
                server.get(path).await,
                answer("MISS", "new"),
                "{path} {evict}"
            );
            assert_eq!(
                server.get(path).await,
                answer("HIT", "new"),
                "{path} {evict}"
            );
        }
    }
}

async fn a_value_read_by_an_extractor_before_a_write_is_not_stored(store: Store) {
    let server = Server::start(store).await;
    let (gate, reply) = server.reading("GET", "/profile").await;
    server.rename("PUT", "/profile", "new").await;
    gate.open();
    // The response that the write stored is there.
    assert_eq!(reply.await.unwrap().text(), "new");
    assert_eq!(server.get("/profile").await, answer("HIT", "new"));
}

async fn a_value_read_by_an_extractor_is_stored_by_the_first_run_when_nothing_was_evicted(
    store: Store,
) {
    let server = Server::start(store).await;
    for path in ["/profile", "/greeting"] {
        assert_eq!(server.get(path).await, answer("MISS", "old"));
        assert_eq!(server.get(path).await, answer("HIT", "old"));
    }
    for (method, path) in [("POST", "/other/evict"), ("PUT", "/other")] {
        server.rename("POST", "/profile/evict", "old").await;
        server.rename(method, path, "old").await;
        assert_eq!(
            server.get("/profile").await,
            answer("MISS", "old"),
            "{path}"
        );
        assert_eq!(server.get("/profile").await, answer("HIT", "old"), "{path}");
    }
}

async fn a_value_read_by_an_extractor_of_a_write_before_an_eviction_is_not_stored(store: Store) {
    let server = Server::start(store).await;
    for name in ["new", "newer"] {
        let (gate, reply) = server.reading("PUT", "/profile").await;
        server.rename("POST", "/profile/evict", name).await;
        gate.open();
        assert_eq!(reply.await.unwrap().outcome(), "EVICTED");
        assert_eq!(server.get("/profile").await, answer("MISS", name));
    }
    for _ in 0..2 {
        let reply = server.client.send("PUT", "/profile", &[]).await;
        assert_eq!(reply.outcome(), "STORED");
        server.rename("POST", "/other/evict", "newer").await;
    }
    assert_eq!(server.get("/profile").await, answer("HIT", "newer"));
}

async fn evictions_of_other_entries_delay_the_storing_of_a_response_only_briefly(store: Store) {
    let server = Server::start(store).await;
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        let (gate, reply) = server.reading("GET", "/profile").await;
        server.rename("POST", "/other/evict", "old").await;
        gate.open();
        outcomes.push(reply.await.unwrap().outcome().to_owned());
    }
    assert_eq!(outcomes, ["MISS", "MISS", "HIT"]);
}

#[tokio::test]
async fn a_value_read_before_another_process_evicted_is_not_stored() {
    let settings = settings();
    let cache = || Cache::connect(settings.clone()).unwrap();
    let one = Server::with(App::of(cache())).await;
    let two = one.another(cache()).await;
    // The first process knows of nothing that the second one does.
    assert_eq!(one.get("/profile").await, answer("MISS", "old"));
    for name in ["new", "newer"] {
        two.rename("POST", "/profile/evict", "old").await;
        let (gate, reply) = one.reading("GET", "/profile").await;
        two.rename("POST", "/profile/evict", name).await;
        gate.open();
        assert_eq!(reply.await.unwrap().text(), "old");
        assert_eq!(one.get("/profile").await, answer("MISS", name));
        assert_eq!(two.get("/profile").await, answer("HIT", name));
    }
}

#[tokio::test]
async fn a_value_read_from_the_request_alone_is_stored_whatever_another_process_evicts() {
    let settings = settings();
    let cache = || Cache::connect(settings.clone()).unwrap();
    let one = Server::with(App::of(cache())).await;
    let two = one.another(cache()).await;
    for _ in 0..2 {
        assert_eq!(one.get("/language").await.0, "MISS");
        assert_eq!(one.get("/language").await.0, "HIT");
        two.rename("POST", "/all/evict", "old").await;
    }
}

/// The commands that Redis has run, but for the proofs that it takes evictions.
fn commands(redis: &RedisServer) -> u64 {
    let counts = redis.command_counts();
    let reads = counts
        .iter()
        .filter(|(name, _)| name == "mget" || name == "eval");
    reads.map(|(_, count)| count).sum()
}

#[tokio::test]
async fn a_hit_is_one_command_whatever_values_are_set_and_two_after_an_eviction() {
    let redis = RedisServer::start();
    let cache = Cache::connect(patient(&redis)).unwrap();
    let server = Server::with(App::of(cache.clone())).await;
    for path in ["/profile", "/generic", "/language"] {
        assert_eq!(server.get(path).await.0, "MISS");
        assert_eq!(server.get(path).await.0, "HIT");
        cache.set("a value", &1).await;
        let before = commands(&redis);
        for _ in 0..3 {
            assert_eq!(server.get(path).await.0, "HIT");
        }
        assert_eq!(commands(&redis) - before, 3, "{path}");
    }
    server.rename("POST", "/other/evict", "old").await;
    let before = commands(&redis);
    for _ in 0..3 {
        assert_eq!(server.get("/profile").await.0, "HIT");
    }
    assert_eq!(commands(&redis) - before, 4);
}
