//! Evicting a group costs the same whatever its size, and whatever else Redis holds.
//!
//! ```sh
//! cargo bench -p benches --bench evict_group
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::{get, post};
use axum_redis_cache::{Cache, Settings, cache_evict, cached};
use test_support::{Client, RedisServer};

const OTHER_KEYS: usize = 1_000_000;
const SMALL: usize = 100;
const LARGE: usize = 100_000;
const ROUNDS: usize = 500;

#[cached(ttl = 3600, group = "small")]
async fn in_small() -> &'static str {
    "body"
}

#[cached(ttl = 3600, group = "large")]
async fn in_large() -> &'static str {
    "body"
}

#[cache_evict(group = "small")]
async fn evict_small() {}

#[cache_evict(group = "large")]
async fn evict_large() {}

#[tokio::main]
async fn main() {
    let redis = RedisServer::start_with(&["--enable-debug-command", "yes"]);
    let cache = Cache::connect(Settings::from_url(redis.url()).unwrap()).unwrap();
    let router = Router::new()
        .route("/small/{id}", get(in_small))
        .route("/large/{id}", get(in_large))
        .route("/evict/small", post(evict_small))
        .route("/evict/large", post(evict_large))
        .with_state(cache);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());

    let mut connection = redis.connection();
    let populate = redis::cmd("DEBUG")
        .arg("POPULATE")
        .arg(OTHER_KEYS)
        .to_owned();
    let () = populate.query(&mut connection).unwrap();
    fill(client, "small", SMALL).await;
    fill(client, "large", LARGE).await;
    let keys: usize = redis::cmd("DBSIZE").query(&mut connection).unwrap();
    println!("{keys} keys; medians of {ROUNDS} evictions, taking turns");

    let (mut small, mut large) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        small.push(evict(&redis, client, "small").await);
        large.push(evict(&redis, client, "large").await);
    }
    for (name, size, times) in [("small", SMALL, &mut small), ("large", LARGE, &mut large)] {
        times.sort();
        println!(
            "{name}: group of {size:>6} entries: {:?}, one DEL each",
            times[ROUNDS / 2]
        );
    }
}

async fn fill(client: Client, group: &'static str, size: usize) {
    let tasks = (0..8).map(|task| {
        tokio::spawn(async move {
            for id in (task..size).step_by(8) {
                assert_eq!(
                    client.get(&format!("/{group}/{id}")).await.outcome(),
                    "MISS"
                );
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

/// Times one eviction of a group with a stored response, and checks what it sent.
async fn evict(redis: &RedisServer, client: Client, group: &str) -> Duration {
    let deletions = || redis.command_count("del");
    client.get(&format!("/{group}/0")).await;
    assert_eq!(client.get(&format!("/{group}/0")).await.outcome(), "HIT");
    let before = deletions();
    let started = Instant::now();
    client.send("POST", &format!("/evict/{group}"), &[]).await;
    let elapsed = started.elapsed();
    assert_eq!(deletions(), before + 1);
    assert_eq!(client.get(&format!("/{group}/1")).await.outcome(), "MISS");
    elapsed
}
