//! The settings of a cache: the address of Redis, and the limits of the cache.

#[cfg(feature = "redis")]
mod access;
mod builder;
#[cfg(feature = "tls")]
mod certificate_check;
#[cfg(feature = "credentials-provider")]
mod credentials;
#[cfg(feature = "redis")]
mod deployment;
mod dotenv;
mod endpoint;
mod env;
mod error;
#[cfg(feature = "redis")]
mod location;
#[cfg(feature = "tls")]
mod tls;
mod tls_settings;
#[cfg(feature = "redis")]
mod url;
mod variables;

use std::time::Duration;

use secrecy::SecretString;

#[cfg(feature = "redis")]
pub(crate) use access::Access;
#[cfg(feature = "credentials-provider")]
pub(crate) use credentials::Credentials;
#[cfg(feature = "redis")]
pub(crate) use deployment::Deployment;
pub(crate) use endpoint::Endpoint;
pub use error::SettingsError;
#[cfg(feature = "tls")]
pub(crate) use tls::Tls;
use tls_settings::TlsSettings;
pub(crate) use variables::LONGEST;
#[cfg(feature = "redis")]
pub(crate) use variables::LONGEST_WINDOW;

/// The settings of a cache.
///
/// ```
/// use std::time::Duration;
/// use axum_redis_cache::Settings;
///
/// let settings = Settings::from_url("redis://127.0.0.1:6379/0")?
///     .prefix("shop")?
///     .default_ttl(Duration::from_secs(300));
/// # Ok::<(), axum_redis_cache::SettingsError>(())
/// ```
///
/// [`Settings::from_env`] reads the same settings from `REDIS_*` variables. Settings in code
/// win over the environment, the environment over `.env`, and `.env` over the defaults:
///
/// ```no_run
/// # use axum_redis_cache::Settings;
/// let settings = Settings::from_env()?.prefix("shop")?;
/// # Ok::<(), axum_redis_cache::SettingsError>(())
/// ```
///
/// A URL always wins over [`host`](Self::host), [`port`](Self::port), [`db`](Self::db),
/// [`username`](Self::username) and [`password`](Self::password), wherever they were set; the
/// log names the ignored settings.
#[derive(Clone, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a setting of its own"
)]
#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "most is read only to connect")
)]
pub struct Settings {
    url: Option<SecretString>,
    host: Option<String>,
    port: Option<u16>,
    db: Option<u32>,
    username: Option<String>,
    password: Option<SecretString>,
    ssl: bool,
    tls: TlsSettings,
    cluster: bool,
    sentinel: bool,
    sentinel_master_name: String,
    sentinel_nodes: Vec<Endpoint>,
    sentinel_username: Option<String>,
    sentinel_password: Option<SecretString>,
    #[cfg(feature = "credentials-provider")]
    credentials: Option<Credentials>,
    sentinel_ssl: Option<bool>,
    sentinel_tls: TlsSettings,
    pub(crate) max_connections: usize,
    pub(crate) socket_timeout: Duration,
    pub(crate) socket_connect_timeout: Duration,
    pub(crate) pulse: Duration,
    pub(crate) hold_pending: bool,
    pub(crate) prefix: String,
    pub(crate) default_ttl: Duration,
    pub(crate) warn_unbounded_cache: bool,
    pub(crate) otel_enabled: bool,
    pub(crate) lease_ttl: Duration,
    pub(crate) max_detached_runs: usize,
    pub(crate) max_body_bytes: usize,
    pub(crate) max_streamed_bytes: usize,
    pub(crate) max_memory_bytes: usize,
    pub(crate) near_cache_bytes: usize,
    pub(crate) near_cache_window: Duration,
    pub(crate) request_directives: bool,
    pub(crate) cache_status: bool,
    pub(crate) cache_groups: bool,
}

/// The certificates of servers that are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CertReqs {
    /// Certificates that a trusted CA signed, see [`Settings::ssl_ca_certs`].
    #[default]
    Required,
    /// Any certificate: an attacker between this process and Redis can pretend to be Redis.
    None,
}

impl Default for Settings {
    /// Redis on `localhost:6379`, database 0, without credentials.
    fn default() -> Self {
        Self {
            url: None,
            host: None,
            port: None,
            db: None,
            username: None,
            password: None,
            ssl: false,
            tls: TlsSettings::default(),
            cluster: false,
            sentinel: false,
            sentinel_master_name: "mymaster".to_owned(),
            sentinel_nodes: Vec::new(),
            sentinel_username: None,
            sentinel_password: None,
            #[cfg(feature = "credentials-provider")]
            credentials: None,
            sentinel_ssl: None,
            sentinel_tls: TlsSettings::default(),
            max_connections: 1,
            socket_timeout: Duration::from_millis(250),
            socket_connect_timeout: Duration::from_secs(1),
            pulse: Duration::from_secs(1),
            hold_pending: false,
            prefix: "redis:axum".to_owned(),
            default_ttl: Duration::ZERO,
            warn_unbounded_cache: true,
            otel_enabled: false,
            lease_ttl: Duration::from_secs(30),
            max_detached_runs: 1024,
            max_body_bytes: 10 * 1024 * 1024,
            max_streamed_bytes: 64 * 1024 * 1024,
            max_memory_bytes: 64 * 1024 * 1024,
            near_cache_bytes: 0,
            near_cache_window: Duration::from_millis(50),
            request_directives: true,
            cache_status: false,
            cache_groups: false,
        }
    }
}

impl Settings {
    /// Reads the settings from environment variables and, for those that are not set there, from a
    /// `.env` file in the current directory or one above it. The case of the names does not matter,
    /// and an empty variable counts as not set.
    ///
    #[doc = include_str!("variables.md")]
    ///
    /// # Errors
    ///
    /// Names the first variable that is wrong, its value (never a secret) and what is allowed. That
    /// includes variables that contradict each other, and files that are not there.
    pub fn from_env() -> Result<Self, SettingsError> {
        env::read(&env::variables()?).map_err(SettingsError::of_variables)
    }

    /// Settings for the Redis at a [URL](Self::url), with defaults otherwise.
    ///
    /// # Errors
    ///
    /// The URL is malformed, of another scheme, or has a parameter that is not known.
    pub fn from_url(url: impl Into<String>) -> Result<Self, SettingsError> {
        Self::default().url(url)
    }
}
