//! Evictions: sent to the store at once, and retried until the store takes them.

use std::sync::{Arc, Weak};

use tokio::runtime::Handle;
use tokio::time::sleep;

use super::{FIRST_EVICTION_RETRY, StoreClient};
use crate::engine::known_groups::Known;
use crate::key::{Address, Eviction, Owed};
use crate::observe::fault::Fault;
use crate::observe::{Measured, Operation};
use crate::store::LAST_EVICTION_RETRY;

/// The result of an eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Evicted {
    /// The store has taken the eviction: no process serves the entries any more.
    Everywhere,
    /// The store has not taken the eviction yet: other processes may still serve the entries.
    Pending,
}

impl StoreClient {
    /// Returns whether a pending eviction concerns an address.
    pub(crate) fn is_evicted(&self, at: &Address) -> bool {
        if self.pending_evictions() == 0 {
            return false;
        }
        let with = |known: Known| at.with_response_groups(&known.expected);
        let known = self.known_groups.of(at).map(with);
        self.queue.concerns(at) || known.is_some_and(|at| self.queue.concerns(&at))
    }

    /// Returns the number of pending evictions.
    pub(crate) fn pending_evictions(&self) -> usize {
        self.queue.len()
    }

    /// Evicts entries. Nothing else removes an entry before it expires.
    pub(crate) async fn evict(self: &Arc<Self>, evictions: &[Eviction]) -> Evicted {
        let Some(span) = self.observer().span(Operation::Evict) else {
            return pending_unless(self.send_or_hold(evictions).await.is_ok());
        };
        span.evicts(evictions);
        let sent = span.around(self.send_or_hold(evictions)).await;
        if let Err(fault) = &sent {
            span.failed(fault.name());
        }
        pending_unless(sent.is_ok())
    }

    /// Evicts in this process at once, and in the others as soon as the store is reachable.
    pub(crate) async fn evict_later(self: &Arc<Self>, evictions: &[Eviction]) {
        self.record_evictions(evictions);
        self.enqueue(evictions.iter().cloned().map(Owed::whole).collect());
        self.hold_response(evictions).await;
    }

    /// Sends evictions to the store. If the store does not take them and `hold_pending` is set,
    /// waits as long as other processes may serve the entries.
    async fn send_or_hold(self: &Arc<Self>, evictions: &[Eviction]) -> Result<(), Fault> {
        let sent = self.send(evictions).await;
        if sent.is_err() && self.hold_response(evictions).await {
            return Ok(());
        }
        sent
    }

    /// Waits as long as other processes may serve the entries, if `hold_pending` is set. Returns
    /// whether the store has taken the evictions meanwhile.
    async fn hold_response(&self, evictions: &[Eviction]) -> bool {
        let Some(time) = self.hold_pending else {
            return false;
        };
        sleep(time).await;
        !self.queue.contains_any_of(evictions)
    }

    /// Sends evictions to the store, and queues those that the store does not take.
    async fn send(self: &Arc<Self>, evictions: &[Eviction]) -> Result<(), Fault> {
        self.record_evictions(evictions);
        let started = self.observer().start();
        let mut left = Vec::new();
        let removed = self.store.remove(evictions).await.map_err(|failed| {
            left = failed.owed;
            failed.fault
        });
        self.forget_eviction_nonce(evictions.iter());
        let removed = self.recorded("remove", started, removed);
        if removed.is_err() {
            self.enqueue(left);
        } else if self.pending_evictions() > 0 {
            self.retry_evictions();
        }
        removed
    }

    fn enqueue(self: &Arc<Self>, owed: Vec<Owed>) {
        if self.queue.push(owed) {
            self.faults.record(&Fault::Overflow);
        }
        self.retry_evictions();
    }

    /// Counts and logs evictions by their targets.
    fn record_evictions(&self, evictions: &[Eviction]) {
        for eviction in evictions {
            let (target, group) = (eviction.target(), eviction.named_group());
            self.observer().record(Measured::Eviction { target });
            tracing::debug!(target, group, "evicted");
        }
    }

    /// Retries the queued evictions in the background, unless a task does so already.
    pub(crate) fn retry_evictions(self: &Arc<Self>) {
        if let Ok(runtime) = Handle::try_current()
            && self.queue.begin_retry()
        {
            let pending = self.pending_evictions();
            tracing::warn!(
                pending,
                "evictions queued: they are retried until the store takes them"
            );
            runtime.spawn(Retry(Arc::downgrade(self)).run());
        }
    }

    /// Forgets the eviction nonce, if one of some evictions removes it.
    fn forget_eviction_nonce<'a>(&self, mut evictions: impl Iterator<Item = &'a Eviction>) {
        if evictions.any(Eviction::concerns_responses) {
            self.seen_nonces.forget_eviction_nonce();
        }
    }

    /// Sends every pending eviction once, so that one unreachable server does not delay the
    /// evictions of the others. Returns whether the store took them all.
    async fn send_queued(&self) -> bool {
        let (attempts, mut has_succeeded) = (self.queue.attempts(), true);
        while let Some(batch) = self.queue.next_batch(attempts) {
            let removed = self.store.remove_owed(&batch.owed).await;
            self.forget_eviction_nonce(batch.owed.iter().map(|owed| &owed.eviction));
            let Err(left) = removed else {
                self.queue.finish_batch(&batch, Vec::new());
                continue;
            };
            has_succeeded = false;
            if left.is_everything {
                break;
            }
            self.queue.finish_batch(&batch, left.owed);
        }
        has_succeeded
    }
}

fn pending_unless(taken: bool) -> Evicted {
    if taken {
        Evicted::Everywhere
    } else {
        Evicted::Pending
    }
}

/// The task that retries pending evictions until the store has taken them all. If it is dropped
/// with its runtime, the next request that they concern starts a new task.
struct Retry(Weak<StoreClient>);

impl Retry {
    async fn run(mut self) {
        let mut delay = FIRST_EVICTION_RETRY;
        while let Some(client) = self.0.upgrade() {
            let has_succeeded = client.send_queued().await;
            if client.queue.finish_retry() {
                tracing::info!("the store has taken all queued evictions");
                self.0 = Weak::new();
                return;
            }
            drop(client);
            if has_succeeded {
                delay = FIRST_EVICTION_RETRY;
                continue;
            }
            sleep(delay).await;
            delay = LAST_EVICTION_RETRY.min(delay * 2);
        }
    }
}

impl Drop for Retry {
    fn drop(&mut self) {
        if let Some(client) = self.0.upgrade() {
            client.queue.abort_retry();
        }
    }
}
