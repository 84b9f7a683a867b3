//! How soon there are hits again after a fault, on every process.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) struct Recovery {
    processes: usize,
    faults: Mutex<Vec<Watched>>,
}

/// What was seen from one fault to the next.
struct Watched {
    fault: &'static str,
    /// The only item whose hits count, if not all do.
    item: Option<u32>,
    began: Instant,
    processes: Vec<Hits>,
    stale: u64,
    /// How long after the fault began the last stale answer was asked for.
    last_stale: Duration,
}

/// Of one process.
#[derive(Clone)]
struct Hits {
    first: Option<Duration>,
    last: Duration,
    /// The longest time without one.
    pause: Duration,
}

impl Recovery {
    pub(crate) fn new(processes: usize) -> Self {
        Self {
            processes,
            faults: Mutex::default(),
        }
    }

    /// A fault begins, and what was seen after another one ends.
    pub(crate) fn begin(&self, fault: &'static str) {
        self.end();
        let none = Hits {
            first: None,
            last: Duration::ZERO,
            pause: Duration::ZERO,
        };
        self.faults().push(Watched {
            fault,
            item: None,
            began: Instant::now(),
            processes: vec![none; self.processes],
            stale: 0,
            last_stale: Duration::ZERO,
        });
    }

    /// What was seen after the last fault ends.
    pub(crate) fn end(&self) {
        if let Some(watched) = self.faults().last_mut() {
            let now = watched.began.elapsed();
            for hits in &mut watched.processes {
                hits.note(now);
            }
        }
    }

    /// Only hits of that item count.
    pub(crate) fn watch(&self, item: u32) {
        if let Some(watched) = self.faults().last_mut() {
            watched.item = Some(item);
        }
    }

    /// Notes a hit, and when it was asked for.
    pub(crate) fn hit(&self, item: u32, process: usize, sent: Instant) {
        if let Some(watched) = self.faults().last_mut()
            && watched.item.is_none_or(|watched| watched == item)
            && let Some(after) = sent.checked_duration_since(watched.began)
        {
            let hits = &mut watched.processes[process];
            hits.first.get_or_insert(after);
            hits.note(after);
        }
    }

    /// Notes a stale answer, and when it was asked for.
    pub(crate) fn stale(&self, sent: Instant) {
        if let Some(watched) = self.faults().last_mut() {
            watched.stale += 1;
            let after = sent.saturating_duration_since(watched.began);
            watched.last_stale = watched.last_stale.max(after);
        }
    }

    fn faults(&self) -> MutexGuard<'_, Vec<Watched>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hits {
    fn note(&mut self, after: Duration) {
        self.pause = self.pause.max(after.saturating_sub(self.last));
        self.last = self.last.max(after);
    }
}

impl Watched {
    /// When every process had a hit.
    fn first(&self) -> Option<Duration> {
        let firsts = self.processes.iter().map(|hits| hits.first);
        firsts.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// The longest time that a process had none.
    fn pause(&self) -> Option<Duration> {
        self.first()?;
        self.processes.iter().map(|hits| hits.pause).max()
    }
}

/// A line for each kind of fault.
impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = self.faults();
        let mut names: Vec<_> = faults.iter().map(|watched| watched.fault).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let all: Vec<_> = faults.iter().filter(|it| it.fault == name).collect();
            let firsts: Vec<_> = all.iter().filter_map(|it| it.first()).collect();
            let pauses: Vec<_> = all.iter().filter_map(|it| it.pause()).collect();
            write!(f, "after {name}: every process had a hit in ")?;
            write!(f, "{} of {} cases", firsts.len(), all.len())?;
            write!(f, ", first after {}", MeanAndMax(&firsts))?;
            write!(f, ", longest time without one {}", MeanAndMax(&pauses))?;
            let stale: u64 = all.iter().map(|it| it.stale).sum();
            if stale > 0 {
                let last = all.iter().map(|it| it.last_stale).max();
                write!(f, ", {stale} stale answers")?;
                write!(f, ", the last {:.2?} after", last.unwrap_or_default())?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

struct MeanAndMax<'a>(&'a [Duration]);

impl fmt::Display for MeanAndMax<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(max) = self.0.iter().max() else {
            return f.write_str("-");
        };
        let count = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        let mean = self.0.iter().sum::<Duration>() / count;
        write!(f, "{mean:.2?} (max {max:.2?})")
    }
}
