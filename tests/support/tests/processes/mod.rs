use std::process::{Command, Stdio};

/// Whether there is a process with that id.
pub(crate) fn is_running(id: u32) -> bool {
    let mut command = Command::new("kill");
    let command = command.args(["-0", &id.to_string()]).stderr(Stdio::null());
    command.status().unwrap().success()
}
