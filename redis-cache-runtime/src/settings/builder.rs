//! The settings in code: a method for each.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::endpoint::{Endpoint, host};
use super::variables::{
    CONNECTIONS, DB, HOST, LAST_DB, MASTER_NAME, NODES, PORT, PREFIX, PULSE, is_pulse,
};
use super::{CertReqs, Settings, SettingsError};

/// The default port of a Sentinel.
const SENTINEL_PORT: u16 = 26379;

impl Settings {
    /// Sets the address and credentials of Redis: `redis://[user[:password]@]host[:port][/db]`,
    /// `rediss://…` for TLS (feature `tls`), or `unix:///path/to/socket[?db=0]`. Special characters in
    /// credentials are percent-encoded. `?db=3` names a database too. *Default:* `redis://localhost`.
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
    /// The URL is malformed, of another scheme, or has a parameter that is not known.
    pub fn url(mut self, url: impl Into<String>) -> Result<Self, SettingsError> {
        let url = url.into();
        #[cfg(feature = "redis")]
        super::url::parse(&url)?;
        self.url = Some(SecretString::from(url));
        Ok(self)
    }

    /// Sets the host name or address of Redis, unless there is a [URL](Self::url). *Default:*
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

    /// Sets the port of Redis, unless there is a [URL](Self::url). *Default:* 6379.
    ///
    /// # Errors
    ///
    /// The port is 0.
    pub fn port(mut self, port: u16) -> Result<Self, SettingsError> {
        check("port", port, PORT, port > 0)?;
        self.port = Some(port);
        Ok(self)
    }

    /// Sets the database, unless there is a [URL](Self::url). A server has 16 databases by default, a
    /// cluster only database 0. *Default:* 0.
    ///
    /// # Errors
    ///
    /// The number is greater than 2147483647: no server has so many databases.
    pub fn db(mut self, db: u32) -> Result<Self, SettingsError> {
        check("db", db, DB, db <= LAST_DB)?;
        self.db = Some(db);
        Ok(self)
    }

    /// Sets the ACL user, unless there is a [URL](Self::url). *Default:* none: Redis uses `default`.
    #[must_use]
    pub fn username(mut self, name: impl Into<String>) -> Self {
        self.username = Some(name.into());
        self
    }

    /// Sets the password, unless there is a [URL](Self::url). *Default:* none.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(SecretString::from(password.into()));
        self
    }

    /// Turns TLS on (feature `tls`), as a `rediss://` URL does. *Default:* false.
    ///
    /// TLS uses rustls with the default crypto provider of the process, or ring if there is none when
    /// the cache is created. To use another provider, install it before.
    #[must_use]
    pub fn ssl(mut self, tls: bool) -> Self {
        self.ssl = tls;
        self
    }

    /// Sets the PEM file with the client certificate and its chain. It
    /// needs [`ssl_keyfile`](Self::ssl_keyfile). *Default:* none.
    #[must_use]
    pub fn ssl_certfile(mut self, path: impl Into<PathBuf>) -> Self {
        self.ssl_certfile = Some(path.into());
        self
    }

    /// Sets the PEM file with the unencrypted private key of [`ssl_certfile`](Self::ssl_certfile).
    /// *Default:* none.
    #[must_use]
    pub fn ssl_keyfile(mut self, path: impl Into<PathBuf>) -> Self {
        self.ssl_keyfile = Some(path.into());
        self
    }

    /// Sets the PEM file with the CA certificates that verify the certificate of Redis, or with a
    /// self-signed certificate of Redis itself. *Default:* none: the trust store of the system.
    #[must_use]
    pub fn ssl_ca_certs(mut self, path: impl Into<PathBuf>) -> Self {
        self.ssl_ca_certs = Some(path.into());
        self
    }

    /// Requires that the certificate of Redis names the host of the connection. Otherwise any
    /// certificate of a trusted CA is accepted. *Default:* true.
    #[must_use]
    pub fn ssl_check_hostname(mut self, check: bool) -> Self {
        self.ssl_check_hostname = check;
        self
    }

    /// Chooses the certificates of Redis that are accepted. [`CertReqs::None`] accepts any, which is
    /// for development: the log warns of it. *Default:* [`CertReqs::Required`].
    #[must_use]
    pub fn ssl_cert_reqs(mut self, certificates: CertReqs) -> Self {
        self.ssl_cert_reqs = certificates;
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

    /// Sets the name of the master in the Sentinels. *Default:* `mymaster`.
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

    /// Sets the addresses of the Sentinels, each as `host` or `host:port`. The port is 26379 if left
    /// out. *Default:* none.
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

    /// Sets the ACL user of the Sentinels, which differs from that of the master. *Default:* none.
    #[must_use]
    pub fn sentinel_username(mut self, name: impl Into<String>) -> Self {
        self.sentinel_username = Some(name.into());
        self
    }

    /// Sets the password of the Sentinels. *Default:* none.
    #[must_use]
    pub fn sentinel_password(mut self, password: impl Into<String>) -> Self {
        self.sentinel_password = Some(SecretString::from(password.into()));
        self
    }

    /// Turns TLS to the Sentinels on or off. Files and checks are the same as for Redis. *Default:* the
    /// value of [`ssl`](Self::ssl).
    #[must_use]
    pub fn sentinel_ssl(mut self, tls: bool) -> Self {
        self.sentinel_ssl = Some(tls);
        self
    }

    /// Sets the number of connections to each node, 1 to 1024. All requests share them: a connection
    /// takes any number of commands at a time, so one is enough until Redis replies faster than a
    /// single task can read. *Default:* 1.
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

    /// Sets the time budget of one operation on Redis, after which the request goes on without the
    /// cache. A lookup gets half of it: a later reply may predate an eviction whose sender has timed
    /// out. A day at most. *Default:* 250 ms.
    #[must_use]
    pub fn socket_timeout(mut self, budget: Duration) -> Self {
        self.socket_timeout = budget;
        self
    }

    /// Sets the time limit of one attempt to connect, a day at most. *Default:* 1 s.
    #[must_use]
    pub fn socket_connect_timeout(mut self, timeout: Duration) -> Self {
        self.socket_connect_timeout = timeout;
        self
    }

    /// Sets the time for which Redis is trusted after it has proved that it takes evictions. The proof
    /// is a deletion of a name without a value, four times in that time and at least twice a second.
    /// While Redis refuses evictions or hangs, no process serves an evicted entry for longer than this.
    /// From half a second to a minute. *Default:* 1 s.
    ///
    /// # Errors
    ///
    /// The time is out of range.
    pub fn pulse(mut self, pulse: Duration) -> Result<Self, SettingsError> {
        check("pulse", pulse.as_secs_f64(), PULSE, is_pulse(pulse))?;
        self.pulse = pulse;
        Ok(self)
    }

    /// Holds the response to a write for one [`pulse`](Self::pulse) if Redis has not taken its
    /// eviction, so that no client that has seen the response reads the old entry. *Default:* false:
    /// the response has `PENDING` at once.
    #[must_use]
    pub fn hold_pending(mut self, hold: bool) -> Self {
        self.hold_pending = hold;
        self
    }

    /// Sets the prefix of every name in Redis. *Default:* `redis:axum`.
    ///
    /// # Errors
    ///
    /// The prefix is empty, or holds a brace, a space or a control character: braces decide where
    /// a Redis Cluster keeps a name.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Result<Self, SettingsError> {
        let prefix = prefix.into();
        let bad = |c: char| c.is_control() || c.is_whitespace() || "{}".contains(c);
        let allowed = !prefix.is_empty() && !prefix.contains(bad);
        check("prefix", &prefix, PREFIX, allowed)?;
        self.prefix = prefix;
        Ok(self)
    }

    /// Sets the freshness lifetime of responses whose route has no `ttl`. *Default:* zero, no expiry.
    #[must_use]
    pub fn default_ttl(mut self, ttl: Duration) -> Self {
        self.default_ttl = ttl;
        self
    }

    /// Warns at start if responses without expiry are stored in a Redis that cannot evict them: one
    /// without `maxmemory`, or with a policy that spares them. *Default:* true.
    #[must_use]
    pub fn warn_unbounded_cache(mut self, warn: bool) -> Self {
        self.warn_unbounded_cache = warn;
        self
    }

    /// Turns on metrics and spans through OpenTelemetry. Set its global providers before you create the
    /// cache. Without the feature `otel`, true is refused. *Default:* false.
    #[must_use]
    pub fn otel_enabled(mut self, enabled: bool) -> Self {
        self.otel_enabled = enabled;
        self
    }

    /// Sets the longest run of a handler whose response is still stored. Other requests wait for a run,
    /// and a run goes on without its client, for this time at most. The lease itself is held for a
    /// second and a half and renewed, so that nobody waits longer for a process that died. A day at
    /// most. *Default:* 30 s.
    #[must_use]
    pub fn lease_ttl(mut self, ttl: Duration) -> Self {
        self.lease_ttl = ttl;
        self
    }

    /// Sets the number of handlers that may run on at once after their clients have disconnected, to
    /// store their responses and to evict. Further runs are dropped; a dropped write still evicts. 0: no
    /// handler runs on. *Default:* 1024.
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

    /// Sets the memory for copies of streamed bodies, in bytes, for all requests together. If none is
    /// left, a stream is sent to its client without being stored. A copy is held until it is stored or
    /// its client disconnects. If other streams need the memory, it is held for
    /// [`lease_ttl`](Self::lease_ttl) at most. 0: no stream is stored. *Default:* 64 MiB.
    #[must_use]
    pub fn max_streamed_bytes(mut self, bytes: usize) -> Self {
        self.max_streamed_bytes = bytes;
        self
    }

    /// Sets the size of an in-memory cache. Beyond it, the least recently used items are removed.
    /// *Default:* 64 MiB.
    #[must_use]
    pub fn max_memory_bytes(mut self, bytes: usize) -> Self {
        self.max_memory_bytes = bytes;
        self
    }

    /// Obeys the `Cache-Control` of requests (RFC 9111 §5.2.1). If it is not obeyed, clients cannot
    /// force a run of the handler. *Default:* true.
    #[must_use]
    pub fn request_directives(mut self, obey: bool) -> Self {
        self.request_directives = obey;
        self
    }

    /// Adds `Cache-Status` (RFC 9211) to responses: how the cache handled the request, and why. It
    /// shows clients what others have requested. *Default:* false.
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
    /// * `hit`: with a stored response. `fwd`: by the handler, because nothing was stored under the
    ///   key (`uri-miss`) or for this request (`miss`); what was stored was `stale`; the `request`
    ///   ruled out the stored response, or any; its `method` did; or the cache was left out
    ///   (`bypass`): every write, and every read while the store is away.
    /// * `fwd-status`: the status of the handler, if the client gets another status: its
    ///   precondition was false (304), or the handler failed and `stale_if_error` helped. A panic
    ///   counts as 500.
    /// * `ttl`: the seconds for which the response stays fresh; negative: for which it has been stale.
    /// * `stored`: the response is stored. Missing for streams, whose length is not known in advance.
    /// * `collapsed`: the run of the handler for another request made the response.
    /// * `detail`: the reason why the response is not stored, as one word. The log explains it.
    ///
    /// The field never contains the key. Members of caches behind the handler are kept and stored with
    /// the response. On a `hit`, the members before the last describe the request that stored the
    /// response (RFC 9211 §3). A 504 for `only-if-cached` has no member of this cache, because no
    /// handler ran.
    #[must_use]
    pub fn cache_status(mut self, tell: bool) -> Self {
        self.cache_status = tell;
        self
    }

    /// Adds `Cache-Groups` (RFC 9875) to responses, and `Cache-Group-Invalidation` to responses of
    /// evictions, so that caches on the way to the client can remove their copies. *Default:* false.
    ///
    /// ```text
    /// Cache-Groups: "brand:7", "products"
    /// Cache-Group-Invalidation: "products"
    /// ```
    ///
    /// Everyone who gets the response can read the groups. Groups that are longer than 512 bytes or not
    /// ASCII are left out.
    #[must_use]
    pub fn cache_groups(mut self, tell: bool) -> Self {
        self.cache_groups = tell;
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
