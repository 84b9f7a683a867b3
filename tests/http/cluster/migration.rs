//! While a slot is on its way to another node.

use axum::Router;
use axum::routing::get;
use axum_redis_cache::Cache;
use futures_util::future::join_all;
use test_support::{Gate, RedisCluster, until};

use super::{ITEMS, expect, item, outcome, patient, start};
use crate::support::{App, serve, stored};

/// The number of a run.
fn number(text: &str) -> u32 {
    text.trim_start_matches("run ").parse().unwrap()
}

/// A slot that is on its way.
struct Moving<'a> {
    cluster: &'a RedisCluster,
    slot: u16,
    way: (usize, usize),
}

impl<'a> Moving<'a> {
    fn begin(cluster: &'a RedisCluster, name: &str, to: impl Fn(usize) -> usize) -> Self {
        let slot = cluster.slot_of(name);
        let to = to(cluster.server_of(slot));
        let from = cluster.begin_migration(slot, to);
        let way = (from, to);
        Self { cluster, slot, way }
    }

    /// Moves the names with that in them.
    fn moves(&self, part: &str) {
        let is_one = |name: &str| name.contains(part);
        self.cluster.migrate_keys(self.slot, self.way, is_one);
    }

    /// Moves the rest. Redis refuses what the new node has already.
    fn end(self) {
        let (from, to) = self.way;
        self.moves("");
        self.cluster.end_migration(self.slot, from, to);
    }
}

/// The names that have moved, by what their names contain.
const MOVED: [&[&str]; 6] = [
    &[],
    &[":e:"],
    &[":all:"],
    &[":l:", ":v:"],
    &[":e:", ":v:"],
    &[":all:", ":l:", ":e:", ":v:"],
];

fn next(node: usize) -> usize {
    (node + 1) % 3
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_slot_is_half_moved_its_entries_are_read_evicted_and_stored() {
    let cluster = RedisCluster::start();
    let (cache, client) = start(&patient(&cluster)).await;
    for (id, moved) in (0..).zip(MOVED) {
        let path = format!("/items/{id}");
        expect(&client, &path, "MISS").await;
        let moving = Moving::begin(&cluster, &format!("{{item {id}}}"), next);
        for part in moved {
            moving.moves(part);
        }
        // The moved entries are on another server, where they are misses at first.
        stored(&client, &path).await;
        for _ in 0..2 {
            let evicted = client.send("DELETE", &path, &[]).await;
            assert_eq!(evicted.outcome(), "EVICTED", "{moved:?}");
            expect(&client, &path, "MISS").await;
            expect(&client, &path, "HIT").await;
        }
        let put = client.send("PUT", &path, &[]).await;
        assert_eq!(put.outcome(), "STORED", "{moved:?}");
        let hit = client.get(&path).await;
        assert_eq!(
            (hit.outcome(), hit.text()),
            ("HIT", put.text()),
            "{moved:?}"
        );
        moving.end();
        let is_old = number(&stored(&client, &path).await) < number(put.text());
        assert!(!is_old, "{moved:?}");
    }
    assert_eq!(cache.faults(), 0);
}

/// The entry that a group evicts stays on the old node, and the next one is stored on the new one.
#[tokio::test(flavor = "multi_thread")]
async fn while_a_slot_is_half_moved_an_outdated_entry_is_replaced() {
    let cluster = RedisCluster::start();
    let (cache, client) = start(&patient(&cluster)).await;
    for (id, moved) in (0..).zip(MOVED) {
        let path = format!("/pages/{id}");
        let variant: &[_] = &[("x-variant", "b")];
        let outcome = async |fields| client.get_with(&path, fields).await.outcome().to_owned();
        let all = [&[][..], variant];
        for fields in all {
            assert_eq!(outcome(fields).await, "MISS");
        }
        let moving = Moving::begin(&cluster, &format!("{{page {id}}}"), next);
        for part in moved {
            moving.moves(part);
        }
        for fields in all {
            until("a HIT", async || outcome(fields).await == "HIT").await;
        }
        let evicted = client.send("POST", "/pages/evict", &[]).await;
        assert_eq!(evicted.outcome(), "EVICTED");
        for expected in ["MISS", "HIT"] {
            for fields in all {
                assert_eq!(outcome(fields).await, expected, "{moved:?}");
            }
        }
        let put = client.send("PUT", &path, variant).await;
        assert_eq!(put.outcome(), "STORED", "{moved:?}");
        let hit = client.get_with(&path, variant).await;
        assert_eq!(
            (hit.outcome(), hit.text()),
            ("HIT", put.text()),
            "{moved:?}"
        );
        assert_eq!(outcome(&[]).await, "MISS", "{moved:?}");
        moving.end();
        for fields in all {
            until("a HIT", async || outcome(fields).await == "HIT").await;
        }
    }
    assert_eq!(cache.faults(), 0);
}

/// A run that began before the slot moved does not bring back what was evicted meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_from_before_a_slot_moved_stores_nothing_old() {
    let cluster = RedisCluster::start();
    for (id, moved) in (0..).zip(MOVED) {
        let settings = patient(&cluster);
        let gate = Gate::new();
        let cache = Cache::connect(settings.clone()).unwrap();
        let app = App::counting_with_a_gate(cache, 0, &gate);
        let router = Router::new()
            .route("/items/{id}", get(item))
            .with_state(app);
        let client = serve(router).await;
        let (_, other) = start(&settings).await;
        let path = format!("/items/{id}");
        let old = tokio::spawn({
            let path = path.clone();
            async move { client.get(&path).await }
        });
        gate.entered().await;
        let moving = Moving::begin(&cluster, &format!("{{item {id}}}"), next);
        for part in moved {
            moving.moves(part);
        }
        let evicted = other.send("DELETE", &path, &[]).await;
        assert_eq!(evicted.outcome(), "EVICTED", "{moved:?}");
        gate.open();
        assert_eq!(old.await.unwrap().text(), "run 0");
        expect(&other, &path, "MISS").await;
        expect(&other, &path, "HIT").await;
        moving.end();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_has_moved_costs_the_lookups_beside_it_nothing() {
    let cluster = RedisCluster::start();
    let (_, client) = start(&patient(&cluster)).await;
    let path = |id: u32| format!("/items/{id}");
    for id in ITEMS {
        stored(&client, &path(id)).await;
    }
    let moving = Moving::begin(&cluster, "{item 0}", next);
    moving.moves("");
    for _ in 0..20 {
        let outcomes = ITEMS.map(|id| {
            let path = path(id);
            async move { outcome(&client, &path).await }
        });
        let outcomes = join_all(outcomes).await;
        assert!(
            outcomes[1..].iter().all(|outcome| outcome == "HIT"),
            "{outcomes:?}"
        );
    }
    expect(&client, &path(0), "HIT").await;
    moving.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_may_be_on_its_way_to_a_node_that_serves_none_yet() {
    let cluster = RedisCluster::start();
    cluster.detach(5);
    let (cache, client) = start(&patient(&cluster)).await;
    let path = "/items/7";
    expect(&client, path, "MISS").await;
    expect(&client, path, "HIT").await;
    let moving = Moving::begin(&cluster, "{item 7}", |_| 5);
    moving.moves("");
    // A node that serves no slot cannot prove that it takes evictions, but it does.
    for _ in 0..2 {
        outcome(&client, path).await;
        let evicted = client.send("DELETE", path, &[]).await;
        assert_eq!(evicted.outcome(), "EVICTED");
    }
    moving.end();
    stored(&client, path).await;
    assert_eq!(cache.pending_evictions(), 0);
}

/// Every node tells the others its address, and clients its name.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_reached_by_the_names_that_they_tell_clients() {
    let names = ["--cluster-announce-hostname", "localhost"];
    let preferred = ["--cluster-preferred-endpoint-type", "hostname"];
    let cluster = RedisCluster::start_with(&[names, preferred].concat());
    let (cache, client) = start(&patient(&cluster)).await;
    for outcome in ["MISS", "HIT"] {
        for id in ITEMS {
            expect(&client, &format!("/items/{id}"), outcome).await;
        }
    }
    let servers = cache.status().servers;
    assert_eq!(servers.len(), 3);
    for server in servers {
        assert!(server.name.starts_with("localhost:"), "{}", server.name);
    }
    let moving = Moving::begin(&cluster, "{item 7}", next);
    for _ in 0..2 {
        let evicted = client.send("DELETE", "/items/7", &[]).await;
        assert_eq!(evicted.outcome(), "EVICTED");
        expect(&client, "/items/7", "MISS").await;
        expect(&client, "/items/7", "HIT").await;
    }
    moving.end();
    stored(&client, "/items/7").await;
    assert_eq!(cache.faults(), 0);
}
