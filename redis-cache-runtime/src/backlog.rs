//! Evictions that the store has not taken yet.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::key::{Address, Eviction};

/// More evictions than this become one of everything: it loses none of them, and is one entry here.
const MAX: usize = 4096;

/// How many are tried at once.
const BATCH: usize = 256;

/// What this process knows to be evicted and the store does not.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    waiting: Mutex<Waiting>,
    len: AtomicUsize,
}

#[derive(Debug, Default)]
struct Waiting {
    /// With the number of the attempt that asked for it last.
    evictions: HashMap<Eviction, u64>,
    next: u64,
    /// Somebody takes care of them.
    tended: bool,
}

/// Some of the evictions, as they were when they were taken to the store.
pub(crate) struct Batch {
    pub(crate) evictions: Vec<Eviction>,
    next: u64,
}

impl Backlog {
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Whether what is stored at an address is evicted, which the store does not know.
    pub(crate) fn concerns(&self, at: &Address) -> bool {
        if self.len() == 0 {
            return false;
        }
        let waiting = self.waiting();
        let is_waiting = |eviction: Eviction| waiting.evictions.contains_key(&eviction);
        is_waiting(Eviction::All)
            || is_waiting(Eviction::Handler(at.key.bucket()))
            || is_waiting(Eviction::Key(at.key.clone()))
            || is_waiting(Eviction::Key(at.key.clone().into_base()))
            || at
                .groups
                .iter()
                .any(|group| is_waiting(Eviction::Group(group.to_owned().into())))
    }

    /// Whether any of them waits still.
    pub(crate) fn holds_any_of(&self, evictions: &[Eviction]) -> bool {
        let waiting = self.waiting();
        let is_waiting = |eviction: &Eviction| waiting.evictions.contains_key(eviction);
        is_waiting(&Eviction::All) || evictions.iter().any(is_waiting)
    }

    /// Keeps evictions. `true`: they were too many.
    pub(crate) fn push(&self, evictions: Vec<Eviction>) -> bool {
        let mut waiting = self.waiting();
        let number = waiting.next;
        waiting.next += 1;
        let numbered = evictions.into_iter().map(|eviction| (eviction, number));
        waiting.evictions.extend(numbered);
        let overflows = waiting.evictions.len() > MAX;
        if overflows {
            waiting.evictions.clear();
            waiting.evictions.insert(Eviction::All, number);
        }
        self.len.store(waiting.evictions.len(), Ordering::Release);
        overflows
    }

    /// Whether nobody takes care of what waits, so that the caller has to from now on.
    pub(crate) fn take_care(&self) -> bool {
        !std::mem::replace(&mut self.waiting().tended, true)
    }

    /// The next ones to try; `None` when there are none, and then nobody takes care of them.
    pub(crate) fn batch(&self) -> Option<Batch> {
        let mut waiting = self.waiting();
        let evictions: Vec<_> = waiting.evictions.keys().take(BATCH).cloned().collect();
        waiting.tended = !evictions.is_empty();
        waiting.tended.then_some(Batch {
            evictions,
            next: waiting.next,
        })
    }

    /// Notes that nobody takes care of them any more.
    pub(crate) fn abandon(&self) {
        self.waiting().tended = false;
    }

    /// Forgets a batch that the store took. What was asked for again meanwhile stays.
    pub(crate) fn settle(&self, batch: &Batch) {
        let mut waiting = self.waiting();
        for eviction in &batch.evictions {
            if waiting
                .evictions
                .get(eviction)
                .is_some_and(|number| *number < batch.next)
            {
                waiting.evictions.remove(eviction);
            }
        }
        self.len.store(waiting.evictions.len(), Ordering::Release);
    }

    /// Every critical section leaves it whole, however it ends.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{CacheKey, Groups};

    fn key(text: &str) -> CacheKey {
        CacheKey::of_handler(text.to_owned(), 7)
    }

    fn at(text: &str, group: &str) -> Address {
        Address {
            key: key(text),
            variant: None,
            groups: Groups::Made(vec![group.to_owned().into()]),
            mounted: None,
        }
    }

    #[test]
    fn what_waits_concerns_its_key_its_group_or_everything() {
        let backlog = Backlog::default();
        assert!(!backlog.concerns(&at("/a", "g")));
        backlog.push(vec![Eviction::Key(key("/a"))]);
        assert!(backlog.take_care() && !backlog.take_care());
        assert!(backlog.concerns(&at("/a", "g")) && !backlog.concerns(&at("/b", "g")));
        backlog.push(vec![Eviction::Group("h".into())]);
        assert!(backlog.concerns(&at("/b", "h")) && !backlog.concerns(&at("/b", "g")));
        backlog.push(vec![Eviction::Key(key("/c"))]);
        let page = at("/c", "g");
        let page = Address {
            key: page.key.extended("?page=2"),
            ..page
        };
        assert!(
            backlog.concerns(&page),
            "what extends a key is evicted with it"
        );
        backlog.push(vec![Eviction::Handler(7)]);
        assert!(backlog.concerns(&at("/b", "g")));
    }

    #[test]
    fn what_is_asked_for_again_while_it_is_tried_stays() {
        let backlog = Backlog::default();
        let [a, b] = ["/a", "/b"].map(|text| Eviction::Key(key(text)));
        backlog.push(vec![a.clone(), b]);
        let batch = backlog.batch().unwrap();
        backlog.push(vec![a]);
        backlog.settle(&batch);
        assert!(backlog.concerns(&at("/a", "g")) && !backlog.concerns(&at("/b", "g")));
        let batch = backlog.batch().unwrap();
        backlog.settle(&batch);
        assert_eq!(backlog.len(), 0);
        assert!(backlog.batch().is_none());
        assert!(backlog.take_care(), "nobody does any more");
    }

    #[test]
    fn too_many_become_an_eviction_of_everything() {
        let backlog = Backlog::default();
        for number in 0..=MAX {
            backlog.push(vec![Eviction::Key(key(&format!("/{number}")))]);
        }
        assert_eq!(backlog.len(), 1);
        assert!(backlog.concerns(&at("/other", "g")));
    }
}
