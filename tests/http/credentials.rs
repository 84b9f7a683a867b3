//! Credentials that change while the cache is used.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use axum_redis_cache::{BasicAuth, Settings, StreamingCredentialsProvider};
use futures_util::{Stream, stream};
use redis::{Connection, RedisResult};
use test_support::{RedisCluster, RedisSentinels, RedisServer, until};
use tokio::sync::watch;

use crate::failover::{of_cluster, of_sentinels};
use crate::load::Load;

const USER: &str = "shop";

/// Provides the current password, and each later one.
#[derive(Clone)]
struct Vault(Arc<watch::Sender<String>>);

impl Vault {
    fn new() -> Self {
        Self(Arc::new(watch::Sender::new("password 0".to_owned())))
    }
}

impl StreamingCredentialsProvider for Vault {
    fn subscribe(&self) -> Pin<Box<dyn Stream<Item = RedisResult<BasicAuth>> + Send + 'static>> {
        let start = (self.0.subscribe(), true);
        Box::pin(stream::unfold(start, async |(mut passwords, is_first)| {
            if !is_first {
                passwords.changed().await.ok()?;
            }
            let password = passwords.borrow_and_update().clone();
            let login = BasicAuth::new(USER.to_owned(), password);
            Some((Ok(login), (passwords, false)))
        }))
    }
}

fn set_user(servers: &mut [Connection], rules: &[&str]) {
    for server in servers {
        let mut set = redis::cmd("ACL");
        set.arg("SETUSER").arg(USER).arg(rules);
        let () = set.query(server).unwrap();
    }
}

/// Returns the number of logins by `AUTH`.
fn logins(servers: &mut [Connection]) -> u64 {
    let logins = |server: &mut Connection| {
        let info: String = redis::cmd("INFO")
            .arg("commandstats")
            .query(server)
            .unwrap();
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix("cmdstat_auth:calls="));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    };
    servers.iter_mut().map(logins).sum()
}

/// Changes the password three times under load. Each time, the old password is revoked and all
/// connections are closed.
async fn rotates(settings: Settings, mut servers: Vec<Connection>) {
    let vault = Vault::new();
    set_user(&mut servers, &["on", ">password 0", "~*", "&*", "+@all"]);
    let settings = settings.credentials_provider(vault.clone());
    let (load, tasks) = Load::start(settings).await;
    load.hits_are_back().await;
    let begun = Instant::now();
    for number in 1..=3 {
        let [old, new] = [number - 1, number].map(|number| format!("password {number}"));
        set_user(&mut servers, &[&format!(">{new}")]);
        let before = logins(&mut servers);
        vault.0.send_replace(new);
        until("a login on an open connection", async || {
            logins(&mut servers) > before
        })
        .await;
        set_user(&mut servers, &[&format!("<{old}")]);
        load.hits_are_back().await;
        for server in &mut servers {
            let mut kill = redis::cmd("CLIENT");
            let _killed: u64 = kill
                .arg("KILL")
                .arg("USER")
                .arg(USER)
                .query(server)
                .unwrap();
        }
        load.hits_are_back().await;
    }
    load.end(tasks, "passwords were changed", begun.elapsed())
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_may_change_its_password_under_load() {
    let redis = RedisServer::start();
    let settings = Settings::from_url(redis.url()).unwrap();
    rotates(settings, vec![redis.connection()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_may_change_its_password_under_load() {
    let cluster = RedisCluster::start();
    let nodes = (0..cluster.node_count()).map(|index| cluster.connection(index));
    rotates(of_cluster(&cluster), nodes.collect()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_with_sentinels_may_change_their_password_under_load() {
    let servers = RedisSentinels::start();
    let all = servers.server_addresses().into_iter();
    let all = all.map(|address| servers.connection(address));
    rotates(of_sentinels(&servers), all.collect()).await;
}
