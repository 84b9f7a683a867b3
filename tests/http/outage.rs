//! Ways in which Redis fails, one by one: every request is answered, in time, and HITs come back by
//! themselves.

use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum_redis_cache::{Cache, Settings, cache_evict, cache_put, cached};
use test_support::{Client, Proxy, RedisServer, Reply, until};

use crate::support::{App, Store, patient, serve, stored};

#[cached(ttl = 30, group = "g", query)]
async fn read(State(app): State<App>) -> Response {
    app.run().await
}

#[cache_evict(read)]
async fn evict() {}

#[cache_evict(group = "g")]
async fn evict_group() {}

#[cache_put(read)]
async fn write() -> &'static str {
    "written"
}

const LETTERS: [&str; 3] = ["a", "b", "c"];
const BIG: usize = 100_000;

#[cached(ttl = 30)]
async fn big(Path(letter): Path<String>) -> String {
    letter.repeat(BIG)
}

async fn start(settings: Settings) -> (Client, Cache) {
    let cache = Store::Redis.cache_with(settings);
    let router = Router::new()
        .route("/item", get(read).delete(evict).put(write))
        .route("/group", post(evict_group))
        .route("/big/{letter}", get(big))
        .with_state(App::counting(cache.clone()));
    (serve(router).await, cache)
}

/// With the default time budget.
async fn start_behind(proxy: &Proxy) -> (Client, Cache) {
    start(Settings::from_url(proxy.url()).unwrap()).await
}

async fn ok(client: &Client, method: &str, path: &str) -> Reply {
    let reply = client.send(method, path, &[]).await;
    assert_eq!(reply.status.as_u16(), 200, "{method} {path}");
    reply
}

/// Everything is answered by handlers.
async fn passes(client: &Client) {
    for (method, outcome) in [
        ("GET", "BYPASS"),
        ("PUT", "PENDING"),
        ("DELETE", "PENDING"),
        ("HEAD", "BYPASS"),
    ] {
        assert_eq!(ok(client, method, "/item").await.outcome(), outcome);
    }
}

#[tokio::test]
async fn a_slow_redis_does_not_delay_every_request() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.address().into()).await;
    let (client, _) = start_behind(&proxy).await;
    stored(&client, "/item").await;
    proxy.delay(Duration::from_millis(400));
    let started = Instant::now();
    for _ in 0..20 {
        ok(&client, "GET", "/item").await;
    }
    let time = started.elapsed();
    // 20 lookups in vain would be 2.5 s, 20 whole budgets 5 s.
    assert!(time < Duration::from_secs(2), "{time:?}");
    proxy.pass();
    stored(&client, "/item").await;
}

#[tokio::test]
async fn a_redis_that_is_too_slow_for_lookups_still_learns_of_evictions() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.address().into()).await;
    let (client, cache) = start_behind(&proxy).await;
    let old = stored(&client, "/item").await;
    proxy.delay(Duration::from_millis(180));
    ok(&client, "DELETE", "/item").await;
    until("Redis takes the eviction", async || {
        assert_ne!(ok(&client, "GET", "/item").await.text(), old);
        cache.pending_evictions() == 0
    })
    .await;
    proxy.pass();
    assert_ne!(stored(&client, "/item").await, old);
}

#[tokio::test]
async fn a_reply_that_breaks_off_is_never_served_or_mixed_with_another() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.address().into()).await;
    let url = Settings::from_url(proxy.url()).unwrap();
    let (client, _) = start(url.socket_timeout(Duration::from_secs(10))).await;
    // From the first bytes to the last ones of three replies.
    for bytes in (0..54).map(|n| n * n * 100 + n) {
        for letter in LETTERS {
            stored(&client, &format!("/big/{letter}")).await;
        }
        proxy.cut_replies_after(bytes);
        let get = |letter: &'static str| async move {
            let reply = ok(&client, "GET", &format!("/big/{letter}")).await;
            assert!(reply.text() == letter.repeat(BIG), "{letter}, {bytes}");
        };
        let [a, b, c] = LETTERS;
        tokio::join!(get(a), get(b), get(c));
    }
}

#[tokio::test]
async fn an_eviction_or_a_write_whose_reply_breaks_off_is_done() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.address().into()).await;
    let url = Settings::from_url(proxy.url()).unwrap();
    let (client, _) = start(url.socket_timeout(Duration::from_secs(10))).await;
    let mut old = stored(&client, "/item").await;
    for bytes in 0..60 {
        proxy.cut_replies_after(bytes);
        let method = ["DELETE", "PUT"][bytes % 2];
        ok(&client, method, "/item").await;
        let reply = ok(&client, "GET", "/item").await;
        assert_ne!(reply.text(), old, "{method}, {bytes}");
        ok(&client, "DELETE", "/item").await;
        old = stored(&client, "/item").await;
    }
}

#[tokio::test]
async fn connections_refused_while_the_application_starts_are_accepted_later() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.address().into()).await;
    proxy.refuse();
    let (client, cache) = start_behind(&proxy).await;
    passes(&client).await;
    proxy.pass();
    stored(&client, "/item").await;
    assert_eq!(cache.pending_evictions(), 0);
}

#[tokio::test]
async fn a_password_that_becomes_right_is_tried_again() {
    let redis = RedisServer::start();
    let mut connection = redis.connection();
    let mut require = |password: &str| {
        let set = ["SET", "requirepass", password];
        redis::cmd("CONFIG")
            .arg(&set)
            .exec(&mut connection)
            .unwrap();
    };
    require("other");
    let url = format!("redis://:secret@{}", redis.address());
    let (client, _) = start(Settings::from_url(url).unwrap()).await;
    passes(&client).await;
    require("secret");
    stored(&client, "/item").await;
}

#[tokio::test]
async fn a_redis_without_memory_serves_what_it_has_and_evicts() {
    let redis = RedisServer::start();
    let (client, cache) = start(patient(&redis)).await;
    for (method, path) in [("DELETE", "/item"), ("POST", "/group"), ("PUT", "/item")] {
        let old = stored(&client, "/item").await;
        redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
        assert_eq!(ok(&client, "GET", "/item").await.outcome(), "HIT");
        for _ in 0..2 {
            assert_eq!(ok(&client, "GET", "/item?new").await.outcome(), "MISS");
        }
        ok(&client, method, path).await;
        assert_ne!(ok(&client, "GET", "/item").await.text(), old);
        assert_eq!(cache.pending_evictions(), 0, "{method} {path}");
        redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
        ok(&client, "DELETE", "/item").await;
    }
    stored(&client, "/item").await;
}

#[tokio::test]
async fn a_redis_that_hangs_again_and_again_fails_no_request() {
    let redis = RedisServer::start();
    let (client, cache) = start(Settings::from_url(redis.url()).unwrap()).await;
    let mut old = stored(&client, "/item").await;
    let process = redis.process();
    let started = Instant::now();
    for _ in 0..10 {
        redis.signal("STOP", process);
        tokio::join!(
            ok(&client, "GET", "/item"),
            ok(&client, "GET", "/item?other"),
            ok(&client, "PUT", "/item"),
        );
        ok(&client, "DELETE", "/item").await;
        assert_ne!(ok(&client, "GET", "/item").await.text(), old);
        redis.signal("CONT", process);
        let reply = ok(&client, "GET", "/item").await;
        assert_ne!(reply.text(), old);
        old = reply.text().to_owned();
        ok(&client, "DELETE", "/item").await;
    }
    let time = started.elapsed();
    assert!(time < Duration::from_secs(20), "{time:?}");
    until("Redis takes the evictions", async || {
        cache.pending_evictions() == 0
    })
    .await;
    stored(&client, "/item").await;
}

const VERY_BIG: usize = 9 << 20;

#[cached(ttl = 30)]
async fn very_big() -> String {
    "a".repeat(VERY_BIG)
}

/// Stores a large and a small entry, then makes the link slow: the large one takes longer than a lookup
/// may. Returns the text of the small one.
async fn start_on_a_slow_link(proxy: &Proxy) -> (Client, String) {
    let settings = Settings::from_url(proxy.url()).unwrap();
    let cache = Store::Redis.cache_with(settings.socket_timeout(Duration::from_millis(700)));
    let router = Router::new()
        .route("/small", get(read))
        .route("/large", get(very_big))
        .with_state(App::counting(cache));
    let client = serve(router).await;
    let small = stored(&client, "/small").await;
    stored(&client, "/large").await;
    proxy.limit(20 << 20);
    (client, small)
}

/// Asks for the small entry again and again.
async fn is_a_hit(client: &Client, small: &str, times: usize) {
    for _ in 0..times {
        let reply = client.get("/small").await;
        assert_eq!((reply.outcome(), reply.text()), ("HIT", small));
        // The pace of a client, which waits for nothing: the requests are spread over the transfer.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_large_entry_on_a_slow_link_delays_no_small_one() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.address().into()).await;
    let (client, small) = start_on_a_slow_link(&proxy).await;
    for _ in 0..3 {
        let large = client.get("/large");
        let (large, ()) = tokio::join!(large, is_a_hit(&client, &small, 20));
        assert_eq!(large.text().len(), VERY_BIG);
    }
}

#[tokio::test]
async fn many_clients_of_a_large_entry_delay_no_small_one() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.address().into()).await;
    let (client, small) = start_on_a_slow_link(&proxy).await;
    let larges = futures_util::future::join_all((0..16).map(|_| client.get("/large")));
    let (larges, ()) = tokio::join!(larges, is_a_hit(&client, &small, 50));
    for large in larges {
        assert_eq!(large.text().len(), VERY_BIG);
    }
}

/// A line of the slow log: its number, its time, how long it took, the command, and who sent it.
type Logged = (u64, u64, u64, Vec<Vec<u8>>, String, String);

/// A nonce that was seen, and removed by an eviction, must not come back.
#[tokio::test]
async fn nonces_are_drawn_anew_when_they_are_sent_again() {
    let redis = RedisServer::start_with(&["--slowlog-log-slower-than", "0"]);
    let proxy = Proxy::start(redis.address().into()).await;
    // The replies to pulses would count.
    let settings = Settings::from_url(proxy.url()).unwrap();
    let (client, _) = start(settings.pulse(Duration::from_secs(60)).unwrap()).await;
    stored(&client, "/item").await;
    ok(&client, "DELETE", "/item").await;
    ok(&client, "POST", "/group").await;
    redis.command(&["SLOWLOG", "RESET"]);
    proxy.cut_replies_after(40);
    ok(&client, "GET", "/item").await;
    let log: Vec<Logged> = redis::cmd("SLOWLOG")
        .arg(&["GET", "-1"])
        .query(&mut redis.connection())
        .unwrap();
    let seeds = log.into_iter().filter_map(|(_, _, _, command, _, _)| {
        let [name, _, count, key, nonce, _] = <[Vec<u8>; 6]>::try_from(command).ok()?;
        (name == b"EVAL" && count == b"1" && nonce.len() == 16).then_some((key, nonce))
    });
    let mut drawn: Vec<_> = seeds.collect();
    let sent = drawn.len();
    drawn.sort();
    drawn.dedup();
    assert_eq!(drawn.len(), sent, "one was sent twice");
    drawn.dedup_by(|one, other| one.0 == other.0);
    assert!(drawn.len() < sent, "nothing was sent again");
}
