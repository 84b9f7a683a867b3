//! A lease that this process holds, with its checks and renewals.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::client::StoreClient;
use crate::key::{Address, Group};
use crate::observe::fault::Fault;
use crate::store::{Claim, EntryStamps, Lease};

/// The right to store one entry, from before the handler runs until its lease ends.
#[derive(Clone)]
pub(crate) struct HeldLease {
    pub(super) client: Arc<StoreClient>,
    pub(super) at: Address,
    pub(super) lease: Lease,
    /// The end of the lease. Renewals do not extend it.
    pub(super) end: Instant,
}

impl HeldLease {
    /// Returns whether nothing was evicted since the lease was taken; `None`: the store has a fault, or a
    /// group was evicted that the response may not name.
    pub(super) async fn is_current(&self) -> Option<bool> {
        let found = self.client.lookup_as_is(&self.at, true).await.ok()?;
        self.lease.is_current(&found)
    }

    /// Renews the lease for a while; returns `false` if it was lost.
    pub(super) async fn renew(&self) -> bool {
        let hold = self.client.hold().min(self.remaining());
        let lease = &self.lease;
        let renewed = self.client.renew(&self.at, lease, lease.token, hold);
        // The client records a fault, and the lease may still be held.
        !matches!(renewed.await, Ok(false))
    }

    /// Lets other processes stop waiting for the entry; returns `false` if the lease was lost.
    ///
    /// After a fault the lease is held under the old token or the new one. This method releases the
    /// new one, and the caller releases the old one.
    pub(super) async fn make_unawaited(&mut self) -> Result<bool, Fault> {
        let token = self.lease.token.unawaited();
        let renewed = self
            .client
            .renew(&self.at, &self.lease, token, self.remaining());
        let renewed = renewed.await;
        match renewed {
            Ok(true) => self.lease.token = token,
            Ok(false) => {}
            Err(_) => {
                let (at, claim) = (self.at.clone(), self.lease.claim);
                self.client.release_later(at, claim, token);
            }
        }
        renewed
    }

    /// Releases the lease.
    pub(super) async fn release(&self) {
        let (claim, token) = (self.lease.claim, self.lease.token);
        self.client.release(&self.at, claim, token).await;
    }

    pub(super) fn is_of_write(&self) -> bool {
        self.lease.claim == Claim::Override
    }

    /// Returns the stamps for an entry whose response names groups; `None`: the nonce of a group was not
    /// read before the run.
    pub(super) fn stamps_for(&self, groups: &[Group]) -> Option<EntryStamps> {
        let read = self.lease.groups.as_deref();
        let with_nonce = |(at, group): (usize, &Group)| {
            let nonce = read?.nonce(at, group)?;
            Some((group.clone(), nonce))
        };
        Some(EntryStamps {
            address: self.lease.stamps.clone(),
            groups: groups
                .iter()
                .enumerate()
                .map(with_nonce)
                .collect::<Option<_>>()?,
            expected: Vec::new(),
        })
    }

    /// Returns the end of the lease. Renewals do not extend it.
    pub(crate) fn end(&self) -> Instant {
        self.end
    }

    /// Reads the nonces of groups after the run, for a test that must detect this error.
    #[cfg(test)]
    pub(super) async fn read_groups_again(&mut self, groups: &[Group]) {
        let at = self.at.with_response_groups(&groups.into());
        let seeded = self.client.prolong(&at, Some(Duration::from_secs(60)));
        if seeded.await.is_ok()
            && let Ok(found) = self.client.lookup_as_is(&at, true).await
        {
            self.lease.groups = found.groups;
        }
    }

    fn remaining(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }
}
