use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::redis_process::signal;

/// A process that serves: it prints its address, and ends when its standard input does. So it ends
/// when this is dropped, and however this process ends.
pub struct ServerProcess {
    address: SocketAddr,
    process: Child,
}

impl ServerProcess {
    /// Starts this very program with other arguments.
    pub fn start(arguments: &[&str]) -> Self {
        let own = std::env::current_exe().expect("the path of this program");
        Self::start_command(Command::new(own).args(arguments))
    }

    /// Starts a program.
    pub fn start_command(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("the program starts");
        let stdout = process.stdout.as_mut().expect("a pipe");
        let mut address = String::new();
        let read = BufReader::new(stdout).read_line(&mut address);
        read.expect("a line");
        Self {
            address: address.trim().parse().expect("an address"),
            process,
        }
    }

    /// The address at which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends it a signal such as `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        signal(name, self.process.id());
    }

    /// Ends it, and returns what it wrote to standard error, if that is a pipe.
    pub fn end(mut self) -> String {
        drop(self.process.stdin.take());
        let mut errors = String::new();
        if let Some(stderr) = &mut self.process.stderr {
            stderr.read_to_string(&mut errors).expect("its errors");
        }
        errors
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
