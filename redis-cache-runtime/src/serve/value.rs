//! Values: looked up in the store, or made and stored, by the same protocol as the responses of
//! handlers.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::response_parts::Groups;
use super::store_response::named;
use crate::engine::due_eviction::DueEviction;
use crate::engine::fill::{Begun, Fill};
use crate::engine::known_groups::MAX_GROUPS;
use crate::engine::plan::{Destination, Plan};
use crate::engine::search::{Search, Searched, Sought};
use crate::engine::{Engine, clock};
use crate::http::cache_status::Outcome;
use crate::http::freshness::Reuse;
use crate::http::storable::NotStorable;
use crate::key::{Address, Eviction, Group};
use crate::observe::{Measured, Operation, Writes, Written};
use crate::store::entry::{Entry, StoredValue};
use crate::store::{Claim, EntryStamps};

/// The name of all values in metrics and spans, in place of the name of a handler.
const VALUES: &str = "values";

/// The target of a search for a value of type `T`, which is stored for `lifetime` (`None`: no
/// expiry).
struct Value<T> {
    lifetime: Option<Duration>,
    of: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Sought for Value<T> {
    type Stored = T;

    fn reuse(&self, entry: &Entry) -> Option<(Reuse, T)> {
        let value = decode(&fresh_json(entry)?)?;
        Some((Reuse::Fresh, value))
    }

    fn kept_for(&self, _: &Engine) -> Option<Duration> {
        self.lifetime
    }

    fn handler(&self) -> &'static str {
        VALUES
    }
}

/// Returns the JSON of the value at an address, if there is a fresh one.
pub(crate) async fn get(engine: Engine, at: Address) -> Option<Bytes> {
    let Some(span) = engine.observer().span(Operation::Get) else {
        return look_up(&engine, &at).await.1;
    };
    span.about(VALUES, &at);
    let (outcome, json) = span.around(look_up(&engine, &at)).await;
    span.answered(outcome.name(false), json.is_some());
    json
}

async fn look_up(engine: &Engine, at: &Address) -> (Outcome, Option<Bytes>) {
    let (outcome, json) = match engine.client().lookup(at, false).await {
        Ok(found) => match found.into_entry().as_ref().and_then(fresh_json) {
            Some(json) => (Outcome::Hit, Some(json)),
            None => (Outcome::Miss, None),
        },
        Err(_) => (Outcome::Bypass, None),
    };
    record_request(engine, outcome, false);
    (outcome, json)
}

/// Counts a request for a value.
fn record_request(engine: &Engine, outcome: Outcome, collapsed: bool) {
    engine.observer().record(Measured::Request {
        handler: VALUES,
        result: outcome.name(collapsed),
    });
}

/// Returns the value at an address. If there is none, makes one with its groups, and stores it.
pub(crate) async fn get_or_make<T, E>(
    engine: Engine,
    at: Address,
    lifetime: Option<Duration>,
    make: impl AsyncFnOnce() -> Result<(Groups, T), E>,
) -> Result<T, E>
where
    T: Serialize + DeserializeOwned,
{
    let sought = Value {
        lifetime,
        of: PhantomData,
    };
    let destination = match Search::new(&engine, &at, &sought).run(None).await {
        Searched::Stored(value, collapsed) => {
            record_request(&engine, Outcome::Hit, collapsed.is_some());
            return Ok(value);
        }
        Searched::Run(forward, plan) => {
            record_request(&engine, forward.outcome(), false);
            match plan {
                Plan::Run(destination) => destination,
                Plan::Refresh(fill, _) => Destination::Store(fill),
            }
        }
    };
    let result = destination.run(make()).await;
    let json = || {
        let (groups, value) = result.as_ref().ok()?;
        let json = encode(value, groups, Writes::Fill, &engine)?;
        Some((json, named(&engine, groups)))
    };
    match destination {
        Destination::Nowhere => {}
        Destination::Followers(turn) => {
            turn.share(|| Entry::parse(entry_of(lifetime, &EntryStamps::default(), &json()?.0)?));
        }
        Destination::Store(fill) => match json() {
            Some((json, groups)) => store(fill, lifetime, groups, &json).await,
            None => fill.abandon().await,
        },
    }
    result.map(|(_, value)| value)
}

/// Stores a value in its groups in place of the old one, or evicts if there is no JSON to store. If it is
/// dropped before its end, it evicts.
pub(crate) async fn write(
    engine: Engine,
    at: Address,
    lifetime: Option<Duration>,
    groups: &Groups,
    json: Option<Vec<u8>>,
) {
    let evictions = vec![Eviction::Key(at.key.clone())];
    let pending = DueEviction::new(engine.client().clone(), evictions);
    let Some(json) = json else {
        pending.run().await;
        return;
    };
    let groups = named(&engine, groups);
    // The lease reads their nonces.
    let at = match &*groups {
        [] => at,
        groups => at.with_response_groups(&groups.into()),
    };
    match Fill::begin(
        engine.client().clone(),
        at,
        VALUES,
        Claim::Override,
        lifetime,
        None,
    )
    .await
    {
        Begun::Fill(fill, _) => {
            // From here on, the fill evicts if it is dropped.
            pending.cancel();
            store(fill, lifetime, groups, &json).await;
        }
        Begun::ReadTooEarly(_) | Begun::Held(_) | Begun::Fault => drop(pending.run().await),
    }
}

/// Stores a value in its groups under a fill.
async fn store(fill: Box<Fill>, lifetime: Option<Duration>, groups: Vec<Group>, json: &[u8]) {
    let Some(stamps) = fill.stamps_for(&groups) else {
        fill.expect(groups, Duration::ZERO).await;
        return;
    };
    let entry = entry_of(lifetime, &stamps, json);
    fill.store(entry.and_then(Entry::parse), Duration::ZERO)
        .await;
}

/// Returns the entry of a value that was made just now.
fn entry_of(lifetime: Option<Duration>, stamps: &EntryStamps, json: &[u8]) -> Option<Bytes> {
    let value = StoredValue {
        lifetime,
        generated: clock::now(),
    };
    value.encode(stamps, json)
}

/// Returns the JSON of an entry, if the entry is a value and fresh.
fn fresh_json(entry: &Entry) -> Option<Bytes> {
    entry
        .json()
        .filter(|_| entry.freshness(clock::now()).is_fresh())
}

/// Decodes a value; `None`: the JSON is not a value of that type.
pub(crate) fn decode<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    serde_json::from_slice(json)
        .inspect_err(|error| {
            let (of, category) = (std::any::type_name::<T>(), error.classify());
            tracing::debug!(of, ?category, "a value is of another type");
        })
        .ok()
}

/// Encodes a value; `None`: the value cannot be stored in its groups. The log names the reason.
pub(crate) fn encode<T: Serialize + ?Sized>(
    value: &T,
    groups: &Groups,
    writes: Writes,
    engine: &Engine,
) -> Option<Vec<u8>> {
    let of = std::any::type_name::<T>();
    if groups.len() > MAX_GROUPS {
        let name = NotStorable::TooManyGroups.name();
        refuse(of, name, "it names more than 256 groups", writes, engine);
        return None;
    }
    match serde_json::to_vec(value) {
        Ok(json) if json.len() <= engine.max_body_bytes() => return Some(json),
        Ok(_) => {
            let name = NotStorable::TooLarge.name();
            refuse(of, name, "it is too large", writes, engine);
        }
        Err(_) => refuse(of, "no-json", "serde_json cannot write it", writes, engine),
    }
    None
}

/// Counts that a value is not stored, and logs the reason once for each type. The log line holds
/// neither the value nor the error of serde, which may quote the value.
fn refuse(
    of: &'static str,
    name: &'static str,
    reason: &'static str,
    writes: Writes,
    engine: &Engine,
) {
    static NAMED: Mutex<BTreeSet<(&str, &str)>> = Mutex::new(BTreeSet::new());
    engine.observer().record(Measured::Write {
        handler: VALUES,
        writes,
        written: Written::Refused(name),
    });
    let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
    if named.insert((of, reason)) {
        tracing::warn!(of, reason, "a value is not stored");
    }
}
