//! The near caches of the processes, and what Redis does for them: it tracks reads, pushes
//! invalidations, and has the registry, the bell and the acknowledgements.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tracing::Instrument;

use super::{Broken, InterleavedStore};
use crate::key::{Address, Owed};
use crate::observe::fault::Fault;
use crate::store::Found;
use crate::store::near::connection::{Bell, MemberCommands, Observed, TrackedConnection};
use crate::store::near::eviction::{EvictionCommands, Member, Registry, await_near_caches};
use crate::store::near::{NearCache, now, use_ticks};

/// The window of every connection. The clock moves by as much when a window passes.
const WINDOW: Duration = Duration::from_nanos(1);

const REGISTRY: &[u8] = b"near:registry";
const BELL: &[u8] = b"near:bell";

/// The part of Redis that near caches use, shared by all processes.
#[derive(Default)]
pub(crate) struct Tracking {
    state: Mutex<State>,
    acknowledged: Notify,
}

#[derive(Default)]
struct State {
    /// The connections that have read a name since it was changed.
    readers: BTreeMap<Vec<u8>, BTreeSet<usize>>,
    connections: Vec<Connection>,
    registry: Registry,
    attempt: u64,
    /// The era and the number of the bell; `None`: it was lost, or was never rung.
    bell: Option<(u64, u64)>,
    eras: u64,
    acknowledged: BTreeMap<String, Bell>,
}

/// A connection that keeps copies, and the pushes that are on their way to it.
struct Connection {
    cache: Arc<NearCache>,
    tracked: Arc<TrackedConnection>,
    pushes: VecDeque<Vec<u8>>,
    /// The number of pushes that were applied, by their names.
    applied: BTreeMap<Vec<u8>, usize>,
    /// The addresses that were looked up.
    addresses: Vec<Address>,
}

/// A reply on its way: it arrives after the pushes that were sent before it.
struct Reply<T> {
    value: T,
    pushes: usize,
}

impl Tracking {
    pub(crate) fn new() -> Arc<Self> {
        use_ticks(10);
        let tracking = Self::default();
        tracking.state().registry.is_founded = true;
        Arc::new(tracking)
    }

    /// Adds a connection that keeps copies, and returns its number.
    pub(crate) fn connect(&self) -> usize {
        let mut state = self.state();
        let number = state.connections.len();
        state.connections.push(Connection {
            cache: NearCache::new(1 << 22),
            tracked: Arc::new(TrackedConnection::new(number.to_string(), WINDOW)),
            pushes: VecDeque::new(),
            applied: BTreeMap::new(),
            addresses: Vec::new(),
        });
        number
    }

    /// Returns the connections to which pushes are on their way.
    pub(crate) fn pushed_to(&self) -> Vec<usize> {
        let state = self.state();
        let connections = state.connections.iter().enumerate();
        let pushed = connections.filter(|(_, connection)| !connection.pushes.is_empty());
        pushed.map(|(number, _)| number).collect()
    }

    /// Applies the next push to a connection.
    pub(crate) fn deliver(&self, number: usize) {
        self.state().connections[number].deliver(1);
    }

    /// Changes names: the connections that have read them are told.
    pub(super) fn change(&self, names: impl IntoIterator<Item = Vec<u8>>) {
        let mut state = self.state();
        for name in names {
            state.change(&name);
        }
    }

    /// The names that can be lost.
    pub(crate) const NAMES: [&'static [u8]; 2] = [REGISTRY, BELL];

    pub(crate) fn lose(&self, name: &[u8]) {
        let mut state = self.state();
        match name {
            REGISTRY => state.registry = Registry::default(),
            BELL => state.bell = None,
            _ => {}
        }
        state.change(name);
    }

    /// Summarizes the state that later steps depend on.
    pub(super) fn summary(&self) -> String {
        use std::fmt::Write;

        let state = self.state();
        let mut text = format!(
            "{} {:?} {:?} {:?} {:?}",
            now(),
            state.readers,
            state.registry,
            state.bell,
            state.acknowledged,
        );
        for connection in &state.connections {
            let copies = connection.addresses.iter();
            let copies: Vec<_> = copies.map(|at| connection.cache.get(at)).collect();
            let Connection {
                tracked,
                pushes,
                applied,
                ..
            } = connection;
            let _ = write!(
                text,
                "{} {pushes:?} {applied:?} {copies:?}",
                tracked.summary()
            );
        }
        text
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn change(&mut self, name: &[u8]) {
        for reader in self.readers.remove(name).unwrap_or_default() {
            self.connections[reader].pushes.push_back(name.to_vec());
        }
    }

    fn track(&mut self, number: usize, name: Vec<u8>) {
        self.readers.entry(name).or_default().insert(number);
    }
}

impl Connection {
    fn deliver(&mut self, count: usize) {
        for name in self.pushes.drain(..count) {
            match &*name {
                REGISTRY => self.tracked.registry_changed(),
                BELL => self.tracked.bell_rung(),
                name => self.cache.invalidate(name),
            }
            *self.applied.entry(name).or_default() += 1;
        }
    }

    /// Returns the number of pushes that were ever sent.
    fn sent(&self) -> usize {
        self.applied() + self.pushes.len()
    }

    /// Returns the number of pushes that were ever applied.
    fn applied(&self) -> usize {
        self.applied.values().sum()
    }
}

/// The near cache of one process.
#[derive(Clone)]
pub(super) struct NearProcess {
    pub(super) tracking: Arc<Tracking>,
    /// The connection of the process, if it keeps copies.
    pub(super) connection: Option<usize>,
}

impl InterleavedStore {
    /// Makes the store of a process that knows of near caches, and has one or not.
    pub(crate) fn near(mut self, tracking: &Arc<Tracking>, keeps_copies: bool) -> Self {
        self.near = Some(NearProcess {
            tracking: Arc::clone(tracking),
            connection: keeps_copies.then(|| tracking.connect()),
        });
        self
    }

    /// Starts to attend to the connection.
    pub(crate) fn attend(&self) {
        let Some((tracking, number)) = self.connection() else {
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

    pub(super) fn connection(&self) -> Option<(&Arc<Tracking>, usize)> {
        let near = self.near.as_ref()?;
        Some((&near.tracking, near.connection?))
    }

    /// Looks up an address in the near cache, or reads it on the connection and keeps it.
    pub(super) async fn get_near(&self, at: &Address) -> Result<Option<Found>, Fault> {
        let Some((tracking, number)) = self.connection() else {
            return Ok(None);
        };
        let (cache, tracked) = {
            let connection = &mut tracking.state().connections[number];
            if !connection.addresses.contains(at) {
                connection.addresses.push(at.clone());
            }
            (
                Arc::clone(&connection.cache),
                Arc::clone(&connection.tracked),
            )
        };
        if let Some(found) = cache.get(at) {
            self.gate.observe(&format!("near {found:?}"));
            return Ok(Some(found));
        }
        let names = self.memory.names();
        let names = || std::iter::once(names.entry(at)).chain(names.nonces(at));
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
        cache.keep(at, &found, token, &tracked);
        Ok(Some(found))
    }

    /// Reads names on the connection.
    pub(super) async fn read_tracked<T: std::fmt::Debug>(
        &self,
        names: &[Vec<u8>],
        read: impl FnOnce() -> T,
    ) -> Result<T, Fault> {
        let (_, number) = self.connection().ok_or(Fault::Disabled)?;
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
        let (tracking, _) = self.connection().ok_or(Fault::Disabled)?;
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
        if let Some(number) = near.connection {
            let connection = &near.tracking.state().connections[number];
            for owed in owed {
                for name in self.memory.names().evicted(&owed.eviction) {
                    connection.cache.invalidate(name.concat().as_bytes());
                }
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
        let (_, number) = self.0.connection().ok_or(Fault::Disabled)?;
        let observe = |state: &mut State| {
            state.track(number, REGISTRY.to_vec());
            state.track(number, BELL.to_vec());
            let mut members = state.registry.members.iter();
            let is_member = members.any(|member| member.name == name && !member.is_given_up);
            Observed {
                is_member,
                bell: state.bell.map(bell),
            }
        };
        let mut observed = self.0.on_connection("observe", number, observe).await?;
        if self.0.broken == Broken::MembersAreNotRegistered {
            observed.is_member = true;
        }
        Ok(observed)
    }

    async fn register(&self, name: &str, instead_of: &str, window: Duration) -> Result<(), Fault> {
        let (tracking, _) = self.0.connection().ok_or(Fault::Disabled)?;
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
        let (tracking, _) = self.0.connection().ok_or(Fault::Disabled)?;
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
        let ring = || {
            let state = &mut *self.1.state();
            if state.bell.is_none() {
                state.eras += 1;
            }
            let (era, number) = state.bell.unwrap_or((state.eras, 0));
            state.bell = Some((era, number + 1));
            state.change(BELL);
            bell((era, number + 1))
        };
        self.0.command("ring", ring).await
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
                !last.is_some_and(|last| last.era == bell.era && last.number >= bell.number)
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
        let begin = || {
            let state = &mut *self.1.state();
            state.attempt += 1;
            state.attempt.to_string().into_bytes()
        };
        self.0.command("begin founding", begin).await
    }

    async fn found(&self, attempt: &[u8]) {
        self.change_registry("found", |state| {
            state.registry.is_founded |= state.attempt.to_string().as_bytes() == attempt;
        })
        .await;
    }
}

fn bell((era, number): (u64, u64)) -> Bell {
    Bell {
        era: era.to_string().into_bytes(),
        number,
    }
}
