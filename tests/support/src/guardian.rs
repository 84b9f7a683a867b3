use std::ffi::OsStr;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A shell that cleans up when this is dropped, and however this process ends: its standard input
/// closes then.
pub(crate) struct Guardian(Child);

impl Guardian {
    /// Runs one script now and the other to clean up, both with these arguments.
    pub(crate) fn start(
        now: &str,
        clean_up: &str,
        arguments: impl IntoIterator<Item: AsRef<OsStr>>,
    ) -> Self {
        // A signal that ends this process may reach the shell too, which has to outlive it.
        let script = format!("trap '' INT TERM HUP; {now}\ncat >/dev/null\n{clean_up}");
        let shell = Command::new("sh")
            .args(["-c", &script, "sh"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        Self(shell.expect("sh runs"))
    }

    /// The output of the shell and its children.
    pub(crate) fn output(&mut self) -> ChildStdout {
        self.0.stdout.take().expect("a pipe that nobody took")
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Returns whether a server is installed, and says so where it is not.
pub(crate) fn is_installed(program: &str) -> bool {
    let found = Command::new("sh")
        .args([
            "-c",
            "PATH=$PATH:/usr/sbin; command -v \"$1\"",
            "sh",
            program,
        ])
        .stdout(Stdio::null())
        .status();
    let is_installed = found.is_ok_and(|status| status.success());
    if !is_installed {
        eprintln!("skipped: {program} is not installed (scripts/test.sh installs it)");
    }
    is_installed
}
