//! The setters of [`Settings`].

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::endpoint::{Endpoint, host};
use super::tls_settings::TlsFile;
use super::variables::{
    CONNECTIONS, DB, HOST, LAST_DB, MASTER_NAME, NEAR_BYTES, NODES, PORT, PREFIX, PULSE, WINDOW,
    is_near_cache, is_pulse, is_window,
};
use super::{CertReqs, Settings, SettingsError};

/// The default port of a Sentinel.
const SENTINEL_PORT: u16 = 26379;

impl Settings {
    /// Sets the address and credentials of Redis: `redis://[user[:password]@]host[:port][/db]`,
    /// `rediss://…` for TLS (feature `tls`), or `unix:///path/to/socket[?db=0]`. The schemes of Valkey,
    /// such as `valkey://`, are accepted, too. Percent-encode special characters in credentials. `?db=3`
    /// also selects a database. *Default:* `redis://localhost`.
    ///
    /// For a [cluster](Self::cluster), the URL may name several nodes, which share the credentials.
    ///
    /// ```
    /// # use axum_redis_cache::Settings;
    /// let settings = Settings::default()
    ///     .url("redis://app:p%40ss@node1:6379,node2:6379,[2001:db8::3]:6379")?
    ///     .cluster(true);
    /// # Ok::<(), axum_redis_cache::SettingsError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The URL is malformed, or has an unknown scheme or parameter.
    pub fn url(mut self, url: impl Into<String>) -> Result<Self, SettingsError> {
        let url = url.into();
        #[cfg(feature = "redis")]
        super::url::parse(&url)?;
        self.url = Some(SecretString::from(url));
        Ok(self)
    }

    /// Sets the host name or address of Redis. Ignored if there is a [URL](Self::url). *Default:*
    /// `localhost`.
    ///
    /// # Errors
    ///
    /// The value is not a host name or address, or it has a port.
    pub fn host(mut self, name: impl Into<String>) -> Result<Self, SettingsError> {
        let name = name.into();
        let host = host(&name).ok_or_else(|| SettingsError::wrong("host", &name, HOST))?;
        self.host = Some(host);
        Ok(self)
    }

    /// Sets the port of Redis. Ignored if there is a [URL](Self::url). *Default:* 6379.
    ///
    /// # Errors
    ///
    /// The port is 0.
    pub fn port(mut self, port: u16) -> Result<Self, SettingsError> {
        check("port", port, PORT, port > 0)?;
        self.port = Some(port);
        Ok(self)
    }

    /// Sets the database. Ignored if there is a [URL](Self::url). A server has 16 databases by default.
    /// A cluster has only database 0, unless its nodes run Valkey 9 with `cluster-databases`.
    /// *Default:* 0.
    ///
    /// # Errors
    ///
    /// The number is greater than 2147483647: no server has so many databases.
    pub fn db(mut self, db: u32) -> Result<Self, SettingsError> {
        check("db", db, DB, db <= LAST_DB)?;
        self.db = Some(db);
        Ok(self)
    }

    /// Sets the ACL user. Ignored if there is a [URL](Self::url). *Default:* none: Redis uses
    /// `default`.
    #[must_use]
    pub fn username(mut self, name: impl Into<String>) -> Self {
        self.username = Some(name.into());
        self
    }

    /// Sets the password. Ignored if there is a [URL](Self::url). *Default:* none.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(SecretString::from(password.into()));
        self
    }

    /// Sets a provider of the user and the password, for credentials that change while the application
    /// runs, such as the tokens of a cloud (feature `credentials-provider`). Each connection to Redis
    /// logs in with the provider's current credentials, and logs in again when the provider returns new
    /// ones. The user and the password in other settings and in the URL are ignored. The Sentinels have
    /// credentials of their own, which do not change. *Default:* none.
    ///
    /// Each connection subscribes twice, so let all subscribers share one token, which a task of the
    /// application replaces in time:
    ///
    /// ```
    /// use std::pin::Pin;
    ///
    /// use axum_redis_cache::{BasicAuth, Settings, StreamingCredentialsProvider};
    /// use futures_util::{Stream, stream};
    /// # use redis::RedisResult;
    /// use tokio::sync::watch;
    ///
    /// /// The current token. `watch::Sender::send` replaces it.
    /// struct Tokens(watch::Receiver<String>);
    ///
    /// impl StreamingCredentialsProvider for Tokens {
    ///     fn subscribe(&self) -> Pin<Box<dyn Stream<Item = RedisResult<BasicAuth>> + Send>> {
    ///         let start = (self.0.clone(), true);
    ///         Box::pin(stream::unfold(start, async |(mut tokens, is_first)| {
    ///             if !is_first {
    ///                 tokens.changed().await.ok()?;
    ///             }
    ///             let token = tokens.borrow_and_update().clone();
    ///             Some((Ok(BasicAuth::new("shop".to_owned(), token)), (tokens, false)))
    ///         }))
    ///     }
    /// }
    ///
    /// let (sender, tokens) = watch::channel("the first token".to_owned());
    /// let settings = Settings::from_url("redis://127.0.0.1")?.credentials_provider(Tokens(tokens));
    /// # Ok::<(), axum_redis_cache::SettingsError>(())
    /// ```
    #[cfg(feature = "credentials-provider")]
    #[must_use]
    pub fn credentials_provider(
        mut self,
        provider: impl redis::StreamingCredentialsProvider + 'static,
    ) -> Self {
        self.credentials = Some(super::Credentials::new(provider));
        self
    }

    /// Turns TLS on (feature `tls`), as a `rediss://` URL does. *Default:* false.
    ///
    /// TLS uses rustls with the default crypto provider of the process, or ring if the process has none
    /// when the cache is created. To use another provider, install it before you create the cache.
    #[must_use]
    pub fn ssl(mut self, tls: bool) -> Self {
        self.ssl = tls;
        self
    }

    /// Sets the PEM file with the client certificate and its chain. Requires
    /// [`ssl_keyfile`](Self::ssl_keyfile). *Default:* none.
    #[must_use]
    pub fn ssl_certfile(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls.certfile = Some(TlsFile::new("ssl_certfile", path));
        self
    }

    /// Sets the PEM file with the unencrypted private key of [`ssl_certfile`](Self::ssl_certfile).
    /// *Default:* none.
    #[must_use]
    pub fn ssl_keyfile(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls.keyfile = Some(TlsFile::new("ssl_keyfile", path));
        self
    }

    /// Sets the PEM file with the CA certificates that verify the certificate of Redis, or with a
    /// self-signed certificate of Redis itself. *Default:* none: the trust store of the system.
    #[must_use]
    pub fn ssl_ca_certs(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls.ca_certs = Some(TlsFile::new("ssl_ca_certs", path));
        self
    }

    /// Requires the certificate of Redis to name the host of the connection. If this is false, any
    /// certificate of a trusted CA is accepted. *Default:* true.
    #[must_use]
    pub fn ssl_check_hostname(mut self, check: bool) -> Self {
        self.tls.check_hostname = Some(check);
        self
    }

    /// Sets the verification of the certificate of Redis. [`CertReqs::None`] accepts any certificate:
    /// use it for development only. The log warns of it. *Default:* [`CertReqs::Required`].
    #[must_use]
    pub fn ssl_cert_reqs(mut self, certificates: CertReqs) -> Self {
        self.tls.cert_reqs = Some(certificates);
        self
    }

    /// Connects to a Redis Cluster (feature `cluster`). One node is enough to find the others, but the
    /// [URL](Self::url) may name several. *Default:* false.
    #[must_use]
    pub fn cluster(mut self, cluster: bool) -> Self {
        self.cluster = cluster;
        self
    }

    /// Asks Sentinels for the address of the master (feature `sentinel`). Then
    /// [`sentinel_nodes`](Self::sentinel_nodes) replaces [`host`](Self::host) and [`port`](Self::port),
    /// and a [URL](Self::url) is an error. *Default:* false.
    ///
    /// ```
    /// # use axum_redis_cache::Settings;
    /// let settings = Settings::default()
    ///     .sentinel(true)
    ///     .sentinel_nodes(["10.0.0.1", "10.0.0.2:26380"])?
    ///     .password("the master's");
    /// # Ok::<(), axum_redis_cache::SettingsError>(())
    /// ```
    #[must_use]
    pub fn sentinel(mut self, sentinel: bool) -> Self {
        self.sentinel = sentinel;
        self
    }

    /// Sets the name under which the Sentinels monitor the master. *Default:* `mymaster`.
    ///
    /// # Errors
    ///
    /// The name is empty.
    pub fn sentinel_master_name(mut self, name: impl Into<String>) -> Result<Self, SettingsError> {
        let name = name.into();
        check("sentinel_master_name", &name, MASTER_NAME, !name.is_empty())?;
        self.sentinel_master_name = name;
        Ok(self)
    }

    /// Sets the addresses of the Sentinels, each as `host` or `host:port`. The default port is 26379.
    /// *Default:* none.
    ///
    /// # Errors
    ///
    /// An address is malformed.
    pub fn sentinel_nodes<N: AsRef<str>>(
        mut self,
        nodes: impl IntoIterator<Item = N>,
    ) -> Result<Self, SettingsError> {
        let parse = |node: N| {
            Endpoint::parse(node.as_ref(), SENTINEL_PORT)
                .ok_or_else(|| SettingsError::wrong("sentinel_nodes", node.as_ref(), NODES))
        };
        self.sentinel_nodes = nodes.into_iter().map(parse).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Sets the ACL user for the Sentinels. [`username`](Self::username) is for the master only.
    /// *Default:* none.
    #[must_use]
    pub fn sentinel_username(mut self, name: impl Into<String>) -> Self {
        self.sentinel_username = Some(name.into());
        self
    }

    /// Sets the password for the Sentinels. [`password`](Self::password) is for the master only.
    /// *Default:* none.
    #[must_use]
    pub fn sentinel_password(mut self, password: impl Into<String>) -> Self {
        self.sentinel_password = Some(SecretString::from(password.into()));
        self
    }

    /// Turns TLS to the Sentinels on or off. *Default:* the value of [`ssl`](Self::ssl).
    #[must_use]
    pub fn sentinel_ssl(mut self, tls: bool) -> Self {
        self.sentinel_ssl = Some(tls);
        self
    }

    /// Sets the PEM file with the client certificate for the Sentinels. Requires
    /// [`sentinel_ssl_keyfile`](Self::sentinel_ssl_keyfile). *Default:* the certificate for Redis,
    /// [`ssl_certfile`](Self::ssl_certfile).
    #[must_use]
    pub fn sentinel_ssl_certfile(mut self, path: impl Into<PathBuf>) -> Self {
        let file = TlsFile::new("sentinel_ssl_certfile", path);
        self.sentinel_tls.certfile = Some(file);
        self
    }

    /// Sets the PEM file with the unencrypted private key of
    /// [`sentinel_ssl_certfile`](Self::sentinel_ssl_certfile). *Default:* the key for Redis.
    #[must_use]
    pub fn sentinel_ssl_keyfile(mut self, path: impl Into<PathBuf>) -> Self {
        let file = TlsFile::new("sentinel_ssl_keyfile", path);
        self.sentinel_tls.keyfile = Some(file);
        self
    }

    /// Sets the PEM file with the CA certificates that verify the certificates of the Sentinels.
    /// *Default:* the value of [`ssl_ca_certs`](Self::ssl_ca_certs).
    #[must_use]
    pub fn sentinel_ssl_ca_certs(mut self, path: impl Into<PathBuf>) -> Self {
        let file = TlsFile::new("sentinel_ssl_ca_certs", path);
        self.sentinel_tls.ca_certs = Some(file);
        self
    }

    /// Requires the certificate of a Sentinel to name the host of the connection. *Default:* the value
    /// of [`ssl_check_hostname`](Self::ssl_check_hostname).
    #[must_use]
    pub fn sentinel_ssl_check_hostname(mut self, check: bool) -> Self {
        self.sentinel_tls.check_hostname = Some(check);
        self
    }

    /// Sets the verification of the certificates of the Sentinels. *Default:* the value of
    /// [`ssl_cert_reqs`](Self::ssl_cert_reqs).
    #[must_use]
    pub fn sentinel_ssl_cert_reqs(mut self, certificates: CertReqs) -> Self {
        self.sentinel_tls.cert_reqs = Some(certificates);
        self
    }

    /// Sets the number of connections to each node, 1 to 1024. Large entries use one more. The near
    /// cache and waits for the runs of other processes share another. All requests share the
    /// connections, and each connection is multiplexed. So one is enough until Redis replies faster
    /// than one task can read. *Default:* 1.
    ///
    /// # Errors
    ///
    /// The number is out of range.
    pub fn max_connections(mut self, connections: usize) -> Result<Self, SettingsError> {
        let allowed = (1..=1024).contains(&connections);
        check("max_connections", connections, CONNECTIONS, allowed)?;
        self.max_connections = connections;
        Ok(self)
    }

    /// Sets the time budget of one operation on Redis. After that, the request continues without the
    /// cache. A lookup gets only half of the budget. With the whole budget, a lookup could still be
    /// waiting after the sender of an eviction has timed out, and could then get a reply that Redis
    /// made before the eviction.
    ///
    /// If four round trips to Redis take longer, the budget grows to that time, up to four times this
    /// setting. If Redis becomes slow later, the budget grows after 10 to 20 seconds. [`Cache::status`]
    /// shows the current budget. The maximum of the setting is one day. *Default:* 250 ms.
    ///
    /// [`Cache::status`]: crate::Cache::status
    #[must_use]
    pub fn socket_timeout(mut self, budget: Duration) -> Self {
        self.socket_timeout = budget;
        self
    }

    /// Sets the time limit of one attempt to connect. The maximum is one day. *Default:* 1 s.
    #[must_use]
    pub fn socket_connect_timeout(mut self, timeout: Duration) -> Self {
        self.socket_connect_timeout = timeout;
        self
    }

    /// Sets the time for which stored entries are served after Redis has proved that it executes
    /// evictions. For this proof, the cache asks Redis to delete a key that does not exist, at intervals
    /// of at most a quarter of this time, and of at most half a second. If Redis refuses evictions or
    /// hangs, no process serves an evicted entry for longer than this time, or, with a near cache, this
    /// time and one [`near_cache_window`](Self::near_cache_window). The minimum is half a second, the
    /// maximum one minute. *Default:* 1 s.
    ///
    /// # Errors
    ///
    /// The time is out of range.
    pub fn pulse(mut self, pulse: Duration) -> Result<Self, SettingsError> {
        check("pulse", pulse.as_secs_f64(), PULSE, is_pulse(pulse))?;
        self.pulse = pulse;
        Ok(self)
    }

    /// Delays the response to a write by one [`pulse`](Self::pulse) and one
    /// [`near_cache_window`](Self::near_cache_window) if its eviction has not reached Redis. A client
    /// that has received the response then never reads the old entry. *Default:* false: the response is
    /// sent at once, with `X-Redis-Cache: PENDING`.
    #[must_use]
    pub fn hold_pending(mut self, hold: bool) -> Self {
        self.hold_pending = hold;
        self
    }

    /// Sets the prefix of every key in Redis. *Default:* `redis:axum`.
    ///
    /// # Errors
    ///
    /// The prefix is empty, or contains a brace, a space or a control character. (In a Redis Cluster,
    /// braces select the hash slot of a key.)
    pub fn prefix(mut self, prefix: impl Into<String>) -> Result<Self, SettingsError> {
        let prefix = prefix.into();
        let bad = |c: char| c.is_control() || c.is_whitespace() || "{}".contains(c);
        let allowed = !prefix.is_empty() && !prefix.contains(bad);
        check("prefix", &prefix, PREFIX, allowed)?;
        self.prefix = prefix;
        Ok(self)
    }

    /// Sets the freshness lifetime of responses whose route has no `ttl`. *Default:* zero: no expiry.
    #[must_use]
    pub fn default_ttl(mut self, ttl: Duration) -> Self {
        self.default_ttl = ttl;
        self
    }

    /// Logs a warning once, when a connection is opened, if [`default_ttl`](Self::default_ttl) is zero
    /// and Redis never evicts keys without expiry, because `maxmemory` is not set or `maxmemory-policy`
    /// does not evict them. *Default:* true.
    #[must_use]
    pub fn warn_unbounded_cache(mut self, warn: bool) -> Self {
        self.warn_unbounded_cache = warn;
        self
    }

    /// Turns on metrics and spans through OpenTelemetry. Set its global providers before you create the
    /// cache. Without the feature `otel`, true is an error for a cache in Redis, and is ignored by a
    /// cache in memory. *Default:* false.
    #[must_use]
    pub fn otel_enabled(mut self, enabled: bool) -> Self {
        self.otel_enabled = enabled;
        self
    }

    /// Sets the time limit of a run: if a handler takes longer, its response is not stored. Other
    /// requests wait for a run for at most this time, and a run continues for at most this time after
    /// its client has disconnected. In Redis, a lease for which other processes wait ends after 1.5 s
    /// unless it is renewed, and a process that runs the handler renews it. So other processes do not
    /// wait longer than that for a process that has died. The maximum is one day. *Default:* 30 s.
    #[must_use]
    pub fn lease_ttl(mut self, ttl: Duration) -> Self {
        self.lease_ttl = ttl;
        self
    }

    /// Sets the largest number of handlers that continue at the same time after their clients have
    /// disconnected, in order to store their responses or to evict. Further runs are dropped, but a
    /// dropped write still evicts. 0: no handler continues. *Default:* 1024.
    #[must_use]
    pub fn max_detached_runs(mut self, runs: usize) -> Self {
        self.max_detached_runs = runs;
        self
    }

    /// Sets the longest body that is stored, in bytes. Longer bodies are sent without being stored.
    /// *Default:* 10 MiB.
    #[must_use]
    pub fn max_body_bytes(mut self, bytes: usize) -> Self {
        self.max_body_bytes = bytes;
        self
    }

    /// Sets the memory for copies of streamed bodies, in bytes, for all requests together. If the
    /// memory is used up, a stream is sent to its client without being stored. A copy is kept until it
    /// is stored. If the client disconnects, the copy is dropped, unless the length of the body is
    /// declared: then the rest is read in the background. If other streams need the memory, a copy is
    /// kept for [`lease_ttl`](Self::lease_ttl) at most. 0: no stream is stored. *Default:* 64 MiB.
    #[must_use]
    pub fn max_streamed_bytes(mut self, bytes: usize) -> Self {
        self.max_streamed_bytes = bytes;
        self
    }

    /// Sets the size of an in-memory cache. If the cache exceeds this size, the least recently used
    /// items are removed. *Default:* 64 MiB.
    #[must_use]
    pub fn max_memory_bytes(mut self, bytes: usize) -> Self {
        self.max_memory_bytes = bytes;
        self
    }

    /// Turns on a near cache of this size, which keeps copies of entries in the memory of this process.
    /// A HIT in the near cache contacts nobody. If the copies exceed this size, those that are used
    /// least are removed. Entries longer than 256 KiB are not kept. 0: no near cache. The minimum is 4
    /// MiB. *Default:* 0.
    ///
    /// Redis tells the process which entries have changed (`CLIENT TRACKING`, Redis 7.0.9 and later, and
    /// Valkey), and an eviction waits until each process has applied it. So when the response to an
    /// eviction starts, no process serves the old entry, as without near caches. If Redis does not track
    /// reads, the near cache is off, and the log says so once.
    ///
    /// # Errors
    ///
    /// The size is too small.
    pub fn near_cache_bytes(mut self, bytes: usize) -> Result<Self, SettingsError> {
        check("near_cache_bytes", bytes, NEAR_BYTES, is_near_cache(bytes))?;
        self.near_cache_bytes = bytes;
        Ok(self)
    }

    /// Sets the time for which copies in a near cache are served after a reply of Redis has proved that
    /// they are current. While copies are served, this process sends a command on each connection of the
    /// near cache four times per window. If a process does not confirm an eviction, for example because it
    /// has died, the eviction waits for the window of that process. Then the process is removed from the
    /// list of processes with near caches, which is in Redis, and later evictions do not wait for it. Use
    /// the same value in all processes, with and without a near cache: if Redis loses the list, an
    /// eviction waits for the window that is set in the process that sends it. The minimum is 10 ms, the
    /// maximum one second. *Default:* 50 ms.
    ///
    /// # Errors
    ///
    /// The time is out of range.
    pub fn near_cache_window(mut self, window: Duration) -> Result<Self, SettingsError> {
        let allowed = is_window(window);
        check("near_cache_window", window.as_secs_f64(), WINDOW, allowed)?;
        self.near_cache_window = window;
        Ok(self)
    }

    /// Applies the `Cache-Control` directives of requests (RFC 9111 §5.2.1). If this is false, clients
    /// cannot force a run of the handler by these directives or by `Range`. *Default:* true.
    #[must_use]
    pub fn request_directives(mut self, obey: bool) -> Self {
        self.request_directives = obey;
        self
    }

    /// Adds `Cache-Status` (RFC 9211) to responses. The field describes how the cache handled the
    /// request, and why. From it, clients can learn which resources others have requested. *Default:*
    /// false.
    ///
    /// ```text
    /// Cache-Status: axum-redis-cache;hit;ttl=29
    /// Cache-Status: axum-redis-cache;hit;ttl=-3
    /// Cache-Status: axum-redis-cache;fwd=uri-miss;ttl=30;stored
    /// Cache-Status: axum-redis-cache;fwd=uri-miss;ttl=30;collapsed
    /// Cache-Status: axum-redis-cache;fwd=uri-miss;detail=set-cookie
    /// Cache-Status: axum-redis-cache;fwd=stale;fwd-status=503;ttl=-3
    /// Cache-Status: axum-redis-cache;fwd=bypass
    /// ```
    ///
    /// * `hit`: the client gets a stored response.
    /// * `fwd`: the handler was needed, for one of these reasons: no response is stored for the key
    ///   (`uri-miss`) or for this variant of it (`miss`; also if the request joined the run of another
    ///   request without a lookup of its own); the stored response is `stale`; the request does not allow
    ///   this stored response, or allows none, for example by its directives or by `Authorization`
    ///   (`request`); the method is not cached (`method`); the cache is not used, as for every write, and
    ///   for every read while the store is unreachable (`bypass`).
    /// * `fwd-status`: the status code of the handler, if the client gets another one: a 304 because
    ///   the precondition of the request is false, or the status of a stored response because the
    ///   handler failed (`stale_if_error`). A panic counts as 500.
    /// * `ttl`: the remaining freshness lifetime in seconds; negative if the response is stale.
    /// * `stored`: the response is stored. Missing for streams, because the header is sent before the
    ///   body is stored.
    /// * `collapsed`: the run for another request made the response.
    /// * `detail`: the reason why the response is not stored, as one word. The log explains it.
    ///
    /// The field never contains the key. If other caches behind the handler have added members to the
    /// field, these members are kept and are stored with the response. On a `hit`, the members before
    /// the last describe the request that stored the response (RFC 9211 §3). A 504 for `only-if-cached`
    /// has no member of this cache, because it is neither a response of the handler nor a stored one.
    #[must_use]
    pub fn cache_status(mut self, send: bool) -> Self {
        self.cache_status = send;
        self
    }

    /// Adds `Cache-Groups` (RFC 9875) to responses, and `Cache-Group-Invalidation` to responses of
    /// handlers that evict groups, so that caches between the application and the client can remove
    /// their copies. *Default:* false.
    ///
    /// ```text
    /// Cache-Groups: "brand:7", "products"
    /// Cache-Group-Invalidation: "products"
    /// ```
    ///
    /// Every client that gets the response can read the names of the groups. Names that are longer than
    /// 512 bytes or not ASCII are omitted.
    #[must_use]
    pub fn cache_groups(mut self, send: bool) -> Self {
        self.cache_groups = send;
        self
    }
}

fn check(
    setting: &'static str,
    value: impl std::fmt::Display,
    expected: &'static str,
    allowed: bool,
) -> Result<(), SettingsError> {
    if allowed {
        return Ok(());
    }
    Err(SettingsError::wrong(setting, value, expected))
}
