use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A `redis-server` on a free loopback port, stopped when this is dropped or the process ends.
pub struct RedisServer {
    port: u16,
    options: Vec<String>,
    guardian: Option<Child>,
}

/// Runs the server until its own standard input closes, which it does however this process ends.
/// Ctrl-C reaches it too, but must not end it while the server may be stopped.
const GUARDIAN: &str = r#"trap "" INT; redis-server "$@" >/dev/null 2>&1 & server=$!
cat >/dev/null; kill -9 "$server"; wait "$server" 2>/dev/null"#;

impl RedisServer {
    /// Starts a server of its own, for tests that stop it or read its counters.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with options such as `["--requirepass", "secret"]`.
    pub fn start_with(options: &[&str]) -> Self {
        let installed = Command::new("redis-server").arg("--version").output();
        installed.expect("redis-server is installed; scripts/test.sh does it");
        for _ in 0..10 {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            let port = listener.local_addr().expect("a bound port").port();
            drop(listener);
            let options = options.iter().map(|option| (*option).to_owned()).collect();
            let mut server = Self {
                port,
                options,
                guardian: None,
            };
            if server.try_start_again() {
                return server;
            }
        }
        panic!("redis-server does not start");
    }

    /// The server that the tests of a process share; each uses names of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<RedisServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A prefix that no other test of the process uses.
    pub fn unique_prefix() -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        format!("test{}", NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Its URL, without credentials.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port)
    }

    /// A blocking connection to it.
    pub fn connection(&self) -> redis::Connection {
        let client = redis::Client::open(self.url()).expect("a valid URL");
        client.get_connection().expect("a running server")
    }

    /// How often each command was processed since the server started, by lower-case name.
    pub fn command_counts(&self) -> Vec<(String, u64)> {
        let info: String = redis::cmd("INFO")
            .arg("commandstats")
            .query(&mut self.connection())
            .expect("INFO");
        let line = |line: &str| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
        };
        info.lines().filter_map(line).collect()
    }

    /// Kills it, as if the machine had failed.
    pub fn kill(&mut self) {
        if let Some(mut guardian) = self.guardian.take() {
            drop(guardian.stdin.take());
            guardian.wait().expect("the guardian ends");
        }
    }

    /// Starts it again on the same port, empty.
    pub fn start_again(&mut self) {
        assert!(self.try_start_again(), "redis-server does not start again");
    }

    /// Sends it a signal such as `STOP` or `CONT`.
    pub fn signal(&self, name: &str, process: u32) {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(process.to_string())
            .status();
        assert!(status.expect("kill runs").success());
    }

    /// Its process id.
    pub fn process(&self) -> u32 {
        let info: String = redis::cmd("INFO")
            .arg("server")
            .query(&mut self.connection())
            .expect("INFO");
        let id = info
            .lines()
            .find_map(|line| line.strip_prefix("process_id:"));
        id.and_then(|id| id.trim().parse().ok())
            .expect("a process id")
    }

    fn try_start_again(&mut self) -> bool {
        let guardian = Command::new("sh")
            .args(["-c", GUARDIAN, "sh", "--port", &self.port.to_string()])
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--loglevel", "warning", "--databases", "16"])
            .args(&self.options)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh runs");
        self.guardian = Some(guardian);
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if TcpStream::connect(self.address()).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
        false
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
