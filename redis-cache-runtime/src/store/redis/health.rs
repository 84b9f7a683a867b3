//! Whether a connection answers in time.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use redis::RedisError;
use tokio::time::Instant;
use tokio::time::error::Elapsed;

use super::kept::Loss;
use crate::fault::Fault;

/// How much a late answer counts against a connection, one in time for it, and how much is too much:
/// five late ones in a row, or one in five for long.
const LATE: u32 = 4;
const IN_TIME: u32 = 1;
const TOO_LATE: u32 = 20;

/// Answers that are late within so many milliseconds are late together.
const TOGETHER: u64 = 50;

/// How an operation ended.
pub(super) type End<T> = Result<Result<T, RedisError>, Elapsed>;

/// What an operation led to.
pub(super) fn result<T>(end: End<T>) -> Result<T, Fault> {
    match end {
        Ok(result) => result.map_err(|error| Fault::from(&error)),
        Err(_) => Err(Fault::Timeout),
    }
}

/// What it means for a connection that its server refused a command.
pub(super) fn loss_of(refusal: &str) -> Option<Loss> {
    match refusal {
        // It is no primary any more; another is, or will be.
        "READONLY" => Some(Loss::Closed),
        // It refuses everything for a while, and took no eviction either.
        "BUSY" | "LOADING" => Some(Loss::Hung),
        _ => None,
    }
}

/// What is known of a connection; shared by its clones, it also tells it from others.
pub(super) struct Health {
    /// Counts what arrived.
    replies: AtomicU64,
    lateness: AtomicU32,
    /// When an answer was last late, in milliseconds since the connection was made.
    last_late: AtomicU64,
    since: Instant,
    /// Redis had been away, and is believed from then on.
    settled: Option<Instant>,
}

impl Health {
    pub(super) fn new(settled: Option<Instant>) -> Self {
        Self {
            replies: AtomicU64::new(0),
            lateness: AtomicU32::new(0),
            last_late: AtomicU64::new(0),
            since: Instant::now(),
            settled,
        }
    }

    /// How much has arrived.
    pub(super) fn replies(&self) -> u64 {
        self.replies.load(Ordering::Relaxed)
    }

    /// Whether what Redis says is to be believed.
    pub(super) fn has_settled(&self) -> bool {
        self.settled.is_none_or(|settled| Instant::now() >= settled)
    }

    /// Notes how an operation ended, and says what that means for the connection: one that was closed
    /// is lost, and one on which nothing arrives any more too, because one that hangs never recovers by
    /// itself.
    pub(super) fn note<T>(&self, end: &End<T>, replies_before: u64) -> Option<Loss> {
        match end {
            Ok(Ok(_)) => {
                self.arrived();
                None
            }
            Ok(Err(error)) => match Fault::from(error) {
                Fault::Disconnected => Some(Loss::Closed),
                Fault::Refused(code) => {
                    self.arrived();
                    loss_of(&code)
                }
                _ => None,
            },
            Err(_) => {
                let nothing_arrives = self.replies() == replies_before;
                (self.was_late() || nothing_arrives).then_some(Loss::Hung)
            }
        }
    }

    fn arrived(&self) {
        self.replies.fetch_add(1, Ordering::Relaxed);
        let lateness = self.lateness.load(Ordering::Relaxed);
        if lateness > 0 {
            // A lost update does not matter.
            self.lateness
                .store(lateness.saturating_sub(IN_TIME), Ordering::Relaxed);
        }
    }

    /// Whether it is too late too often. Answers that are late together count once: what holds them
    /// up may be over.
    fn was_late(&self) -> bool {
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let last = self.last_late.load(Ordering::Relaxed);
        if now < last + TOGETHER {
            return false;
        }
        self.last_late.store(now, Ordering::Relaxed);
        self.lateness.fetch_add(LATE, Ordering::Relaxed) + LATE >= TOO_LATE
    }
}
