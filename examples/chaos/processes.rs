//! The processes that serve, and the time that they run.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use test_support::ServerProcess;
use tokio::time::timeout;

pub(crate) struct Processes(Vec<Process>);

struct Process {
    server: ServerProcess,
    clock: Mutex<Clock>,
}

/// Stands still while a process is frozen.
struct Clock {
    /// When it would have started, had it never been frozen.
    started: Instant,
    frozen_since: Option<Instant>,
}

impl Processes {
    pub(crate) fn new(servers: Vec<ServerProcess>) -> Self {
        let clock = || Clock {
            started: Instant::now(),
            frozen_since: None,
        };
        let process = |server| Process {
            server,
            clock: Mutex::new(clock()),
        };
        Self(servers.into_iter().map(process).collect())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let servers = self.0.iter().map(|process| &process.server);
        servers.map(ServerProcess::address).collect()
    }

    /// Stops a process by a signal for that time.
    pub(crate) fn freeze(&self, process: usize, time: Duration) {
        let process = &self.0[process];
        process.clock().frozen_since = Some(Instant::now());
        process.server.signal("STOP");
        sleep(time);
        process.server.signal("CONT");
        process.clock().go_on();
    }

    pub(crate) fn is_frozen(&self, process: usize) -> bool {
        self.0[process].clock().frozen_since.is_some()
    }

    /// Returns the time that a process has run.
    pub(crate) fn clock(&self, process: usize) -> Duration {
        self.0[process].clock().time()
    }

    /// Waits for something while a process runs for that time at most.
    pub(crate) async fn within<T>(
        &self,
        limit: Duration,
        process: usize,
        what: impl Future<Output = T>,
    ) -> Option<T> {
        let mut what = pin!(what);
        let end = self.clock(process) + limit;
        loop {
            let left = end.saturating_sub(self.clock(process));
            if left.is_zero() {
                return None;
            }
            if let Ok(done) = timeout(left, &mut what).await {
                return Some(done);
            }
        }
    }
}

impl Process {
    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock {
    fn time(&self) -> Duration {
        let now = self.frozen_since.unwrap_or_else(Instant::now);
        now.saturating_duration_since(self.started)
    }

    fn go_on(&mut self) {
        if let Some(since) = self.frozen_since.take() {
            self.started += since.elapsed();
        }
    }
}
