//! The transcript of the README is what the example answers, in memory and on Redis.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use test_support::{Client, RedisServer, TempDir, until};

/// A request of the transcript, and the lines that its response must have.
struct Exchange {
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    expected: Vec<String>,
}

struct Example {
    process: Child,
    address: SocketAddr,
}

impl Example {
    fn start(redis: Option<&RedisServer>) -> Self {
        let mut command = Command::new(binary());
        command
            .env("ADDR", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        for name in ["REDIS_URL", "REDIS_HOST", "REDIS_CLUSTER", "REDIS_SENTINEL"] {
            command.env_remove(name);
        }
        if let Some(redis) = redis {
            command.env("REDIS_URL", redis.url());
        }
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines.find_map(|line| {
            let line = line.unwrap();
            let (_, address) = line.split_once("Listening on http://")?;
            address.parse().ok()
        });
        // The example goes on printing into the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            process,
            address: address.expect("the example prints where it listens"),
        }
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The example; a run of this test alone does not build it.
fn binary() -> PathBuf {
    let build = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--workspace",
            "--profile",
            "test",
            "--example",
            "products",
            "--all-features",
        ])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .status();
    assert!(build.unwrap().success());
    let test = std::env::current_exe().unwrap();
    test.parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/products")
}

fn transcript() -> Vec<Exchange> {
    let readme = include_str!("../README.md");
    let block = readme
        .split("```console\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let mut exchanges = Vec::new();
    for command in block.split("$ curl -i ").skip(1) {
        let mut lines = command.lines().filter(|line| !line.is_empty());
        let mut words = lines.next().unwrap().splitn(2, ' ');
        let url = words.next().unwrap();
        let (mut method, mut fields) = ("GET".to_owned(), Vec::new());
        match words.next().map(|rest| rest.split_at(3)) {
            Some(("-X ", name)) => name.clone_into(&mut method),
            Some(("-H ", field)) => {
                let (name, value) = field.trim_matches('\'').split_once(": ").unwrap();
                fields.push((name.to_owned(), value.to_owned()));
            }
            Some(other) => panic!("{other:?}"),
            None => {}
        }
        exchanges.push(Exchange {
            method,
            target: url.replace("http://127.0.0.1:3000", ""),
            fields,
            expected: lines.map(str::to_owned).collect(),
        });
    }
    exchanges
}

async fn replay(redis: Option<&RedisServer>) {
    let example = Example::start(redis);
    let client = Client::new(example.address);
    let exchanges = transcript();
    assert_eq!(exchanges.len(), 5);
    for Exchange {
        method,
        target,
        fields,
        expected,
    } in exchanges
    {
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        let reply = client.send(&method, &target, &fields).await;
        for line in expected {
            match line.split_once(": ") {
                Some((name, value)) => assert_eq!(reply.field(name), Some(value), "{target}"),
                None => assert_eq!(line, format!("HTTP/1.1 {}", reply.status)),
            }
        }
    }
}

#[tokio::test]
async fn the_transcript_is_true_in_memory() {
    replay(None).await;
}

#[tokio::test]
async fn the_transcript_is_true_on_redis() {
    replay(Some(&RedisServer::start())).await;
}

/// Each page of the list has ten products.
async fn changing_a_product_drops_its_page(redis: Option<&RedisServer>) {
    let example = Example::start(redis);
    let client = Client::new(example.address);
    let pages = [0, 1, 2].map(|page| format!("/products?page={page}"));
    let is_hit = async |page: &str| client.get(page).await.outcome() == "HIT";
    for page in &pages {
        let stored = async || is_hit(page).await;
        until("a stored page", stored).await;
    }
    let json = [("content-type", "application/json")];
    let product = r#"{"name":"Seven","cents":7}"#;
    let change = client.send_body("PUT", "/products/7", &json, product);
    assert!(change.await.status.is_success());
    assert!(is_hit("/products/7").await);
    assert!(!is_hit(&pages[0]).await && is_hit(&pages[1]).await && is_hit(&pages[2]).await);
    let page = client.get(&pages[0]).await;
    assert_eq!(page.outcome(), "HIT", "one run stores the page again");
    assert!(page.text().contains("Seven"));
    let absent = client.send_body("PUT", "/products/70", &json, product);
    assert_eq!(absent.await.status.as_u16(), 404);
    assert_eq!(
        client.send("DELETE", "/products/25", &[]).await.outcome(),
        "EVICTED"
    );
    for page in &pages {
        assert!(
            !is_hit(page).await,
            "a deletion may move products to other pages"
        );
    }
}

#[tokio::test]
async fn changing_a_product_drops_exactly_the_pages_that_show_it_in_memory() {
    changing_a_product_drops_its_page(None).await;
}

#[tokio::test]
async fn changing_a_product_drops_exactly_the_pages_that_show_it_on_redis() {
    changing_a_product_drops_its_page(Some(&RedisServer::start())).await;
}

/// Returns the errors of the example, started with a `.env` file and other variables.
fn refused(dotenv: &str, variables: &[(&str, &str)]) -> String {
    let directory = TempDir::new();
    std::fs::write(directory.path().join(".env"), dotenv).unwrap();
    let output = Command::new(binary())
        .current_dir(directory.path())
        .env("REDIS_HOST", "localhost")
        .env_remove("REDIS_URL")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn wrong_settings_end_the_example_with_one_clear_line() {
    let port = "REDIS_PORT=70000: expected a port number from 1 to 65535\n";
    assert_eq!(refused("", &[("REDIS_PORT", "70000")]), port);
    assert_eq!(refused("REDIS_PORT=70000\n", &[]), port);
    assert_eq!(refused("REDIS_PORT=1\n", &[("REDIS_PORT", "70000")]), port);
    let secret = refused("REDIS_PASSWORD='hunter2\n", &[]);
    assert!(
        secret.starts_with(".env cannot be read: ") && !secret.contains("hunter2"),
        "{secret}"
    );
}
