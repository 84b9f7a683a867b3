//! A lease that this process holds.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::client::StoreClient;
use crate::key::Address;
use crate::observe::fault::Fault;
use crate::store::{Claim, Lease, Stamps};

/// The right to store one entry, from before the handler runs until its lease ends.
#[derive(Clone)]
pub(crate) struct HeldLease {
    pub(super) client: Arc<StoreClient>,
    pub(super) at: Address,
    pub(super) lease: Lease,
    /// The end of the lease, however long the handler takes.
    pub(super) end: Instant,
}

impl HeldLease {
    /// Returns whether nothing was evicted since the lease was taken; `None` when the store cannot tell.
    pub(super) async fn is_current(&self) -> Option<bool> {
        let found = self.client.lookup(&self.at, true).await.ok()?;
        Some(self.lease.is_current(&found))
    }

    /// Holds the lease a while longer; `false` when it was lost.
    pub(super) async fn renew(&self) -> bool {
        let hold = self.client.hold().min(self.left());
        let lease = &self.lease;
        let renewed = self.client.renew(&self.at, lease, lease.token, hold);
        // A fault is recorded by the client, and the lease may be held still.
        !matches!(renewed.await, Ok(false))
    }

    /// Tells other processes not to wait for what is stored under the lease; `false` when it was lost.
    ///
    /// After a fault the lease is held under the old token or the new one: the new one is given back
    /// here, the old one by the caller.
    pub(super) async fn make_unawaited(&mut self) -> Result<bool, Fault> {
        let token = self.lease.token.unawaited();
        let renewed = self.client.renew(&self.at, &self.lease, token, self.left());
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

    /// Gives the lease back.
    pub(super) async fn release(&self) {
        let (claim, token) = (self.lease.claim, self.lease.token);
        self.client.release(&self.at, claim, token).await;
    }

    pub(super) fn is_of_write(&self) -> bool {
        self.lease.claim == Claim::Override
    }

    /// The stamps of the entry.
    pub(crate) fn stamps(&self) -> &Stamps {
        &self.lease.stamps
    }

    /// The end of the lease, however often it is renewed.
    pub(crate) fn end(&self) -> Instant {
        self.end
    }

    fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }
}
