//! A fill that began before an eviction or a write is never served after it. The test holds the
//! handler of the fill in the middle, and does the other thing meanwhile.

use axum::Router;
use axum::extract::{Extension, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum_redis_cache::{cache_evict, cache_put, cached};
use test_support::{Client, Gate, RedisServer, Reply};
use tokio::task::JoinHandle;

use crate::support::{
    App, Store, answer, asked, nonce_of_everything, on_every_store, patient, serve, settings,
};

#[cached(ttl = 30, group = ["g", "h"])]
async fn read(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_evict(read)]
async fn evict_key() {}

#[cache_evict(group = "h")]
async fn evict_group() {}

#[cache_evict(all)]
async fn evict_all() {}

#[cache_put(read)]
async fn write() -> &'static str {
    "written"
}

#[cache_put(read)]
async fn slow_write(Extension(gate): Extension<Gate>) -> &'static str {
    gate.pass().await;
    "written slowly"
}

struct Server {
    client: Client,
    reads: Gate,
    writes: Gate,
}

impl Server {
    /// The first read waits at its gate, further ones answer at once.
    async fn start(store: Store) -> Self {
        let (reads, writes) = (Gate::new(), Gate::new());
        let app = App::counting_with_a_gate(store.cache(), 0, &reads);
        let route = get(read).delete(evict_key).put(write).patch(slow_write);
        let router = Router::new()
            .route("/item", route)
            .route("/group", post(evict_group))
            .route("/all", post(evict_all))
            .layer(Extension(writes.clone()))
            .with_state(app);
        Self {
            client: serve(router).await,
            reads,
            writes,
        }
    }

    fn spawn(&self, method: &'static str, path: &'static str) -> JoinHandle<Reply> {
        let client = self.client;
        tokio::spawn(async move { client.send(method, path, &[]).await })
    }

    /// Starts a read, does something while its handler runs, and lets it finish.
    async fn during_a_read(&self, method: &'static str, path: &'static str) {
        let read = self.spawn("GET", "/item");
        self.reads.entered().await;
        assert!(
            self.client
                .send(method, path, &[])
                .await
                .status
                .is_success()
        );
        self.reads.open();
        let reply = read.await.unwrap();
        assert_eq!((reply.outcome(), reply.text()), ("MISS", "run 0"));
    }

    async fn next(&self) -> (String, String) {
        asked(&self.client, "/item").await
    }
}

on_every_store!(
    an_eviction_of_the_key_during_a_fill_wins,
    an_eviction_of_a_group_during_a_fill_wins,
    an_eviction_of_everything_during_a_fill_wins,
    a_write_during_a_fill_wins,
    a_fill_that_took_longer_than_its_lease_is_not_stored,
    a_fill_after_an_eviction_is_not_hindered_by_one_from_before,
    an_eviction_during_a_write_wins,
    two_concurrent_writes_are_not_stored_over_each_other,
    a_read_during_a_write_does_not_store_what_it_saw,
);

async fn an_eviction_of_the_key_during_a_fill_wins(store: Store) {
    let server = Server::start(store).await;
    server.during_a_read("DELETE", "/item").await;
    assert_eq!(server.next().await, answer("MISS", "run 1"));
    assert_eq!(server.next().await, answer("HIT", "run 1"));
}

async fn an_eviction_of_a_group_during_a_fill_wins(store: Store) {
    let server = Server::start(store).await;
    server.during_a_read("POST", "/group").await;
    assert_eq!(server.next().await, answer("MISS", "run 1"));
    assert_eq!(server.next().await, answer("HIT", "run 1"));
}

async fn an_eviction_of_everything_during_a_fill_wins(store: Store) {
    let server = Server::start(store).await;
    server.during_a_read("POST", "/all").await;
    assert_eq!(server.next().await, answer("MISS", "run 1"));
    assert_eq!(server.next().await, answer("HIT", "run 1"));
}

async fn a_write_during_a_fill_wins(store: Store) {
    let server = Server::start(store).await;
    server.during_a_read("PUT", "/item").await;
    assert_eq!(server.next().await, answer("HIT", "written"));
}

async fn a_fill_that_took_longer_than_its_lease_is_not_stored(store: Store) {
    let lease = std::time::Duration::from_millis(50);
    let app = App::new(
        store.cache_with(settings().lease_ttl(lease)),
        move |run| async move {
            if run == 0 {
                // The time after which the lease has ended.
                tokio::time::sleep(lease * 3).await;
            }
            format!("run {run}")
        },
    );
    let client = serve(Router::new().route("/item", get(read)).with_state(app)).await;
    assert_eq!(client.get("/item").await.text(), "run 0");
    let reply = client.get("/item").await;
    assert_eq!((reply.outcome(), reply.text()), ("MISS", "run 1"));
    assert_eq!(client.get("/item").await.outcome(), "HIT");
}

async fn a_fill_after_an_eviction_is_not_hindered_by_one_from_before(store: Store) {
    let server = Server::start(store).await;
    let old = server.spawn("GET", "/item");
    server.reads.entered().await;
    server.client.send("DELETE", "/item", &[]).await;
    assert_eq!(server.next().await, answer("MISS", "run 1"));
    assert_eq!(server.next().await, answer("HIT", "run 1"));
    server.reads.open();
    assert_eq!(old.await.unwrap().text(), "run 0");
    assert_eq!(server.next().await, answer("HIT", "run 1"));
}

async fn an_eviction_during_a_write_wins(store: Store) {
    for (method, path) in [("DELETE", "/item"), ("POST", "/group"), ("POST", "/all")] {
        let server = Server::start(store).await;
        server.reads.open();
        server.next().await;
        let write = server.spawn("PATCH", "/item");
        server.writes.entered().await;
        server.client.send(method, path, &[]).await;
        server.writes.open();
        assert_eq!(write.await.unwrap().text(), "written slowly");
        assert_eq!(
            server.next().await,
            answer("MISS", "run 1"),
            "{method} {path}"
        );
    }
}

async fn two_concurrent_writes_are_not_stored_over_each_other(store: Store) {
    let server = Server::start(store).await;
    server.reads.open();
    let slow = server.spawn("PATCH", "/item");
    server.writes.entered().await;
    assert_eq!(
        server.client.send("PUT", "/item", &[]).await.text(),
        "written"
    );
    assert_eq!(server.next().await, answer("HIT", "written"));
    server.writes.open();
    slow.await.unwrap();
    assert_eq!(server.next().await, answer("MISS", "run 0"));
}

async fn a_read_during_a_write_does_not_store_what_it_saw(store: Store) {
    let server = Server::start(store).await;
    server.reads.open();
    let write = server.spawn("PATCH", "/item");
    server.writes.entered().await;
    assert_eq!(server.next().await, answer("MISS", "run 0"));
    assert_eq!(server.next().await, answer("MISS", "run 1"));
    server.writes.open();
    write.await.unwrap();
    assert_eq!(server.next().await, answer("HIT", "written slowly"));
}

/// A server of its own, where names can be taken away behind the cache's back.
#[tokio::test]
async fn a_lost_nonce_costs_misses_and_nothing_else() {
    let redis = RedisServer::start();
    let settings = patient(&redis);
    let app = App::counting(Store::Redis.cache_with(settings));
    let client = serve(Router::new().route("/item", get(read)).with_state(app)).await;
    let mut connection = redis.connection();
    client.get("/item").await;
    let all = nonce_of_everything(&mut connection);
    for (run, lost) in ["redis:axum:cache:g:g", &*all].iter().enumerate() {
        client.get("/item").await;
        assert_eq!(client.get("/item").await.outcome(), "HIT");
        let gone: i64 = redis::cmd("DEL").arg(lost).query(&mut connection).unwrap();
        assert_eq!(gone, 1, "{lost}");
        let reply = client.get("/item").await;
        assert_eq!(
            (reply.outcome(), reply.text()),
            ("MISS", &*format!("run {}", run + 1))
        );
        assert_eq!(client.get("/item").await.outcome(), "HIT");
    }
}
