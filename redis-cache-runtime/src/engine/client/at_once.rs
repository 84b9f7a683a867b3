//! Lookups that need no future, because the entry is in the memory of this process.

use std::sync::Arc;

use super::{StoreClient, names_groups};
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
        if let Some(known) = self.known_groups.of(at) {
            let in_groups = at.with_response_groups(&known.stored);
            let ended = self.lookup_as_is_at_once(&in_groups)?;
            return self.learn_and_repeat_at_once(at, ended);
        }
        let ended = self.lookup_as_is_at_once(at);
        match &ended {
            Some(found) if names_groups(found) => self.learn_and_repeat_at_once(at, ended?),
            _ => ended,
        }
    }

    fn learn_and_repeat_at_once(
        self: &Arc<Self>,
        at: &Address,
        mut ended: Result<Found, Fault>,
    ) -> Option<Result<Found, Fault>> {
        let found = ended.as_mut().ok();
        match found.and_then(|found| self.known_groups.learn_found(at, found)) {
            None => Some(ended),
            Some(groups) => self.lookup_as_is_at_once(&at.with_response_groups(&groups)),
        }
    }

    fn lookup_as_is_at_once(self: &Arc<Self>, at: &Address) -> Option<Result<Found, Fault>> {
        if let Err(pending) = self.check_pending(at) {
            return Some(Err(pending));
        }
        let started = self.observer().start();
        let mut ended = Ok(self.store.get_at_once(at)?);
        self.end_lookup(at, started, &mut ended);
        Some(ended)
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
