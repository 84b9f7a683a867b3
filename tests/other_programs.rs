//! The commands of the guide by which other programs evict: what they evict, and that no run of a
//! handler in progress brings it back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::convert::Infallible;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRef, FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::routing::get;
use axum_redis_cache::{Cache, Settings, cached};
use serde::Deserialize;
use test_support::RedisCluster;
use test_support::{Client, RedisServer};
use tokio::sync::Semaphore;

/// The blocks of shell commands of the guide: for one server, and what differs in a cluster.
fn blocks() -> [&'static str; 2] {
    let guide = include_str!("../docs/guide/groups.md");
    let (_, section) = guide
        .split_once("# Evicting from another program\n")
        .unwrap();
    let mut blocks = section.split("```sh\n").skip(1);
    [(); 2].map(|()| blocks.next().unwrap().split_once("```").unwrap().0)
}

/// The commands of the guide, in its order: what comes first, a group, an entry, everything.
fn commands() -> Vec<&'static str> {
    let commands: Vec<_> = blocks()[0]
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    assert_eq!(commands.len(), 4, "{commands:?}");
    commands
}

const FIRST: usize = 0;
const GROUP: usize = 1;
const ENTRY: usize = 2;
const EVERYTHING: usize = 3;

/// Runs a command of the guide, and what comes first, against the server of a test.
fn run(command: usize, redis: &RedisServer, prefix: &str) {
    let address = redis.address();
    let client = format!("redis-cli -h {} -p {}", address.ip(), address.port());
    for command in [FIRST, command] {
        run_in_shell(&commands()[command].replace("redis-cli", &client), prefix);
    }
}

fn run_in_shell(command: &str, prefix: &str) {
    let command = command.replace("redis:axum:", &format!("{prefix}:"));
    let output = Command::new("sh").args(["-ec", &command]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed = !output.status.success() || said.contains("ERR");
    assert!(!failed, "{command}: {said}{:?}", output.stderr);
}

#[derive(Clone)]
struct App {
    cache: Cache,
    runs: Arc<AtomicUsize>,
    /// Runs that wait at the gate, and those that may go on.
    entered: Arc<Semaphore>,
    opened: Arc<Semaphore>,
    /// The run that waits at the gate.
    held: Arc<AtomicUsize>,
}

impl FromRef<App> for Cache {
    fn from_ref(app: &App) -> Self {
        app.cache.clone()
    }
}

impl App {
    fn new(cache: Cache) -> Self {
        Self {
            cache,
            runs: Arc::default(),
            entered: Arc::new(Semaphore::new(0)),
            opened: Arc::new(Semaphore::new(0)),
            held: Arc::new(AtomicUsize::new(usize::MAX)),
        }
    }

    /// A text that tells this run from every other.
    async fn run(&self) -> String {
        let run = self.runs.fetch_add(1, Ordering::SeqCst);
        if run == self.held.load(Ordering::SeqCst) {
            self.entered.add_permits(1);
            self.opened.acquire().await.unwrap().forget();
        }
        format!("run {run}")
    }

    /// Lets the next run wait at the gate.
    fn hold_next(&self) {
        let next = self.runs.load(Ordering::SeqCst);
        self.held.store(next, Ordering::SeqCst);
    }

    async fn entered(&self) {
        self.entered.acquire().await.unwrap().forget();
    }

    fn open(&self) {
        self.opened.add_permits(1);
    }
}

#[derive(Deserialize)]
struct Page {
    page: Option<u32>,
}

#[cached(
    ttl = 60,
    name = "get_product",
    group = "products",
    vary("accept-language")
)]
async fn get_product(
    Path(id): Path<u64>,
    Query(page): Query<Page>,
    State(app): State<App>,
) -> String {
    let _ = (id, page.page);
    app.run().await
}

#[cached(ttl = 60, name = "get_author")]
async fn get_author(Path(id): Path<u64>, State(app): State<App>) -> String {
    let _ = id;
    app.run().await
}

/// What an extractor has read.
struct Loaded(String);

impl FromRequestParts<App> for Loaded {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, app: &App) -> Result<Self, Infallible> {
        Ok(Self(app.run().await))
    }
}

#[cached(
    ttl = 60,
    name = "get_loaded",
    key = "42",
    group = "products",
    ignore(loaded)
)]
async fn get_loaded(loaded: Loaded) -> String {
    loaded.0
}

type Target = (&'static str, &'static [(&'static str, &'static str)]);

const PRODUCT: Target = ("/products/42", &[]);
const PAGE: Target = ("/products/42?page=2", &[]);
const VARIANT: Target = ("/products/42", &[("accept-language", "de")]);
const OTHER_PRODUCT: Target = ("/products/43", &[]);
const AUTHOR: Target = ("/authors/42", &[]);
const ALL: [Target; 5] = [PRODUCT, PAGE, VARIANT, OTHER_PRODUCT, AUTHOR];

/// A server of HTTP with a cache of its own, as another process has it.
async fn serve(redis: &RedisServer, prefix: &str) -> (App, Client) {
    serve_with(Settings::from_url(redis.url()).unwrap(), prefix).await
}

async fn serve_with(settings: Settings, prefix: &str) -> (App, Client) {
    // A budget that a busy machine keeps.
    let settings = settings.socket_timeout(Duration::from_secs(10));
    let app = App::new(Cache::connect(settings.prefix(prefix).unwrap()).unwrap());
    let router = Router::new()
        .route("/products/{id}", get(get_product))
        .route("/authors/{id}", get(get_author))
        .route("/loaded", get(get_loaded))
        .with_state(app.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());
    (app, client)
}

async fn outcome(client: &Client, (path, fields): Target) -> String {
    client.get_with(path, fields).await.outcome().to_owned()
}

/// A command evicts these and leaves the others alone, for every process.
async fn evicts(command: usize, evicted: &[Target]) {
    let (redis, prefix) = (RedisServer::shared(), RedisServer::unique_prefix());
    let (_, one) = serve(redis, &prefix).await;
    let (_, other) = serve(redis, &prefix).await;
    for target in ALL {
        assert_eq!(outcome(&one, target).await, "MISS", "{target:?}");
        assert_eq!(outcome(&other, target).await, "HIT", "{target:?}");
    }
    run(command, redis, &prefix);
    for target in ALL {
        let expected = if evicted.contains(&target) {
            "MISS"
        } else {
            "HIT"
        };
        assert_eq!(outcome(&other, target).await, expected, "{target:?}");
        assert_eq!(outcome(&one, target).await, "HIT", "{target:?}");
    }
}

/// A run that was in progress when a command ran is not stored, and does not answer who came later.
async fn outlasts_a_run(command: usize, target: Target) {
    let (redis, prefix) = (RedisServer::shared(), RedisServer::unique_prefix());
    let (app, one) = serve(redis, &prefix).await;
    let (_, other) = serve(redis, &prefix).await;
    app.hold_next();
    let (path, fields) = target;
    let old = tokio::spawn(async move { one.get_with(path, fields).await });
    app.entered().await;
    run(command, redis, &prefix);
    let late = tokio::spawn(async move { one.get_with(path, fields).await });
    // However far the late request got, it must not share the run from before the eviction.
    tokio::time::sleep(Duration::from_millis(50)).await;
    app.open();
    assert_eq!(old.await.unwrap().text(), "run 0", "its own client gets it");
    assert_ne!(late.await.unwrap().text(), "run 0", "{target:?}");
    for client in [&one, &other] {
        assert_ne!(
            client.get_with(path, fields).await.text(),
            "run 0",
            "{target:?}"
        );
    }
}

#[tokio::test]
async fn a_group_is_evicted_by_its_command() {
    evicts(GROUP, &[PRODUCT, PAGE, VARIANT, OTHER_PRODUCT]).await;
}

#[tokio::test]
async fn an_entry_is_evicted_by_its_command_with_its_variants_and_queries() {
    evicts(ENTRY, &[PRODUCT, PAGE, VARIANT]).await;
}

#[tokio::test]
async fn everything_is_evicted_by_its_command() {
    evicts(EVERYTHING, &ALL).await;
}

#[tokio::test]
async fn no_run_in_progress_brings_back_what_a_command_evicted() {
    for command in [GROUP, ENTRY, EVERYTHING] {
        for target in [PRODUCT, PAGE, VARIANT] {
            outlasts_a_run(command, target).await;
        }
    }
}

#[tokio::test]
async fn what_an_extractor_read_before_a_command_is_not_stored() {
    for command in [GROUP, EVERYTHING] {
        let (redis, prefix) = (RedisServer::shared(), RedisServer::unique_prefix());
        let (app, client) = serve(redis, &prefix).await;
        app.hold_next();
        let old = tokio::spawn(async move { client.get("/loaded").await });
        app.entered().await;
        run(command, redis, &prefix);
        app.open();
        assert_eq!(old.await.unwrap().text(), "run 0");
        assert_eq!(client.get("/loaded").await.text(), "run 1");
        assert_eq!(client.get("/loaded").await.text(), "run 1");
    }
}

#[tokio::test]
async fn in_a_cluster_the_same_is_evicted_by_its_commands() {
    let (cluster, prefix) = (RedisCluster::shared(), RedisServer::unique_prefix());
    let settings = Settings::from_url(cluster.url()).unwrap().cluster(true);
    let (_, client) = serve_with(settings, &prefix).await;
    let ports = cluster.addresses().into_iter().map(|it| it.port());
    let ports: Vec<_> = ports.take(3).map(|port| port.to_string()).collect();
    let in_cluster = format!("redis-cli -c -p {}", ports[0]);
    let command = |command: usize| commands()[command].replace("redis-cli", &in_cluster);
    let everything = blocks()[1]
        .replace("node1 node2 node3", &ports.join(" "))
        .replace("-h $node", "-p $node");
    for (command, evicted) in [
        (command(GROUP), &[PRODUCT, PAGE, VARIANT, OTHER_PRODUCT][..]),
        (command(ENTRY), &[PRODUCT, PAGE, VARIANT]),
        (everything, &ALL),
    ] {
        for target in ALL {
            outcome(&client, target).await;
            assert_eq!(outcome(&client, target).await, "HIT", "{target:?}");
        }
        run_in_shell(&command, &prefix);
        for target in ALL {
            let is_evicted = evicted.contains(&target);
            let expected = if is_evicted { "MISS" } else { "HIT" };
            let outcome = outcome(&client, target).await;
            assert_eq!(outcome, expected, "{command}: {target:?}");
        }
    }
}

/// The guide warns of it, so it has to be so.
#[tokio::test]
async fn a_run_in_progress_brings_back_an_entry_that_was_deleted_alone() {
    let (redis, prefix) = (RedisServer::shared(), RedisServer::unique_prefix());
    let (app, client) = serve(redis, &prefix).await;
    app.hold_next();
    let old = tokio::spawn(async move { client.get("/authors/42").await });
    app.entered().await;
    let name = format!("{prefix}:cache:e:{{get_author/42}}");
    let _: u64 = redis::cmd("DEL")
        .arg(name)
        .query(&mut redis.connection())
        .unwrap();
    app.open();
    old.await.unwrap();
    assert_eq!(client.get("/authors/42").await.text(), "run 0");
}
