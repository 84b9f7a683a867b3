use super::{MASTER, Passwords, RedisSentinels, SENTINELS, SERVERS};
use crate::ports::free_ports;
use crate::redis_process::RedisProcess;
use crate::temp_dir::TempDir;
use crate::waiting::{Attempt, start_on_free_ports};

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
        for server in &mut self.servers {
            server.start()?;
        }
        for replica in &self.servers[1..] {
            let mut connection = replica.try_connection()?;
            let mut replicate = redis::cmd("REPLICAOF");
            replicate.arg("127.0.0.1").arg(self.servers[0].port());
            let () = replicate.query(&mut connection)?;
            // It is still a replica when it is started again.
            let () = redis::cmd("CONFIG").arg("REWRITE").query(&mut connection)?;
        }
        self.sentinels.iter_mut().try_for_each(RedisProcess::start)
    }
}

fn server(directory: &TempDir, port: u16, passwords: Passwords<'_>) -> RedisProcess {
    let mut options = vec!["--repl-diskless-sync-delay", "0"];
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
        format!("sentinel down-after-milliseconds {MASTER} 500"),
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
