//! Instructions for running a handler, when there is no entry to reuse.

use super::fill::Fill;
use super::turns::Turn;

/// Instructions for running a handler.
pub(crate) enum Plan<T> {
    /// The client gets the handler's response.
    Run(Destination),
    /// The client gets the stale entry, and the handler's response is stored.
    Refresh(Box<Fill>, Box<T>),
}

/// The destination of a handler's response. The client always gets it.
pub(crate) enum Destination {
    /// No other destination.
    Nowhere,
    /// The requests that wait for this run. Its response is not stored, because the store has a
    /// fault or another process holds the lease for too long.
    Followers(Box<Turn>),
    /// The store, and the requests that wait for this run.
    Store(Box<Fill>),
}

impl<T> Plan<T> {
    pub(super) fn unstored() -> Self {
        Self::Run(Destination::Nowhere)
    }

    pub(super) fn in_turn(turn: Turn) -> Self {
        Self::Run(Destination::Followers(Box::new(turn)))
    }

    pub(super) fn fill(fill: Box<Fill>) -> Self {
        Self::Run(Destination::Store(fill))
    }
}

impl Destination {
    /// Runs a handler for this destination.
    pub(crate) async fn run<T>(&self, handler: impl Future<Output = T>) -> T {
        match self {
            Self::Nowhere => handler.await,
            Self::Followers(turn) => turn.run(handler).await,
            Self::Store(fill) => fill.run(handler).await,
        }
    }
}
