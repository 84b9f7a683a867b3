//! The store protocol in single commands. The model checker decides when each command happens.

mod near;
mod tracking;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::Instrument;

use self::near::NearProcess;
pub(crate) use self::tracking::{Nodes, Tracking};
use super::shared_lookups::{Departure, Flight, Place, SharedLookups, Ticket};
use super::{
    Claim, Claimed, EvictionError, Found, Incarnation, Lease, LeaseTerms, MemoryStore, Nonce, Token,
};
use crate::key::{Address, Eviction, Owed};
use crate::observe::fault::Fault;
use crate::store::gate::{Actor, Fate, Gate, actor};

thread_local! {
    /// The number of nonces that each actor has drawn.
    static DRAWN: RefCell<Option<BTreeMap<Actor, u32>>> = const { RefCell::new(None) };
}

/// Numbers the nonces that this thread draws, so that a search can be repeated. A number depends on the
/// actor and not on the time, so that many orders lead to the same state.
pub(crate) fn number_nonces() {
    DRAWN.set(Some(BTreeMap::new()));
}

pub(super) fn next_nonce() -> Option<Nonce> {
    DRAWN.with_borrow_mut(|drawn| {
        let actor = actor();
        let number = drawn.as_mut()?.entry(actor).or_default();
        *number += 1;
        let mut nonce = Nonce::default();
        nonce[4..12].copy_from_slice(&actor.to_be_bytes());
        nonce[12..].copy_from_slice(&number.to_be_bytes());
        Some(nonce)
    })
}

/// A deliberate break of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Broken {
    #[default]
    Nothing,
    /// A fill is stored even if its lease was lost.
    LeaseIsNotChecked,
    /// A read gets the response of another run even if an eviction came in between.
    JoinsByKeyOnly,
    /// Runs store data that they read early even if an eviction came in between.
    StoresWithoutProof,
    /// Runs store their responses with the nonces that response groups have after the run.
    ReadsGroupsAfterRun,
    /// A lookup joins a command that was sent before it arrived.
    JoinsSentLookups,
    /// Evictions do not wait for near caches.
    AcknowledgementsAreNotAwaited,
    /// A near cache keeps what it read before an invalidation.
    TokensAreNotChecked,
    /// A proof lasts for ever.
    ProofsDoNotEnd,
    /// A connection keeps copies although the registry does not have it.
    MembersAreNotRegistered,
    /// A near cache acknowledges an eviction without a proof of its connection to the other node.
    OtherConnectionsAreNotProved,
    /// A member that is silent is not given up before it is removed.
    SilentMembersAreRemoved,
}

/// The store that the processes of a search share.
#[derive(Clone)]
pub(crate) struct InterleavedStore {
    pub(crate) memory: Arc<MemoryStore>,
    pub(crate) gate: Gate,
    pub(crate) broken: Broken,
    /// The lookups of a process, if they share commands.
    lookups: Option<Arc<SharedLookups<BatchReply>>>,
    /// A lookup in a request that nobody polls, so that no other lookup leaves alone.
    alone: Option<Arc<Departure<BatchReply>>>,
    /// The last command for lookups.
    sent: Arc<Mutex<Option<Arc<Ticket<BatchReply>>>>>,
    near: Option<NearProcess>,
}

/// The values of a batch.
type BatchReply = Result<Vec<Option<Bytes>>, Fault>;

impl InterleavedStore {
    pub(crate) fn new(gate: Gate, broken: Broken) -> Self {
        Self {
            memory: Arc::new(MemoryStore::in_one_shard("p", 1 << 20)),
            gate,
            broken,
            lookups: None,
            alone: None,
            sent: Arc::default(),
            near: None,
        }
    }

    /// Makes the store of a process whose lookups share commands.
    pub(crate) fn sharing_lookups(mut self) -> Self {
        let lookups = SharedLookups::new(1);
        self.alone = lookups
            .join(std::iter::empty(), Instant::now())
            .1
            .map(Arc::new);
        self.lookups = Some(lookups);
        self.sent = Arc::default();
        self
    }

    /// The node of the entry and those of the nonces may answer at different times.
    pub(crate) async fn get(&self, at: &Address, holder: bool) -> Result<Found, Fault> {
        if !holder && let Some(found) = self.get_near(at).await? {
            return Ok(found);
        }
        if let Some(lookups) = &self.lookups {
            return self.get_together(lookups, at, holder).await;
        }
        let mut found = self
            .command("get entry", || self.memory.get(at, holder))
            .await?;
        let nonces = || {
            let found = self.memory.get(at, false);
            (found.nonces, found.groups)
        };
        (found.nonces, found.groups) = self.command("get nonces", nonces).await?;
        Ok(found)
    }

    /// Looks up an entry with other lookups, as on Redis.
    async fn get_together(
        &self,
        lookups: &Arc<SharedLookups<BatchReply>>,
        at: &Address,
        holder: bool,
    ) -> Result<Found, Fault> {
        let deadline = Instant::now() + Duration::from_secs(3600);
        let names = self.memory.names();
        let looked_up = names.looked_up(at, holder).map(|name| (0, name));
        let sent = self.sent.lock().unwrap().clone();
        let sent = sent.filter(|_| self.broken == Broken::JoinsSentLookups);
        let ticket = sent.unwrap_or_else(|| {
            let (ticket, departure) = lookups.join(looked_up, deadline);
            let ticket = Arc::new(ticket);
            if let Some(flight) = departure.and_then(Departure::leave) {
                self.gate.observe("sends a lookup");
                *self.sent.lock().unwrap() = Some(Arc::clone(&ticket));
                self.spawn_lookups(flight);
            } else {
                self.gate.observe("waits for a lookup");
            }
            ticket
        });
        let reply = ticket.wait().await.ok_or(Fault::Timeout)?;
        let values = reply.as_ref().map_err(Clone::clone)?;
        let value = |place: &Place| (values[place.index].clone(), Incarnation::default());
        let found = Found::of_values(ticket.places.iter().map(value), (at, holder), names);
        self.gate.observe(&format!("{found:?}"));
        Ok(found)
    }

    /// Sends the lookups of a flight. Its steps are known by the request that sent it.
    fn spawn_lookups(&self, flight: Flight<BatchReply>) {
        let flight = self.clone().send_lookups(flight);
        tokio::spawn(flight.in_current_span());
    }

    async fn send_lookups(self, first: Flight<BatchReply>) {
        let mut next = Some(first);
        while let Some(flight) = next {
            let names: Vec<_> = flight.names().commands().flatten().map(Vec::from).collect();
            let reply = self.read_names(&names).await;
            *self.sent.lock().unwrap() = None;
            next = flight.land(reply, None);
        }
    }

    async fn read_names(&self, names: &[Vec<u8>]) -> BatchReply {
        let read = || {
            let contents = self.memory.contents();
            let values = names.iter().map(|name| contents.get(name).cloned());
            values.collect::<Vec<_>>()
        };
        if self.connections().is_some() {
            return self.read_tracked(names, read).await;
        }
        let entries = self.command("get entries", read).await?;
        let others = self.command("get nonces", read).await?;
        let both = names.iter().zip(entries.into_iter().zip(others));
        let value = |(name, (entry, other)): (&Vec<u8>, _)| {
            let is_entry = name.starts_with(b"p:cache:e:");
            if is_entry { entry } else { other }
        };
        Ok(both.map(value).collect())
    }

    pub(crate) async fn lease(
        &self,
        at: &Address,
        claim: Claim,
        token: Token,
        terms: LeaseTerms,
    ) -> Result<Claimed, Fault> {
        let claimed = || self.memory.claim(at, claim, token, terms.hold);
        let entry = match self.command("claim", claimed).await? {
            Ok(entry) => entry,
            Err(holder) => return Ok(Claimed::Held(holder)),
        };
        let nonces = || self.memory.seed(at, terms);
        let nonces = self.command("seed", nonces).await??;
        if at.reads_early() {
            // Other requests may arrive and join before the reply.
            self.gate.step("hear of the lease").await;
        }
        let (names, server) = (self.memory.names(), Incarnation::default());
        Lease::new(names, at, claim, token, terms, nonces, server)
            .map(|lease| Claimed::Taken(lease, entry))
    }

    pub(crate) async fn witness(&self) -> Result<Option<Nonce>, Fault> {
        let witness = || Some(self.memory.witness());
        self.command("witness", witness).await
    }

    pub(crate) async fn put(
        &self,
        at: &Address,
        lease: &Lease,
        entry: &[u8],
        ttl: Option<Duration>,
    ) -> Result<bool, Fault> {
        let stored = || {
            if self.broken == Broken::LeaseIsNotChecked {
                // The lease is taken, whoever has it.
                let (claim, token) = (Claim::Override, lease.token);
                let _ = self.memory.claim(at, claim, token, Duration::MAX);
            }
            let entry = Bytes::copy_from_slice(entry);
            self.memory.put(at, lease, entry, ttl)
        };
        let is_stored = self.command("put", stored).await?;
        if lease.claim == Claim::Override {
            let eviction = Eviction::Key(at.key.clone());
            self.await_copies(&[Owed::whole(eviction)]).await?;
        }
        Ok(is_stored)
    }

    pub(crate) async fn renew(
        &self,
        at: &Address,
        lease: &Lease,
        token: Token,
        hold: Duration,
    ) -> Result<bool, Fault> {
        let renewed = || self.memory.renew(at, lease, token, hold);
        self.command("renew", renewed).await
    }

    pub(crate) async fn prolong(&self, at: &Address, ttl: Option<Duration>) -> Result<(), Fault> {
        self.command("prolong", || self.memory.prolong(at, ttl))
            .await?
    }

    pub(crate) async fn release(
        &self,
        at: &Address,
        claim: Claim,
        token: Token,
    ) -> Result<(), Fault> {
        let released = || self.memory.release(at, claim, token);
        self.command("release", released).await
    }

    pub(crate) async fn remove(&self, owed: &[Owed]) -> Result<Result<(), EvictionError>, Fault> {
        let removed = || self.memory.remove(owed);
        self.command("remove", removed).await?;
        self.await_copies(owed).await?;
        Ok(Ok(()))
    }

    /// Runs a command when its turn comes.
    async fn command<T: fmt::Debug>(
        &self,
        name: &'static str,
        command: impl FnOnce() -> T,
    ) -> Result<T, Fault> {
        let seen = self.silent_command(name, command).await;
        self.gate.observe(&format!("{seen:?}"));
        seen
    }

    /// Runs a command when its turn comes. Its reply is not yet seen.
    async fn silent_command<T>(
        &self,
        name: &'static str,
        command: impl FnOnce() -> T,
    ) -> Result<T, Fault> {
        let fate = self.gate.step(name).await;
        let before = self.near.as_ref().map(|_| self.memory.contents());
        let reply = (fate != Fate::Fails).then(command);
        if let (Some(near), Some(before)) = (&self.near, before) {
            near.tracking
                .change(changed(before, self.memory.contents()));
        }
        reply
            .filter(|_| fate == Fate::Happens)
            .ok_or(Fault::Timeout)
    }

    /// Summarizes the lookups of the process that later steps depend on.
    pub(crate) fn summary(&self) -> String {
        let lookups = self.lookups.as_ref().map(|lookups| lookups.summary());
        let near = self.near.as_ref().map(|near| near.tracking.summary());
        format!("{lookups:?} {near:?}")
    }

    /// Returns the names that can be lost.
    pub(crate) fn names(&self) -> Vec<Vec<u8>> {
        self.memory.contents().into_keys().collect()
    }

    pub(crate) fn lose(&self, name: &[u8]) {
        self.memory.lose(name);
    }
}

/// Returns the names whose values differ.
fn changed(
    before: BTreeMap<Vec<u8>, Bytes>,
    mut after: BTreeMap<Vec<u8>, Bytes>,
) -> impl Iterator<Item = Vec<u8>> {
    let mut names: Vec<_> = before
        .into_iter()
        .filter_map(|(name, value)| (after.remove(&name) != Some(value)).then_some(name))
        .collect();
    names.extend(after.into_keys());
    names.into_iter()
}

impl fmt::Debug for InterleavedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.memory.contents())
    }
}
