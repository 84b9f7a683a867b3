use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::IntoConnectionInfo;

use crate::guardian::Guardian;
use crate::waiting::{Attempt, LIMIT, wait_until_it_says};

/// A `redis-server` on a loopback port, which can be killed and started again.
pub(crate) struct RedisProcess {
    port: u16,
    socket: PathBuf,
    arguments: Vec<String>,
    login: Option<Login>,
    running: Option<Running>,
}

/// The user and the password of the fixture itself.
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: String,
}

struct Running {
    id: u32,
    stopped: AtomicBool,
    _guardian: Guardian,
}

/// The variable `TEST_REDIS_SERVER` may name another server.
const START: &str = r#"redis=${TEST_REDIS_SERVER:-redis-server}
command -v "$redis" >/dev/null || echo "scripts/test.sh installs it"
"$redis" "$@" </dev/null 2>&1 & server=$!; exec >/dev/null"#;
const KILL: &str = r#"kill -9 "$server"; wait "$server""#;

/// The first line that is written by a server, or a sentinel, when it listens.
const LISTENS: [&str; 2] = ["Server initialized", "Sentinel ID is"];

impl RedisProcess {
    /// One that is not started yet and keeps its files in that directory: among them a
    /// configuration file, where it writes what it has to know after a restart.
    pub(crate) fn new(directory: &Path, port: u16, configuration: &str, options: &[&str]) -> Self {
        let file = |extension| directory.join(format!("{port}.{extension}"));
        let (conf, socket) = (file("conf"), file("sock"));
        std::fs::write(&conf, configuration).expect("a configuration file");
        let own = [
            ["--port", &port.to_string()],
            ["--bind", "127.0.0.1"],
            ["--dir", text(directory)],
            ["--dbfilename", &format!("{port}.rdb")],
            ["--unixsocket", text(&socket)],
            ["--save", ""],
        ];
        let arguments = [text(&conf)].into_iter();
        let arguments = arguments.chain(own.into_iter().flatten());
        let arguments = arguments.chain(options.iter().copied());
        let password = options
            .iter()
            .skip_while(|option| **option != "--requirepass")
            .nth(1);
        let mut process = Self {
            port,
            arguments: arguments.map(str::to_owned).collect(),
            socket,
            login: None,
            running: None,
        };
        if let Some(password) = password {
            process.log_in_as("default", password);
        }
        process
    }

    pub(crate) fn log_in_as(&mut self, user: &str, password: &str) {
        self.login = Some(Login {
            user: user.to_owned(),
            password: password.to_owned(),
        });
    }

    /// Its port is for TLS, and only for that.
    pub(crate) fn use_tls(&mut self) {
        let options = ["--port", "0", "--tls-port", &self.port.to_string()];
        self.arguments.extend(options.map(str::to_owned));
    }

    pub(crate) fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// Starts it and returns when it listens, or why it does not.
    pub(crate) fn start(&mut self) -> Attempt<()> {
        let mut guardian = Guardian::start(START, KILL, &self.arguments);
        let id = wait_until_it_says(guardian.output(), id_once_it_listens)?;
        self.running = Some(Running {
            id,
            stopped: AtomicBool::new(false),
            _guardian: guardian,
        });
        Ok(())
    }

    pub(crate) fn start_again(&mut self) {
        self.kill();
        if let Err(reason) = self.start() {
            panic!("redis-server does not start again: {reason}");
        }
    }

    pub(crate) fn kill(&mut self) {
        self.running = None;
    }

    pub(crate) fn id(&self) -> u32 {
        self.running.as_ref().expect("a running server").id
    }

    /// Sends it a signal such as `STOP` or `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let running = self.running.as_ref().expect("a running server");
        signal(name, running.id);
        running.stopped.store(name == "STOP", Ordering::Relaxed);
    }

    /// Returns whether it was neither killed nor stopped.
    pub(crate) fn is_up(&self) -> bool {
        let up = |running: &Running| !running.stopped.load(Ordering::Relaxed);
        self.running.as_ref().is_some_and(up)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port)
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn connection(&self) -> redis::Connection {
        self.try_connection().expect("a running server")
    }

    /// A connection that needs neither the network nor certificates.
    pub(crate) fn try_connection(&self) -> redis::RedisResult<redis::Connection> {
        let mut info = redis::ConnectionAddr::Unix(self.socket.clone()).into_connection_info()?;
        if let Some(Login { user, password }) = &self.login {
            let settings = info.redis_settings().clone();
            info = info.set_redis_settings(settings.set_username(user).set_password(password));
        }
        let connection = redis::Client::open(info)?.get_connection_with_timeout(LIMIT)?;
        connection.set_read_timeout(Some(LIMIT))?;
        connection.set_write_timeout(Some(LIMIT))?;
        Ok(connection)
    }

    /// Returns the number of processed commands since the start, by lower-case name.
    pub(crate) fn command_counts(&self) -> Vec<(String, u64)> {
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
}

/// Runs a command that must succeed.
pub(crate) fn command(connection: &mut redis::Connection, words: &[&str]) {
    let command = redis::cmd(words[0]).arg(&words[1..]).to_owned();
    let reply: redis::RedisResult<redis::Value> = command.query(connection);
    reply.unwrap_or_else(|error| panic!("{words:?}: {error}"));
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

pub(crate) fn signal(name: &str, process: u32) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(process.to_string())
        .status();
    assert!(status.expect("kill runs").success());
}

/// Each line begins with the process id, such as in `17:M 25 Nov 2026 02:36:03.123 # Server initialized`.
fn id_once_it_listens(line: &str) -> Option<u32> {
    let listens = LISTENS.iter().any(|words| line.contains(words));
    listens
        .then(|| line.split(':').next()?.parse().ok())
        .flatten()
}
