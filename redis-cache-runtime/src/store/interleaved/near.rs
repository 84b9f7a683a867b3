//! The near caches of the processes, whose commands wait at the gate.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use super::tracking::{BELL, Nodes, REGISTRY, State, Tracking, WINDOW};
use super::{Broken, InterleavedStore};
use crate::key::{Address, Owed};
use crate::observe::fault::Fault;
use crate::store::Found;
use crate::store::near::connection::{Bell, MemberCommands, Observed};
use crate::store::near::eviction::{EvictionCommands, Member, await_near_caches};
use crate::store::near::{now, use_ticks};

/// A reply on its way: it arrives after the pushes that were sent before it.
struct Reply<T> {
    value: T,
    pushes: usize,
}

/// The near cache of one process.
#[derive(Clone)]
pub(super) struct NearProcess {
    pub(super) tracking: Arc<Tracking>,
    /// The connections of the process, if it keeps copies: the member of the registry, and the one on
    /// which names are read.
    pub(super) connections: Option<(usize, usize)>,
}

impl InterleavedStore {
    /// Makes the store of a process that knows of near caches, and has one or not.
    pub(crate) fn near(mut self, tracking: &Arc<Tracking>, kept: Option<Nodes>) -> Self {
        self.near = Some(NearProcess {
            tracking: Arc::clone(tracking),
            connections: kept.map(|nodes| tracking.connect(nodes)),
        });
        self
    }

    /// Starts to attend to the connection.
    pub(crate) fn attend(&self) {
        let Some((tracking, number, _)) = self.connections() else {
            return;
        };
        let tracked = Arc::clone(&tracking.state().connections[number].tracked);
        let store = self.clone();
        let attend = async move {
            let mut acknowledged = None;
            loop {
                let ended = tracked
                    .attend(&OnConnection(&store), &mut acknowledged)
                    .await;
                if ended.is_ok() {
                    tracked.change_is_pushed().await;
                }
            }
        };
        tokio::spawn(attend.instrument(tracing::info_span!("attendant")));
    }

    /// Returns the connection that is a member of the registry, and the one on which names are read.
    pub(super) fn connections(&self) -> Option<(&Arc<Tracking>, usize, usize)> {
        let near = self.near.as_ref()?;
        let (member, reader) = near.connections?;
        Some((&near.tracking, member, reader))
    }

    /// Looks up an address in the near cache, or reads it on the connection and keeps it.
    pub(super) async fn get_near(&self, at: &Address) -> Result<Option<Found>, Fault> {
        let Some((tracking, member, reader)) = self.connections() else {
            return Ok(None);
        };
        let (cache, tracked) = {
            let connections = &mut tracking.state().connections;
            let addresses = &mut connections[member].addresses;
            if !addresses.contains(at) {
                addresses.push(at.clone());
            }
            let mut on = vec![Arc::clone(&connections[member].tracked)];
            if reader != member {
                on.push(Arc::clone(&connections[reader].tracked));
            }
            (Arc::clone(&connections[member].cache), on)
        };
        if let Some(found) = cache.get(at) {
            self.gate.observe(&format!("near {found:?}"));
            return Ok(Some(found));
        }
        let names = self.memory.names();
        let names = || names.entry_and_nonces(at);
        let mut token = cache.token(names());
        let found = if let Some(lookups) = &self.lookups {
            self.get_together(lookups, at, false).await?
        } else {
            let names: Vec<_> = names().map(|name| name.concat().into_bytes()).collect();
            self.read_tracked(&names, || self.memory.get(at, false))
                .await?
        };
        // Pushes may be applied before the request that looked up goes on.
        self.gate.step("keep").await;
        if self.broken == Broken::TokensAreNotChecked {
            token = cache.token(names());
        }
        cache.keep(at, &found, token, tracked);
        Ok(Some(found))
    }

    /// Reads names on the connection.
    pub(super) async fn read_tracked<T: std::fmt::Debug>(
        &self,
        names: &[Vec<u8>],
        read: impl FnOnce() -> T,
    ) -> Result<T, Fault> {
        let (.., number) = self.connections().ok_or(Fault::Disabled)?;
        let read = |state: &mut State| {
            for name in names {
                state.track(number, name.clone());
            }
            read()
        };
        self.on_connection("read", number, read).await
    }

    /// Runs a command on the connection. Its reply arrives later, and after the pushes before it.
    async fn on_connection<T: std::fmt::Debug>(
        &self,
        name: &'static str,
        number: usize,
        command: impl FnOnce(&mut State) -> T,
    ) -> Result<T, Fault> {
        let (tracking, ..) = self.connections().ok_or(Fault::Disabled)?;
        let sent = now();
        let run = || {
            let state = &mut *tracking.state();
            let value = command(state);
            let pushes = state.connections[number].sent();
            Reply { value, pushes }
        };
        let reply = self.silent_command(name, run).await?;
        self.gate.step("hear").await;
        let connection = &mut tracking.state().connections[number];
        let before = reply.pushes.saturating_sub(connection.applied());
        connection.deliver(before);
        connection.tracked.prove(sent);
        self.gate.observe(&format!("{:?}", reply.value));
        Ok(reply.value)
    }

    /// Waits for the near caches of all processes after an eviction.
    pub(super) async fn await_copies(&self, owed: &[Owed]) -> Result<(), Fault> {
        let Some(near) = &self.near else {
            return Ok(());
        };
        let registry = || near.tracking.state().registry.clone();
        let registry = self.command("read registry", registry).await;
        if let Some((number, _)) = near.connections {
            let connection = &near.tracking.state().connections[number];
            for owed in owed {
                let names = self.memory.names().evicted(&owed.eviction);
                connection.cache.invalidate_own(names);
            }
        }
        if self.broken != Broken::AcknowledgementsAreNotAwaited {
            let commands = OnStore(self, &near.tracking);
            await_near_caches(&commands, registry, WINDOW, false).await;
        }
        Ok(())
    }
}

/// The commands of an attendant.
struct OnConnection<'a>(&'a InterleavedStore);

impl MemberCommands for OnConnection<'_> {
    async fn observe(&self, name: &str) -> Result<Observed, Fault> {
        let (_, number, _) = self.0.connections().ok_or(Fault::Disabled)?;
        let observe = |state: &mut State| {
            state.track(number, REGISTRY.to_vec());
            state.track(number, BELL.to_vec());
            let mut members = state.registry.members.iter();
            let is_member = members.any(|member| member.name == name && !member.is_given_up);
            Observed {
                is_member,
                bell: state.bell.clone(),
            }
        };
        let mut observed = self.0.on_connection("observe", number, observe).await?;
        if self.0.broken == Broken::MembersAreNotRegistered {
            observed.is_member = true;
        }
        Ok(observed)
    }

    async fn prove_others(&self) {
        let Some((tracking, member, reader)) = self.0.connections() else {
            return;
        };
        if reader == member || self.0.broken == Broken::OtherConnectionsAreNotProved {
            return;
        }
        if self.0.on_connection("prove", reader, |_| ()).await.is_err() {
            tracking.state().connections[reader].tracked.disprove();
        }
    }

    async fn register(&self, name: &str, instead_of: &str, window: Duration) -> Result<(), Fault> {
        let (tracking, ..) = self.0.connections().ok_or(Fault::Disabled)?;
        let register = || {
            let state = &mut *tracking.state();
            let members = &mut state.registry.members;
            members.retain(|member| member.name != instead_of);
            members.push(Member {
                name: name.to_owned(),
                window,
                is_given_up: false,
            });
            state.change(REGISTRY);
        };
        // Nothing depends on the time at which this reply arrives.
        self.0.command("register", register).await
    }

    async fn deregister(&self, _: &str) -> Result<(), Fault> {
        Err(Fault::Disabled)
    }

    async fn acknowledge(&self, name: &str, bell: &Bell) -> Result<(), Fault> {
        let (tracking, ..) = self.0.connections().ok_or(Fault::Disabled)?;
        let acknowledge = || {
            let mut state = tracking.state();
            state.acknowledged.insert(name.to_owned(), bell.clone());
            tracking.acknowledged.notify_waiters();
        };
        self.0.command("acknowledge", acknowledge).await
    }
}

/// The commands of an eviction.
struct OnStore<'a>(&'a InterleavedStore, &'a Tracking);

impl OnStore<'_> {
    async fn change_registry(&self, name: &'static str, change: impl FnOnce(&mut State)) {
        let change = || {
            let state = &mut *self.1.state();
            change(state);
            state.change(REGISTRY);
        };
        let _ = self.0.command(name, change).await;
    }
}

impl EvictionCommands for OnStore<'_> {
    async fn ring(&self) -> Result<Bell, Fault> {
        self.0.command("ring", || self.1.state().ring()).await
    }

    async fn await_acknowledgements(
        &self,
        members: &[Member],
        bell: &Bell,
        window: Duration,
    ) -> Vec<Member> {
        let silent = || {
            let state = self.1.state();
            let is_silent = |member: &&Member| {
                let last = state.acknowledged.get(&member.name);
                !last.is_some_and(|last| last.includes(bell))
            };
            members
                .iter()
                .filter(is_silent)
                .cloned()
                .collect::<Vec<_>>()
        };
        let mut pause = std::pin::pin!(self.pause(window));
        loop {
            let acknowledged = self.1.acknowledged.notified();
            let names = silent();
            if names.is_empty() {
                return names;
            }
            tokio::select! {
                () = acknowledged => {}
                () = &mut pause => return silent(),
            }
        }
    }

    async fn pause(&self, window: Duration) {
        let until = now() + u64::try_from(window.as_nanos()).unwrap();
        self.0.gate.step("wait for the window").await;
        if self.0.broken != Broken::ProofsDoNotEnd && now() < until {
            use_ticks(until);
        }
    }

    async fn give_up(&self, members: &[Member]) {
        if self.0.broken == Broken::SilentMembersAreRemoved {
            return self.remove(members).await;
        }
        self.change_registry("give up", |state| {
            for member in members {
                let mut registered = state.registry.members.iter_mut();
                match registered.find(|it| it.name == member.name) {
                    Some(member) => member.is_given_up = true,
                    None => state.registry.members.push(Member {
                        is_given_up: true,
                        ..member.clone()
                    }),
                }
            }
        })
        .await;
    }

    async fn remove(&self, members: &[Member]) {
        self.change_registry("remove", |state| {
            let is_removed = |it: &Member| members.iter().any(|member| member.name == it.name);
            state.registry.members.retain(|member| !is_removed(member));
        })
        .await;
    }

    async fn begin_founding(&self) -> Result<Vec<u8>, Fault> {
        let begin = || self.1.state().begin_founding().to_string();
        let attempt = self.0.command("begin founding", begin).await?;
        Ok(attempt.into_bytes())
    }

    async fn found(&self, attempt: &[u8]) {
        self.change_registry("found", |state| {
            let founding = state.founding.map(|founding| founding.to_string());
            state.registry.is_founded |= founding.is_some_and(|it| it.as_bytes() == attempt);
        })
        .await;
    }
}
