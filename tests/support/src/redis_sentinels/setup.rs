use super::checks::check_role;
use super::{MASTER, Passwords, RedisSentinels, SENTINELS, SERVERS};
use crate::ports::free_ports;
use crate::redis_process::RedisProcess;
use crate::temp_dir::TempDir;
use crate::waiting::{Attempt, start_on_free_ports, wait_until};

impl RedisSentinels {
    /// Starts servers and sentinels that refuse clients without these passwords.
    pub fn start_with_passwords(passwords: Passwords<'_>) -> Self {
        let this = start_on_free_ports("Redis with sentinels", || {
            let directory = TempDir::new();
            let ports = free_ports::<SERVERS>();
            let server = |port| server(&directory, port, passwords);
            let sentinel = |port| sentinel(&directory, port, ports[0], passwords);
            let mut this = Self {
                servers: ports.map(server).into(),
                sentinels: free_ports::<SENTINELS>().map(sentinel).into(),
                _directory: directory,
            };
            this.start_all()?;
            Ok(this)
        });
        this.wait_until_ok();
        this
    }

    fn start_all(&mut self) -> Attempt<()> {
        self.servers.iter_mut().try_for_each(RedisProcess::start)?;
        let primary = self.servers[0].address();
        for replica in &self.servers[1..] {
            let mut connection = replica.try_connection()?;
            let mut replicate = redis::cmd("REPLICAOF");
            replicate.arg("127.0.0.1").arg(primary.port());
            let () = replicate.query(&mut connection)?;
            // It is still a replica when it is started again.
            let () = redis::cmd("CONFIG").arg("REWRITE").query(&mut connection)?;
        }
        // Sentinels look for replicas when they start, and again a while later.
        wait_until("replicas of the primary", || {
            let mut servers = self.servers.iter();
            servers.try_for_each(|server| check_role(server, primary))
        });
        for sentinel in &mut self.sentinels {
            sentinel.start()?;
            hasten(sentinel)?;
        }
        Ok(())
    }
}

/// Lets a sentinel notice and correct servers sooner than it does in production: it looks for a
/// changed role every second instead of every ten, and talks to the others every half second, of
/// which it takes four to correct a server. It pings several times before it gives a server up, or
/// each new primary would seem to be gone. After it was held up itself it waits for a second, not
/// for thirty.
pub(super) fn hasten(sentinel: &RedisProcess) -> redis::RedisResult<()> {
    let mut command = redis::cmd("SENTINEL");
    command.arg("DEBUG");
    for (period, milliseconds) in [
        ("INFO-PERIOD", 1000),
        ("PING-PERIOD", 400),
        ("PUBLISH-PERIOD", 500),
        ("TILT-PERIOD", 1000),
    ] {
        command.arg(period).arg(milliseconds);
    }
    // Sentinels before 7.0 lack `SENTINEL DEBUG`, so they are slower.
    let hastened: redis::RedisResult<()> = command.query(&mut sentinel.try_connection()?);
    hastened.or_else(|error| match error.code() {
        Some("ERR") => Ok(()),
        _ => Err(error),
    })
}

fn server(directory: &TempDir, port: u16, passwords: Passwords<'_>) -> RedisProcess {
    let mut options = vec!["--repl-diskless-sync-delay", "0"];
    // A server that is started again is empty.
    options.extend(["--rdb-del-sync-files", "yes"]);
    if let Some(password) = passwords.servers {
        options.extend(["--requirepass", password, "--masterauth", password]);
    }
    RedisProcess::new(directory.path(), port, "", &options)
}

fn sentinel(
    directory: &TempDir,
    port: u16,
    primary: u16,
    passwords: Passwords<'_>,
) -> RedisProcess {
    let mut lines = vec![
        format!("sentinel monitor {MASTER} 127.0.0.1 {primary} 2"),
        format!("sentinel down-after-milliseconds {MASTER} 1000"),
        format!("sentinel failover-timeout {MASTER} 2000"),
    ];
    let mut options = vec!["--sentinel"];
    if let Some(password) = passwords.servers {
        lines.push(format!("sentinel auth-pass {MASTER} {password}"));
    }
    if let Some(password) = passwords.sentinels {
        lines.push(format!("sentinel sentinel-pass {password}"));
        options.extend(["--requirepass", password]);
    }
    RedisProcess::new(directory.path(), port, &lines.join("\n"), &options)
}
