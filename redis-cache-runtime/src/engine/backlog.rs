//! The queue of evictions that the store has not taken yet.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::key::{Address, Eviction, Owed, Slots, concerns};

/// The most queued evictions. More become one eviction of everything, so that none is lost.
const MAX: usize = 4096;

/// The most evictions that are sent at once.
const BATCH: usize = 256;

/// The queue of pending evictions.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    waiting: Mutex<Waiting>,
    len: AtomicUsize,
}

#[derive(Debug, Default)]
struct Waiting {
    evictions: HashMap<Eviction, Wait>,
    next: u64,
    /// A task retries the queued evictions.
    tended: bool,
}

/// A queued eviction.
#[derive(Debug)]
struct Wait {
    /// The number of the attempt that requested it last, or failed last.
    number: u64,
    /// The slots of a cluster that have not taken it, if others have.
    slots: Option<Slots>,
}

/// Queued evictions, as they were when they were sent to the store.
pub(crate) struct Batch {
    pub(crate) owed: Vec<Owed>,
    next: u64,
}

impl Backlog {
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Returns whether an eviction in the queue concerns an address.
    pub(crate) fn concerns(&self, at: &Address) -> bool {
        if self.len() == 0 {
            return false;
        }
        let waiting = self.waiting();
        let is_waiting = |eviction: Eviction| {
            let wait = waiting.evictions.get(&eviction);
            wait.is_some_and(|wait| concerns(wait.slots.as_ref(), &at.key))
        };
        is_waiting(Eviction::All)
            || is_waiting(Eviction::Handler(at.key.bucket()))
            || is_waiting(Eviction::Key(at.key.clone()))
            || is_waiting(Eviction::Key(at.key.clone().into_base()))
            || at
                .groups
                .iter()
                .any(|group| is_waiting(Eviction::Group(group.to_owned().into())))
    }

    /// Returns whether any of some evictions is still queued.
    pub(crate) fn holds_any_of(&self, evictions: &[Eviction]) -> bool {
        let waiting = self.waiting();
        let is_waiting = |eviction: &Eviction| waiting.evictions.contains_key(eviction);
        is_waiting(&Eviction::All) || evictions.iter().any(is_waiting)
    }

    /// Queues evictions; returns `true` if they overflowed into a single `All`.
    pub(crate) fn push(&self, owed: Vec<Owed>) -> bool {
        let mut waiting = self.waiting();
        let number = waiting.next;
        waiting.next += 1;
        for Owed { eviction, slots } in owed {
            waiting.wait_for(eviction, slots, number);
        }
        let overflows = waiting.evictions.len() > MAX;
        if overflows {
            waiting.evictions.clear();
            waiting.wait_for(Eviction::All, None, number);
        }
        self.len.store(waiting.evictions.len(), Ordering::Release);
        overflows
    }

    /// Starts retrying; `false`: a task retries already.
    pub(crate) fn take_care(&self) -> bool {
        !std::mem::replace(&mut self.waiting().tended, true)
    }

    /// Returns the number of attempts so far.
    pub(crate) fn attempts(&self) -> u64 {
        self.waiting().next
    }

    /// Returns the next evictions to send, of those that were not tried since a number of attempts.
    pub(crate) fn batch(&self, attempts: u64) -> Option<Batch> {
        let waiting = self.waiting();
        let is_next = |(_, wait): &(&Eviction, &Wait)| wait.number < attempts;
        let next = waiting.evictions.iter().filter(is_next).take(BATCH);
        let owed: Vec<_> = next
            .map(|(eviction, wait)| Owed {
                eviction: eviction.clone(),
                slots: wait.slots.clone(),
            })
            .collect();
        (!owed.is_empty()).then_some(Batch {
            owed,
            next: waiting.next,
        })
    }

    /// Returns whether the queue is empty. If so, records that no task retries any more.
    pub(crate) fn is_done(&self) -> bool {
        let mut waiting = self.waiting();
        waiting.tended = !waiting.evictions.is_empty();
        !waiting.tended
    }

    /// Records that no task retries any more.
    pub(crate) fn abandon(&self) {
        self.waiting().tended = false;
    }

    /// Removes the evictions of a batch that the store took, which are all but those in `left`.
    /// Evictions that were requested again meanwhile stay.
    pub(crate) fn settle(&self, batch: &Batch, left: Vec<Owed>) {
        let mut waiting = self.waiting();
        let is_as_it_was = |wait: &Wait| wait.number < batch.next;
        // Before `left` is queued again: a part of an eviction may stay.
        for Owed { eviction, .. } in &batch.owed {
            if waiting.evictions.get(eviction).is_some_and(is_as_it_was) {
                waiting.evictions.remove(eviction);
            }
        }
        let number = waiting.next;
        waiting.next += 1;
        for Owed { eviction, slots } in left {
            waiting.wait_for(eviction, slots, number);
        }
        self.len.store(waiting.evictions.len(), Ordering::Release);
    }

    /// Locks the queue. A panic in a critical section leaves it consistent.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Queues an eviction. If it is queued already, it then waits in the slots of both.
    fn wait_for(&mut self, eviction: Eviction, slots: Option<Slots>, number: u64) {
        let slots = match (self.evictions.get(&eviction), slots) {
            (
                Some(Wait {
                    slots: Some(known), ..
                }),
                Some(more),
            ) => Some(known.iter().chain(more.iter()).collect()),
            (Some(Wait { slots: None, .. }), _) | (_, None) => None,
            (None, more) => more,
        };
        self.evictions.insert(eviction, Wait { number, slots });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{CacheKey, Groups, slot_of_key};

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

    fn push(backlog: &Backlog, eviction: Eviction) {
        backlog.push(vec![Owed::whole(eviction)]);
    }

    #[test]
    fn what_waits_concerns_its_key_its_group_or_everything() {
        let backlog = Backlog::default();
        assert!(!backlog.concerns(&at("/a", "g")));
        push(&backlog, Eviction::Key(key("/a")));
        assert!(backlog.take_care() && !backlog.take_care());
        assert!(backlog.concerns(&at("/a", "g")) && !backlog.concerns(&at("/b", "g")));
        push(&backlog, Eviction::Group("h".into()));
        assert!(backlog.concerns(&at("/b", "h")) && !backlog.concerns(&at("/b", "g")));
        push(&backlog, Eviction::Key(key("/c")));
        let page = at("/c", "g");
        let page = Address {
            key: page.key.extended("?page=2"),
            ..page
        };
        assert!(
            backlog.concerns(&page),
            "what extends a key is evicted with it"
        );
        push(&backlog, Eviction::Handler(7));
        assert!(backlog.concerns(&at("/b", "g")));
    }

    #[test]
    fn what_is_asked_for_again_while_it_is_tried_stays() {
        let backlog = Backlog::default();
        let [a, b] = ["/a", "/b"].map(|text| Eviction::Key(key(text)));
        push(&backlog, a.clone());
        push(&backlog, b);
        let batch = backlog.batch(backlog.attempts()).unwrap();
        push(&backlog, a);
        backlog.settle(&batch, Vec::new());
        assert!(backlog.concerns(&at("/a", "g")) && !backlog.concerns(&at("/b", "g")));
        let batch = backlog.batch(backlog.attempts()).unwrap();
        backlog.settle(&batch, Vec::new());
        assert_eq!(backlog.len(), 0);
        assert!(backlog.batch(backlog.attempts()).is_none() && backlog.is_done());
        assert!(backlog.take_care(), "nobody does any more");
    }

    #[test]
    fn too_many_become_an_eviction_of_everything() {
        let backlog = Backlog::default();
        for number in 0..MAX {
            push(&backlog, Eviction::Key(key(&format!("/{number}"))));
        }
        assert_eq!(backlog.len(), MAX);
        push(&backlog, Eviction::Key(key("/one-more")));
        assert_eq!(backlog.len(), 1);
        assert!(backlog.concerns(&at("/other", "g")));
    }

    #[test]
    fn an_eviction_that_waits_in_some_slots_concerns_only_them() {
        let [here, there] = ["/here", "/there"].map(|text| at(text, "g"));
        let slot = |at: &Address| slot_of_key(&at.key);
        let only = |at: &Address| -> Option<Slots> { Some([slot(at)].into_iter().collect()) };
        let owed = |slots| Owed {
            eviction: Eviction::All,
            slots,
        };
        let backlog = Backlog::default();
        push(&backlog, Eviction::All);
        let batch = backlog.batch(backlog.attempts()).unwrap();
        assert!(backlog.concerns(&here) && backlog.concerns(&there));
        backlog.settle(&batch, vec![owed(only(&here))]);
        assert!(backlog.concerns(&here) && !backlog.concerns(&there));
        backlog.push(vec![owed(only(&there))]);
        assert!(backlog.concerns(&here) && backlog.concerns(&there));

        let batch = backlog.batch(backlog.attempts()).unwrap();
        push(&backlog, Eviction::All);
        backlog.settle(&batch, vec![owed(only(&here))]);
        assert!(backlog.concerns(&there), "asked for again meanwhile");
    }

    #[test]
    fn an_eviction_is_held_until_it_or_everything_is_taken() {
        let backlog = Backlog::default();
        let [a, b] = ["/a", "/b"].map(|text| Eviction::Key(key(text)));
        push(&backlog, a.clone());
        assert!(backlog.holds_any_of(&[b.clone(), a.clone()]));
        assert!(!backlog.holds_any_of(std::slice::from_ref(&b)));
        push(&backlog, Eviction::All);
        assert!(backlog.holds_any_of(&[b]));
        let batch = backlog.batch(backlog.attempts()).unwrap();
        backlog.settle(&batch, Vec::new());
        assert!(!backlog.holds_any_of(&[a]));
    }

    #[test]
    fn each_is_tried_once_in_a_round() {
        let backlog = Backlog::default();
        for number in 0..=BATCH {
            push(&backlog, Eviction::Key(key(&format!("/{number}"))));
        }
        let attempts = backlog.attempts();
        for tried in [BATCH, 1] {
            let batch = backlog.batch(attempts).unwrap();
            assert_eq!(batch.owed.len(), tried);
            backlog.settle(&batch, batch.owed.clone());
        }
        assert!(backlog.batch(attempts).is_none() && !backlog.is_done());
        assert_eq!(backlog.len(), BATCH + 1);
    }
}
