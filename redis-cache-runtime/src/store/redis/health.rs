//! Whether what is read on a connection may be believed.
//!
//! A server that does not take evictions must not be believed: the eviction of another process may be
//! among those that it refused. It proves that it takes them by accepting a pulse, a deletion of a
//! name that nothing has, which it refuses when it would refuse an eviction. What is read is believed
//! for a while that begins when the last accepted pulse was sent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::RedisError;
use tokio::sync::Notify;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout};

use super::kept::Loss;
use super::request::Purpose;
use super::server::Received;
use crate::observe::fault::Fault;

/// The longest time between pulses: what a server has become is noticed so soon.
const LONGEST_REST: Duration = Duration::from_millis(500);

/// How often a server is asked who it is.
const INTRODUCTION: Duration = Duration::from_secs(10);

/// How an operation ended.
pub(super) type End<T> = Result<Result<T, RedisError>, Elapsed>;

/// What an operation led to.
pub(super) fn result<T>(end: End<T>) -> Result<T, Fault> {
    match end {
        Ok(result) => result.map_err(|error| Fault::from(&error)),
        Err(_) => Err(Fault::Timeout),
    }
}

/// Returns whether a server that refuses a command with that code refuses evictions, too.
pub(super) fn refuses_evictions(code: &str) -> bool {
    const CODES: [&str; 7] = [
        "READONLY",
        "BUSY",
        "LOADING",
        "MISCONF",
        "NOREPLICAS",
        "MASTERDOWN",
        "CLUSTERDOWN",
    ];
    CODES.contains(&code)
}

/// What it means for a connection that its server refused a command with that code.
pub(super) fn loss_of(code: &str) -> Option<Loss> {
    match code {
        // It is no primary any more; another is, or will be.
        "READONLY" => Some(Loss::Closed),
        // It refuses everything for a while.
        "BUSY" | "LOADING" => Some(Loss::Hung),
        _ => None,
    }
}

/// The durations that decide about trust.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// How long the server is trusted after a pulse.
    pub(super) pulse: Duration,
    /// How long an eviction of another process waits for the server.
    pub(super) budget: Duration,
    /// How long it takes the other processes to tell a server of what it refused.
    pub(super) settling: Duration,
}

/// The state of one connection; shared by its clones, it also tells it from others.
pub(super) struct Health {
    terms: Terms,
    received: Received,
    since: Instant,
    /// Until when the server is trusted, in milliseconds since the connection was made; 0: it is not.
    trusted: AtomicU64,
    doubts: Mutex<Doubts>,
    wake: Notify,
}

/// Why a server is not trusted.
#[derive(Debug, Default)]
struct Doubts {
    /// A pulse is on its way.
    pulsing: bool,
    /// The first command that was late since the last pulse in time.
    late: Option<Late>,
    /// The server refused an eviction since the last pulse that it accepted.
    refused: bool,
    /// Counts refusals.
    refusals: u64,
    /// A pulse was not for this server, so it may have become another meanwhile.
    elsewhere: bool,
    /// When the server said again who it is.
    introduced: Option<Instant>,
    /// When the other processes have told the server of what it refused.
    settled: Option<Instant>,
}

/// A command that was late.
#[derive(Clone, Copy, Debug)]
struct Late {
    sent: Instant,
    /// The number of bytes that had arrived then.
    received: u64,
}

/// A pulse that was sent.
pub(super) struct Pulse {
    sent: Instant,
    refusals: u64,
    /// Something must arrive until then, or the connection hangs.
    pub(super) deadline: Instant,
    /// The number of bytes that had arrived when the wait began.
    pub(super) received: u64,
}

/// Whether a server is trusted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Trusted,
    /// It is not, and the connection is looked after.
    Doubted(Fault),
    /// Nobody has looked after the connection for too long: this process had no time to.
    Forgotten,
}

impl Standing {
    /// Whether a request may be sent: on a connection that was forgotten, it is sent on a new one.
    pub(super) fn is_usable(&self) -> bool {
        matches!(self, Self::Trusted | Self::Forgotten)
    }
}

impl Health {
    /// The state of a connection that was opened just now, on which no pulse was accepted yet.
    pub(super) fn new(terms: Terms, received: Received) -> Self {
        Self {
            terms,
            received,
            since: Instant::now(),
            trusted: AtomicU64::new(0),
            doubts: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// The number of bytes that have arrived.
    pub(super) fn received(&self) -> u64 {
        self.received.bytes()
    }

    /// Whether what was asked by a deadline, and has been answered if it was, may be believed.
    pub(super) fn standing(&self, deadline: Instant) -> Standing {
        self.standing_at(self.millis(deadline))
    }

    /// The same, in milliseconds since the connection was made.
    pub(super) fn standing_at(&self, deadline: u64) -> Standing {
        // Most of the time it is known without a look at the clock.
        if self.trusted.load(Ordering::Acquire) > deadline {
            return Standing::Trusted;
        }
        self.standing_now(Instant::now())
    }

    fn standing_now(&self, now: Instant) -> Standing {
        let doubts = self.doubts();
        let trusted = self.trusted.load(Ordering::Acquire);
        if trusted > self.millis(now) {
            Standing::Trusted
        } else if doubts.refused {
            Standing::Doubted(Fault::EvictionsRefused)
        } else if doubts.settled.is_some() {
            Standing::Doubted(Fault::Settling)
        } else if trusted > 0 && !doubts.pulsing {
            Standing::Forgotten
        } else {
            Standing::Doubted(Fault::Late)
        }
    }

    /// Notes that a pulse is sent.
    pub(super) fn pulses(&self) -> Pulse {
        let mut doubts = self.doubts();
        doubts.pulsing = true;
        let sent = Instant::now();
        let waits = doubts.late.unwrap_or_else(|| Late {
            sent,
            received: self.received(),
        });
        Pulse {
            sent,
            refusals: doubts.refusals,
            deadline: waits.sent + self.terms.budget,
            received: waits.received,
        }
    }

    /// Whether the server has to be asked again who it is: a pulse was not for it, or it has not said so
    /// for long.
    pub(super) fn is_to_be_introduced(&self) -> bool {
        let doubts = self.doubts();
        let introduced = doubts.introduced.unwrap_or(self.since);
        doubts.elsewhere || introduced.elapsed() >= INTRODUCTION
    }

    /// Notes that it said who it is.
    pub(super) fn introduced(&self) {
        let mut doubts = self.doubts();
        doubts.introduced = Some(Instant::now());
        doubts.elsewhere = false;
    }

    /// Notes that a pulse was accepted. Returns whether trust begins again.
    pub(super) fn accepted(&self, pulse: &Pulse) -> bool {
        let now = Instant::now();
        let mut doubts = self.doubts();
        doubts.pulsing = false;
        if doubts.refusals != pulse.refusals || doubts.elsewhere {
            return false;
        }
        if std::mem::take(&mut doubts.refused) {
            doubts.settled = Some(now + self.terms.settling);
        }
        let until = pulse.sent + self.terms.pulse;
        // A lookup would have been late.
        if now - pulse.sent > self.terms.budget / 2 || until <= now {
            self.trusted.store(0, Ordering::Release);
            return false;
        }
        doubts.late = None;
        let settling = doubts.settled.is_some_and(|settled| now < settled);
        let until = if settling {
            0
        } else {
            doubts.settled = None;
            self.millis(until)
        };
        self.trusted.swap(until, Ordering::AcqRel) == 0 && until > 0
    }

    /// Notes that other processes may have something to tell the server first.
    pub(super) fn settles(&self) {
        self.doubts().settled = Some(Instant::now() + self.terms.settling);
    }

    /// Notes that a pulse was not for this server, and proved nothing.
    pub(super) fn elsewhere(&self) {
        let mut doubts = self.doubts();
        doubts.pulsing = false;
        doubts.elsewhere = true;
        self.trusted.store(0, Ordering::Release);
    }

    /// Notes that the server refuses evictions. Returns whether that is new.
    pub(super) fn refused(&self) -> bool {
        let mut doubts = self.doubts();
        doubts.refusals += 1;
        doubts.pulsing = false;
        self.trusted.store(0, Ordering::Release);
        !std::mem::replace(&mut doubts.refused, true)
    }

    /// Notes that a command was late.
    fn late(&self, purpose: Purpose, received: u64) {
        let waited = purpose.budget(self.terms.budget);
        let sent = Instant::now().checked_sub(waited);
        // It may have waited for the connection before it was sent.
        let sent = sent.map_or(self.since, |sent| sent.max(self.since));
        let mut doubts = self.doubts();
        doubts.late.get_or_insert(Late { sent, received });
        self.trusted.store(0, Ordering::Release);
        drop(doubts);
        self.wake.notify_one();
    }

    /// Waits for the time of the next pulse, while the server is trusted still, or for a short while.
    pub(super) async fn rest(&self) {
        let trusted = self.trusted.load(Ordering::Acquire);
        let left = Duration::from_millis(trusted.saturating_sub(self.millis(Instant::now())));
        let pause = if trusted == 0 {
            self.terms.pulse / 16
        } else {
            left / 2
        };
        let pause = pause.min(self.terms.pulse / 4).min(LONGEST_REST);
        // It does not matter which of them ends the rest.
        let _ = timeout(pause, self.wake.notified()).await;
    }

    /// Notes how an operation ended, and says what that means for the connection: one that was closed is
    /// lost, and so is one on which nothing arrived while an eviction would have waited, because one that
    /// hangs never recovers by itself.
    pub(super) fn note<T>(&self, end: &End<T>, purpose: Purpose, received: u64) -> Option<Loss> {
        match end {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => match Fault::from(error) {
                Fault::Disconnected => Some(Loss::Closed),
                Fault::Refused(code) => {
                    if refuses_evictions(&code) {
                        self.refused();
                    }
                    loss_of(&code)
                }
                _ => None,
            },
            Err(_) if !purpose.is_lookup() && self.received() == received => Some(Loss::Hung),
            Err(_) => {
                self.late(purpose, received);
                None
            }
        }
    }

    pub(super) fn millis(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.since);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// Every critical section leaves it whole, however it ends.
    fn doubts(&self) -> MutexGuard<'_, Doubts> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
