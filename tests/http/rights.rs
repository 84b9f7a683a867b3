//! The rights in Redis that the guide names: enough for everything, and none of them in vain.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum_redis_cache::{Cache, Settings, cache_evict, cache_put, cached};
use redis::{AsyncCommands, Connection};
use test_support::{RedisCluster, RedisSentinels, RedisServer};

use crate::support::{App, serve, stored};

/// The commands of the guide that grant rights, in its order.
fn grants() -> Vec<Vec<&'static str>> {
    let guide = include_str!("../../docs/guide/deployment.md");
    let grants = guide
        .lines()
        .filter(|line| line.starts_with("ACL SETUSER "));
    grants.map(|line| line.split(' ').collect()).collect()
}

fn grant(connection: &mut Connection, numbers: &[usize]) {
    for number in numbers {
        let words = &grants()[*number];
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let () = command.query(connection).unwrap();
    }
}

const ALWAYS: usize = 0;
const OTHER_DATABASE: usize = 1;
const CLUSTER: usize = 2;
const NEAR_CACHE: usize = 3;
const SENTINEL: usize = 4;

/// The commands that were refused, and their users.
fn refusals(connection: &mut Connection) -> Vec<String> {
    let log = redis::cmd("ACL").arg("LOG").query(connection);
    let log: Vec<redis::Value> = log.unwrap();
    log.iter().map(|entry| format!("{entry:?}")).collect()
}

#[cached(ttl = 30, group = ["numbers", "integers"])]
async fn number(Path(id): Path<u32>, State(app): State<App>) -> Response {
    let _ = id;
    app.run().await
}

/// Its nonces have to last for ever, after they were to last for a while.
#[cached(ttl = 0, group = "numbers", vary("accept-language"))]
async fn for_ever(State(app): State<App>) -> Response {
    app.run().await
}

#[cached(ttl = 30)]
async fn stream() -> Body {
    let chunks = ["a", "b"].map(Ok::<_, std::io::Error>);
    Body::from_stream(futures_util::stream::iter(chunks))
}

#[cache_put(number)]
async fn replace(Path(_): Path<u32>) -> &'static str {
    "replaced"
}

#[cache_evict(number)]
async fn evict(Path(_): Path<u32>) {}

#[cache_evict(group = "numbers")]
async fn evict_group() {}

async fn everything_works(settings: Settings) {
    let settings = settings.socket_timeout(std::time::Duration::from_secs(10));
    let cache = Cache::connect(settings).unwrap();
    cache.ping().await.unwrap();
    let router = Router::new()
        .route("/numbers/{id}", get(number).put(replace).delete(evict))
        .route("/numbers/evict", post(evict_group))
        .route("/for-ever", get(for_ever))
        .route("/stream", get(stream))
        .with_state(App::counting(cache.clone()));
    let client = serve(router).await;
    let outcome = async |path: &str| client.get(path).await.outcome().to_owned();
    for id in 0..10 {
        let path = format!("/numbers/{id}");
        assert_eq!(outcome(&path).await, "MISS");
        assert_eq!(outcome(&path).await, "HIT");
        client.send("PUT", &path, &[]).await;
        assert_eq!(client.get(&path).await.text(), "replaced");
        client.send("DELETE", &path, &[]).await;
        assert_eq!(outcome(&path).await, "MISS");
    }
    assert_eq!(outcome("/for-ever").await, "MISS");
    client.send("POST", "/numbers/evict", &[]).await;
    for path in ["/numbers/1", "/for-ever"] {
        assert_eq!(outcome(path).await, "MISS");
        assert_eq!(outcome(path).await, "HIT");
    }
    assert_eq!(outcome("/stream").await, "MISS");
    stored(&client, "/stream").await;
    keeps_values(&cache).await;
    // With the only names that the user may use.
    let lent = cache.redis().set("redis:axum:cache:lent", 1).await;
    let () = lent.unwrap();
    assert_eq!(cache.faults(), 0);
}

async fn keeps_values(cache: &Cache) {
    let values = cache.group("numbers").ttl(30);
    assert_eq!(values.get_or_insert_with("one", async || 1).await, 1);
    values.ttl(60).set("two", &2).await;
    assert_eq!(values.get_many(["one", "two"]).await, [Some(1), Some(2)]);
    values.delete("one").await;
    cache.delete_group("numbers").await;
    assert!(!values.has("two").await);
    cache.clear().await;
}

fn server_with(numbers: &[usize]) -> RedisServer {
    let redis = RedisServer::start();
    grant(&mut redis.connection(), numbers);
    redis
}

/// Panics if a server was never sent a command that a line of the guide grants.
fn assert_all_used(redis: &RedisServer, number: usize) {
    let granted = &grants()[number];
    let used = redis.command_counts();
    let is_used = |name: &str| used.iter().any(|(used, count)| used == name && *count > 0);
    for command in granted.iter().filter_map(|it| it.strip_prefix('+')) {
        assert!(is_used(command), "{command}");
    }
}

#[tokio::test]
async fn one_server_needs_the_rights_of_the_guide_and_no_others() {
    let redis = server_with(&[ALWAYS]);
    let url = format!("redis://shop:secret@{}", redis.address());
    everything_works(Settings::from_url(url).unwrap()).await;
    assert_eq!(refusals(&mut redis.connection()), [""; 0]);
    assert_all_used(&redis, ALWAYS);
}

#[tokio::test]
async fn another_database_needs_one_right_more() {
    let redis = server_with(&[ALWAYS, OTHER_DATABASE]);
    let url = format!("redis://shop:secret@{}/3", redis.address());
    everything_works(Settings::from_url(url).unwrap()).await;
    assert_eq!(refusals(&mut redis.connection()), [""; 0]);
}

#[tokio::test]
async fn a_near_cache_needs_four_rights_more_and_no_others() {
    let redis = server_with(&[ALWAYS, NEAR_CACHE]);
    let url = format!("redis://shop:secret@{}", redis.address());
    let settings = Settings::from_url(url).unwrap();
    let settings = settings.near_cache_bytes(16 * 1024 * 1024).unwrap();
    everything_works(settings).await;
    assert_eq!(refusals(&mut redis.connection()), [""; 0]);
    assert_all_used(&redis, NEAR_CACHE);
}

#[tokio::test]
async fn a_cluster_needs_the_right_to_be_asked_for_its_slots() {
    let cluster = RedisCluster::start();
    let connections = || (0..cluster.node_count()).map(|node| cluster.connection(node));
    connections().for_each(|mut node| grant(&mut node, &[ALWAYS, CLUSTER]));
    let url = cluster.url().replace("redis://", "redis://shop:secret@");
    let settings = Settings::from_url(url).unwrap().cluster(true);
    everything_works(settings.clone()).await;
    for mut node in connections() {
        assert_eq!(refusals(&mut node), [""; 0]);
        grant(&mut node, &[ALWAYS, CLUSTER, NEAR_CACHE]);
    }
    everything_works(settings.near_cache_bytes(16 * 1024 * 1024).unwrap()).await;
    for mut node in connections() {
        assert_eq!(refusals(&mut node), [""; 0]);
    }
}

#[tokio::test]
async fn sentinels_need_the_right_to_one_command() {
    let servers = RedisSentinels::start();
    for address in servers.server_addresses() {
        grant(&mut servers.connection(address), &[ALWAYS]);
    }
    for address in servers.sentinel_addresses() {
        grant(&mut servers.connection(address), &[SENTINEL]);
    }
    let nodes = servers.sentinel_addresses();
    let settings = Settings::default()
        .username("shop")
        .password("secret")
        .sentinel(true)
        .sentinel_nodes(nodes.iter().map(ToString::to_string))
        .unwrap()
        .sentinel_username("asker")
        .sentinel_password("secret");
    everything_works(settings).await;
    let mut primary = servers.connection(servers.primary());
    assert_eq!(refusals(&mut primary), [""; 0]);
}
