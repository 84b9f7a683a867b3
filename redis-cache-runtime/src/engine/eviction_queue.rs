//! The queue of pending evictions: those that the store has not taken yet.
//!
//! While an eviction is pending, this process does not use the entries that it concerns. An
//! eviction leaves the queue only after the store has taken it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::key::{Address, Eviction, Owed, Slots, concerns};

/// The largest number of pending evictions. More of them are replaced by one eviction of
/// everything, which includes them all.
const MAX: usize = 4096;

/// The largest number of evictions that are sent at once.
const BATCH: usize = 256;

/// The pending evictions. Their number is stored outside of the lock, for cheap checks.
#[derive(Debug, Default)]
pub(crate) struct EvictionQueue {
    queue: Mutex<Queue>,
    len: AtomicUsize,
}

#[derive(Debug, Default)]
struct Queue {
    evictions: HashMap<Eviction, Pending>,
    /// The number of the next attempt.
    next: u64,
    /// A task retries the evictions.
    is_retrying: bool,
}

/// The state of a pending eviction.
#[derive(Debug)]
struct Pending {
    /// The number of the last attempt that queued the eviction, or failed to send it.
    number: u64,
    /// The slots of a cluster that have not taken the eviction, if others have.
    slots: Option<Slots>,
}

/// Some pending evictions, as they were when the attempt to send them began.
pub(crate) struct Batch {
    pub(crate) owed: Vec<Owed>,
    next: u64,
}

impl EvictionQueue {
    /// Returns the number of pending evictions.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Returns whether a pending eviction concerns an address.
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
                .chain(at.response_groups().iter().map(AsRef::as_ref))
                .any(|group| is_queued(Eviction::Group(group.to_owned().into())))
    }

    /// Returns whether any of some evictions is still pending.
    pub(crate) fn contains_any_of(&self, evictions: &[Eviction]) -> bool {
        let queue = self.queue();
        let is_queued = |eviction: &Eviction| queue.evictions.contains_key(eviction);
        is_queued(&Eviction::All) || evictions.iter().any(is_queued)
    }

    /// Queues evictions; returns `true` if they overflowed into a single eviction of everything.
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

    /// Records that a task retries the evictions from now on; returns `false` if one does already.
    pub(crate) fn begin_retry(&self) -> bool {
        !std::mem::replace(&mut self.queue().is_retrying, true)
    }

    /// Returns the number of attempts so far.
    pub(crate) fn attempts(&self) -> u64 {
        self.queue().next
    }

    /// Returns the next evictions whose last attempt was before the first `attempts`; `None`: there
    /// are none. So a round that passes the same `attempts` sends each eviction once.
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

    /// Returns whether the queue is empty. If so, records that no task retries any more.
    pub(crate) fn finish_retry(&self) -> bool {
        let mut queue = self.queue();
        queue.is_retrying = !queue.evictions.is_empty();
        !queue.is_retrying
    }

    /// Records that the task which retried has ended early.
    pub(crate) fn abort_retry(&self) {
        self.queue().is_retrying = false;
    }

    /// Removes the evictions of a batch that the store took: all except `left`. An eviction that
    /// was queued again since the batch began stays.
    pub(crate) fn finish_batch(&self, batch: &Batch, left: Vec<Owed>) {
        let mut queue = self.queue();
        let is_unchanged = |pending: &Pending| pending.number < batch.next;
        // This comes before `left` is inserted, which may hold a part of the same eviction.
        for Owed { eviction, .. } in &batch.owed {
            if queue.evictions.get(eviction).is_some_and(is_unchanged) {
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

    /// Locks the queue, even if the lock is poisoned: every critical section leaves it consistent.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Queues an eviction. If it is pending already, it is then pending in the slots of both.
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
    use crate::key::{CacheKey, DeclaredGroups, Group, ResponseGroups, slot_of_key};

    fn key(text: &str) -> CacheKey {
        CacheKey::of_handler(text.to_owned(), 7)
    }

    fn at(text: &str, group: &str) -> Address {
        Address {
            key: key(text),
            variant: None,
            groups: DeclaredGroups::Made(vec![group.to_owned().into()]),
            response_groups: None,
            mounted: None,
        }
    }

    fn push(queue: &EvictionQueue, eviction: Eviction) {
        queue.push(vec![Owed::whole(eviction)]);
    }

    #[test]
    fn a_pending_eviction_concerns_its_key_its_group_or_everything() {
        let queue = EvictionQueue::default();
        assert!(!queue.concerns(&at("/a", "g")));
        push(&queue, Eviction::Key(key("/a")));
        assert!(queue.begin_retry() && !queue.begin_retry());
        assert!(queue.concerns(&at("/a", "g")) && !queue.concerns(&at("/b", "g")));
        push(&queue, Eviction::Group("h".into()));
        assert!(queue.concerns(&at("/b", "h")) && !queue.concerns(&at("/b", "g")));
        let in_h: ResponseGroups = [Group::from("f"), Group::from("h")].into();
        assert!(queue.concerns(&at("/b", "g").with_response_groups(&in_h)));
        push(&queue, Eviction::Key(key("/c")));
        let page = at("/c", "g");
        let page = Address {
            key: page.key.extended("?page=2"),
            ..page
        };
        assert!(
            queue.concerns(&page),
            "a key that extends an evicted key is evicted with it"
        );
        push(&queue, Eviction::Handler(7));
        assert!(queue.concerns(&at("/b", "g")));
    }

    #[test]
    fn an_eviction_that_is_queued_again_while_it_is_sent_stays() {
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
        assert!(queue.begin_retry(), "no task retries any more");
    }

    #[test]
    fn too_many_evictions_become_one_of_everything() {
        let queue = EvictionQueue::default();
        for number in 0..MAX {
            push(&queue, Eviction::Key(key(&format!("/{number}"))));
        }
        assert_eq!(queue.len(), MAX);
        push(&queue, Eviction::Key(key("/one-more")));
        assert_eq!(queue.len(), 1);
        assert!(queue.concerns(&at("/other", "g")));
    }

    #[test]
    fn an_eviction_that_is_pending_in_some_slots_concerns_only_them() {
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
        assert!(queue.concerns(&there), "queued again meanwhile");
    }

    #[test]
    fn an_eviction_is_in_the_queue_until_the_store_has_taken_it() {
        let queue = EvictionQueue::default();
        let [a, b] = ["/a", "/b"].map(|text| Eviction::Key(key(text)));
        push(&queue, a.clone());
        assert!(queue.contains_any_of(&[b.clone(), a.clone()]));
        assert!(!queue.contains_any_of(std::slice::from_ref(&b)));
        push(&queue, Eviction::All);
        assert!(queue.contains_any_of(&[b]));
        let batch = queue.next_batch(queue.attempts()).unwrap();
        queue.finish_batch(&batch, Vec::new());
        assert!(!queue.contains_any_of(&[a]));
    }

    #[test]
    fn each_eviction_is_sent_once_in_a_round() {
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
