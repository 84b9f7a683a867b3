//! Explains a request instead of answering it, by the same rules as a read.

use super::explanation::{Explanation, LeaseState, StoredEntry};
use super::stored::ReadRequest;
use crate::engine::search::Sought;
use crate::engine::{Engine, clock};
use crate::http::freshness::Reuse;
use crate::http::storable::NotStorable;
use crate::key::Address;
use crate::store::entry::Entry;
use crate::store::{Found, FoundEntry};

/// Explains how the cache would handle a request. Changes nothing.
pub(super) async fn explain(
    engine: &Engine,
    at: &Address,
    sought: &ReadRequest,
    usable: Result<(), NotStorable>,
) -> Explanation {
    let mut explanation = Explanation {
        handler: sought.route.name(),
        key: at.key.text().to_owned(),
        variant: at.variant.as_ref().map(|variant| variant.text().to_owned()),
        groups: at.groups.iter().map(str::to_owned).collect(),
        outcome: "BYPASS",
        reason: String::new(),
        entry: None,
        eviction_is_pending: engine.client().is_evicted(at),
        is_filled_here: engine.flights().has(at),
        lease: LeaseState::Unknown,
        not_stored: sought.route.named_reasons().collect(),
    };
    if let Err(reason) = usable {
        reason.reason().clone_into(&mut explanation.reason);
        return explanation;
    }
    match engine.client().lookup(at, true).await {
        Err(fault) => explanation.reason = fault.to_string(),
        Ok(found) => explain_found(&mut explanation, found, at, sought),
    }
    explanation
}

fn explain_found(explanation: &mut Explanation, found: Found, at: &Address, sought: &ReadRequest) {
    explanation.lease = match found.holder {
        None => LeaseState::Free,
        Some(holder) if holder.is_awaited() => LeaseState::Awaited,
        Some(_) => LeaseState::Unawaited,
    };
    let stored = found.entry.clone().and_then(FoundEntry::parse);
    let is_hint = stored.as_ref().is_some_and(Entry::is_hint);
    if let Some(entry) = &stored {
        let groups = entry.groups().map(|(group, _)| group.to_owned());
        explanation.groups.extend(groups);
    }
    explanation.entry = stored.filter(|_| !is_hint).map(|entry| {
        let freshness = entry.freshness(clock::now());
        StoredEntry {
            age: freshness.age(),
            fresh_for: freshness.remaining(),
            evicted: evicted(&entry, &found, at),
        }
    });
    let is_corrupt = found.entry.is_some() && explanation.entry.is_none() && !is_hint;
    let (outcome, reason) = match found.into_entry() {
        None if is_hint => (
            "MISS",
            "the last response named groups for the first time, so it was not stored",
        ),
        entry => verdict(entry, is_corrupt, explanation, sought),
    };
    explanation.outcome = outcome;
    reason.clone_into(&mut explanation.reason);
}

/// Returns the outcome of such a request, and its reason.
fn verdict(
    current: Option<Entry>,
    is_corrupt: bool,
    explanation: &Explanation,
    sought: &ReadRequest,
) -> (&'static str, &'static str) {
    let Some(entry) = current else {
        let reason = match &explanation.entry {
            Some(_) => "the stored response has been evicted",
            None if is_corrupt => "the stored entry cannot be decoded",
            None if explanation.variant.is_some() => {
                "nothing is stored under this variant of the key"
            }
            None => "nothing is stored under the key",
        };
        return ("MISS", reason);
    };
    match sought.reuse(&entry).map(|(reuse, _)| reuse) {
        Some(Reuse::Fresh) => ("HIT", "the stored response is fresh"),
        Some(Reuse::WhileRevalidating) => ("STALE", "the stored response is stale, and refreshed"),
        Some(Reuse::Stale) => (
            "STALE",
            "the stored response is stale, which the request accepts",
        ),
        Some(Reuse::No) | None if entry.freshness(clock::now()).is_fresh() => (
            "MISS",
            "the Cache-Control of the request rules out the stored response",
        ),
        Some(Reuse::No) | None => ("MISS", "the stored response is stale"),
    }
}

/// Returns the names of the nonces that have changed since an entry was stamped with them.
fn evicted(entry: &Entry, found: &Found, at: &Address) -> Vec<String> {
    let base = at.key.base().map(|_| "the values of the path");
    let variants = at.is_stamped_by_key().then_some("the variants of the key");
    let mount = at.mounted.map(|_| "another mount of the handler");
    let names = std::iter::once("everything")
        .chain(base)
        .chain(variants)
        .chain(at.groups.iter())
        .chain(mount);
    let names: Vec<&str> = names.collect();
    let stamps = entry.stamps();
    if stamps.len() != names.len() {
        return vec!["the groups it was stored in".to_owned()];
    }
    let current = found.nonces.iter();
    let stamped = names.into_iter().zip(stamps).zip(current);
    let others =
        stamped.filter(|((_, stamp), nonce)| nonce.as_ref().map(|it| &it[..]) != Some(*stamp));
    let others = others.map(|((name, _), _)| name);
    others
        .chain(found.evicted_groups(entry))
        .map(str::to_owned)
        .collect()
}
