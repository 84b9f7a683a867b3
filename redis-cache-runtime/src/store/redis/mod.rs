//! The store protocol on Redis.

mod budget;
#[cfg(feature = "cluster")]
mod cluster;
mod commands;
mod context;
mod end;
mod finder;
mod handle;
mod health;
mod large;
mod link;
mod lookups;
#[cfg(feature = "cluster")]
mod migrating_slot;
mod near;
mod node;
mod pulse;
mod reconnecting;
mod replies;
mod request;
mod scripts;
#[cfg(feature = "sentinel")]
mod sentinels;
mod server;
mod server_info;
mod server_state;
mod servers;
#[cfg(all(test, feature = "cluster"))]
mod settling;
mod watched;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{ErrorKind, RedisError, Value};

use self::commands::{
    Arg, FILL, RELEASE, RENEW, WRITE_THROUGH, bytes, eval, first_value, millis, read, seed,
};
pub use self::handle::Redis;
use self::large::LargeEntries;
use self::replies::Replies;
use self::request::Purpose;
use self::scripts::Scripts;
use self::servers::{Command, Servers};
use super::near::NearCache;
use super::near::connection::TrackedConnection;
use super::{
    Claim, Claimed, EvictionError, Found, FoundEntry, Incarnation, Lease, LeaseTerms, Nonce,
    Stamps, Token, WITNESS_TTL, stored_nonce,
};
use crate::key::{Address, Eviction, Names, Owed};
use crate::observe::PingError;
use crate::observe::fault::{Fault, FaultLog};
use crate::observe::status::{NearCacheStatus, ServerStatus};
use crate::settings::{Settings, SettingsError};

pub(crate) struct RedisStore {
    names: Names,
    servers: Servers,
    large: LargeEntries,
    scripts: Scripts,
}

impl RedisStore {
    pub(crate) fn new(settings: &Settings, faults: Arc<FaultLog>) -> Result<Self, SettingsError> {
        let servers = Servers::new(settings, faults)?;
        Ok(Self {
            names: servers.names(&settings.prefix),
            servers,
            large: LargeEntries::new(),
            scripts: Scripts::default(),
        })
    }

    /// Returns a connection for the commands of an application.
    pub(crate) fn connection(&self) -> Redis {
        self.servers.connection()
    }

    pub(crate) fn servers(&self) -> Vec<ServerStatus> {
        self.servers.status()
    }

    /// Returns the current time budget of an operation.
    pub(crate) fn budget(&self) -> Duration {
        self.servers.context().budget()
    }

    pub(crate) fn near_cache(&self) -> Option<NearCacheStatus> {
        self.servers.near_cache().map(NearCache::status)
    }

    pub(crate) fn answers_at_once(&self) -> bool {
        self.servers.near_cache().is_some()
    }

    /// Reads a copy from the near cache.
    pub(crate) fn get_at_once(&self, at: &Address) -> Option<Found> {
        self.servers.near_cache()?.get(at)
    }

    /// Ends the service of copies from the near cache.
    pub(crate) async fn leave_near_cache(&self) {
        self.servers.leave_near_cache().await;
    }

    pub(crate) async fn ping(&self) -> Result<(), PingError> {
        self.servers.ping().await
    }

    /// Reads the entry, then its nonces, the witness and the lease, in one round trip.
    pub(crate) async fn get(&self, at: &Address, holder: bool) -> Result<Found, Fault> {
        let near_cache = self.servers.near_cache().filter(|_| !holder);
        let Some(near_cache) = near_cache else {
            return self.read(at, holder).await.map(|(found, _)| found);
        };
        if let Some(found) = near_cache.get(at) {
            return Ok(found);
        }
        let token = near_cache.token(self.names.entry_and_nonces(at));
        // Boxed, so that the future of a lookup in the near cache stays small.
        let (found, tracked) = Box::pin(self.read(at, holder)).await?;
        near_cache.keep(at, &found, token, tracked);
        Ok(found)
    }

    /// Reads from Redis. Also returns the connections on which Redis tracks what was read.
    async fn read(
        &self,
        at: &Address,
        holder: bool,
    ) -> Result<(Found, Vec<Arc<TrackedConnection>>), Fault> {
        let names = || self.names.looked_up(at, holder);
        let purpose = self.large.lookup(self.names.entry(at));
        let looked_up = self.servers.read(names, purpose).await?;
        let found = looked_up.found((at, holder), &self.names);
        let length = found.entry.as_ref().map_or(0, FoundEntry::len);
        self.large.note(self.names.entry(at), length);
        Ok((found, looked_up.tracked()))
    }

    /// Waits until the lease of an address may have changed: for at most `longest` if the server pushes the
    /// change, and otherwise for `pause`.
    pub(crate) async fn await_lease_change(
        &self,
        at: &Address,
        pause: Duration,
        longest: Duration,
    ) {
        let lease = self.names.lease(at);
        self.servers.await_change(lease, pause, longest).await;
    }

    pub(crate) async fn lease(
        &self,
        at: &Address,
        claim: Claim,
        drawn: Token,
        terms: LeaseTerms,
    ) -> Result<Claimed, Fault> {
        let name = claim.lease(&self.names, at);
        let mut set = redis::cmd("SET");
        set.arg(Arg(name)).arg(&drawn.0);
        set.arg("PX").arg(millis(Some(terms.hold)));
        let entry = self.names.entry(at);
        let purpose = if claim == Claim::Override {
            Purpose::OTHER
        } else {
            set.arg("NX");
            self.large.lookup(entry)
        };
        let commands = || {
            let mut commands: Vec<Command<'_>> = vec![(name, set.clone())];
            if claim != Claim::Override {
                commands.extend([name, entry].map(|name| (name, read([Arg(name)]))));
            }
            for (name, ttl) in terms.nonces(&self.names, at) {
                commands.push((name, seed(name, ttl)?));
            }
            Ok(commands)
        };
        let mut replies = self.run_seeds(commands, purpose).await?;
        let (set, from) = replies.next().ok_or(Fault::Protocol)?;
        let mut entry = None;
        if claim != Claim::Override {
            let mut next = || first_value(replies.next()?.0);
            let holder = next().as_ref().and_then(token);
            let there = next();
            // If the reply to `SET` was lost, `SET` was sent again on a new connection. Then the
            // lease may already have the drawn token.
            let is_taken = set == Value::Okay || holder == Some(drawn);
            if !is_taken {
                // The lease ended between `SET` and `MGET`: report it as held.
                return Ok(Claimed::Held(holder.unwrap_or(drawn)));
            }
            entry = there.and_then(bytes);
        }
        let nonces: Option<Stamps> = replies.map(nonce).collect();
        let nonces = nonces.ok_or(Fault::Protocol)?;
        let lease = Lease::new(&self.names, at, claim, drawn, terms, nonces, from)?;
        Ok(Claimed::Taken(lease, entry))
    }

    pub(crate) async fn witness(&self) -> Result<Option<Nonce>, Fault> {
        let Some(name) = self.names.witness() else {
            return Ok(None);
        };
        let commands = || Ok(vec![(name, seed(name, Some(WITNESS_TTL))?)]);
        let mut replies = self.run_seeds(commands, Purpose::LOOKUP).await?;
        replies
            .next()
            .and_then(nonce)
            .map(Some)
            .ok_or(Fault::Protocol)
    }

    pub(crate) async fn renew(
        &self,
        at: &Address,
        lease: &Lease,
        token: Token,
        hold: Duration,
    ) -> Result<bool, Fault> {
        let name = lease.claim.lease(&self.names, at);
        let mut command = eval(RENEW, &[name]);
        command.arg(&lease.token.0).arg(&token.0);
        command.arg(millis(Some(hold)));
        Ok(self.servers.run(name, command).await? == Value::Int(1))
    }

    pub(crate) async fn put(
        &self,
        at: &Address,
        lease: &Lease,
        entry: &[u8],
        ttl: Option<Duration>,
    ) -> Result<bool, Fault> {
        let (lease_name, entry_name) = (lease.claim.lease(&self.names, at), self.names.entry(at));
        // A retry builds the command again instead of cloning it, because the entry may be large.
        let store = || {
            let mut command = match lease.claim {
                Claim::IfFree | Claim::Alone => eval(FILL, &[lease_name, entry_name]),
                Claim::Override => {
                    let key = Eviction::Key(at.key.clone());
                    let mut names = vec![lease_name, entry_name, self.names.lease(at)];
                    names.extend(self.names.evicted(&key));
                    eval(WRITE_THROUGH, &names)
                }
            };
            command.arg(&lease.token.0).arg(entry).arg(millis(ttl));
            if lease.claim == Claim::Override {
                command.arg(lease.variants.as_deref().map_or(&[][..], |nonce| nonce));
            }
            command
        };
        let commands = || {
            let mut commands: Vec<Command<'_>> = Vec::new();
            for (name, holds_value) in self.names.nonces_by_origin(at) {
                if holds_value {
                    commands.push((name, seed(name, ttl)?));
                }
            }
            commands.push((lease_name, store()));
            Ok(commands)
        };
        let purpose = Purpose::OTHER.of_large(self.large.note(entry_name, entry.len()));
        let replies = match self.run_seeds(commands, purpose).await {
            #[cfg(feature = "cluster")]
            Err(Fault::Refused(code)) if code == "TRYAGAIN" => {
                // Boxed, because it is rare.
                return Box::pin(self.put_in_migrating_slot(at, lease, entry, ttl)).await;
            }
            replies => replies?,
        };
        if lease.claim == Claim::Override {
            self.servers.has_every_reader()?;
            let key = Eviction::Key(at.key.clone());
            let names = self.names.evicted(&key).into_iter();
            self.servers.replaced(names.chain([entry_name])).await;
        } else {
            self.servers.invalidate(std::iter::once(entry_name));
        }
        Ok(replies.last().map(|(value, _)| value) == Some(Value::Int(1)))
    }

    pub(crate) async fn prolong(&self, at: &Address, ttl: Option<Duration>) -> Result<(), Fault> {
        let seeds = || {
            let seeds = self.names.nonces(at);
            seeds.map(|name| Ok((name, seed(name, ttl)?))).collect()
        };
        self.run_seeds(seeds, Purpose::OTHER).await.map(drop)
    }

    /// Runs commands that seed nonces. If they have to be sent again, new nonces are drawn, because
    /// a nonce that an eviction has removed must not come back.
    async fn run_seeds<'a>(
        &self,
        commands: impl Fn() -> Result<Vec<Command<'a>>, Fault>,
        purpose: Purpose,
    ) -> Result<Replies, Fault> {
        self.scripts.check()?;
        let first = commands()?;
        let about = first.first().map(|(name, _)| *name);
        let replies = match self.servers.run_all(first, purpose.once()).await {
            Err(Fault::Disconnected) => self.servers.run_all(commands()?, purpose.once()).await,
            replies => replies,
        };
        match (replies, about) {
            // Boxed, because it is rare.
            (Err(fault), Some(about)) => {
                Err(Box::pin(self.scripts.fault_of(fault, about, &self.servers)).await)
            }
            (replies, _) => replies,
        }
    }

    pub(crate) async fn release(
        &self,
        at: &Address,
        claim: Claim,
        token: Token,
    ) -> Result<(), Fault> {
        let name = claim.lease(&self.names, at);
        let mut command = eval(RELEASE, &[name]);
        command.arg(&token.0);
        self.servers.run(name, command).await.map(drop)
    }

    /// Runs evictions. `Ok(Err(..))`: some of them failed. `Err`: all of them have to be retried.
    pub(crate) async fn remove(&self, owed: &[Owed]) -> Result<Result<(), EvictionError>, Fault> {
        let (swept, named): (Vec<_>, Vec<_>) = owed
            .iter()
            .partition(|owed| self.names.is_in_every_slot(&owed.eviction));
        let sets = named.iter().map(|owed| self.names.evicted(&owed.eviction));
        let deleted = match sets.collect::<Vec<_>>() {
            sets if sets.is_empty() => Vec::new(),
            sets => self.servers.delete(sets).await?,
        };
        self.servers.has_every_reader()?;
        let (mut fault, mut left) = (None, Vec::new());
        for (owed, deleted) in named.into_iter().zip(deleted) {
            if let Err(why) = deleted {
                fault = Some(why);
                left.push(owed.clone());
            }
        }
        #[cfg(feature = "cluster")]
        for Owed { eviction, slots } in swept {
            let in_slot = |slot| self.names.evicted_in_slot(eviction, slot);
            if let Err((why, slots)) = self.servers.sweep(slots.as_ref(), in_slot).await {
                fault = Some(why);
                left.push(Owed {
                    eviction: eviction.clone(),
                    slots: Some(slots),
                });
            }
        }
        #[cfg(not(feature = "cluster"))]
        let _ = swept;
        Ok(fault.map_or(Ok(()), |fault| {
            Err(EvictionError {
                fault,
                owed: left,
                is_everything: false,
            })
        }))
    }
}

fn nonce((value, from): (Value, Incarnation)) -> Option<Nonce> {
    stored_nonce(&bytes(value)?, from)
}

fn token(value: &Value) -> Option<Token> {
    match value {
        Value::BulkString(bytes) => Some(Token::of_bytes(bytes)),
        _ => None,
    }
}

impl From<&RedisError> for Fault {
    fn from(error: &RedisError) -> Self {
        match error.code() {
            Some(code) => Self::Refused(code.to_owned()),
            None if error.kind() == ErrorKind::AuthenticationFailed => Self::Credentials,
            None if error.is_timeout() => Self::Timeout,
            #[cfg(feature = "tls")]
            None if error.is_io_error() => server::fault_of_io(error),
            None if error.is_unrecoverable_error() || error.is_io_error() => Self::Disconnected,
            None => Self::Protocol,
        }
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Servers hold passwords, so they are not shown.
        f.debug_struct("RedisStore").finish_non_exhaustive()
    }
}
