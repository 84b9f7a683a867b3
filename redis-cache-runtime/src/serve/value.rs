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
use super::pending::PendingEviction;
use super::reuse::freshness;
use super::search::{Plan, Search, Sought};
use crate::cache::Cache;
use crate::clock;
use crate::entry::{Entry, StoredValue};
use crate::http::freshness::Reuse;
use crate::key::{Address, Eviction};
use crate::store::Claim;

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
}

/// The JSON of the value at an address, if there is one that is fresh.
pub(crate) async fn find(cache: Cache, at: Address) -> Option<Bytes> {
    let entry = cache.lookup(&at).await.ok()??;
    fresh_json(&entry)
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
    let mut search = Search::new(cache, at, sought);
    let (fill, lead) = match search.run().await {
        Ok(value) => return Ok(value),
        Err(Plan::Bypass | Plan::Unstored) => return make().await,
        Err(Plan::Fill(fill, lead)) => (fill, lead),
        Err(Plan::Refresh(fill, lead, _)) => (fill, Some(lead)),
    };
    let result = match &lead {
        Some(lead) => lead.run(&fill, make()).await,
        None => make().await,
    };
    let value = result.as_ref().ok();
    if let Some(json) = value.and_then(|value| encode(value, &search.cache)) {
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
        return pending.run().await;
    };
    match Fill::begin(cache, at, Claim::Override, lifetime).await {
        Begun::Fill(fill, _) => {
            // From here on the fill does it.
            pending.cancel();
            store(fill, lifetime, &json, None).await;
        }
        Begun::Held(_) | Begun::Fault => pending.run().await,
    }
}

/// Fills the cache with a value.
async fn store(fill: Fill, lifetime: Option<Duration>, json: &[u8], lead: Option<Lead>) {
    let generated = clock::now();
    let value = StoredValue {
        lifetime,
        generated,
    };
    let entry = fill.stamps().and_then(|stamps| value.encode(stamps, json));
    fill.store(entry.and_then(Entry::parse), Duration::ZERO, lead)
        .await;
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
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T, cache: &Cache) -> Option<Vec<u8>> {
    match serde_json::to_vec(value) {
        Ok(json) if json.len() <= cache.max_body_bytes() => Some(json),
        Ok(_) => {
            name_reason::<T>("it is too large");
            None
        }
        Err(_) => {
            name_reason::<T>("serde_json cannot write it");
            None
        }
    }
}

/// Names a reason in the log, once for each type. It tells nothing of the value, nor does it repeat
/// an error that may.
fn name_reason<T: ?Sized>(reason: &'static str) {
    static NAMED: Mutex<BTreeSet<(&str, &str)>> = Mutex::new(BTreeSet::new());
    let of = std::any::type_name::<T>();
    let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
    if named.insert((of, reason)) {
        tracing::warn!(of, reason, "a value is not stored");
    }
}
