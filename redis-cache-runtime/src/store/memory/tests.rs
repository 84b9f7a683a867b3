//! Tests of the division into shards. `store::conformance` tests the protocol.

use std::sync::atomic::AtomicU64;

use super::*;
use crate::key::DeclaredGroups;
use crate::store::entry::StoredValue;

const TERMS: LeaseTerms = LeaseTerms {
    hold: Duration::from_secs(5),
    lease: Duration::from_secs(5),
    entry: None,
    reads_early: false,
};

/// So many keys are in several shards, whatever the seed of their hashes.
const KEYS: usize = 64;

fn store() -> MemoryStore {
    MemoryStore::new("test", 1 << 20)
}

fn key(number: usize) -> CacheKey {
    CacheKey::of_handler(format!("handler/{number}"), 7)
}

fn at(key: CacheKey) -> Address {
    Address {
        key,
        variant: None,
        groups: DeclaredGroups::Fixed(&["group"]),
        response_groups: None,
        mounted: None,
    }
}

fn places() -> Vec<Address> {
    (0..KEYS).map(|number| at(key(number))).collect()
}

fn owed(eviction: Eviction) -> [Owed; 1] {
    [Owed::whole(eviction)]
}

fn take_lease(store: &MemoryStore, place: &Address, claim: Claim) -> Option<Lease> {
    let token = Token::draw(claim).unwrap();
    match store.lease(place, claim, token, TERMS).unwrap() {
        Claimed::Taken(lease, _) => Some(lease),
        Claimed::Held(_) => None,
    }
}

/// Stores a value that is stamped with the nonces of a lease.
fn put(store: &MemoryStore, place: &Address, lease: &Lease, json: &str) -> bool {
    let value = StoredValue {
        lifetime: None,
        generated: 0,
    };
    let entry = value
        .encode(&lease.stamps.clone().into(), json.as_bytes())
        .unwrap();
    store.put(place, lease, entry, None)
}

fn fill(store: &MemoryStore, place: &Address, json: &str) {
    let lease = take_lease(store, place, Claim::IfFree).unwrap();
    assert!(put(store, place, &lease, json));
}

/// Returns the JSON of the current value.
fn found(store: &MemoryStore, place: &Address) -> Option<String> {
    let json = store.get(place, false).into_entry()?.json()?;
    Some(String::from_utf8(json.to_vec()).unwrap())
}

#[test]
fn evictions_reach_every_shard() {
    let group = || Eviction::Group("group".into());
    for eviction in [group(), Eviction::Handler(7), Eviction::All] {
        let store = store();
        for place in &places() {
            fill(&store, place, "1");
            assert_eq!(found(&store, place).as_deref(), Some("1"));
        }
        store.remove(&owed(eviction));
        for place in &places() {
            assert_eq!(found(&store, place), None);
        }
    }
}

#[test]
fn the_eviction_of_a_key_evicts_the_keys_that_extend_it_and_no_others() {
    let store = store();
    let extensions: Vec<_> = (0..KEYS).map(|it| at(key(it).extended("?q"))).collect();
    for place in places().iter().chain(&extensions) {
        fill(&store, place, "1");
    }
    store.remove(&owed(Eviction::Key(key(0))));
    for (number, (place, extension)) in places().iter().zip(&extensions).enumerate() {
        let is_kept = number > 0;
        assert_eq!(found(&store, place).is_some(), is_kept);
        assert_eq!(found(&store, extension).is_some(), is_kept);
    }
}

#[test]
fn the_witness_changes_with_every_eviction_and_is_never_the_same_again() {
    let store = store();
    let mut seen = std::collections::HashSet::new();
    let eviction = owed(Eviction::Key(key(0)));
    for _ in 0..10 {
        let witness = store.witness();
        assert_eq!(store.witness(), witness);
        assert!(seen.insert(witness));
        store.remove(&eviction);
        assert_eq!(store.witness.get(), None);
    }
    let witness = store.witness();
    store.remove(&owed(Eviction::Key(CacheKey::of_value(None, "value"))));
    assert_eq!(store.witness(), witness, "a value is no response");
}

#[test]
fn a_response_of_the_default_largest_size_fits_into_the_default_memory() {
    let settings = crate::settings::Settings::default();
    let store = MemoryStore::new("test", settings.max_memory_bytes);
    let json = "1".repeat(settings.max_body_bytes);
    for place in &places() {
        fill(&store, place, &json);
        assert!(found(&store, place).is_some());
        assert!(store.used.load(Ordering::Relaxed) <= settings.max_memory_bytes);
    }
}

#[test]
fn threads_keep_the_limit_and_the_count_of_the_memory() {
    const LIMIT: usize = 50_000;
    let store = MemoryStore::new("test", LIMIT);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..2_000 {
                    let place = at(key(number * 4 + thread));
                    // Another thread may evict the lease.
                    if let Some(lease) = take_lease(store, &place, Claim::IfFree) {
                        put(store, &place, &lease, "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]");
                    }
                    let _ = found(store, &at(key(thread)));
                    store.remove(&owed(Eviction::Key(key(number))));
                }
            });
        }
    });
    let used = store.used.load(Ordering::Relaxed);
    let counted: usize = (0..SHARDS).map(|at| store.read(at).used).sum();
    assert_eq!(used, counted);
    assert!(used <= LIMIT, "{used}");
    assert!(used > LIMIT / 2, "{used}");
}

/// Threads fill keys with the version that they read under their lease, while another thread raises the
/// version and evicts the group.
#[test]
fn what_was_read_before_an_eviction_is_not_found_after_it() {
    const EVICTIONS: u64 = 500;
    let (store, version) = (store(), AtomicU64::new(0));
    let current = || version.load(Ordering::SeqCst);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while current() < EVICTIONS {
                    for place in &places() {
                        if let Some(lease) = take_lease(&store, place, Claim::IfFree) {
                            put(&store, place, &lease, &current().to_string());
                        }
                    }
                }
            });
        }
        for _ in 0..EVICTIONS {
            version.fetch_add(1, Ordering::SeqCst);
            store.remove(&owed(Eviction::Group("group".into())));
            for place in &places() {
                let found: Option<u64> = found(&store, place).map(|json| json.parse().unwrap());
                assert!(found.is_none_or(|found| found >= current()));
            }
        }
    });
}
