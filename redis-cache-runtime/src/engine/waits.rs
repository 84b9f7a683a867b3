//! The graph of runs that wait for other runs of this process. A wait that would close a cycle is
//! refused, so that no cycle waits for ever.
//!
//! A run is known as long as it stays in its task. A cycle through other tasks is not seen, and
//! ends with the longest time that a request waits.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

tokio::task_local! {
    /// The run of a handler, or of the function that makes a value, that other requests may wait
    /// for.
    static CURRENT: Run;
}

/// The runs that each run waits for. A run can wait for several at the same time.
static WAITS: LazyLock<Mutex<HashMap<Run, Vec<Run>>>> = LazyLock::new(Mutex::default);

/// A run that other requests may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Run(u64);

impl Run {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns whether this task is inside a run.
    pub(crate) fn is_within_one() -> bool {
        Self::current().is_some()
    }

    fn current() -> Option<Self> {
        CURRENT.try_with(|run| *run).ok()
    }

    /// Runs a future as this run.
    pub(crate) async fn scope<T>(self, future: impl Future<Output = T>) -> T {
        CURRENT.scope(self, future).await
    }

    /// Records that this run waits for another; `None`: the other one waits for this one.
    pub(crate) fn wait_for(self, other: Self) -> Option<Wait> {
        let mut waits = waits();
        if reaches(&waits, other, self) {
            return None;
        }
        waits.entry(self).or_default().push(other);
        Some(Wait(Some((self, other))))
    }
}

/// Records that the run of this task, if there is one, waits for another; `None`: the other one
/// waits for this run.
pub(crate) fn wait_for(other: Run) -> Option<Wait> {
    match Run::current() {
        Some(run) => run.wait_for(other),
        None => Some(Wait(None)),
    }
}

/// A record that a run waits for another. Dropping it ends the wait.
#[derive(Debug)]
pub(crate) struct Wait(Option<(Run, Run)>);

impl Drop for Wait {
    fn drop(&mut self) {
        let Some((run, other)) = self.0 else { return };
        let mut waits = waits();
        let Some(others) = waits.get_mut(&run) else {
            return;
        };
        if let Some(position) = others.iter().position(|it| *it == other) {
            others.swap_remove(position);
        }
        if others.is_empty() {
            waits.remove(&run);
        }
    }
}

/// Returns whether one run is another, or waits for it.
fn reaches(waits: &HashMap<Run, Vec<Run>>, from: Run, to: Run) -> bool {
    let (mut seen, mut open) = (HashSet::new(), vec![from]);
    while let Some(run) = open.pop() {
        if run == to {
            return true;
        }
        if seen.insert(run) {
            open.extend(waits.get(&run).into_iter().flatten());
        }
    }
    false
}

/// Locks the graph, even if the lock is poisoned: every critical section leaves it consistent.
fn waits() -> MutexGuard<'static, HashMap<Run, Vec<Run>>> {
    WAITS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_would_close_a_cycle_is_refused_until_another_ends() {
        let [a, b, c] = [(); 3].map(|()| Run::new());
        let ab = a.wait_for(b).unwrap();
        let _ac = a.wait_for(c).unwrap();
        let _bc = b.wait_for(c).unwrap();
        assert!(a.wait_for(a).is_none() && c.wait_for(a).is_none() && b.wait_for(a).is_none());
        drop(ab);
        assert!(c.wait_for(b).is_none());
        assert!(b.wait_for(a).is_some(), "no run waits for it any more");
    }

    #[test]
    fn a_chain_may_be_long() {
        let runs: Vec<_> = (0..1000).map(|_| Run::new()).collect();
        let chain: Vec<_> = runs.windows(2).map(|it| it[0].wait_for(it[1])).collect();
        assert!(chain.iter().all(Option::is_some));
        assert!(runs[999].wait_for(runs[0]).is_none());
    }
}
