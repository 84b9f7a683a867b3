//! Stores in a cluster slot that is migrating to another node.
//!
//! Names that the old node still has are read and changed there, all others on the new node, which an
//! `ASK` redirection names. A node runs a script about two names only if it has both. The new node has a
//! lease that was taken during the migration, but no node has the entry yet.

use std::time::Duration;

use super::RedisStore;
use super::commands::{STORE_ALONE, eval, millis};
use crate::key::{Address, Eviction};
use crate::observe::fault::Fault;
use crate::store::{Claim, Lease};
use redis::Value;

impl RedisStore {
    /// Stores an entry like [`put`](Self::put), by a script that names the lease alone, so that it runs on
    /// the node of the lease.
    ///
    /// All other names are deleted before, on both nodes, so that the script may write on the new node. A
    /// lease on the old node was taken before the migration began. It counts as lost, because the entry
    /// cannot be stored there any more.
    pub(super) async fn put_in_migrating_slot(
        &self,
        at: &Address,
        lease: &Lease,
        entry: &[u8],
        ttl: Option<Duration>,
    ) -> Result<bool, Fault> {
        let (lease_name, entry_name) = (lease.claim.lease(&self.names, at), self.names.entry(at));
        let is_write = lease.claim == Claim::Override;
        let key = Eviction::Key(at.key.clone());
        let mut everything = vec![lease_name];
        if is_write {
            everything.push(self.names.lease(at));
            everything.extend(self.names.evicted(&key));
        }
        everything.push(entry_name);
        let but_lease = everything.iter().filter(|name| **name != lease_name);
        self.delete_all(but_lease.copied().collect()).await?;

        let mut command = eval(STORE_ALONE, &[lease_name]);
        command.arg(&lease.token.0).arg(millis(ttl));
        command.arg(super::Arg(entry_name)).arg(entry);
        if let Some(variants) = lease.variants.as_deref().filter(|_| is_write) {
            command.arg(super::Arg(self.names.variants(&at.key)));
            command.arg(variants);
        }
        match self.servers.run(lease_name, command).await {
            Ok(Value::Int(1)) => return Ok(true),
            // The old node has the lease, but may not write the entry.
            Ok(_) => {}
            Err(Fault::Refused(code)) if code == "ERR" => {}
            Err(fault) => return Err(fault),
        }
        if is_write {
            self.delete_all(everything).await?;
        }
        Ok(false)
    }

    async fn delete_all(&self, names: Vec<crate::key::Name<'_>>) -> Result<(), Fault> {
        self.servers
            .delete(vec![names])
            .await?
            .into_iter()
            .collect()
    }
}
