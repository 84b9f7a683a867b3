//! What was promised to whom, and whether it was kept.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::http::{Call, Reply};
use crate::items::{ITEMS, Scope, is_large};
use crate::processes::Processes;
use crate::recovery::Recovery;

/// Further ones before the next fault are only counted.
const PRINTED: u64 = 5;

pub(crate) struct Checker {
    started: Instant,
    /// Held while everything is evicted, and while that would disturb what is measured.
    pub(crate) everything: tokio::sync::Mutex<()>,
    /// Of each item, the newest write whose response was received.
    acknowledged: Vec<Mutex<Option<Write>>>,
    condition: Mutex<(String, Instant)>,
    printed: Counter,
    slowest: Mutex<(Duration, String)>,
    pub(crate) processes: Processes,
    pub(crate) recovery: Recovery,
    pub(crate) reads: Counter,
    pub(crate) hits: Counter,
    pub(crate) large_reads: Counter,
    pub(crate) large_hits: Counter,
    pub(crate) writes: Counter,
    pub(crate) disconnects: Counter,
    pub(crate) stale: Counter,
    pub(crate) failed: Counter,
    pub(crate) mismatches: Counter,
}

#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

/// An acknowledged write.
#[derive(Clone)]
pub(crate) struct Write {
    version: u64,
    what: String,
    at: Instant,
}

impl Checker {
    pub(crate) fn new(processes: Processes) -> Self {
        let now = Instant::now();
        Self {
            started: now,
            everything: tokio::sync::Mutex::default(),
            acknowledged: (0..ITEMS).map(|_| Mutex::default()).collect(),
            condition: Mutex::new(("nothing yet".to_owned(), now)),
            printed: Counter::default(),
            slowest: Mutex::default(),
            recovery: Recovery::new(processes.count()),
            processes,
            reads: Counter::default(),
            hits: Counter::default(),
            large_reads: Counter::default(),
            large_hits: Counter::default(),
            writes: Counter::default(),
            disconnects: Counter::default(),
            stale: Counter::default(),
            failed: Counter::default(),
            mismatches: Counter::default(),
        }
    }

    /// What a read that is sent from now on must see at least.
    pub(crate) fn promised(&self, item: u32) -> Option<Write> {
        lock(&self.acknowledged[item as usize]).clone()
    }

    /// Notes the response of a write.
    pub(crate) fn wrote(&self, scope: Scope, call: &Call, reply: &Reply) {
        self.writes.add();
        let at = Instant::now();
        let (version, outcome) = (reply.version, &reply.outcome);
        let what = format!(
            "{} {} on process {} ({outcome})",
            call.method, call.path, call.process
        );
        for item in (0..ITEMS).filter(|item| scope.contains(*item)) {
            let mut newest = lock(&self.acknowledged[item as usize]);
            if newest.as_ref().is_none_or(|write| write.version < version) {
                let what = what.clone();
                *newest = Some(Write { version, what, at });
            }
        }
    }

    /// Checks the response of a read of an item that was sent when that was promised.
    pub(crate) fn saw(
        &self,
        item: u32,
        promised: Option<&Write>,
        sent: Instant,
        call: &Call,
        reply: &Reply,
    ) {
        let large = is_large(item);
        self.reads.add();
        self.large_reads.add_if(large);
        if reply.outcome == "HIT" {
            self.hits.add();
            self.large_hits.add_if(large);
            self.recovery.hit(item, call.process, sent);
        }
        if let Some(write) = promised
            && reply.version < write.version
        {
            self.stale.add();
            self.recovery.stale(sent);
            let ago = sent.duration_since(write.at);
            let what = format!(
                "got version {} ({}) instead of {}, written by {} and acknowledged {ago:.0?} before",
                reply.version, reply.outcome, write.version, write.what
            );
            self.print("STALE", call, what);
        }
    }

    /// Notes a request that was answered wrongly, late or not at all. It is not late because its
    /// process was frozen.
    pub(crate) fn failed(&self, call: &Call, why: impl Display) {
        self.failed.add();
        self.print("FAILED", call, why);
    }

    /// Checks the response of a read when everything has come to rest.
    pub(crate) fn saw_in_the_end(&self, version: u64, call: &Call, reply: &Reply) {
        if reply.version != version {
            self.mismatches.add();
            let what = format!(
                "got version {} ({}) instead of {version}",
                reply.version, reply.outcome
            );
            self.print("MISMATCH", call, what);
        }
    }

    /// Notes how long a request took while its process ran.
    pub(crate) fn took(&self, call: &Call, time: Duration) {
        let mut slowest = lock(&self.slowest);
        if time > slowest.0 {
            let now = self.condition();
            *slowest = (time, format!("{} {}, {now}", call.method, call.path));
        }
    }

    pub(crate) fn slowest(&self) -> (Duration, String) {
        lock(&self.slowest).clone()
    }

    /// Notes which fault is on from now on.
    pub(crate) fn set_condition(&self, name: String) {
        tracing::info!("{name}");
        *lock(&self.condition) = (name, Instant::now());
        self.printed.0.store(0, Ordering::Relaxed);
    }

    fn condition(&self) -> String {
        let (name, since) = &*lock(&self.condition);
        format!("{:.2?} after: {name}", since.elapsed())
    }

    fn print(&self, sort: &str, call: &Call, what: impl Display) {
        if self.printed.add() >= PRINTED {
            return;
        }
        let (at, condition) = (self.started.elapsed(), self.condition());
        let Call {
            process,
            method,
            path,
            field,
        } = call;
        let field = field.map_or("", |(_, value)| value);
        eprintln!(
            "{at:.3?} {sort} {method} {path} {field} on process {process}: {what}; {condition}"
        );
    }
}

impl Counter {
    /// Returns how many there were before.
    pub(crate) fn add(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    fn add_if(&self, counts: bool) {
        if counts {
            self.add();
        }
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
