//! Lookups that need no future, because the entry is in the memory of this process.

use std::sync::Arc;

use super::StoreClient;
use crate::key::Address;
use crate::observe::fault::Fault;
use crate::store::Found;

impl StoreClient {
    /// Looks up an entry like [`lookup`](Self::lookup), but at once. `None`: the lookup has to wait for
    /// Redis.
    pub(crate) fn lookup_at_once(self: &Arc<Self>, at: &Address) -> Option<Result<Found, Fault>> {
        if !self.store.answers_at_once() {
            return None;
        }
        let mut found = match self.known_groups.of(at) {
            None => self.lookup_as_is_at_once(at)?,
            Some(known) => self.lookup_as_is_at_once(&at.with_response_groups(&known.stored))?,
        };
        let read = found.as_mut().ok();
        let unread = read.and_then(|found| self.known_groups.learn_found(at, found));
        match unread {
            None => Some(found),
            Some(groups) => self.lookup_as_is_at_once(&at.with_response_groups(&groups)),
        }
    }

    fn lookup_as_is_at_once(self: &Arc<Self>, at: &Address) -> Option<Result<Found, Fault>> {
        if let Err(pending) = self.check_pending(at) {
            return Some(Err(pending));
        }
        let started = self.observer().start();
        let mut found = self.store.get_at_once(at)?;
        self.complete(at, &mut found);
        Some(self.recorded("get", started, Ok(found)))
    }

    /// Fails while an eviction of the address is pending, and retries the eviction if that is due.
    pub(super) fn check_pending(self: &Arc<Self>, at: &Address) -> Result<(), Fault> {
        if self.queue.concerns(at) {
            self.retry_evictions();
            return Err(Fault::EvictionPending);
        }
        Ok(())
    }

    /// Takes the nonce that every eviction removes out of the result of a lookup, and adds the stamp of
    /// the mount.
    pub(super) fn complete(&self, at: &Address, found: &mut Found) {
        let witness = at.reads_early().then(|| found.nonces.pop()).flatten();
        if let Some(witness) = witness.flatten() {
            self.seen_nonces.learn_eviction_nonce(Some(witness));
        }
        if let Some(mounted) = at.mounted {
            found.nonces.push(Some(mounted.stamp()));
        }
    }
}
