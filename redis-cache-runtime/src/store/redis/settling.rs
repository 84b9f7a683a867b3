//! Tests of servers that were unreachable or refused every command, evictions included. Afterwards,
//! lookups are ignored until other processes have sent their pending evictions.

use std::sync::Arc;
use std::time::Duration;

use test_support::{RedisCluster, RedisServer};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::RedisStore;
use crate::key::{Address, CacheKey, DeclaredGroups};
use crate::observe::fault::Fault;
use crate::settings::Settings;
use crate::store::{Claim, LeaseTerms, Token};

fn store(settings: &Settings) -> RedisStore {
    RedisStore::new(settings, Arc::default()).unwrap()
}

fn at(key: &str) -> Address {
    Address {
        key: CacheKey::of_handler(key.to_owned(), 0),
        variant: None,
        groups: DeclaredGroups::Fixed(&[]),
        response_groups: None,
        mounted: None,
    }
}

/// Looks up until the lookup is refused with an error code.
async fn refused_with(store: &RedisStore, at: &Address, code: &str) {
    let refused = async {
        while store.get(at, false).await.err() != Some(Fault::Refused(code.to_owned())) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(30), refused).await.unwrap();
}

/// Looks up until the lookup succeeds, and returns the last fault before.
async fn last_fault(store: &RedisStore, at: &Address) -> Option<Fault> {
    let mut last = None;
    let succeeds = async {
        while let Err(fault) = store.get(at, false).await {
            last = Some(fault);
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(30), succeeds).await.unwrap();
    last
}

#[tokio::test]
async fn a_cluster_that_was_down_is_not_believed_at_once() {
    let mut cluster = spawn_blocking(RedisCluster::start).await.unwrap();
    let on_first = |name: &String| cluster.primary_of(name) == 0;
    let numbered = |name: &'static str| (0..).map(move |number| format!("{name}{number}"));
    let is_right = |prefix: &String| on_first(&format!("{prefix}:cache:all"));
    let prefix = numbered("test").find(is_right).unwrap();
    let at = at(&numbered("/").find(on_first).unwrap());
    let settings = Settings::from_url(cluster.url()).unwrap().cluster(true);
    let store = store(&settings.prefix(prefix).unwrap());
    assert_eq!(last_fault(&store, &at).await, None);

    // Another primary and its replica, so that no replica is promoted.
    cluster.kill(4);
    cluster.kill(1);
    refused_with(&store, &at, "CLUSTERDOWN").await;
    let restart = spawn_blocking(move || {
        cluster.start_again(1);
        cluster.start_again(4);
        cluster
    });
    assert_eq!(last_fault(&store, &at).await, Some(Fault::Settling));
    restart.await.unwrap();
}

/// A lookup before Redis was unreachable can be followed by a lease after it.
#[tokio::test]
async fn an_entry_that_is_found_with_a_lease_is_not_believed_at_once_either() {
    let server = RedisServer::start();
    let (store, at) = (store(&Settings::from_url(server.url()).unwrap()), at("/"));
    assert_eq!(last_fault(&store, &at).await, None);

    server.signal("STOP", server.process());
    let unreachable = async {
        while store.get(&at, false).await.err() != Some(Fault::Unreachable) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(30), unreachable).await.unwrap();
    server.signal("CONT", server.process());
    let second = Duration::from_secs(1);
    let times = LeaseTerms {
        hold: second,
        lease: second,
        entry: None,
        reads_early: false,
    };
    let claim = async || {
        let token = Token::draw(Claim::IfFree).unwrap();
        store.lease(&at, Claim::IfFree, token, times).await
    };
    let claimed = async {
        loop {
            match claim().await {
                Err(Fault::Unreachable) => sleep(Duration::from_millis(1)).await,
                claimed => return claimed,
            }
        }
    };
    let claimed = timeout(Duration::from_secs(30), claimed).await.unwrap();
    assert_eq!(claimed.err(), Some(Fault::Settling));
}

#[tokio::test]
async fn a_server_that_was_busy_is_not_believed_at_once() {
    let server = RedisServer::start_with(&["--busy-reply-threshold", "20"]);
    let (store, at) = (store(&Settings::from_url(server.url()).unwrap()), at("/"));
    assert_eq!(last_fault(&store, &at).await, None);

    let mut connection = server.connection();
    let busy = spawn_blocking(move || {
        let script = "local start = redis.call('TIME')[1]
            repeat until redis.call('TIME')[1] - start > 1";
        let () = redis::cmd("EVAL")
            .arg(script)
            .arg(0)
            .query(&mut connection)
            .unwrap();
    });
    refused_with(&store, &at, "BUSY").await;
    assert_eq!(last_fault(&store, &at).await, Some(Fault::Settling));
    busy.await.unwrap();
}

#[tokio::test]
async fn a_server_that_still_reads_its_data_is_not_there_yet() {
    // A key in a millisecond: longer than others need to tell of their evictions.
    let slowly = ["--key-load-delay", "1000"];
    let answering = ["--loading-process-events-interval-bytes", "1024"];
    let mut server = RedisServer::start_with(&[slowly, answering].concat());
    let mut fill = redis::cmd("EVAL");
    fill.arg("for n = 1, 3000 do redis.call('SET', n, n) end")
        .arg(0);
    let () = fill.query(&mut server.connection()).unwrap();
    let () = redis::cmd("SAVE").query(&mut server.connection()).unwrap();
    let (store, at) = (store(&Settings::from_url(server.url()).unwrap()), at("/"));
    assert_eq!(last_fault(&store, &at).await, None);

    server.start_again();
    assert_eq!(last_fault(&store, &at).await, Some(Fault::Settling));
}
