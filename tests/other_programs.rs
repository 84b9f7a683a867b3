//! The commands of the guide by which other programs evict: what they evict, and that no run of a
//! handler in progress brings it back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, unused_imports, unused_macros)]
#[path = "http/support.rs"]
mod support;

use std::convert::Infallible;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::get;
use axum_redis_cache::{Cache, Settings, cached};
use serde::Deserialize;
use support::{App, Arrivals, patient, serve_counted};
use test_support::{Client, Gate, RedisCluster, RedisServer, Reply};
use tokio::task::JoinHandle;

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

/// A process, one of whose runs a test can hold at a gate.
struct Process {
    client: Client,
    arrivals: Arrivals,
    app: App,
    gate: Gate,
    /// The number of the run that waits at the gate.
    held: Arc<AtomicUsize>,
}

impl Process {
    /// Starts a process with a cache of its own.
    async fn start(redis: &RedisServer, prefix: &str) -> Self {
        Self::start_with(patient(redis), prefix).await
    }

    async fn start_with(settings: Settings, prefix: &str) -> Self {
        let (gate, held) = (Gate::new(), Arc::new(AtomicUsize::new(usize::MAX)));
        let cache = Cache::connect(settings.prefix(prefix).unwrap()).unwrap();
        let handlers = (gate.clone(), Arc::clone(&held));
        let app = App::new(cache, move |run| {
            let (gate, held) = handlers.clone();
            async move {
                if run == held.load(Ordering::SeqCst) {
                    gate.pass().await;
                }
                format!("run {run}")
            }
        });
        let router = Router::new()
            .route("/products/{id}", get(get_product))
            .route("/authors/{id}", get(get_author))
            .route("/loaded", get(get_loaded))
            .with_state(app.clone());
        let (client, arrivals) = serve_counted(router).await;
        Self {
            client,
            arrivals,
            app,
            gate,
            held,
        }
    }

    fn ask(&self, (path, fields): Target) -> JoinHandle<Reply> {
        let client = self.client;
        tokio::spawn(async move { client.get_with(path, fields).await })
    }

    /// Sends a request whose run waits at the gate.
    async fn hold(&self, target: Target) -> JoinHandle<Reply> {
        self.held.store(self.app.runs(), Ordering::SeqCst);
        let held = self.ask(target);
        self.gate.entered().await;
        held
    }

    async fn outcome(&self, (path, fields): Target) -> String {
        let reply = self.client.get_with(path, fields).await;
        reply.outcome().to_owned()
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
) -> Response {
    let _ = (id, page.page);
    app.run().await
}

#[cached(ttl = 60, name = "get_author")]
async fn get_author(Path(id): Path<u64>, State(app): State<App>) -> Response {
    let _ = id;
    app.run().await
}

/// The value that an extractor has read.
struct Loaded(String);

impl FromRequestParts<App> for Loaded {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let body = to_bytes(app.clone().run().await.into_body(), 100).await;
        Ok(Self(String::from_utf8(body.unwrap().to_vec()).unwrap()))
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
const LOADED: Target = ("/loaded", &[]);
const ALL: [Target; 5] = [PRODUCT, PAGE, VARIANT, OTHER_PRODUCT, AUTHOR];

/// A command evicts these and leaves the others alone, for every process.
async fn evicts(command: usize, evicted: &[Target]) {
    let (redis, prefix) = (RedisServer::shared(), RedisServer::unique_prefix());
    let one = Process::start(redis, &prefix).await;
    let other = Process::start(redis, &prefix).await;
    for target in ALL {
        assert_eq!(one.outcome(target).await, "MISS", "{target:?}");
        assert_eq!(other.outcome(target).await, "HIT", "{target:?}");
    }
    run(command, redis, &prefix);
    for target in ALL {
        let is_evicted = evicted.contains(&target);
        let expected = if is_evicted { "MISS" } else { "HIT" };
        assert_eq!(other.outcome(target).await, expected, "{target:?}");
        assert_eq!(one.outcome(target).await, "HIT", "{target:?}");
    }
}

/// A run that was in progress when a command ran is not stored, and does not answer later requests.
async fn outlasts_a_run(command: usize, target: Target) {
    let (redis, prefix) = (RedisServer::shared(), RedisServer::unique_prefix());
    let one = Process::start(redis, &prefix).await;
    let other = Process::start(redis, &prefix).await;
    let old = one.hold(target).await;
    run(command, redis, &prefix);
    // It joins the run from before the eviction, and must not share its response.
    let late = one.arrivals.arrival_of(|| one.ask(target)).await;
    one.gate.open();
    assert_eq!(old.await.unwrap().text(), "run 0", "its own client gets it");
    assert_ne!(late.await.unwrap().text(), "run 0", "{target:?}");
    let (path, fields) = target;
    for process in [&one, &other] {
        let reply = process.client.get_with(path, fields).await;
        assert_ne!(reply.text(), "run 0", "{target:?}");
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
async fn a_value_read_by_an_extractor_before_a_command_is_not_stored() {
    for command in [GROUP, EVERYTHING] {
        let (redis, prefix) = (RedisServer::shared(), RedisServer::unique_prefix());
        let process = Process::start(redis, &prefix).await;
        let old = process.hold(LOADED).await;
        run(command, redis, &prefix);
        process.gate.open();
        assert_eq!(old.await.unwrap().text(), "run 0");
        assert_eq!(process.client.get("/loaded").await.text(), "run 1");
        assert_eq!(process.client.get("/loaded").await.text(), "run 1");
    }
}

#[tokio::test]
async fn in_a_cluster_its_commands_evict_the_same_entries() {
    let (cluster, prefix) = (RedisCluster::shared(), RedisServer::unique_prefix());
    let settings = Settings::from_url(cluster.url()).unwrap().cluster(true);
    let settings = settings.socket_timeout(Duration::from_secs(10));
    let process = Process::start_with(settings, &prefix).await;
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
            process.outcome(target).await;
            assert_eq!(process.outcome(target).await, "HIT", "{target:?}");
        }
        run_in_shell(&command, &prefix);
        for target in ALL {
            let is_evicted = evicted.contains(&target);
            let expected = if is_evicted { "MISS" } else { "HIT" };
            let outcome = process.outcome(target).await;
            assert_eq!(outcome, expected, "{command}: {target:?}");
        }
    }
}

/// The guide warns of it, so it has to be so.
#[tokio::test]
async fn a_run_in_progress_brings_back_an_entry_that_was_deleted_alone() {
    let (redis, prefix) = (RedisServer::shared(), RedisServer::unique_prefix());
    let process = Process::start(redis, &prefix).await;
    let old = process.hold(AUTHOR).await;
    let name = format!("{prefix}:cache:e:{{get_author/42}}");
    let _: u64 = redis::cmd("DEL")
        .arg(name)
        .query(&mut redis.connection())
        .unwrap();
    process.gate.open();
    old.await.unwrap();
    assert_eq!(process.client.get("/authors/42").await.text(), "run 0");
}
