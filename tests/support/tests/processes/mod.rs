use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Returns whether there is a process with that id.
pub(crate) fn is_running(id: u32) -> bool {
    let mut command = Command::new("kill");
    let command = command.args(["-0", &id.to_string()]).stderr(Stdio::null());
    command.status().unwrap().success()
}

/// Looks again and again until a condition holds; panics when that takes too long.
#[allow(dead_code)]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        // The pause between two looks.
        sleep(Duration::from_millis(10));
    }
}
