use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::ChildStdout;
use std::sync::mpsc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tokio::time::timeout;

/// The longest wait before a test fails; a busy machine needs a part of it.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Waits for a future that must end; panics when that takes too long.
pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let done = timeout(LIMIT, future).await;
    done.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// Looks again and again until a condition holds; panics when that takes too long.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        // The pause between two looks.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The result of an attempt, or the reason for its failure.
pub(crate) type Attempt<T> = Result<T, Box<dyn Error>>;

/// Waits until an attempt succeeds; panics with the reason of the last one.
pub(crate) fn wait_until<T>(what: &str, mut attempt: impl FnMut() -> Attempt<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(reason) if Instant::now() > deadline => panic!("not yet {what}: {reason}"),
            // The pause between two attempts.
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

/// Returns what is found in a line of a server's output, or the whole output of a server that ended
/// before.
pub(crate) fn wait_until_it_says<T: Send + 'static>(
    output: ChildStdout,
    find: impl Fn(&str) -> Option<T> + Send + 'static,
) -> Attempt<T> {
    let (said, found) = mpsc::channel();
    // A server that nobody reads from would hang.
    std::thread::spawn(move || {
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let mut before = Vec::new();
        let first = lines.by_ref().find_map(|line| {
            let found = find(&line);
            before.push(line);
            found
        });
        let _ = said.send(first.ok_or(before.join("\n")));
        lines.for_each(drop);
    });
    Ok(found.recv_timeout(LIMIT)??)
}
