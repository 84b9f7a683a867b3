//! The cache uses a Redis whose replies take 200 ms: one server, a cluster, or a primary with Sentinels.

use std::net::SocketAddrV4;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use axum_redis_cache::{Cache, Settings, cache_evict, cached};
use futures_util::future::join_all;
use redis::FromRedisValue;
use test_support::{Client, Proxy, RedisCluster, RedisSentinels, RedisServer, until};

use crate::failover::of_sentinels;
use crate::support::{App, Store, serve, stored};

const DELAY: Duration = Duration::from_millis(200);

#[cached(ttl = 30, group = "items")]
async fn item(Path(id): Path<u32>, State(app): State<App>) -> Response {
    let _ = id;
    app.run().await
}

#[cache_evict(item)]
async fn delete_item() {}

#[cache_evict(group = "items")]
async fn delete_items() {}

async fn start(settings: Settings) -> (Client, Cache) {
    let cache = Store::Redis.cache_with(settings);
    let router = Router::new()
        .route("/items/{id}", get(item).delete(delete_item))
        .route("/items", axum::routing::delete(delete_items))
        .with_state(App::counting(cache.clone()));
    (serve(router).await, cache)
}

async fn start_proxies(upstreams: &[SocketAddrV4]) -> Vec<Proxy> {
    let start = |upstream: &SocketAddrV4| Proxy::start((*upstream).into());
    let proxies = join_all(upstreams.iter().map(start)).await;
    for proxy in &proxies {
        proxy.delay(DELAY);
    }
    proxies
}

/// Checks that an entry is stored and served, and that evictions drop it.
async fn is_used(client: &Client, path: &str) {
    let mut text = stored(client, path).await;
    for evicted in [path, "/items"] {
        let hit = client.get(path).await;
        assert_eq!((hit.outcome(), hit.text()), ("HIT", &*text), "{path}");
        let reply = client.send("DELETE", evicted, &[]).await;
        assert_eq!(reply.outcome(), "EVICTED", "{evicted}");
        let fresh = stored(client, path).await;
        assert_ne!(fresh, text, "{path} after {evicted}");
        text = fresh;
    }
}

/// Checks that the distance to the servers is known, and that the budget has grown.
fn shows_the_distance(cache: &Cache) {
    let status = cache.status();
    let budget = status.budget.unwrap();
    assert!(budget > Duration::from_millis(250), "{budget:?}");
    let servers = status.servers.iter();
    let round_trips: Vec<_> = servers.filter_map(|server| server.round_trip).collect();
    assert!(!round_trips.is_empty());
    for round_trip in round_trips {
        assert!(round_trip >= DELAY, "{round_trip:?}");
    }
}

/// Returns the reply of a server to a command.
fn ask<T: FromRedisValue>(connection: &mut redis::Connection, command: &str) -> T {
    let mut words = command.split(' ');
    let mut asked = redis::cmd(words.next().unwrap());
    for word in words {
        asked.arg(word);
    }
    asked.query(connection).unwrap()
}

#[tokio::test]
async fn one_server_that_is_far_away() {
    let redis = RedisServer::start();
    let proxies = start_proxies(&[redis.address()]).await;
    let (client, cache) = start(Settings::from_url(proxies[0].url()).unwrap()).await;
    is_used(&client, "/items/1").await;
    shows_the_distance(&cache);
}

#[tokio::test]
async fn a_cluster_that_is_far_away() {
    let cluster = RedisCluster::start();
    let proxies = start_proxies(&cluster.addresses()).await;
    let ports: Vec<_> = proxies.iter().map(|it| it.address().port()).collect();
    for (index, port) in ports.iter().enumerate() {
        let announce = format!("CONFIG SET cluster-announce-port {port}");
        let () = ask(&mut cluster.connection(index), &announce);
    }
    until("every node announces its proxy", async || {
        let mut views = (0..cluster.node_count()).map(|index| -> String {
            let slots: redis::Value = ask(&mut cluster.connection(index), "CLUSTER SLOTS");
            format!("{slots:?}")
        });
        views.all(|view| ports.iter().all(|port| view.contains(&format!("({port})"))))
    })
    .await;
    let proxies: Vec<_> = proxies.iter().map(|it| it.address().to_string()).collect();
    let url = format!("redis://{}", proxies.join(","));
    let settings = Settings::from_url(url).unwrap().cluster(true);
    let (client, cache) = start(settings).await;
    for id in 0..3 {
        is_used(&client, &format!("/items/{id}")).await;
    }
    shows_the_distance(&cache);
}

#[tokio::test]
async fn sentinels_that_are_far_away_and_the_primary_that_they_name() {
    let redis = RedisSentinels::start();
    let name = redis.master_name();
    let primary = start_proxies(&[redis.primary()]).await;
    let named = primary[0].address();
    for sentinel in redis.sentinel_addresses() {
        let mut connection = redis.connection(sentinel);
        let () = ask(&mut connection, &format!("SENTINEL REMOVE {name}"));
        let monitor = format!("SENTINEL MONITOR {name} {} {} 2", named.ip(), named.port());
        let () = ask(&mut connection, &monitor);
    }
    let sentinels = start_proxies(&redis.sentinel_addresses()).await;
    let sentinels = sentinels.iter().map(|it| it.address().to_string());
    let settings = of_sentinels(&redis).sentinel_nodes(sentinels).unwrap();
    let (client, cache) = start(settings).await;
    is_used(&client, "/items/1").await;
    shows_the_distance(&cache);
}

#[tokio::test]
async fn a_failover_is_noticed_through_sentinels_that_are_far_away() {
    let redis = RedisSentinels::start();
    let sentinels = start_proxies(&redis.sentinel_addresses()).await;
    let sentinels = sentinels.iter().map(|it| it.address().to_string());
    let settings = of_sentinels(&redis).sentinel_nodes(sentinels).unwrap();
    let (client, _) = start(settings).await;
    is_used(&client, "/items/1").await;
    let before = redis.primary();
    redis.signal(before, "STOP");
    let primary = redis.wait_for_failover(before);
    is_used(&client, "/items/1").await;
    let names: Vec<String> = ask(&mut redis.connection(primary), "KEYS *:cache:e:*");
    assert!(!names.is_empty());
}
