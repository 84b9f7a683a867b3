//! Faults of Redis, of the connections to it and of the processes that use it, one after the other.

pub(crate) mod cluster;
pub(crate) mod one;
pub(crate) mod sentinel;
mod server;

use std::time::Duration;

use fastrand::Rng;

use crate::checker::Checker;

/// The servers that the processes cache in, and what can go wrong with them.
pub(crate) trait Servers: Sized + Send + 'static {
    /// What `--servers` calls them.
    const NAME: &'static str;

    const FAULTS: &'static [Fault<Self>];

    /// How many milliseconds there are between faults, at least and at most: long enough to
    /// reconnect, and to have many hits.
    const CALM: [u64; 2];

    /// Where a process finds them.
    fn address(&self, process: usize) -> String;
}

/// What makes a fault, says what it is, waits until it is over and heals it.
pub(crate) struct Fault<S> {
    pub(crate) name: &'static str,
    pub(crate) suffer: fn(&mut S, &mut Rng, &Checker),
}

/// The faults of a list of names.
pub(crate) fn chosen<S: Servers>(list: &str) -> Option<Vec<&'static Fault<S>>> {
    let named = |name: &str| S::FAULTS.iter().find(|fault| fault.name == name);
    match list {
        "none" => Some(Vec::new()),
        "all" => Some(S::FAULTS.iter().collect()),
        list => list.split(',').map(named).collect(),
    }
}

/// Lists the names of all faults.
pub(crate) fn names<S: Servers>() -> String {
    let names: Vec<_> = S::FAULTS.iter().map(|fault| fault.name).collect();
    names.join(",")
}

const fn fault<S>(name: &'static str, suffer: fn(&mut S, &mut Rng, &Checker)) -> Fault<S> {
    Fault { name, suffer }
}

/// A process of the application is stopped by a signal, and continued.
fn freeze_process<S>(_: &mut S, random: &mut Rng, checker: &Checker) {
    let process = random.usize(..checker.processes.count());
    let frozen = between(random, 1000, 3000);
    checker.set_condition(format!("process {process} stopped for {frozen:?}"));
    checker.processes.freeze(process, frozen);
    checker.set_condition(format!("process {process} continued"));
}

pub(crate) fn between(random: &mut Rng, shortest: u64, longest: u64) -> Duration {
    Duration::from_millis(random.u64(shortest..=longest))
}
