//! Processes that share a Redis, of which each got to know the mounts of a handler in another order.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Path, RawPathParams};
use axum::routing::{delete, get, put};
use axum_redis_cache::{Cache, Settings, cache_evict, cache_put, cached};
use serde::Deserialize;
use test_support::{Client, RedisServer, until};

#[cached(ttl = 60)]
async fn page(matched: MatchedPath, Path(id): Path<u64>) -> String {
    format!("{id} by {}", matched.as_str())
}

#[cache_evict(page)]
async fn delete_page(Path(_id): Path<u64>) {}

#[cache_put(page)]
async fn put_page(Path(id): Path<u64>) -> String {
    format!("{id} was put")
}

#[derive(Deserialize)]
struct Item {
    id: u64,
}

#[cached(ttl = 60)]
async fn item(Path(item): Path<Item>) -> String {
    format!("{} is old", item.id)
}

#[cache_put(item)]
async fn put_item(Path(item): Path<Item>) -> String {
    format!("{} was put", item.id)
}

/// A handler that reads however many parameters there are, and one that evicts it by its name.
macro_rules! any_number {
    ($($name:ident: $ty:ty;)*) => { $(
        mod $name {
            use super::*;

            #[cached(ttl = 60)]
            pub(super) async fn read(read: $ty) -> String {
                format!("{read:?}")
            }

            #[cache_evict(read)]
            pub(super) async fn evict() {}
        }
    )* };
}

any_number! {
    list: Path<Vec<String>>;
    map: Path<BTreeMap<String, String>>;
    raw: RawPathParams;
}

/// The variables that tell a process its Redis and its prefix.
const URL: &str = "IDENTITY_REDIS_URL";
const PREFIX: &str = "IDENTITY_PREFIX";

/// Serves until its standard input ends, if another test started it.
#[tokio::test]
async fn server() {
    let (Ok(url), Ok(prefix)) = (std::env::var(URL), std::env::var(PREFIX)) else {
        return;
    };
    let settings = Settings::from_url(url).unwrap().prefix(prefix).unwrap();
    let settings = settings.socket_timeout(Duration::from_secs(10));
    let methods = || get(page).put(put_page);
    let router = Router::new()
        .route("/one/{id}", methods())
        .route("/two/{id}", methods())
        .route("/admin/{id}", delete(delete_page).put(put_page))
        .route("/item/{id}", get(item).put(put_item))
        .route("/tenants/{tenant}/item/{id}", put(put_item))
        .route("/list/{a}", get(list::read))
        .route("/map/{a}", get(map::read))
        .route("/raw/{a}", get(raw::read))
        .route("/drop/list", delete(list::evict))
        .route("/drop/map", delete(map::evict))
        .route("/drop/raw", delete(raw::evict))
        .route("/drop/list/{a}/{b}", delete(list::evict))
        .route("/drop/map/{a}/{b}", delete(map::evict))
        .route("/drop/raw/{a}/{b}", delete(raw::evict))
        .with_state(Cache::connect(settings).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "\n{}", listener.local_addr().unwrap()).unwrap();
    out.flush().unwrap();
    tokio::spawn(axum::serve(listener, router).into_future());
    let ends = || std::io::stdin().read_to_end(&mut Vec::new());
    tokio::task::spawn_blocking(ends).await.unwrap().unwrap();
}

struct Process {
    child: Child,
    /// Kept open, because the process writes to it to its end.
    _output: BufReader<ChildStdout>,
    client: Client,
}

impl Process {
    fn start(prefix: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::server", "--nocapture"])
            .env(URL, RedisServer::shared().url())
            .env(PREFIX, prefix)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut lines = output.by_ref().lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.parse().ok()).unwrap();
        Self {
            child,
            _output: output,
            client: Client::new(address),
        }
    }

    async fn get(&self, target: &str) -> (String, String) {
        let reply = self.client.get(target).await;
        (reply.outcome().to_owned(), reply.text().to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

const MOUNTS: [&str; 2] = ["one", "two"];

/// Reads both mounts from both processes until each response is a stored one.
async fn settle(processes: &[Process; 2], page: impl Fn(&str) -> Vec<String>) {
    until("HITs of both mounts in both processes", async || {
        let mut hits = 0;
        for process in processes {
            for mount in MOUNTS {
                let (outcome, text) = process.get(&format!("/{mount}/1")).await;
                assert!(page(mount).contains(&text), "{mount}: {outcome} {text}");
                hits += usize::from(outcome == "HIT");
            }
        }
        hits == 4
    })
    .await;
}

fn own_page(mount: &str) -> Vec<String> {
    vec![format!("1 by /{mount}/{{id}}")]
}

async fn two_processes(first: [&str; 2]) -> [Process; 2] {
    let prefix = RedisServer::unique_prefix();
    let prefix = format!("processes{prefix}");
    let processes = [(); 2].map(|()| Process::start(&prefix));
    for (process, mount) in processes.iter().zip(first) {
        let (_, text) = process.get(&format!("/{mount}/1")).await;
        assert_eq!(vec![text], own_page(mount));
    }
    processes
}

#[tokio::test]
async fn each_mount_keeps_its_page_whichever_was_asked_for_first() {
    for first in [["one", "two"], ["two", "one"], ["one", "one"]] {
        let processes = two_processes(first).await;
        settle(&processes, own_page).await;
        for writer in 0..2 {
            processes[writer]
                .client
                .send("DELETE", "/admin/01", &[])
                .await;
            for (at, process) in [(1, &processes[1]), (0, &processes[0])] {
                for mount in MOUNTS {
                    let (outcome, text) = process.get(&format!("/{mount}/1")).await;
                    assert_eq!(vec![text], own_page(mount));
                    // The other process reads what the first one stored.
                    assert!(at == 0 || outcome == "MISS", "{first:?} {writer} {mount}");
                }
            }
            settle(&processes, own_page).await;
        }
    }
}

#[tokio::test]
async fn a_write_in_a_process_that_knows_no_mount_drops_both_pages() {
    let prefix = format!("processes{}", RedisServer::unique_prefix());
    let reader = Process::start(&prefix);
    for mount in MOUNTS {
        reader.get(&format!("/{mount}/1")).await;
        assert_eq!(reader.get(&format!("/{mount}/1")).await.0, "HIT");
    }
    let writer = Process::start(&prefix);
    writer.client.send("DELETE", "/admin/1", &[]).await;
    for mount in MOUNTS {
        assert_eq!(
            reader.get(&format!("/{mount}/1")).await.0,
            "MISS",
            "{mount}"
        );
    }
}

#[tokio::test]
async fn a_write_with_another_number_of_parameters_drops_every_page() {
    let prefix = format!("processes{}", RedisServer::unique_prefix());
    let reader = Process::start(&prefix);
    let writer = Process::start(&prefix);
    for name in ["list", "map", "raw"] {
        let target = format!("/{name}/1");
        for parameters in ["", "/1/2"] {
            for process in [&writer, &reader] {
                reader.get(&target).await;
                assert_eq!(reader.get(&target).await.0, "HIT");
                let written = format!("/drop/{name}{parameters}");
                process.client.send("DELETE", &written, &[]).await;
                assert_eq!(reader.get(&target).await.0, "MISS", "{written}");
            }
        }
    }
}

#[tokio::test]
async fn a_put_on_a_path_with_more_parameters_leaves_no_old_page() {
    let prefix = format!("processes{}", RedisServer::unique_prefix());
    let reader = Process::start(&prefix);
    let writer = Process::start(&prefix);
    for process in [&writer, &reader] {
        reader.get("/item/1").await;
        assert_eq!(reader.get("/item/1").await.0, "HIT");
        let client = &process.client;
        client.send("PUT", "/tenants/a/item/1", &[]).await;
        assert_eq!(reader.get("/item/1").await.0, "MISS");
    }
}

#[tokio::test]
async fn a_put_in_a_process_that_knows_no_mount_leaves_no_old_page_where_it_is() {
    for path in ["/one/1", "/two/1", "/admin/1"] {
        let prefix = format!("processes{}", RedisServer::unique_prefix());
        let reader = Process::start(&prefix);
        for mount in MOUNTS {
            reader.get(&format!("/{mount}/1")).await;
            assert_eq!(reader.get(&format!("/{mount}/1")).await.0, "HIT");
        }
        let writer = Process::start(&prefix);
        writer.client.send("PUT", path, &[]).await;
        for mount in MOUNTS {
            let (outcome, text) = reader.get(&format!("/{mount}/1")).await;
            let is_old = outcome == "HIT" && vec![text.clone()] == own_page(mount);
            assert!(!is_old, "put at {path}, read at {mount}: {outcome} {text}");
        }
    }
}
