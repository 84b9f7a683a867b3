//! Tests of the store protocol, which run against every store, and one test of the memory store alone.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use test_support::{Certificates, RedisCluster, RedisSentinels, RedisServer};
use tokio::time::timeout;

use super::*;
use crate::key::{CacheKey, DeclaredGroups, Selecting, Variant};
use crate::settings::Settings;

const TIMES: LeaseTerms = LeaseTerms {
    hold: Duration::from_secs(5),
    lease: Duration::from_secs(5),
    entry: Some(TTL),
    reads_early: false,
};
const TTL: Duration = Duration::from_secs(5);
const FOR_EVER: Duration = Duration::from_secs(3600);

/// Runs each function as a test of each store. Tests share no entries, because each has its own
/// prefix or store.
macro_rules! on_every_store {
    ($($promise:ident),* $(,)?) => { $(
        mod $promise {
            use super::*;

            #[tokio::test]
            async fn in_redis() {
                let settings = Settings::from_url(RedisServer::shared().url()).unwrap();
                super::$promise(in_redis_of(settings)).await;
            }

            #[tokio::test]
            async fn over_tls_and_several_connections() {
                let settings = over_tls_if_possible().max_connections(3).unwrap();
                super::$promise(in_redis_of(settings)).await;
            }

            #[tokio::test]
            async fn in_a_cluster() {
                let settings = Settings::from_url(RedisCluster::shared().url()).unwrap();
                super::$promise(in_redis_of(settings.cluster(true))).await;
            }

            #[tokio::test]
            async fn in_the_primary_that_sentinel_names() {
                super::$promise(in_redis_of(by_sentinel(RedisSentinels::shared()))).await;
            }

            #[tokio::test]
            async fn in_memory() {
                super::$promise(Store::Memory(MemoryStore::new("test", 1 << 20))).await;
            }
        }
    )* };
}

fn in_redis_of(settings: Settings) -> Store {
    let settings = settings.prefix(RedisServer::unique_prefix()).unwrap();
    // The time budget is long enough for a busy machine.
    let settings = settings.socket_timeout(Duration::from_secs(10));
    Store::Redis(RedisStore::new(&settings, Arc::default()).unwrap())
}

fn over_tls_if_possible() -> Settings {
    if RedisServer::has_tls() {
        over_tls()
    } else {
        Settings::from_url(RedisServer::shared().url()).unwrap()
    }
}

fn over_tls() -> Settings {
    static SERVER: LazyLock<(Certificates, RedisServer)> = LazyLock::new(|| {
        let certificates = Certificates::new();
        let server = RedisServer::start_with_tls(&certificates, &["--tls-auth-clients", "yes"]);
        (certificates, server)
    });
    let (certificates, server) = &*SERVER;
    Settings::from_url(server.url())
        .unwrap()
        .ssl_ca_certs(certificates.ca())
        .ssl_certfile(certificates.client())
        .ssl_keyfile(certificates.client_key())
}

fn by_sentinel(servers: &RedisSentinels) -> Settings {
    let nodes = servers.sentinel_addresses();
    Settings::default()
        .sentinel(true)
        .sentinel_master_name(servers.master_name())
        .unwrap()
        .sentinel_nodes(nodes.iter().map(ToString::to_string))
        .unwrap()
}

fn at(key: &str, groups: &[&'static str]) -> Address {
    Address {
        key: CacheKey::of_handler(key.to_owned(), 0),
        variant: None,
        groups: DeclaredGroups::Made(
            groups
                .iter()
                .map(|group| (*group).to_owned().into())
                .collect(),
        ),
        response_groups: None,
        mounted: None,
    }
}

fn variant(at: Address, value: &str) -> Address {
    Address {
        variant: Variant::of(&Selecting {
            values: Some(value),
            ..Selecting::default()
        }),
        ..at
    }
}

fn evict_key(at: &Address) -> Eviction {
    Eviction::Key(at.key.clone())
}

/// Returns the stored entry, if the stamps of its lease are current. `Found::into_entry` cannot be used
/// here: it compares the stamps within an entry, and the entries of these tests have none.
async fn served(store: &Store, place: &Address, lease: &Lease) -> Option<Bytes> {
    let found = store.get(place, false).await.unwrap();
    let current = lease.stamps.iter().copied().map(Some).eq(found.nonces);
    found.entry.filter(|_| current).map(FoundEntry::into_bytes)
}

async fn lease(store: &Store, place: &Address, claim: Claim) -> Option<Lease> {
    lease_for(store, place, claim, TIMES).await
}

async fn lease_for(
    store: &Store,
    place: &Address,
    claim: Claim,
    times: LeaseTerms,
) -> Option<Lease> {
    let token = Token::draw(claim).unwrap();
    match store.lease(place, claim, token, times).await.unwrap() {
        Claimed::Taken(lease, _) => Some(lease),
        Claimed::Held(_) => None,
    }
}

async fn put(store: &Store, place: &Address, lease: &Lease, entry: &'static str) -> bool {
    store
        .put(place, lease, entry.into(), Some(TTL))
        .await
        .unwrap()
}

/// Fills an address, and returns the lease of the fill.
async fn filled(store: &Store, place: &Address, entry: &'static str) -> Lease {
    let lease = lease(store, place, Claim::IfFree)
        .await
        .expect("a free lease");
    assert!(put(store, place, &lease, entry).await);
    assert_eq!(served(store, place, &lease).await.unwrap(), entry);
    lease
}

fn group(name: &'static str) -> Eviction {
    Eviction::Group(name.to_owned().into())
}

on_every_store!(
    nothing_is_found_before_it_was_put,
    what_was_put_is_found_whatever_its_bytes,
    a_lease_has_one_holder_until_it_is_put_or_released,
    a_lease_ends_by_itself,
    a_lease_is_held_for_longer_while_it_is_renewed,
    who_holds_a_lease_and_whether_to_wait_for_it_is_seen,
    a_claim_sees_what_was_stored_since_the_lookup,
    an_entry_ends_with_its_ttl,
    evicting_a_key_drops_its_entry_and_its_lease_and_no_other,
    evicting_a_group_outdates_what_was_and_what_is_being_filled,
    evicting_all_outdates_everything,
    several_evictions_are_done_at_once,
    a_write_takes_the_lease_from_a_read,
    a_write_that_lost_its_lease_drops_the_entry,
    variants_are_entries_of_their_own_and_go_with_their_key,
    a_write_of_one_variant_drops_the_others,
    an_eviction_during_a_write_wins_whatever_the_variant,
    of_two_writes_of_different_variants_neither_outlives_the_other,
    a_read_that_began_before_a_write_does_not_replace_what_was_written,
    nonces_are_random_kept_and_prolonged,
);

#[tokio::test]
async fn redis_pushes_the_end_of_a_lease_that_a_request_waits_for() {
    if !RedisServer::pushes_in_order() {
        return;
    }
    let one = RedisServer::shared().url();
    let cluster = RedisCluster::shared().url();
    for settings in [
        Settings::from_url(one).unwrap(),
        over_tls_if_possible(),
        Settings::from_url(cluster).unwrap().cluster(true),
        by_sentinel(RedisSentinels::shared()),
    ] {
        let store = in_redis_of(settings);
        let place = variant(at("/a", &["g"]), "de");
        let held = lease(&store, &place, Claim::IfFree).await.unwrap();
        let mut wait = std::pin::pin!(store.await_lease_change(&place, FOR_EVER, FOR_EVER));
        let early = timeout(Duration::from_millis(100), wait.as_mut()).await;
        assert!(early.is_err(), "the lease is held");
        assert!(put(&store, &place, &held, "entry").await);
        timeout(TTL, wait).await.expect("a push");
    }
}

async fn nothing_is_found_before_it_was_put(store: Store) {
    let found = store.get(&at("/a", &["g", "h"]), false).await.unwrap();
    assert_eq!(found.entry, None);
    assert_eq!(found.nonces.as_slice(), [None, None, None]);
}

async fn what_was_put_is_found_whatever_its_bytes(store: Store) {
    let place = at("/a", &["g"]);
    let lease = lease(&store, &place, Claim::IfFree).await.unwrap();
    let bytes: Bytes = (0..=255).cycle().take(70_000).collect::<Vec<u8>>().into();
    assert!(
        store
            .put(&place, &lease, bytes.clone(), None)
            .await
            .unwrap()
    );
    assert_eq!(served(&store, &place, &lease).await.unwrap(), bytes);
}

async fn a_lease_has_one_holder_until_it_is_put_or_released(store: Store) {
    let place = at("/a", &[]);
    let first = lease(&store, &place, Claim::IfFree).await.unwrap();
    assert!(lease(&store, &place, Claim::IfFree).await.is_none());
    store
        .release(&place, Claim::IfFree, first.token)
        .await
        .unwrap();
    let second = lease(&store, &place, Claim::IfFree).await.unwrap();
    store
        .release(&place, Claim::IfFree, first.token)
        .await
        .unwrap();
    assert!(
        lease(&store, &place, Claim::IfFree).await.is_none(),
        "the first token does not release the second lease"
    );
    assert!(put(&store, &place, &second, "x").await);
    assert!(
        !put(&store, &place, &second, "y").await,
        "a lease is good for one put"
    );
    assert!(lease(&store, &place, Claim::IfFree).await.is_some());
}

async fn a_lease_ends_by_itself(store: Store) {
    let place = at("/a", &[]);
    let times = LeaseTerms {
        hold: Duration::from_millis(30),
        ..TIMES
    };
    let old = lease_for(&store, &place, Claim::IfFree, times)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert!(!put(&store, &place, &old, "late").await);
    filled(&store, &place, "x").await;
}

async fn a_lease_is_held_for_longer_while_it_is_renewed(store: Store) {
    let place = at("/a", &[]);
    let times = LeaseTerms {
        hold: Duration::from_millis(100),
        ..TIMES
    };
    let held = lease_for(&store, &place, Claim::IfFree, times)
        .await
        .unwrap();
    assert!(store.renew(&place, &held, held.token, TTL).await.unwrap());
    tokio::time::sleep(Duration::from_millis(120)).await;
    assert!(put(&store, &place, &held, "x").await);
    assert!(
        !store.renew(&place, &held, held.token, TTL).await.unwrap(),
        "a put ends the lease, so it cannot be renewed"
    );
}

async fn who_holds_a_lease_and_whether_to_wait_for_it_is_seen(store: Store) {
    let place = at("/a", &["g"]);
    assert_eq!(store.get(&place, true).await.unwrap().holder, None);
    let mut held = lease(&store, &place, Claim::IfFree).await.unwrap();
    let other = Token::draw(Claim::IfFree).unwrap();
    let claimed = store
        .lease(&place, Claim::IfFree, other, TIMES)
        .await
        .unwrap();
    let Claimed::Held(holder) = claimed else {
        panic!("the second claim must find the lease held");
    };
    assert!(holder == held.token && holder.is_awaited());
    let found = store.get(&place, true).await.unwrap();
    assert!(held.is_current(&found) == Some(true));
    let token = held.token.unawaited();
    assert!(store.renew(&place, &held, token, TTL).await.unwrap());
    let found = store.get(&place, true).await.unwrap();
    assert!(
        held.is_current(&found) == Some(false)
            && found.holder == Some(token)
            && !token.is_awaited()
    );
    held.token = token;
    assert!(held.is_current(&found) == Some(true));
    store.remove(&[group("g")]).await.unwrap();
    let found = store.get(&place, true).await.unwrap();
    assert_eq!(held.is_current(&found), Some(false));
    assert!(put(&store, &place, &held, "x").await);
    let write = lease(&store, &place, Claim::Override).await.unwrap();
    let found = store.get(&place, true).await.unwrap();
    assert!(found.holder == Some(write.token) && !write.token.is_awaited());
}

async fn a_claim_sees_what_was_stored_since_the_lookup(store: Store) {
    let place = at("/a", &["g"]);
    filled(&store, &place, "x").await;
    let token = Token::draw(Claim::IfFree).unwrap();
    let claimed = store
        .lease(&place, Claim::IfFree, token, TIMES)
        .await
        .unwrap();
    let Claimed::Taken(_, there) = claimed else {
        panic!("the lease must be free");
    };
    assert_eq!(there.unwrap(), "x");
}

async fn an_entry_ends_with_its_ttl(store: Store) {
    let place = at("/a", &[]);
    let lease = lease(&store, &place, Claim::IfFree).await.unwrap();
    let ttl = Some(Duration::from_millis(30));
    assert!(store.put(&place, &lease, "x".into(), ttl).await.unwrap());
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(store.get(&place, false).await.unwrap().entry, None);
}

async fn evicting_a_key_drops_its_entry_and_its_lease_and_no_other(store: Store) {
    let (place, other) = (at("/a", &["g"]), at("/b", &["g"]));
    filled(&store, &place, "x").await;
    let kept = filled(&store, &other, "y").await;
    let pending = lease(&store, &place, Claim::IfFree).await.unwrap();
    store.remove(&[evict_key(&place)]).await.unwrap();
    assert_eq!(store.get(&place, false).await.unwrap().entry, None);
    assert!(!put(&store, &place, &pending, "old").await);
    assert_eq!(served(&store, &other, &kept).await.unwrap(), "y");
}

async fn evicting_a_group_outdates_what_was_and_what_is_being_filled(store: Store) {
    let (place, other) = (at("/a", &["g", "h"]), at("/b", &["g"]));
    let old = filled(&store, &place, "x").await;
    let kept = filled(&store, &other, "y").await;
    let pending = lease(&store, &place, Claim::IfFree).await.unwrap();
    store.remove(&[group("h")]).await.unwrap();
    assert_eq!(served(&store, &place, &old).await, None);
    assert!(put(&store, &place, &pending, "began before").await);
    assert_eq!(served(&store, &place, &pending).await, None);
    assert_eq!(served(&store, &other, &kept).await.unwrap(), "y");
    filled(&store, &place, "new").await;
}

async fn evicting_all_outdates_everything(store: Store) {
    let places = [at("/a", &[]), at("/b", &["g"])];
    let a = filled(&store, &places[0], "x").await;
    let b = filled(&store, &places[1], "y").await;
    store.remove(&[Eviction::All]).await.unwrap();
    assert_eq!(served(&store, &places[0], &a).await, None);
    assert_eq!(served(&store, &places[1], &b).await, None);
}

async fn several_evictions_are_done_at_once(store: Store) {
    let (a, b) = (at("/a", &[]), at("/b", &["g"]));
    let (left, right) = (filled(&store, &a, "x").await, filled(&store, &b, "y").await);
    store
        .remove(&[evict_key(&a), group("g"), group("unknown")])
        .await
        .unwrap();
    assert_eq!(served(&store, &a, &left).await, None);
    assert_eq!(served(&store, &b, &right).await, None);
}

async fn a_write_takes_the_lease_from_a_read(store: Store) {
    let place = at("/a", &["g"]);
    let read = lease(&store, &place, Claim::IfFree).await.unwrap();
    let write = lease(&store, &place, Claim::Override).await.unwrap();
    assert!(!put(&store, &place, &read, "old").await);
    assert!(put(&store, &place, &write, "new").await);
    assert_eq!(served(&store, &place, &write).await.unwrap(), "new");
}

async fn a_write_that_lost_its_lease_drops_the_entry(store: Store) {
    let place = at("/a", &["g"]);
    filled(&store, &place, "x").await;
    let first = lease(&store, &place, Claim::Override).await.unwrap();
    let second = lease(&store, &place, Claim::Override).await.unwrap();
    assert!(!put(&store, &place, &first, "first").await);
    assert_eq!(store.get(&place, false).await.unwrap().entry, None);
    assert!(
        !put(&store, &place, &second, "second").await,
        "it is unknown which write came last"
    );
}

async fn variants_are_entries_of_their_own_and_go_with_their_key(store: Store) {
    let place = |value: &str| variant(at("/a", &["g"]), value);
    let (one, two) = (place("1"), place("2"));
    let first = filled(&store, &one, "1").await;
    let second = filled(&store, &two, "2").await;
    assert_eq!(served(&store, &one, &first).await.unwrap(), "1");
    let pending = lease(&store, &one, Claim::IfFree).await.unwrap();
    store.remove(&[evict_key(&one)]).await.unwrap();
    assert_eq!(served(&store, &one, &first).await, None);
    assert_eq!(served(&store, &two, &second).await, None);
    put(&store, &one, &pending, "old").await;
    assert_eq!(served(&store, &one, &pending).await, None);
}

async fn a_write_of_one_variant_drops_the_others(store: Store) {
    let place = |value: &str| variant(at("/a", &["g"]), value);
    let (one, two) = (place("1"), place("2"));
    let write = lease(&store, &one, Claim::Override).await.unwrap();
    let second = filled(&store, &two, "2").await;
    assert!(put(&store, &one, &write, "1").await);
    assert_eq!(served(&store, &one, &write).await.unwrap(), "1");
    assert_eq!(served(&store, &two, &second).await, None);
    filled(&store, &two, "2").await;
    assert_eq!(served(&store, &one, &write).await.unwrap(), "1");
}

async fn an_eviction_during_a_write_wins_whatever_the_variant(store: Store) {
    for place in [at("/a", &["g"]), variant(at("/a", &["g"]), "1")] {
        let write = lease(&store, &place, Claim::Override).await.unwrap();
        store.remove(&[evict_key(&place)]).await.unwrap();
        assert!(!put(&store, &place, &write, "old").await);
        assert_eq!(served(&store, &place, &write).await, None);
    }
}

async fn of_two_writes_of_different_variants_neither_outlives_the_other(store: Store) {
    let place = |value: &str| variant(at("/a", &["g"]), value);
    let (one, two) = (place("1"), place("2"));
    let first = lease(&store, &one, Claim::Override).await.unwrap();
    let second = lease(&store, &two, Claim::Override).await.unwrap();
    assert!(!put(&store, &one, &first, "1").await);
    assert!(!put(&store, &two, &second, "2").await);
    assert_eq!(served(&store, &one, &first).await, None);
    assert_eq!(served(&store, &two, &second).await, None);
}

async fn a_read_that_began_before_a_write_does_not_replace_what_was_written(store: Store) {
    for place in [at("/a", &["g"]), variant(at("/a", &["g"]), "1")] {
        let read = lease(&store, &place, Claim::IfFree).await.unwrap();
        let write = lease(&store, &place, Claim::Override).await.unwrap();
        assert!(put(&store, &place, &write, "new").await);
        assert!(!put(&store, &place, &read, "old").await);
        assert_eq!(served(&store, &place, &write).await.unwrap(), "new");
    }
}

async fn nonces_are_random_kept_and_prolonged(store: Store) {
    let place = at("/a", &["g"]);
    let short = LeaseTerms {
        hold: Duration::from_millis(20),
        lease: Duration::from_millis(20),
        entry: Some(Duration::from_millis(20)),
        reads_early: false,
    };
    let first = lease_for(&store, &place, Claim::Override, short)
        .await
        .unwrap();
    let second = lease(&store, &place, Claim::Override).await.unwrap();
    assert_eq!(first.stamps, second.stamps);
    assert_ne!(first.stamps[0], first.stamps[1]);
    assert_ne!(first.token, second.token);
    tokio::time::sleep(Duration::from_millis(60)).await;
    let third = lease_for(&store, &place, Claim::Override, short)
        .await
        .unwrap();
    assert_eq!(second.stamps, third.stamps, "the longest ttl counts");
    store.prolong(&place, None).await.unwrap();
    assert!(
        store
            .get(&place, false)
            .await
            .unwrap()
            .nonces
            .iter()
            .all(Option::is_some)
    );
}

#[tokio::test]
async fn memory_is_bounded_and_the_least_recently_used_goes_first() {
    let store = Store::Memory(MemoryStore::new("test", 20_000));
    let entry = "x".repeat(1_000);
    let place = |number: usize| at(&format!("/{number}"), &[]);
    let fill = async |number| {
        let lease = lease(&store, &place(number), Claim::IfFree).await.unwrap();
        store
            .put(&place(number), &lease, entry.clone().into(), None)
            .await
            .unwrap()
    };
    let is_found = async |number| {
        store
            .get(&place(number), false)
            .await
            .unwrap()
            .entry
            .is_some()
    };
    for number in 0..100 {
        assert!(fill(number).await);
        assert!(
            is_found(0).await,
            "0 is in use, and {number} was stored last"
        );
    }
    assert!(!is_found(1).await);
    assert!(is_found(99).await);
    let huge = place(100);
    for length in [20_000, 11_000] {
        let lease = lease(&store, &huge, Claim::IfFree).await.unwrap();
        let entry = "x".repeat(length).into();
        store.put(&huge, &lease, entry, None).await.unwrap();
        assert!(
            !is_found(100).await,
            "an entry larger than half of the memory is not stored"
        );
    }
}
