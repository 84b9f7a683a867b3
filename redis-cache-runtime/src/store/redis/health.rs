//! Decides whether replies to lookups on a connection are trusted.
//!
//! A server that refuses evictions must not be trusted: it may have refused the eviction of another
//! process. It proves that it takes evictions by accepting a pulse. A pulse deletes a name that has no
//! value, and the server refuses it whenever it would refuse an eviction. Lookups are trusted for a
//! limited time, which begins when the last accepted pulse was sent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::context::Terms;
use super::end::{End, refuses_evictions};
use super::reconnecting::Loss;
use super::request::Purpose;
use super::server::Received;
use crate::observe::fault::Fault;

const LONGEST_REST: Duration = Duration::from_millis(500);

/// The interval at which the server info is read again.
const SERVER_INFO_INTERVAL: Duration = Duration::from_secs(10);

/// Returns the longest time between pulses, which is also the longest time until a change of the server
/// is noticed. `pulse` is the time for which a server is trusted after a pulse.
pub(super) fn longest_rest(pulse: Duration) -> Duration {
    LONGEST_REST.min(pulse / 4)
}

/// Returns the loss that a refusal with that code means for the connection.
pub(super) fn loss_of(code: &str) -> Option<Loss> {
    match code {
        // The server is a replica now; another is the primary, or will be.
        "READONLY" => Some(Loss::Closed),
        // The server refuses every command for a while.
        "BUSY" | "LOADING" => Some(Loss::Hung),
        _ => None,
    }
}

/// The state of one connection, shared by its clones.
pub(super) struct Health {
    terms: Terms,
    received: Received,
    since: Instant,
    /// The end of the trust, in milliseconds since the connection was opened; 0: no trust.
    trusted: AtomicU64,
    doubts: Mutex<Doubts>,
    wake: Notify,
}

/// The reasons not to trust a server.
#[derive(Debug, Default)]
struct Doubts {
    /// A pulse was sent and has no answer yet.
    pulsing: bool,
    /// The first command that was late since the last pulse in time.
    late: Option<Late>,
    /// The server refused an eviction since the last accepted pulse.
    refused: bool,
    /// The number of refusals.
    refusals: u64,
    /// A pulse was redirected to another server, so this one may have been replaced.
    elsewhere: bool,
    /// The time at which the server info was read again.
    informed: Option<Instant>,
    /// The time by which the other processes have sent the evictions that the server refused.
    settled: Option<Instant>,
}

/// A command that was late.
#[derive(Clone, Copy, Debug)]
struct Late {
    sent: Instant,
    /// The number of bytes that had arrived by that time.
    received: u64,
}

/// A pulse that was sent.
pub(super) struct Pulse {
    sent: Instant,
    refusals: u64,
    /// The connection hangs if nothing arrives by this time.
    pub(super) deadline: Instant,
    /// The number of bytes that had arrived when the wait began.
    pub(super) received: u64,
}

/// The trust in a server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trust {
    Trusted,
    /// The server is not trusted, for this reason. The connection is watched.
    Doubted(Fault),
    /// The trust has ended without a new pulse: this process had no time to send one.
    Unattended,
}

impl Trust {
    /// Returns whether a request may be sent. An unattended connection is replaced first.
    pub(super) fn is_usable(&self) -> bool {
        matches!(self, Self::Trusted | Self::Unattended)
    }

    /// Returns the reason why a reply that has arrived is not trusted, if there is one.
    pub(super) fn check(self) -> Result<(), Fault> {
        match self {
            Self::Trusted => Ok(()),
            Self::Doubted(fault) => Err(fault),
            Self::Unattended => Err(Fault::Late),
        }
    }
}

impl Health {
    /// The state of a connection on which no pulse was accepted yet.
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

    /// Returns the time at which the connection was opened.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Returns the number of bytes that have arrived.
    pub(super) fn received(&self) -> u64 {
        self.received.bytes()
    }

    /// Returns the trust in replies to lookups that were sent by a deadline.
    pub(super) fn trust(&self, deadline: Instant) -> Trust {
        self.trust_at(self.millis(deadline))
    }

    /// Like `trust`, with the deadline in milliseconds since the connection was opened.
    pub(super) fn trust_at(&self, deadline: u64) -> Trust {
        // Usually the answer needs no read of the clock.
        if self.trusted.load(Ordering::Acquire) > deadline {
            return Trust::Trusted;
        }
        self.trust_now(Instant::now())
    }

    fn trust_now(&self, now: Instant) -> Trust {
        let doubts = self.doubts();
        let trusted = self.trusted.load(Ordering::Acquire);
        if trusted > self.millis(now) {
            Trust::Trusted
        } else if doubts.refused {
            Trust::Doubted(Fault::EvictionsRefused)
        } else if doubts.settled.is_some() {
            Trust::Doubted(Fault::Settling)
        } else if trusted > 0 && !doubts.pulsing {
            Trust::Unattended
        } else {
            Trust::Doubted(Fault::Late)
        }
    }

    /// Records that a pulse is sent.
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
            deadline: waits.sent + self.terms.distance.budget(),
            received: waits.received,
        }
    }

    /// Returns whether the server info has to be read again: a pulse was redirected, or the info is old.
    pub(super) fn needs_server_info(&self) -> bool {
        let doubts = self.doubts();
        let informed = doubts.informed.unwrap_or(self.since);
        doubts.elsewhere || informed.elapsed() >= SERVER_INFO_INTERVAL
    }

    /// Records that the server info was read.
    pub(super) fn informed(&self) {
        let mut doubts = self.doubts();
        doubts.informed = Some(Instant::now());
        doubts.elsewhere = false;
    }

    /// Records the round trip of a pulse.
    pub(super) fn observe(&self, pulse: &Pulse) {
        self.terms.distance.observe(pulse.sent.elapsed());
    }

    /// Records that a pulse was accepted. Returns whether trust begins again.
    pub(super) fn accepted(&self, pulse: &Pulse) -> bool {
        let now = Instant::now();
        let mut doubts = self.doubts();
        doubts.pulsing = false;
        if doubts.refusals != pulse.refusals || doubts.elsewhere {
            return false;
        }
        if std::mem::take(&mut doubts.refused) {
            doubts.settled = Some(now + self.terms.settling());
        }
        let until = pulse.sent + self.terms.pulse;
        // A lookup sent at the same time would have been late.
        if now - pulse.sent > self.terms.distance.budget() / 2 || until <= now {
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

    /// Starts the time in which lookups wait for the pending evictions of other processes.
    pub(super) fn settles(&self) {
        self.doubts().settled = Some(Instant::now() + self.terms.settling());
    }

    /// Returns the time in which the other processes send their pending evictions.
    pub(super) fn settling(&self) -> Duration {
        self.terms.settling()
    }

    /// Records that a pulse was redirected to another server, so that it proved nothing.
    pub(super) fn elsewhere(&self) {
        let mut doubts = self.doubts();
        doubts.pulsing = false;
        doubts.elsewhere = true;
        self.trusted.store(0, Ordering::Release);
    }

    /// Records that the server refuses evictions. Returns whether that is new.
    pub(super) fn refused(&self) -> bool {
        let mut doubts = self.doubts();
        doubts.refusals += 1;
        doubts.pulsing = false;
        self.trusted.store(0, Ordering::Release);
        !std::mem::replace(&mut doubts.refused, true)
    }

    /// Records that a command was late.
    fn late(&self, purpose: Purpose, received: u64) {
        let waited = purpose.budget(self.terms.distance.budget());
        let sent = Instant::now().checked_sub(waited);
        // The command may have waited for the connection before it was sent.
        let sent = sent.map_or(self.since, |sent| sent.max(self.since));
        let mut doubts = self.doubts();
        doubts.late.get_or_insert(Late { sent, received });
        self.trusted.store(0, Ordering::Release);
        drop(doubts);
        self.wake();
    }

    /// Makes the next pulse due now.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until the next pulse is due.
    pub(super) async fn rest(&self) {
        let trusted = self.trusted.load(Ordering::Acquire);
        let left = Duration::from_millis(trusted.saturating_sub(self.millis(Instant::now())));
        let pause = if trusted == 0 {
            self.terms.pulse / 16
        } else {
            // The next reply should arrive before the trust ends.
            let round_trip = self.terms.distance.round_trip().unwrap_or_default();
            left.saturating_sub(round_trip) / 2
        };
        let pause = pause.min(longest_rest(self.terms.pulse));
        // Either event ends the pause.
        let _ = timeout(pause, self.wake.notified()).await;
    }

    /// Records the end of an operation, and returns the loss of the connection that it means, if any. A
    /// closed connection is lost. So is a connection on which nothing arrived within the budget of an
    /// eviction: a connection that hangs does not recover by itself.
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

    /// Locks the state. A panic in a critical section leaves it consistent.
    fn doubts(&self) -> MutexGuard<'_, Doubts> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
