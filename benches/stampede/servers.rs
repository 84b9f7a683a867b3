//! The server processes of one scenario.

use std::net::SocketAddr;

use test_support::{Client, RedisServer, ServerProcess};

const PROCESSES: usize = 4;

pub(crate) struct Servers(Vec<ServerProcess>);

/// What each process holds and did.
pub(crate) struct Status {
    pub(crate) runs: usize,
    pub(crate) resident_kib: usize,
    pub(crate) peak_kib: usize,
}

impl Servers {
    /// Starts them, and lets each answer one request, so that they are connected to Redis.
    pub(crate) async fn start(redis: &RedisServer, prefix: &str) -> Self {
        let servers = Self(
            (0..PROCESSES)
                .map(|_| ServerProcess::start(&["serve", &redis.url(), prefix]))
                .collect(),
        );
        for number in 0..PROCESSES {
            let target = format!("/item/{}?millis=0&size=0", u64::MAX - number as u64);
            Client::new(servers.address(number)).get(&target).await;
        }
        servers
    }

    /// Where a client's server listens.
    pub(crate) fn address(&self, client: usize) -> SocketAddr {
        self.0[client % PROCESSES].address()
    }

    pub(crate) async fn status(&self) -> Vec<Status> {
        let mut all = Vec::new();
        for server in &self.0 {
            let reply = Client::new(server.address()).get("/runs").await;
            let mut numbers = reply.text().split(' ').map(|text| text.parse().unwrap());
            let mut next = || numbers.next().expect("a number");
            all.push(Status {
                runs: next(),
                resident_kib: next(),
                peak_kib: next(),
            });
        }
        all
    }
}
