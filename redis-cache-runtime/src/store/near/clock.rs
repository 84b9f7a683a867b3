//! A clock that goes on while the machine sleeps, so that a proof does not outlive the sleep.

use std::time::Duration;

/// A time, in nanoseconds since an arbitrary start.
pub(crate) type Moment = u64;

/// Returns the current time.
pub(crate) fn now() -> Moment {
    #[cfg(test)]
    if let Some(ticks) = ticks() {
        return ticks;
    }
    nanos(since_start())
}

/// Converts a duration for comparisons of times.
pub(super) fn nanos(duration: Duration) -> Moment {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn since_start() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(time).unwrap_or_default()
}

/// On some of the other systems, this clock stops while the machine sleeps. Then a proof may outlive the
/// sleep by one window.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn since_start() -> Duration {
    use std::sync::OnceLock;
    use std::time::Instant;

    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

#[cfg(test)]
thread_local! {
    static TICKS: std::cell::Cell<Option<Moment>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
pub(crate) fn ticks() -> Option<Moment> {
    TICKS.get()
}

/// Replaces the clock of this thread by a number, so that the model checker decides when time passes.
#[cfg(test)]
pub(crate) fn use_ticks(ticks: Moment) {
    TICKS.set(Some(ticks));
}
