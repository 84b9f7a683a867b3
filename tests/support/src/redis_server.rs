use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, OnceLock};

use crate::certificates::Certificates;
use crate::ports::free_ports;
use crate::redis_process::{self, RedisProcess, text};
use crate::temp_dir::TempDir;
use crate::waiting::start_on_free_ports;

/// A `redis-server` on a free loopback port, stopped when this is dropped or the process ends.
pub struct RedisServer {
    process: RedisProcess,
    tls: bool,
    _directory: TempDir,
}

impl RedisServer {
    /// Starts a server of its own, for tests that stop it or read its counters.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with options such as `["--requirepass", "secret"]`.
    pub fn start_with(options: &[&str]) -> Self {
        Self::start_as("", options, |_| ())
    }

    /// Starts a server that knows that user, who may do everything, and no other.
    pub fn start_with_user(name: &str, password: &str) -> Self {
        let secret = format!(">{password}");
        let user = ["--user", name, "on", &secret, "~*", "&*", "+@all"];
        let options = [&user[..], &["--user", "default", "off"]].concat();
        Self::start_as("", &options, |process| process.log_in_as(name, password))
    }

    /// Starts a server that talks TLS, and nothing else on its port. Clients need no certificate,
    /// unless the options are `["--tls-auth-clients", "yes"]`.
    pub fn start_with_tls(certificates: &Certificates, options: &[&str]) -> Self {
        Self::start_over_tls(certificates, "", options)
    }

    /// Starts a server that talks TLS with that certificate and that key.
    pub fn start_with_certificate(certificates: &Certificates, files: &[PathBuf; 2]) -> Self {
        let [file, key] = files;
        let options = [
            ["--tls-cert-file", text(file)],
            ["--tls-key-file", text(key)],
        ];
        Self::start_with_tls(certificates, options.as_flattened())
    }

    /// Starts a Sentinel that names that server its primary `mymaster`. With certificates it talks TLS,
    /// whatever the server does.
    pub fn start_sentinel_of(primary: &Self, certificates: Option<&Certificates>) -> Self {
        let port = primary.process.port();
        let configuration = format!("sentinel monitor mymaster 127.0.0.1 {port} 1");
        match certificates {
            Some(files) => Self::start_over_tls(files, &configuration, &["--sentinel"]),
            None => Self::start_as(&configuration, &["--sentinel"], |_| ()),
        }
    }

    fn start_over_tls(certificates: &Certificates, configuration: &str, options: &[&str]) -> Self {
        let files = certificates.options();
        let files = files.iter().map(String::as_str);
        let options: Vec<_> = files.chain(options.iter().copied()).collect();
        let mut server = Self::start_as(configuration, &options, RedisProcess::use_tls);
        server.tls = true;
        server
    }

    fn start_as(
        configuration: &str,
        options: &[&str],
        configure: impl Fn(&mut RedisProcess),
    ) -> Self {
        start_on_free_ports("redis-server", || {
            let [port] = free_ports();
            let directory = TempDir::new();
            let mut process = RedisProcess::new(directory.path(), port, configuration, options);
            configure(&mut process);
            process.start()?;
            Ok(Self {
                process,
                tls: false,
                _directory: directory,
            })
        })
    }

    /// The server that the tests of a process share; each uses names of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<RedisServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Returns whether this kind of server was built with TLS.
    pub fn has_tls() -> bool {
        static HAS_TLS: LazyLock<bool> = LazyLock::new(|| {
            let directory = TempDir::new();
            start_on_free_ports("redis-server", || {
                let [port] = free_ports();
                let mut process = RedisProcess::new(directory.path(), port, "", &[]);
                process.use_tls();
                // Without a certificate, no server starts.
                match process.start() {
                    Err(reason) if lacks_tls(&reason.to_string()) => Ok(false),
                    Err(reason) if reason.to_string().contains("tls-cert-file") => Ok(true),
                    end => end.map(|()| true),
                }
            })
        });
        *HAS_TLS
    }

    /// Returns whether this kind of server knows a setting.
    pub fn has_setting(name: &str) -> bool {
        let mut ask = redis::cmd("CONFIG");
        let settings: Vec<String> = ask
            .arg("GET")
            .arg(name)
            .query(&mut Self::shared().connection())
            .expect("CONFIG GET");
        !settings.is_empty()
    }

    /// Returns whether this kind of server pushes changes in order: Redis 7.0.9 and later.
    pub fn pushes_in_order() -> bool {
        let info: String = redis::cmd("INFO")
            .arg("server")
            .query(&mut Self::shared().connection())
            .expect("INFO");
        let version = info
            .lines()
            .find_map(|it| it.strip_prefix("redis_version:"));
        let numbers = version.expect("a version").split('.');
        let numbers: Vec<u32> = numbers.map(|it| it.parse().expect("a number")).collect();
        numbers >= vec![7, 0, 9]
    }

    /// A prefix that no other test of the process uses.
    pub fn unique_prefix() -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        format!("test{}", NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Its URL, without credentials.
    pub fn url(&self) -> String {
        if self.tls {
            format!("rediss://localhost:{}", self.process.port())
        } else {
            format!("redis://{}", self.address())
        }
    }

    /// The address at which it listens.
    pub fn address(&self) -> SocketAddrV4 {
        self.process.address()
    }

    /// The Unix socket where it listens too.
    pub fn unix_socket(&self) -> &Path {
        self.process.socket()
    }

    /// A blocking connection to it, logged in, which needs no certificates.
    pub fn connection(&self) -> redis::Connection {
        self.process.connection()
    }

    /// Runs a command that must succeed, such as `["CONFIG", "SET", "maxmemory", "1"]`.
    pub fn command(&self, words: &[&str]) {
        redis_process::command(&mut self.connection(), words);
    }

    /// Returns the number of processed commands since the server started, by lower-case name.
    pub fn command_counts(&self) -> Vec<(String, u64)> {
        self.process.command_counts()
    }

    /// Returns how often the server has processed a command, by its lower-case name.
    pub fn command_count(&self, command: &str) -> u64 {
        let mut counts = self.command_counts().into_iter();
        let count = counts.find_map(|(name, count)| (name == command).then_some(count));
        count.unwrap_or(0)
    }

    /// Kills it, as if the machine had failed.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port, empty unless it saved its data.
    pub fn start_again(&mut self) {
        self.process.start_again();
    }

    /// Sends it a signal such as `STOP` or `CONT`.
    pub fn signal(&self, name: &str, process: u32) {
        redis_process::signal(name, process);
    }

    /// Its process id.
    pub fn process(&self) -> u32 {
        self.process.id()
    }
}

/// Returns whether a server does not start because it was built without TLS.
fn lacks_tls(reason: &str) -> bool {
    let reasons = ["Failed finding TLS support", "'tls-port"];
    reasons.iter().any(|it| reason.contains(it))
}
