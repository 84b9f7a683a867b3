//! The end of a fill: its entry is stored, or its lease is released.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::clock;
use crate::engine::lease::HeldLease;
use crate::http::storable::NotStorable;
use crate::key::{Eviction, Group};
use crate::observe::{Measured, Writes, Written};
use crate::store::Claim;
use crate::store::entry::{Entry, hint};

/// The shortest time for which the groups of a response that was not stored are kept in the store.
const SHORTEST_HINT: Duration = Duration::from_secs(60);

/// The longest time for which the groups of a response that was not stored are kept in the store.
const LONGEST_HINT: Duration = Duration::from_secs(10 * 60);

/// The part of a fill that its last step needs.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) held: HeldLease,
    /// The name of the handler in metrics and spans.
    pub(super) handler: &'static str,
    /// The time for which the nonces of the lease are kept after the lease; `None`: no expiry.
    pub(super) kept_for: Option<Duration>,
}

/// The content that a fill stores.
pub(super) enum Content {
    /// A response or a value; `None`: it could not be encoded.
    Entry(Option<Entry>),
    /// No response: only the groups that the next response may name.
    Expected(Vec<Group>),
}

impl Content {
    fn lifetime(&self) -> Option<Duration> {
        match self {
            Self::Entry(entry) => entry.as_ref()?.lifetime(),
            Self::Expected(_) => None,
        }
    }
}

impl Work {
    /// Stores the content, and records the result in metrics, spans and the log.
    pub(super) async fn store_and_record(self, content: Content, stale_for: Duration) -> Written {
        let (client, handler) = (Arc::clone(&self.held.client), self.handler);
        let writes = match self.held.lease.claim {
            Claim::IfFree | Claim::Alone => Writes::Fill,
            Claim::Override => Writes::Through,
        };
        let written = match client.observer().span(writes.operation()) {
            None => self.store(content, stale_for).await,
            Some(span) => {
                span.about(handler, &self.held.at);
                span.ttl(content.lifetime());
                let written = span.around(self.store(content, stale_for)).await;
                span.written(written);
                written
            }
        };
        if written == Written::Superseded {
            tracing::debug!(
                handler,
                "response not stored: its entry was evicted or written after the fill began"
            );
        }
        client.observer().record(Measured::Write {
            handler,
            writes,
            written,
        });
        written
    }

    async fn store(self, content: Content, stale_for: Duration) -> Written {
        match content {
            Content::Entry(Some(entry)) => self.store_entry(entry, stale_for).await,
            Content::Entry(None) => {
                self.give_up().await;
                Written::Refused(NotStorable::TooLarge.name())
            }
            Content::Expected(groups) => self.store_expected(groups, stale_for).await,
        }
    }

    async fn store_entry(self, entry: Entry, stale_for: Duration) -> Written {
        // Uses the remaining lifetime, because the body may have taken a while.
        let fresh_for = entry.freshness(clock::now()).remaining();
        if fresh_for.is_some_and(|lifetime| lifetime.is_zero()) {
            self.give_up().await;
            return Written::Refused(NotStorable::AlreadyStale.name());
        }
        let ttl = fresh_for.map(|fresh_for| fresh_for.saturating_add(stale_for));
        self.put(entry, ttl).await
    }

    /// Stores the groups that the next response may name. Keeps the current entry, if there is one,
    /// because it can still be served, even when it is stale.
    async fn store_expected(self, groups: Vec<Group>, stale_for: Duration) -> Written {
        let HeldLease { client, at, .. } = &self.held;
        let kept = self.kept(stale_for).await;
        let stored = kept.iter().flat_map(|(entry, _)| entry.groups());
        let stored = stored.map(|(group, _)| Group::Owned(group.to_owned()));
        let known_groups = client.known_groups();
        let known = known_groups.learn_expected(at, stored.collect(), &groups);
        let (entry, ttl) = if let Some((entry, ttl)) = kept {
            (entry.expecting(known.more_than_stored()), ttl)
        } else {
            let kept_for = self.kept_for.unwrap_or(LONGEST_HINT);
            let ttl = kept_for.clamp(SHORTEST_HINT, LONGEST_HINT);
            (hint(&known.expected), Some(ttl))
        };
        let Some(entry) = entry.and_then(Entry::parse) else {
            self.give_up().await;
            return Written::Refused(NotStorable::NewGroups.name());
        };
        match self.put(entry, ttl).await {
            Written::Stored => Written::Refused(NotStorable::NewGroups.name()),
            written => written,
        }
    }

    /// Returns the current entry, and for how much longer it is kept (`None`: no expiry). A write keeps
    /// no entry.
    async fn kept(&self, stale_for: Duration) -> Option<(Entry, Option<Duration>)> {
        if self.held.is_of_write() {
            return None;
        }
        let HeldLease { client, at, .. } = &self.held;
        let entry = client.lookup(at, false).await.ok()?.into_entry()?;
        let Some(lifetime) = entry.lifetime() else {
            return Some((entry, None));
        };
        let age = entry.freshness(clock::now()).age();
        let ttl = lifetime.saturating_add(stale_for).checked_sub(age)?;
        (!ttl.is_zero()).then_some((entry, Some(ttl)))
    }

    async fn put(mut self, entry: Entry, ttl: Option<Duration>) -> Written {
        // From here on, only the groups that the entry names need nonces.
        let groups = entry
            .groups()
            .map(|(group, _)| Group::Owned(group.to_owned()));
        self.held.at.response_groups = entry.names_groups().then(|| groups.collect());
        let HeldLease {
            client, at, lease, ..
        } = &self.held;
        // The nonces were seeded for the lifetime that the route declares, but the handler may have
        // granted a longer one.
        if outlasts(ttl, self.kept_for) {
            let _ = client.prolong(at, ttl).await;
        }
        match client.fill(at, lease, entry.into_bytes(), ttl).await {
            Ok(true) => Written::Stored,
            Ok(false) => Written::Superseded,
            // The entry may have been stored, so it must be evicted. The request does not wait for
            // the eviction, because its time budget is used up.
            Err(fault) if fault.is_absence() => {
                if let Some(evictions) = self.evictions() {
                    client.evict_later(&evictions).await;
                } else {
                    let client = Arc::clone(client);
                    client.background().spawn(self.give_up());
                }
                Written::Failed(fault.name())
            }
            Err(fault) => {
                self.give_up().await;
                Written::Failed(fault.name())
            }
        }
    }

    pub(super) async fn give_up(self) {
        match self.evictions() {
            // The client retries an eviction that fails.
            Some(evictions) => {
                let _ = self.held.client.evict(&evictions).await;
            }
            None => self.held.release().await,
        }
    }

    /// Returns the evictions of a write that failed; `None`: the fill belongs to a read. The
    /// eviction of the key removes the lease, too.
    fn evictions(&self) -> Option<Vec<Eviction>> {
        let is_write = self.held.is_of_write();
        is_write.then(|| vec![Eviction::Key(self.held.at.key.clone())])
    }
}

/// Returns whether one lifetime is longer than another; `None`: no expiry.
fn outlasts(lifetime: Option<Duration>, other: Option<Duration>) -> bool {
    match (lifetime, other) {
        (Some(lifetime), Some(other)) => lifetime > other,
        (None, other) => other.is_some(),
        (Some(_), None) => false,
    }
}
