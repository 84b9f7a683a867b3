//! What a cache is told at start: where Redis is, and the limits it keeps.

mod env;
mod error;

use std::fmt;
use std::time::Duration;

use secrecy::SecretString;

pub use error::SettingsError;

/// Where Redis is and how the cache behaves.
///
/// ```
/// use std::time::Duration;
/// use redis_cache_runtime::Settings;
///
/// let settings = Settings::from_url("redis://127.0.0.1:6379/0")?
///     .prefix("shop")?
///     .default_ttl(Duration::from_secs(300));
/// # Ok::<(), redis_cache_runtime::SettingsError>(())
/// ```
///
/// [`Settings::from_env`] reads the same settings from `REDIS_*` variables.
#[derive(Clone)]
pub struct Settings {
    pub(crate) server: Server,
    pub(crate) prefix: String,
    pub(crate) default_ttl: Duration,
    pub(crate) socket_timeout: Duration,
    pub(crate) socket_connect_timeout: Duration,
    pub(crate) lease_ttl: Duration,
    pub(crate) max_body_bytes: usize,
    pub(crate) max_memory_bytes: usize,
    pub(crate) request_directives: bool,
}

/// How to reach a standalone Redis.
#[derive(Clone)]
#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "read only to connect")
)]
pub(crate) enum Server {
    Url(SecretString),
    Fields {
        host: String,
        port: u16,
        db: u8,
        username: Option<String>,
        password: Option<SecretString>,
    },
}

impl Default for Settings {
    /// Redis on `localhost:6379`, database 0, without credentials.
    fn default() -> Self {
        Self {
            server: Server::Fields {
                host: "localhost".to_owned(),
                port: 6379,
                db: 0,
                username: None,
                password: None,
            },
            prefix: "redis:axum".to_owned(),
            default_ttl: Duration::ZERO,
            socket_timeout: Duration::from_millis(250),
            socket_connect_timeout: Duration::from_secs(1),
            lease_ttl: Duration::from_secs(30),
            max_body_bytes: 10 * 1024 * 1024,
            max_memory_bytes: 64 * 1024 * 1024,
            request_directives: true,
        }
    }
}

impl Settings {
    /// Reads the settings from `REDIS_*` environment variables and, for those that are not set
    /// there, from a `.env` file in the current directory or one above it.
    ///
    /// | variable | meaning | default |
    /// | --- | --- | --- |
    /// | `REDIS_URL` | `redis://[user[:password]@]host[:port][/db]`; wins over the fields below | |
    /// | `REDIS_HOST` | host name or address | `localhost` |
    /// | `REDIS_PORT` | 1 to 65535 | `6379` |
    /// | `REDIS_DB` | 0 to 15 | `0` |
    /// | `REDIS_USERNAME`, `REDIS_PASSWORD` | ACL user and password | |
    /// | `REDIS_PREFIX` | what every name in Redis starts with | `redis:axum` |
    /// | `REDIS_DEFAULT_TTL` | seconds a response stays fresh when its route has no `ttl`; 0: no expiry | `0` |
    /// | `REDIS_SOCKET_TIMEOUT` | seconds an operation may take; a lookup has half of it | `0.25` |
    /// | `REDIS_SOCKET_CONNECT_TIMEOUT` | seconds an attempt to connect may take | `1` |
    /// | `REDIS_LEASE_TTL` | seconds a handler may take and still have its response stored, and others wait for it | `30` |
    /// | `REDIS_MAX_BODY_BYTES` | longest body that is stored | `10485760` |
    /// | `REDIS_MAX_MEMORY_BYTES` | size of the in-memory store | `67108864` |
    /// | `REDIS_REQUEST_DIRECTIVES` | `true`: obey the `Cache-Control` of requests | `true` |
    ///
    /// # Errors
    ///
    /// Names the first variable that is wrong, its value (never a secret) and what is allowed.
    pub fn from_env() -> Result<Self, SettingsError> {
        env::read(&env::Source::process()?)
    }

    /// Settings for the Redis at `redis://[user[:password]@]host[:port][/db]` or
    /// `unix:///path/to/socket[?db=0]`, with defaults otherwise.
    ///
    /// # Errors
    ///
    /// The URL is malformed or of another scheme.
    pub fn from_url(url: impl Into<String>) -> Result<Self, SettingsError> {
        let server = Server::url("url", url.into())?;
        Ok(Self {
            server,
            ..Self::default()
        })
    }

    /// What every name in Redis starts with. *Default:* `redis:axum`.
    ///
    /// # Errors
    ///
    /// The prefix is empty, or holds a brace, a space or a control character: braces decide where
    /// a Redis Cluster keeps a name.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Result<Self, SettingsError> {
        self.prefix = checked_prefix("prefix", prefix.into())?;
        Ok(self)
    }

    /// How long a response stays fresh when its route has no `ttl`. *Default:* zero, no expiry.
    #[must_use]
    pub fn default_ttl(mut self, ttl: Duration) -> Self {
        self.default_ttl = ttl;
        self
    }

    /// How long one operation on Redis may take before the request goes on without the cache. A
    /// lookup has half of it: what comes later may be older than an eviction that another process
    /// had to give up. *Default:* 250 ms.
    #[must_use]
    pub fn socket_timeout(mut self, budget: Duration) -> Self {
        self.socket_timeout = budget;
        self
    }

    /// How long one attempt to connect may take. *Default:* 1 s.
    #[must_use]
    pub fn socket_connect_timeout(mut self, timeout: Duration) -> Self {
        self.socket_connect_timeout = timeout;
        self
    }

    /// How long a handler may take and still have its response stored, how long others wait for it,
    /// and how long it goes on without its client. The lease itself is held for a second and a half
    /// and renewed, so that nobody waits longer for a process that died. *Default:* 30 s.
    #[must_use]
    pub fn lease_ttl(mut self, ttl: Duration) -> Self {
        self.lease_ttl = ttl;
        self
    }

    /// The longest body that is stored; longer ones pass through. *Default:* 10 MiB.
    #[must_use]
    pub fn max_body_bytes(mut self, bytes: usize) -> Self {
        self.max_body_bytes = bytes;
        self
    }

    /// How much an in-memory cache may hold before its least recently used items go.
    /// *Default:* 64 MiB.
    #[must_use]
    pub fn max_memory_bytes(mut self, bytes: usize) -> Self {
        self.max_memory_bytes = bytes;
        self
    }

    /// Whether the `Cache-Control` of a request is obeyed (RFC 9111 §5.2.1). When it is not,
    /// clients cannot force a handler to run. *Default:* true.
    #[must_use]
    pub fn request_directives(mut self, obey: bool) -> Self {
        self.request_directives = obey;
        self
    }
}

fn checked_prefix(name: &'static str, prefix: String) -> Result<String, SettingsError> {
    let bad = |c: char| c.is_control() || c.is_whitespace() || "{}".contains(c);
    if prefix.is_empty() || prefix.contains(bad) {
        let expected = "at least one character, and no brace, space or control character";
        return Err(SettingsError::invalid(name, &prefix, expected));
    }
    Ok(prefix)
}

#[cfg(feature = "redis")]
mod server {
    use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};
    use secrecy::{ExposeSecret, SecretString};

    use super::{Server, Settings, SettingsError};

    const URL: &str = "redis://[user[:password]@]host[:port][/db] or unix:///path[?db=0]";

    impl Server {
        /// Checks a URL; it is never shown, because it may hold a password.
        pub(super) fn url(name: &'static str, url: String) -> Result<Self, SettingsError> {
            if url.starts_with("rediss://") {
                let expected = "a URL without TLS (redis://…): this build cannot speak TLS";
                return Err(SettingsError::invalid(name, "rediss://…", expected));
            }
            // What stands before `://` is only a scheme if it looks like one.
            let is_scheme = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let scheme = url.split_once("://").map(|(scheme, _)| scheme);
            let shown = scheme
                .filter(|scheme| is_scheme(scheme))
                .unwrap_or_default();
            let shown = format!("{shown}://…");
            url.as_str()
                .into_connection_info()
                .map_err(|_| SettingsError::invalid(name, &shown, URL))?;
            Ok(Self::Url(SecretString::from(url)))
        }
    }

    impl Settings {
        pub(crate) fn connection_info(&self) -> Result<ConnectionInfo, SettingsError> {
            match &self.server {
                Server::Url(url) => url
                    .expose_secret()
                    .into_connection_info()
                    .map_err(|_| SettingsError::invalid("url", "…", URL)),
                Server::Fields {
                    host,
                    port,
                    db,
                    username,
                    password,
                } => {
                    let mut redis = RedisConnectionInfo::default().set_db(i64::from(*db));
                    if let Some(username) = username {
                        redis = redis.set_username(username);
                    }
                    if let Some(password) = password {
                        redis = redis.set_password(password.expose_secret());
                    }
                    ConnectionAddr::Tcp(host.clone(), *port)
                        .into_connection_info()
                        .map(|info| info.set_redis_settings(redis))
                        .map_err(|error| SettingsError::connection(error.category()))
                }
            }
        }
    }
}

#[cfg(not(feature = "redis"))]
impl Server {
    #[allow(clippy::unnecessary_wraps)]
    fn url(_: &'static str, url: String) -> Result<Self, SettingsError> {
        Ok(Self::Url(SecretString::from(url)))
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Settings");
        match &self.server {
            Server::Url(_) => out.field("url", &"…"),
            Server::Fields { host, port, db, .. } => {
                out.field("host", host).field("port", port).field("db", db)
            }
        };
        out.field("prefix", &self.prefix)
            .field("default_ttl", &self.default_ttl)
            .field("socket_timeout", &self.socket_timeout)
            .field("socket_connect_timeout", &self.socket_connect_timeout)
            .field("lease_ttl", &self.lease_ttl)
            .field("max_body_bytes", &self.max_body_bytes)
            .field("max_memory_bytes", &self.max_memory_bytes)
            .field("request_directives", &self.request_directives)
            .finish()
    }
}
