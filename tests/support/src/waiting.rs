use std::error::Error;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long anything may take before a test fails; a busy machine needs a part of it.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// What was wanted, or why it is not there.
pub(crate) type Attempt<T> = Result<T, Box<dyn Error>>;

/// Waits until an attempt succeeds; panics with the reason of the last one.
pub(crate) fn wait_until<T>(what: &str, mut attempt: impl FnMut() -> Attempt<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(reason) if Instant::now() > deadline => panic!("not yet {what}: {reason}"),
            Err(_) => sleep(Duration::from_millis(20)),
        }
    }
}

/// Starts something on free ports, with others when another process was faster to take them.
pub(crate) fn start_on_free_ports<T>(what: &str, mut attempt: impl FnMut() -> Attempt<T>) -> T {
    let mut attempts = std::iter::repeat_with(&mut attempt).take(5);
    let mut reason = String::new();
    let started = attempts.find_map(|attempt| match attempt {
        Ok(started) => Some(started),
        Err(error) => {
            reason = error.to_string();
            None
        }
    });
    started.unwrap_or_else(|| panic!("{what} does not start: {reason}"))
}
