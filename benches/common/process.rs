//! This program, started again as a server.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use test_support::RedisServer;

/// A server's process; it ends when this is dropped, and however this process ends.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    process: Child,
}

impl Running {
    pub(crate) fn start(redis: &RedisServer, prefix: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["serve", &redis.url(), prefix])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.as_mut().unwrap())
            .read_line(&mut address)
            .unwrap();
        Self {
            address: address.trim().parse().expect("an address"),
            process,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// The words of the command line, without what cargo adds.
pub(crate) fn arguments() -> Vec<String> {
    std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect()
}
