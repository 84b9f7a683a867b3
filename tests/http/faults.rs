//! Redis fails, the application does not.

use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use axum_redis_cache::{Cache, Settings, cache_evict, cache_put, cached};
use test_support::{Client, RedisServer, until};

use crate::support::{App, Store, nonce_of_everything, patient, serve, stored};

#[cached(ttl = 30, group = "g", query)]
async fn read(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_evict(read, group = "g")]
async fn evict() {}

#[cache_put(read)]
async fn write() -> &'static str {
    "written"
}

async fn start(redis: &RedisServer) -> (Client, Cache) {
    start_with(patient(redis)).await
}

async fn start_with(settings: Settings) -> (Client, Cache) {
    let cache = Store::Redis.cache_with(settings);
    let router = Router::new().route("/item", get(read).delete(evict).put(write));
    (
        serve(router.with_state(App::counting(cache.clone()))).await,
        cache,
    )
}

async fn everything_is_answered(client: &Client) {
    for (method, outcome) in [
        ("GET", "BYPASS"),
        ("PUT", "PENDING"),
        ("DELETE", "PENDING"),
        ("GET", "BYPASS"),
        ("HEAD", "BYPASS"),
    ] {
        let reply = client.send(method, "/item", &[]).await;
        assert_eq!(
            (reply.status.as_u16(), reply.outcome()),
            (200, outcome),
            "{method}"
        );
    }
}

#[tokio::test]
async fn hits_come_back_after_redis_was_stopped_and_started_again() {
    let mut redis = RedisServer::start();
    let (client, cache) = start(&redis).await;
    client.get("/item").await;
    assert_eq!(client.get("/item").await.outcome(), "HIT");
    assert_eq!(cache.faults(), 0);
    for _ in 0..2 {
        redis.kill();
        everything_is_answered(&client).await;
        everything_is_answered(&client).await;
        redis.start_again();
        stored(&client, "/item").await;
    }
    assert!(cache.faults() > 0);
}

#[tokio::test]
async fn an_application_starts_without_redis() {
    let mut redis = RedisServer::start();
    redis.kill();
    let (client, _) = start(&redis).await;
    everything_is_answered(&client).await;
    redis.start_again();
    stored(&client, "/item").await;
}

#[tokio::test]
async fn nothing_is_lost_on_connections_that_the_server_closed() {
    let redis = RedisServer::start();
    let (client, cache) = start(&redis).await;
    let close = || {
        let kill = redis::cmd("CLIENT")
            .arg(&["KILL", "TYPE", "normal"])
            .to_owned();
        let _: i64 = kill.query(&mut redis.connection()).unwrap();
    };
    for _ in 0..10 {
        client.get("/item").await;
        close();
        assert_eq!(client.get("/item").await.outcome(), "HIT");
        close();
        client.send("DELETE", "/item", &[]).await;
        assert_eq!(client.get("/item").await.outcome(), "MISS");
        close();
        client.send("PUT", "/item", &[]).await;
        close();
        assert_eq!(client.get("/item").await.text(), "written");
        client.send("DELETE", "/item", &[]).await;
    }
    assert_eq!(cache.faults(), 0);
}

#[tokio::test]
async fn hundreds_of_requests_at_once_for_a_stored_response_run_no_handler() {
    let redis = RedisServer::start();
    let (client, _) = start(&redis).await;
    client.get("/item").await;
    let requests = (0..500).map(|_| tokio::spawn(async move { client.get("/item").await }));
    for request in requests.collect::<Vec<_>>() {
        assert_eq!(request.await.unwrap().outcome(), "HIT");
    }
}

#[tokio::test]
async fn applications_with_glob_characters_in_their_prefixes_are_strangers() {
    let redis = RedisServer::start();
    let mut clients = Vec::new();
    for prefix in ["app", "app*", "a?p", "[a-z]pp", "app:cache"] {
        let settings = Settings::from_url(redis.url())
            .unwrap()
            .prefix(prefix)
            .unwrap();
        let app = App::counting(Store::Redis.cache_with(settings));
        let route = get(read).delete(evict);
        let client = serve(Router::new().route("/", route).with_state(app)).await;
        assert_eq!(client.get("/").await.outcome(), "MISS", "{prefix}");
        clients.push(client);
    }
    for (number, client) in clients.iter().enumerate() {
        client.send("DELETE", "/", &[]).await;
        assert_eq!(client.get("/").await.outcome(), "MISS");
        let others = clients
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != number);
        for (_, other) in others {
            assert_eq!(other.get("/").await.outcome(), "HIT");
        }
    }
}

#[tokio::test]
async fn a_redis_that_hangs_costs_the_budget_once() {
    let redis = RedisServer::start();
    let (client, _) = start_with(Settings::from_url(redis.url()).unwrap()).await;
    client.get("/item").await;
    let process = redis.process();
    redis.signal("STOP", process);
    let started = Instant::now();
    for _ in 0..20 {
        assert_eq!(client.get("/item").await.outcome(), "BYPASS");
    }
    // 20 budgets would be 5 s, and redis-rs' own defaults far more.
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    redis.signal("CONT", process);
    stored(&client, "/item").await;
}

#[tokio::test]
async fn wrong_credentials_are_a_fault_like_any_other() {
    let redis = RedisServer::start_with(&["--requirepass", "secret"]);
    let (client, _) = start(&redis).await;
    everything_is_answered(&client).await;
}

#[tokio::test]
async fn a_redis_without_memory_serves_what_it_has() {
    let redis = RedisServer::start();
    let (client, cache) = start(&redis).await;
    client.get("/item").await;
    let () = redis::cmd("CONFIG")
        .arg(&["SET", "maxmemory", "1"])
        .query(&mut redis.connection())
        .unwrap();
    assert_eq!(client.get("/item").await.outcome(), "HIT");
    assert_eq!(client.get("/item?other").await.status.as_u16(), 200);
    assert!(cache.faults() > 0, "the refused lease is counted");
    // A write that could not be stored must not leave the old response behind.
    client.send("PUT", "/item", &[]).await;
    assert_eq!(client.get("/item").await.outcome(), "MISS");
}

/// Returns the number of commands between two counts, without those of new connections.
fn commands_between(before: &[(String, u64)], after: Vec<(String, u64)>) -> Vec<(String, u64)> {
    const CONNECTING: [&str; 6] = [
        "info",
        "hello",
        "client|setinfo",
        "client",
        "select",
        "config",
    ];
    let count_since = |(name, count): (String, u64)| {
        let before = before.iter().find(|(other, _)| *other == name);
        let count = count - before.map_or(0, |(_, count)| *count);
        (count > 0 && !CONNECTING.contains(&name.as_str())).then_some((name, count))
    };
    let mut counts: Vec<_> = after.into_iter().filter_map(count_since).collect();
    counts.sort();
    counts
}

#[tokio::test]
async fn a_hit_is_one_command_and_an_eviction_is_one_del_and_one_read() {
    let redis = RedisServer::start();
    let (client, _) = start(&redis).await;
    for page in 0..500 {
        client.get(&format!("/item?page={page}")).await;
    }
    let expected = [("del", 1), ("hgetall", 1), ("mget", 10)];
    let expected = expected.map(|(name, count)| (name.to_owned(), count));
    // A pulse is a `DEL`, too, and may come in between.
    let is_as_expected = async || {
        client.get("/item").await;
        let before = redis.command_counts();
        for _ in 0..10 {
            assert_eq!(client.get("/item").await.outcome(), "HIT");
        }
        client.send("DELETE", "/item", &[]).await;
        commands_between(&before, redis.command_counts()) == expected
    };
    until("ten MGET, one DEL and one HGETALL", is_as_expected).await;
    for page in 0..500 {
        assert_eq!(
            client.get(&format!("/item?page={page}")).await.outcome(),
            "MISS"
        );
    }
}

#[cached(ttl = 30, group = "g")]
async fn of_names(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 3600, group = "g:{id}")]
async fn of_a_value(Path(id): Path<u64>) -> Result<&'static str, StatusCode> {
    if id == 0 {
        Err(StatusCode::NOT_FOUND)
    } else {
        Ok("body")
    }
}

/// Clients choose the values, so the names must not stay.
#[tokio::test]
async fn names_of_values_expire_soon_if_nothing_is_stored_under_them() {
    let redis = RedisServer::start();
    let cache = Store::Redis.cache_with(patient(&redis));
    let router = Router::new().route("/{id}", get(of_a_value));
    let client = serve(router.with_state(cache)).await;
    assert_eq!(client.get("/0").await.status, StatusCode::NOT_FOUND);
    stored(&client, "/1").await;
    let left = |name: &str| -> i64 {
        let mut pttl = redis::cmd("PTTL");
        pttl.arg(name).query(&mut redis.connection()).unwrap()
    };
    let unused = left("redis:axum:cache:g:g:0");
    assert!(unused <= 30_000 && unused != -1, "a lease: {unused}");
    let used = left("redis:axum:cache:g:g:1");
    assert!(used >= 3_590_000, "the entry: {used}");
}

#[tokio::test]
async fn nonces_outlive_the_entries_stamped_with_them() {
    let redis = RedisServer::start();
    let mut connection = redis.connection();
    let mut left =
        |name: &str| -> i64 { redis::cmd("PTTL").arg(name).query(&mut connection).unwrap() };
    let start = |app| serve(Router::new().route("/names", get(of_names)).with_state(app));
    let cache = || Store::Redis.cache_with(patient(&redis));
    let client = start(App::counting(cache())).await;
    client.get("/names").await;
    let all = nonce_of_everything(&mut redis.connection());
    let entry = left("redis:axum:cache:e:{http::faults::of_names}");
    assert!((1..=30_000).contains(&entry), "{entry}");
    assert!(left("redis:axum:cache:g:g") > entry);
    assert!(left(&all) > entry);

    let longer = |_| async { ([("cache-control", "max-age=3600")], "body") };
    let client = start(App::new(cache(), longer)).await;
    let no_cache = [("cache-control", "no-cache")];
    client.get_with("/names", &no_cache).await;
    let entry = left("redis:axum:cache:e:{http::faults::of_names}");
    assert!((3_590_000..=3_600_000).contains(&entry), "{entry}");
    assert!(left("redis:axum:cache:g:g") >= entry);
    assert!(left(&all) >= entry);
}
