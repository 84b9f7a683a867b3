//! Evictions that the store has not taken yet.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::key::{Address, Eviction, Owed, Slots, concerns};

/// More evictions than this become one of everything: it loses none of them, and is one entry here.
const MAX: usize = 4096;

/// The most evictions that are sent at once.
const BATCH: usize = 256;

/// The queue of evictions that the store has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct EvictionQueue {
    queue: Mutex<Queue>,
    len: AtomicUsize,
}

#[derive(Debug, Default)]
struct Queue {
    evictions: HashMap<Eviction, Pending>,
    next: u64,
    /// Somebody takes care of them.
    is_retrying: bool,
}

/// An eviction that waits.
#[derive(Debug)]
struct Pending {
    /// The number of the attempt that was the last to ask for it, or to fail.
    number: u64,
    /// The slots of a cluster that have not taken it, if others have.
    slots: Option<Slots>,
}

/// Some of the evictions, as they were when they were taken to the store.
pub(crate) struct Batch {
    pub(crate) owed: Vec<Owed>,
    next: u64,
}

impl EvictionQueue {
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Returns whether an eviction in the queue concerns an address.
    pub(crate) fn concerns(&self, at: &Address) -> bool {
        if self.len() == 0 {
            return false;
        }
        let queue = self.queue();
        let is_queued = |eviction: Eviction| {
            let pending = queue.evictions.get(&eviction);
            pending.is_some_and(|pending| concerns(pending.slots.as_ref(), &at.key))
        };
        is_queued(Eviction::All)
            || is_queued(Eviction::Handler(at.key.bucket()))
            || is_queued(Eviction::Key(at.key.clone()))
            || is_queued(Eviction::Key(at.key.clone().into_base()))
            || at
                .groups
                .iter()
                .any(|group| is_queued(Eviction::Group(group.to_owned().into())))
    }

    /// Returns whether any of them still waits.
    pub(crate) fn contains_any_of(&self, evictions: &[Eviction]) -> bool {
        let queue = self.queue();
        let is_queued = |eviction: &Eviction| queue.evictions.contains_key(eviction);
        is_queued(&Eviction::All) || evictions.iter().any(is_queued)
    }

    /// Keeps evictions. `true`: they were too many.
    pub(crate) fn push(&self, owed: Vec<Owed>) -> bool {
        let mut queue = self.queue();
        let number = queue.next;
        queue.next += 1;
        for Owed { eviction, slots } in owed {
            queue.insert(eviction, slots, number);
        }
        let overflows = queue.evictions.len() > MAX;
        if overflows {
            queue.evictions.clear();
            queue.insert(Eviction::All, None, number);
        }
        self.len.store(queue.evictions.len(), Ordering::Release);
        overflows
    }

    /// Starts retrying; `false`: a task retries already.
    pub(crate) fn begin_retry(&self) -> bool {
        !std::mem::replace(&mut self.queue().is_retrying, true)
    }

    /// The number of the attempts so far.
    pub(crate) fn attempts(&self) -> u64 {
        self.queue().next
    }

    /// The next ones to try of those that were not tried since that many attempts.
    pub(crate) fn next_batch(&self, attempts: u64) -> Option<Batch> {
        let queue = self.queue();
        let is_next = |(_, pending): &(&Eviction, &Pending)| pending.number < attempts;
        let next = queue.evictions.iter().filter(is_next).take(BATCH);
        let owed: Vec<_> = next
            .map(|(eviction, pending)| Owed {
                eviction: eviction.clone(),
                slots: pending.slots.clone(),
            })
            .collect();
        (!owed.is_empty()).then_some(Batch {
            owed,
            next: queue.next,
        })
    }

    /// Returns whether none pending, and notes that nobody takes care of them then.
    pub(crate) fn finish_retry(&self) -> bool {
        let mut queue = self.queue();
        queue.is_retrying = !queue.evictions.is_empty();
        !queue.is_retrying
    }

    /// Records that no task retries any more.
    pub(crate) fn abort_retry(&self) {
        self.queue().is_retrying = false;
    }

    /// Forgets those of a batch that the store took, which is all but what is left. What was asked for
    /// again meanwhile stays.
    pub(crate) fn finish_batch(&self, batch: &Batch, left: Vec<Owed>) {
        let mut queue = self.queue();
        let is_as_it_was = |pending: &Pending| pending.number < batch.next;
        // Before what is left is put back: a part of it may stay.
        for Owed { eviction, .. } in &batch.owed {
            if queue.evictions.get(eviction).is_some_and(is_as_it_was) {
                queue.evictions.remove(eviction);
            }
        }
        let number = queue.next;
        queue.next += 1;
        for Owed { eviction, slots } in left {
            queue.insert(eviction, slots, number);
        }
        self.len.store(queue.evictions.len(), Ordering::Release);
    }

    /// Every critical section leaves it whole, however it ends.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Queues an eviction. If it is queued already, it then waits in the slots of both.
    fn insert(&mut self, eviction: Eviction, slots: Option<Slots>, number: u64) {
        let slots = match (self.evictions.get(&eviction), slots) {
            (
                Some(Pending {
                    slots: Some(known), ..
                }),
                Some(more),
            ) => Some(known.iter().chain(more.iter()).collect()),
            (Some(Pending { slots: None, .. }), _) | (_, None) => None,
            (None, more) => more,
        };
        self.evictions.insert(eviction, Pending { number, slots });
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

    fn push(queue: &EvictionQueue, eviction: Eviction) {
        queue.push(vec![Owed::whole(eviction)]);
    }

    #[test]
    fn what_waits_concerns_its_key_its_group_or_everything() {
        let queue = EvictionQueue::default();
        assert!(!queue.concerns(&at("/a", "g")));
        push(&queue, Eviction::Key(key("/a")));
        assert!(queue.begin_retry() && !queue.begin_retry());
        assert!(queue.concerns(&at("/a", "g")) && !queue.concerns(&at("/b", "g")));
        push(&queue, Eviction::Group("h".into()));
        assert!(queue.concerns(&at("/b", "h")) && !queue.concerns(&at("/b", "g")));
        push(&queue, Eviction::Key(key("/c")));
        let page = at("/c", "g");
        let page = Address {
            key: page.key.extended("?page=2"),
            ..page
        };
        assert!(
            queue.concerns(&page),
            "what extends a key is evicted with it"
        );
        push(&queue, Eviction::Handler(7));
        assert!(queue.concerns(&at("/b", "g")));
    }

    #[test]
    fn what_is_asked_for_again_while_it_is_tried_stays() {
        let queue = EvictionQueue::default();
        let [a, b] = ["/a", "/b"].map(|text| Eviction::Key(key(text)));
        push(&queue, a.clone());
        push(&queue, b);
        let batch = queue.next_batch(queue.attempts()).unwrap();
        push(&queue, a);
        queue.finish_batch(&batch, Vec::new());
        assert!(queue.concerns(&at("/a", "g")) && !queue.concerns(&at("/b", "g")));
        let batch = queue.next_batch(queue.attempts()).unwrap();
        queue.finish_batch(&batch, Vec::new());
        assert_eq!(queue.len(), 0);
        assert!(queue.next_batch(queue.attempts()).is_none() && queue.finish_retry());
        assert!(queue.begin_retry(), "nobody does any more");
    }

    #[test]
    fn too_many_become_an_eviction_of_everything() {
        let queue = EvictionQueue::default();
        for number in 0..=MAX {
            push(&queue, Eviction::Key(key(&format!("/{number}"))));
        }
        assert_eq!(queue.len(), 1);
        assert!(queue.concerns(&at("/other", "g")));
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
        let queue = EvictionQueue::default();
        push(&queue, Eviction::All);
        let batch = queue.next_batch(queue.attempts()).unwrap();
        assert!(queue.concerns(&here) && queue.concerns(&there));
        queue.finish_batch(&batch, vec![owed(only(&here))]);
        assert!(queue.concerns(&here) && !queue.concerns(&there));
        queue.push(vec![owed(only(&there))]);
        assert!(queue.concerns(&here) && queue.concerns(&there));

        let batch = queue.next_batch(queue.attempts()).unwrap();
        push(&queue, Eviction::All);
        queue.finish_batch(&batch, vec![owed(only(&here))]);
        assert!(queue.concerns(&there), "asked for again meanwhile");
    }

    #[test]
    fn each_is_tried_once_in_a_round() {
        let queue = EvictionQueue::default();
        for number in 0..=BATCH {
            push(&queue, Eviction::Key(key(&format!("/{number}"))));
        }
        let attempts = queue.attempts();
        for tried in [BATCH, 1] {
            let batch = queue.next_batch(attempts).unwrap();
            assert_eq!(batch.owed.len(), tried);
            queue.finish_batch(&batch, batch.owed.clone());
        }
        assert!(queue.next_batch(attempts).is_none() && !queue.finish_retry());
        assert_eq!(queue.len(), BATCH + 1);
    }
}
