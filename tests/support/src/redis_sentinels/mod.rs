mod checks;
mod setup;

use std::net::SocketAddrV4;
use std::sync::OnceLock;

use redis::{Cmd, Connection};

use crate::redis_process::RedisProcess;
use crate::temp_dir::TempDir;
use crate::waiting::{Attempt, wait_until};
use checks::known_primary;
use setup::hasten;

const MASTER: &str = "mymaster";
const SERVERS: usize = 3;
const SENTINELS: usize = 3;

/// A primary with two replicas, watched by three sentinels of which two decide, on free loopback
/// ports, stopped when this is dropped or the process ends. A primary that is gone for a second
/// is replaced by a replica some seconds later.
pub struct RedisSentinels {
    servers: Vec<RedisProcess>,
    sentinels: Vec<RedisProcess>,
    _directory: TempDir,
}

/// The passwords of a [`RedisSentinels`].
#[derive(Clone, Copy, Default)]
pub struct Passwords<'a> {
    /// The password of the primary and the replicas.
    pub servers: Option<&'a str>,
    /// The password of the sentinels.
    pub sentinels: Option<&'a str>,
}

impl RedisSentinels {
    /// Starts servers and sentinels of its own, for tests that change them.
    pub fn start() -> Self {
        Self::start_with_passwords(Passwords::default())
    }

    /// Returns the servers that the tests of a process share and do not change; each uses its own names.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<RedisSentinels> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The name under which the sentinels know the primary.
    pub fn master_name(&self) -> &'static str {
        MASTER
    }

    /// The addresses at which the sentinels listen.
    pub fn sentinel_addresses(&self) -> Vec<SocketAddrV4> {
        self.sentinels.iter().map(RedisProcess::address).collect()
    }

    /// The addresses at which the primary and the replicas listen.
    pub fn server_addresses(&self) -> Vec<SocketAddrV4> {
        self.servers.iter().map(RedisProcess::address).collect()
    }

    /// The address of the primary, as the sentinel says that knows best.
    pub fn primary(&self) -> SocketAddrV4 {
        wait_until("a primary", || {
            let known = up(&self.sentinels).map(known_primary);
            let known = known.collect::<Attempt<Vec<_>>>()?;
            let latest = known.into_iter().max_by_key(|known| known.epoch);
            Ok(latest.ok_or("no running sentinel")?.address)
        })
    }

    /// A blocking connection to a server or sentinel, logged in.
    pub fn connection(&self, address: SocketAddrV4) -> Connection {
        self.at(address).connection()
    }

    /// The process id of a server or sentinel.
    pub fn process(&self, address: SocketAddrV4) -> u32 {
        self.at(address).id()
    }

    /// Kills the primary, as if its machine had failed, and says which it was.
    pub fn kill_primary(&mut self) -> SocketAddrV4 {
        let primary = self.primary();
        self.kill(primary);
        primary
    }

    /// Kills a server or sentinel, as if its machine had failed.
    pub fn kill(&mut self, address: SocketAddrV4) {
        self.at_mut(address).kill();
    }

    /// Starts a server or sentinel again on the same port. A server that was the primary thinks
    /// that it still is, and is empty, until the sentinels make it a replica some seconds later.
    pub fn start_again(&mut self, address: SocketAddrV4) {
        self.at_mut(address).start_again();
        let mut sentinels = self.sentinels.iter();
        if let Some(sentinel) = sentinels.find(|sentinel| sentinel.address() == address) {
            hasten(sentinel).expect("a sentinel that runs");
        }
    }

    /// Sends a server or sentinel a signal such as `STOP` or `CONT`.
    pub fn signal(&self, address: SocketAddrV4, name: &str) {
        self.at(address).signal(name);
    }

    /// Makes a replica the primary, and returns its address when it is.
    pub fn fail_over(&self) -> SocketAddrV4 {
        let from = self.primary();
        wait_until("a replica that is ready", || {
            let sentinel = up(&self.sentinels).next().ok_or("no running sentinel")?;
            let mut connection = sentinel.try_connection()?;
            let () = sentinel_command("FAILOVER").query(&mut connection)?;
            Ok(())
        });
        self.wait_for_failover(from)
    }

    /// Waits until all running sentinels name another primary than that one, and it knows that it
    /// is; returns its address.
    pub fn wait_for_failover(&self, from: SocketAddrV4) -> SocketAddrV4 {
        wait_until("another primary", || {
            let primary = self.agreed_primary()?;
            if primary == from {
                return Err("it is the same".into());
            }
            Ok(primary)
        })
    }

    fn at(&self, address: SocketAddrV4) -> &RedisProcess {
        let mut processes = self.servers.iter().chain(&self.sentinels);
        let process = processes.find(|process| process.address() == address);
        process.expect("the address of a server or sentinel")
    }

    fn at_mut(&mut self, address: SocketAddrV4) -> &mut RedisProcess {
        let mut processes = self.servers.iter_mut().chain(&mut self.sentinels);
        let process = processes.find(|process| process.address() == address);
        process.expect("the address of a server or sentinel")
    }
}

fn up(processes: &[RedisProcess]) -> impl Iterator<Item = &RedisProcess> {
    processes.iter().filter(|process| process.is_up())
}

/// `SENTINEL`, about the only primary that there is.
fn sentinel_command(name: &str) -> Cmd {
    let mut command = redis::cmd("SENTINEL");
    command.arg(name).arg(MASTER);
    command
}
