//! The part of Redis that near caches use: it tracks reads, pushes invalidations, and has the registry,
//! the bell and the acknowledgements.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use crate::key::Address;
use crate::store::near::connection::{Bell, TrackedConnection};
use crate::store::near::eviction::Registry;
use crate::store::near::{NearCache, now, use_ticks};

/// The window of every connection. The clock moves by as much when a window passes.
pub(super) const WINDOW: Duration = Duration::from_nanos(1);

pub(super) const REGISTRY: &[u8] = b"near:registry";
pub(super) const BELL: &[u8] = b"near:bell";

/// The nodes that near caches use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Nodes {
    #[default]
    One,
    /// One has the registry and the bell, the other has the entries. Each pushes by itself.
    Two,
}

/// The part of Redis that near caches use, shared by all processes.
#[derive(Default)]
pub(crate) struct Tracking {
    state: Mutex<State>,
    pub(super) acknowledged: Notify,
}

#[derive(Default)]
pub(super) struct State {
    /// The connections that have read a name since it was changed.
    readers: BTreeMap<Vec<u8>, BTreeSet<usize>>,
    pub(super) connections: Vec<Connection>,
    pub(super) registry: Registry,
    /// The attempt to found the registry that began first.
    pub(super) founding: Option<u64>,
    attempts: u64,
    /// The bell; `None`: it was lost, or was never rung.
    pub(super) bell: Option<Bell>,
    eras: u64,
    pub(super) acknowledged: BTreeMap<String, Bell>,
}

/// A connection that keeps copies, and the pushes that are on their way to it.
pub(super) struct Connection {
    pub(super) cache: Arc<NearCache>,
    pub(super) tracked: Arc<TrackedConnection>,
    pushes: VecDeque<Vec<u8>>,
    /// The number of pushes that were applied, by their names.
    applied: BTreeMap<Vec<u8>, usize>,
    /// The addresses that were looked up.
    pub(super) addresses: Vec<Address>,
}

impl Tracking {
    pub(crate) fn new() -> Arc<Self> {
        use_ticks(10);
        let tracking = Self::default();
        tracking.state().registry.is_founded = true;
        Arc::new(tracking)
    }

    /// Adds the connections of a process that keeps copies. Returns the number of the member of the
    /// registry, and of the connection on which names are read.
    pub(super) fn connect(&self, nodes: Nodes) -> (usize, usize) {
        let mut state = self.state();
        let first = state.connections.len();
        let count = match nodes {
            Nodes::One => 1,
            Nodes::Two => 2,
        };
        let cache = NearCache::new(1 << 22);
        for number in first..first + count {
            state.connections.push(Connection {
                cache: Arc::clone(&cache),
                tracked: Arc::new(TrackedConnection::new(number.to_string(), WINDOW)),
                pushes: VecDeque::new(),
                applied: BTreeMap::new(),
                addresses: Vec::new(),
            });
        }
        (first, first + count - 1)
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
            REGISTRY => {
                state.registry = Registry::default();
                state.founding = None;
            }
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
            "{} {:?} {:?} {:?} {:?} {:?}",
            now(),
            state.readers,
            state.registry,
            state.founding,
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

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    pub(super) fn change(&mut self, name: &[u8]) {
        for reader in self.readers.remove(name).unwrap_or_default() {
            self.connections[reader].pushes.push_back(name.to_vec());
        }
    }

    pub(super) fn track(&mut self, number: usize, name: Vec<u8>) {
        self.readers.entry(name).or_default().insert(number);
    }

    /// Begins to found the registry, unless an attempt has begun.
    pub(super) fn begin_founding(&mut self) -> u64 {
        self.attempts += 1;
        *self.founding.get_or_insert(self.attempts)
    }

    /// Rings the bell. A bell that was lost begins another era.
    pub(super) fn ring(&mut self) -> Bell {
        let bell = self.bell.get_or_insert_with(|| {
            self.eras += 1;
            let era = self.eras.to_string().into_bytes();
            Bell { era, number: 0 }
        });
        bell.number += 1;
        let rung = bell.clone();
        self.change(BELL);
        rung
    }
}

impl Connection {
    pub(super) fn deliver(&mut self, count: usize) {
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
    pub(super) fn sent(&self) -> usize {
        self.applied() + self.pushes.len()
    }

    /// Returns the number of pushes that were ever applied.
    pub(super) fn applied(&self) -> usize {
        self.applied.values().sum()
    }
}
