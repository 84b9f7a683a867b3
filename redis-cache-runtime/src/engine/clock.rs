//! The wall clock. No other file reads it, so that a test can stop the time.

use std::time::SystemTime;

/// Returns the current time, for comparisons with dates in fields.
pub(crate) fn time() -> SystemTime {
    #[cfg(test)]
    if STOPPED.get() {
        return SystemTime::UNIX_EPOCH;
    }
    SystemTime::now()
}

#[cfg(test)]
thread_local! {
    static STOPPED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Stops the clock in this thread, so that runs can be repeated exactly.
#[cfg(test)]
pub(crate) fn stop() {
    STOPPED.set(true);
}

/// Returns the current time in milliseconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    let since_epoch = time()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
