//! The time budget of an operation. It grows with the round trip to the servers, so that a distant
//! Redis can be used. The growth is bounded, and it is delayed if Redis has become slow: requests then
//! wait no longer than before.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

/// The budget is at least this many round trips.
const ROUND_TRIPS: u32 = 4;

/// The largest budget, as a multiple of the budget in the settings.
const LARGEST: u32 = 4;

/// The time after which a slow server counts as one that is far away.
const WINDOW: Duration = Duration::from_secs(10);

/// The budget for all servers. The most distant server determines it.
pub(super) struct Budget {
    /// The budget in the settings.
    smallest: Duration,
    largest: Duration,
    /// The current budget in microseconds.
    now: AtomicU64,
    servers: Mutex<Vec<Weak<Distance>>>,
}

/// The distance to one server.
pub(super) struct Distance {
    budget: Arc<Budget>,
    shortest: Mutex<Shortest>,
}

/// The shortest round trips of two periods, each of which lasts for [`WINDOW`]. The shortest round trip
/// contains the least waiting for a busy server.
#[derive(Default)]
struct Shortest {
    now: Option<Duration>,
    before: Option<Duration>,
    /// The time at which the current period began.
    since: Option<Instant>,
}

impl Budget {
    pub(super) fn new(smallest: Duration) -> Arc<Self> {
        Arc::new(Self {
            smallest,
            largest: smallest.saturating_mul(LARGEST),
            now: AtomicU64::new(micros(smallest)),
            servers: Mutex::default(),
        })
    }

    /// Returns the current budget.
    pub(super) fn now(&self) -> Duration {
        Duration::from_micros(self.now.load(Ordering::Relaxed))
    }

    /// Returns the largest budget. Operations in the background get it, because the distance may not be
    /// known yet.
    pub(super) fn largest(&self) -> Duration {
        self.largest
    }

    /// Returns the time for connecting to a server of unknown distance and for one request to it. The
    /// server is assumed to be as far away as the most distant known server.
    #[cfg(feature = "cluster")]
    pub(super) fn to_connect_and_ask(&self) -> Duration {
        let round_trips = Self::round_trips(&self.servers());
        self.smallest + round_trips.unwrap_or(self.largest)
    }

    /// Returns the budget in the settings.
    #[cfg(feature = "cluster")]
    pub(super) fn smallest(&self) -> Duration {
        self.smallest
    }

    /// Adds a server, and returns its distance.
    pub(super) fn distance(self: &Arc<Self>) -> Arc<Distance> {
        let distance = Arc::new(Distance {
            budget: Arc::clone(self),
            shortest: Mutex::default(),
        });
        self.servers().push(Arc::downgrade(&distance));
        distance
    }

    /// Adapts the budget to the most distant server.
    fn adapt(&self) {
        let mut servers = self.servers();
        servers.retain(|server| server.strong_count() > 0);
        let needed = Self::round_trips(&servers).unwrap_or_default();
        let budget = needed.clamp(self.smallest, self.largest);
        self.now.store(micros(budget), Ordering::Relaxed);
    }

    /// Returns the time of several round trips to the most distant server; `None` while no distance is
    /// known.
    fn round_trips(servers: &[Weak<Distance>]) -> Option<Duration> {
        let known = servers.iter().filter_map(Weak::upgrade);
        let longest = known.filter_map(|server| server.round_trip()).max();
        longest.map(|round_trip| round_trip.saturating_mul(ROUND_TRIPS))
    }

    /// Locks the servers. A panic in a critical section leaves them consistent.
    fn servers(&self) -> MutexGuard<'_, Vec<Weak<Distance>>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Distance {
    /// Returns the current budget.
    pub(super) fn budget(&self) -> Duration {
        self.budget.now()
    }

    /// Returns the time that several round trips take: connecting, logging in and sending evictions.
    pub(super) fn round_trips(&self) -> Duration {
        let round_trip = self.round_trip().unwrap_or_default();
        round_trip.saturating_mul(ROUND_TRIPS)
    }

    /// Returns the shortest recent round trip; `None` before the first reply.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        let shortest = self.shortest();
        let (now, before) = (shortest.now, shortest.before);
        now.into_iter().chain(before).min()
    }

    /// Records a round trip.
    pub(super) fn observe(&self, round_trip: Duration) {
        self.shortest().observe(round_trip, Instant::now());
        self.budget.adapt();
    }

    /// Forgets the round trips: another server has taken the place of this one.
    pub(super) fn forget(&self) {
        *self.shortest() = Shortest::default();
    }

    /// Locks the round trips. A panic in a critical section leaves them consistent.
    fn shortest(&self) -> MutexGuard<'_, Shortest> {
        self.shortest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shortest {
    fn observe(&mut self, round_trip: Duration, now: Instant) {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= WINDOW {
            self.before = self.now.take();
            self.since = Some(now);
        }
        let shortest = self.now.map_or(round_trip, |it| it.min(round_trip));
        self.now = Some(shortest);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_grows_with_the_distance_within_a_bound() {
        let budget = Budget::new(millis(250));
        let [near, far] = [(); 2].map(|()| budget.distance());
        near.observe(millis(1));
        assert_eq!(budget.now(), millis(250));
        far.observe(millis(100));
        assert_eq!(budget.now(), millis(400));
        drop(far);
        near.observe(millis(1));
        assert_eq!(budget.now(), millis(250));
        let farther = budget.distance();
        farther.observe(millis(5000));
        assert_eq!(budget.now(), millis(1000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_becomes_slow_counts_as_far_away_after_a_while_only() {
        let budget = Budget::new(millis(250));
        let server = budget.distance();
        server.observe(millis(1));
        for _ in 0..9 {
            tokio::time::advance(millis(1000)).await;
            server.observe(millis(200));
            assert_eq!(budget.now(), millis(250));
        }
        tokio::time::advance(2 * WINDOW).await;
        server.observe(millis(200));
        tokio::time::advance(WINDOW).await;
        server.observe(millis(200));
        assert_eq!(budget.now(), millis(800));
        server.observe(millis(1));
        assert_eq!(budget.now(), millis(250));
    }
}
