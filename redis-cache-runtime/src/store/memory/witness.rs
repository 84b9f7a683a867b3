//! The nonce that every eviction removes.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::Nonce;

/// The nonce that every eviction removes. It needs no lock: it counts its removals, so it never has a
/// value twice.
#[derive(Default)]
pub(super) struct Witness {
    /// The last bit is set while there is a nonce. The other bits count the removals.
    state: AtomicU64,
}

impl Witness {
    /// Returns the nonce, if there is one.
    pub(super) fn get(&self) -> Option<Nonce> {
        let state = self.state.load(Ordering::SeqCst);
        (state & 1 == 1).then(|| nonce(state))
    }

    /// Returns the nonce, and makes one if there is none.
    pub(super) fn seed(&self) -> Nonce {
        nonce(self.state.fetch_or(1, Ordering::SeqCst) | 1)
    }

    /// Removes the nonce, if there is one.
    pub(super) fn remove(&self) {
        let removed = |state: u64| (state & 1 == 1).then(|| state.wrapping_add(1));
        // An error means that there is no nonce.
        let _ = self
            .state
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, removed);
    }
}

fn nonce(state: u64) -> Nonce {
    u128::from(state).to_be_bytes()
}
