//! Values: found in the store, or made and stored, like the responses of handlers.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fill::{Begun, Fill};
use super::flight::Lead;
use super::outcome::Outcome;
use super::pending::PendingEviction;
use super::reuse::freshness;
use super::search::{Plan, Search, Sought};
use super::turns::Turn;
use crate::cache::Cache;
use crate::clock;
use crate::entry::{Entry, StoredValue};
use crate::http::freshness::Reuse;
use crate::http::storable::NotStorable;
use crate::key::{Address, Eviction};
use crate::observe::{Measured, Operation, Writes, Written};
use crate::store::{Claim, Stamps};

/// What metrics and spans call values: they have no handler.
const VALUES: &str = "values";

/// A value of that type, which is stored for `lifetime` (`None`: no expiry).
struct Value<T> {
    lifetime: Option<Duration>,
    of: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Sought for Value<T> {
    type Answer = T;

    fn reuse(&self, entry: &Entry) -> Option<(Reuse, T)> {
        let value = decode(&fresh_json(entry)?)?;
        Some((Reuse::Fresh, value))
    }

    fn kept_for(&self, _: &Cache) -> Option<Duration> {
        self.lifetime
    }

    fn handler(&self) -> &'static str {
        VALUES
    }
}

/// The JSON of the value at an address, if there is one that is fresh.
pub(crate) async fn find(cache: Cache, at: Address) -> Option<Bytes> {
    let Some(span) = cache.observer().span(Operation::Get) else {
        return look(&cache, &at).await.1;
    };
    span.about(VALUES, &at);
    let (outcome, json) = span.around(look(&cache, &at)).await;
    span.answered(outcome.name(false), json.is_some());
    json
}

async fn look(cache: &Cache, at: &Address) -> (Outcome, Option<Bytes>) {
    let (outcome, json) = match cache.look(at, false).await {
        Ok(found) => match found.into_entry().as_ref().and_then(fresh_json) {
            Some(json) => (Outcome::Hit, Some(json)),
            None => (Outcome::Miss, None),
        },
        Err(_) => (Outcome::Bypass, None),
    };
    asked(cache, outcome, false);
    (outcome, json)
}

/// Counts that a value was asked for.
fn asked(cache: &Cache, outcome: Outcome, collapsed: bool) {
    cache.observer().record(Measured::Request {
        handler: VALUES,
        result: outcome.name(collapsed),
    });
}

/// The value at an address, or what is made and stored there because there is none.
pub(crate) async fn find_or_make<T, E>(
    cache: Cache,
    at: Address,
    lifetime: Option<Duration>,
    make: impl AsyncFnOnce() -> Result<T, E>,
) -> Result<T, E>
where
    T: Serialize + DeserializeOwned,
{
    let sought = Value {
        lifetime,
        of: PhantomData,
    };
    let mut search = Search::new(&cache, &at, &sought);
    let found = search.run().await;
    let (outcome, collapsed) = match &found {
        Ok(_) => (Outcome::Hit, search.collapsed),
        Err(_) => (search.forward.outcome(), false),
    };
    asked(&cache, outcome, collapsed);
    let (fill, lead) = match found {
        Ok(value) => return Ok(value),
        Err(Plan::Bypass | Plan::Unstored) => return make().await,
        Err(Plan::InTurn(turn)) => return make_in_turn(*turn, lifetime, &cache, make).await,
        Err(Plan::Fill(fill, lead)) => (fill, lead),
        Err(Plan::Refresh(fill, lead, _)) => (fill, Some(lead)),
    };
    let result = match &lead {
        Some(lead) => lead.run(&fill, make()).await,
        None => make().await,
    };
    let value = result.as_ref().ok();
    if let Some(json) = value.and_then(|value| encode(value, Writes::Fill, &cache)) {
        store(fill, lifetime, &json, lead).await;
    } else {
        // They make it themselves, and the first of them may find the lease free.
        fill.abandon().await;
        if let Some(lead) = lead {
            lead.fail();
        }
    }
    result
}

/// Makes a value that is not stored, for all who wait for it.
async fn make_in_turn<T: Serialize, E>(
    turn: Turn,
    lifetime: Option<Duration>,
    cache: &Cache,
    make: impl AsyncFnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let result = turn.run(make()).await;
    turn.share(|| {
        let json = encode(result.as_ref().ok()?, Writes::Fill, cache)?;
        Entry::parse(entry_of(lifetime, &Stamps::default(), &json)?)
    });
    result
}

/// Stores a value as what is found next, or evicts what is there. Dropped half-way, it evicts.
pub(crate) async fn write(
    cache: Cache,
    at: Address,
    lifetime: Option<Duration>,
    json: Option<Vec<u8>>,
) {
    let evictions = vec![Eviction::Key(at.key.clone())];
    let pending = PendingEviction::new(cache.clone(), evictions);
    let Some(json) = json else {
        pending.run().await;
        return;
    };
    match Fill::begin(cache, at, VALUES, Claim::Override, lifetime, None).await {
        Begun::Fill(fill, _) => {
            // From here on the fill does it.
            pending.cancel();
            store(fill, lifetime, &json, None).await;
        }
        Begun::ReadTooEarly(_) | Begun::Held(_) | Begun::Fault => drop(pending.run().await),
    }
}

/// Fills the cache with a value.
async fn store(fill: Fill, lifetime: Option<Duration>, json: &[u8], lead: Option<Lead>) {
    let stamps = fill.stamps();
    let entry = stamps.and_then(|stamps| entry_of(lifetime, stamps, json));
    fill.store(entry.and_then(Entry::parse), Duration::ZERO, lead)
        .await;
}

/// The entry of a value that was made just now.
fn entry_of(lifetime: Option<Duration>, stamps: &Stamps, json: &[u8]) -> Option<Bytes> {
    let value = StoredValue {
        lifetime,
        generated: clock::now(),
    };
    value.encode(stamps, json)
}

/// The JSON of an entry, if it is a value and fresh.
fn fresh_json(entry: &Entry) -> Option<Bytes> {
    entry.json().filter(|_| freshness(entry).is_fresh())
}

/// The value, if the JSON is one of that type.
pub(crate) fn decode<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    serde_json::from_slice(json)
        .inspect_err(|error| {
            let (of, category) = (std::any::type_name::<T>(), error.classify());
            tracing::debug!(of, ?category, "a value is of another type");
        })
        .ok()
}

/// The JSON of a value, if it can be stored; the log says why not.
pub(crate) fn encode<T: Serialize + ?Sized>(
    value: &T,
    writes: Writes,
    cache: &Cache,
) -> Option<Vec<u8>> {
    let of = std::any::type_name::<T>();
    match serde_json::to_vec(value) {
        Ok(json) if json.len() <= cache.max_body_bytes() => return Some(json),
        Ok(_) => {
            let name = NotStorable::TooLarge.name();
            refuse(of, name, "it is too large", writes, cache);
        }
        Err(_) => refuse(of, "no-json", "serde_json cannot write it", writes, cache),
    }
    None
}

/// Names a reason in the log, once for each type, and counts it. It tells nothing of the value, nor
/// does it repeat an error that may.
fn refuse(
    of: &'static str,
    name: &'static str,
    reason: &'static str,
    writes: Writes,
    cache: &Cache,
) {
    static NAMED: Mutex<BTreeSet<(&str, &str)>> = Mutex::new(BTreeSet::new());
    cache.observer().record(Measured::Write {
        handler: VALUES,
        writes,
        written: Written::Refused(name),
    });
    let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
    if named.insert((of, reason)) {
        tracing::warn!(of, reason, "a value is not stored");
    }
}
