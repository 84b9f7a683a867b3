//! The deployment that the settings describe: the addresses and the topology of Redis. Settings
//! that contradict each other are an error.

use secrecy::ExposeSecret;

use super::access::login;
use super::location::Location;
use super::variables::{SECONDS, is_wait};
use super::{Endpoint, Settings, SettingsError, url};

/// The topology of Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deployment {
    Standalone(Endpoint),
    /// The seed nodes, from which the client learns the other nodes.
    Cluster(Vec<Endpoint>),
    /// The Sentinels, and the name of the master whose address they know.
    Sentinel {
        sentinels: Vec<Endpoint>,
        master: String,
    },
}

impl Settings {
    /// Returns the deployment. Logs warnings about settings that have no effect, and about certificates
    /// that are not verified.
    pub(crate) fn deployment(&self) -> Result<Deployment, SettingsError> {
        let deployment = self.decide()?;
        self.warn_of_ignored();
        Ok(deployment)
    }

    /// Returns an error for settings that `Cache::connect` would refuse.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        self.decide()?;
        self.access()?;
        if self.sentinel {
            self.sentinel_access()?;
        }
        Ok(())
    }

    fn decide(&self) -> Result<Deployment, SettingsError> {
        if self.cluster && self.sentinel {
            let expected = "false, because {cluster} is true";
            return Err(SettingsError::wrong("sentinel", true, expected));
        }
        self.check_limits()?;
        self.check_build()?;
        if self.sentinel {
            return self.sentinel_deployment();
        }
        let location = self.location()?;
        if location.tls && !cfg!(feature = "tls") {
            return Err(self.wrong_url("redis://…, or the feature `tls` of axum-redis-cache"));
        }
        if location.is_socket() && location.tls {
            return Err(self.wrong_url("a host, because {ssl} is true"));
        }
        if self.cluster {
            return self.cluster_deployment(location);
        }
        match <[Endpoint; 1]>::try_from(location.endpoints) {
            Ok([endpoint]) => Ok(Deployment::Standalone(endpoint)),
            Err(_) => Err(self.wrong_url("one host, because {cluster} is false")),
        }
    }

    fn cluster_deployment(&self, location: Location) -> Result<Deployment, SettingsError> {
        if location.is_socket() {
            return Err(self.wrong_url("hosts, because {cluster} is true"));
        }
        Ok(Deployment::Cluster(location.endpoints))
    }

    fn sentinel_deployment(&self) -> Result<Deployment, SettingsError> {
        if self.url.is_some() {
            return Err(
                self.wrong_url("no URL, because {sentinel} is true: set {sentinel_nodes} instead")
            );
        }
        if self.sentinel_nodes.is_empty() {
            let expected = "at least one host, because {sentinel} is true";
            return Err(SettingsError::wrong("sentinel_nodes", "", expected));
        }
        Ok(Deployment::Sentinel {
            sentinels: self.sentinel_nodes.clone(),
            master: self.sentinel_master_name.clone(),
        })
    }

    pub(super) fn location(&self) -> Result<Location, SettingsError> {
        if let Some(url) = &self.url {
            let location = url::parse(url.expose_secret())?;
            let tls = location.tls || self.ssl;
            return Ok(Location { tls, ..location });
        }
        let host = self.host.clone().unwrap_or_else(|| "localhost".to_owned());
        let port = self.port.unwrap_or(6379);
        let redis = login(self.username.as_deref(), self.password.as_ref());
        Ok(Location {
            endpoints: vec![Endpoint::Tcp { host, port }],
            redis: redis.set_db(i64::from(self.db.unwrap_or_default())),
            tls: self.ssl,
        })
    }

    /// Checks the values of the setters that cannot return an error.
    fn check_limits(&self) -> Result<(), SettingsError> {
        for (setting, limit) in [
            ("socket_timeout", self.socket_timeout),
            ("socket_connect_timeout", self.socket_connect_timeout),
            ("lease_ttl", self.lease_ttl),
        ] {
            if !is_wait(limit) {
                return Err(SettingsError::wrong(setting, limit.as_secs_f64(), SECONDS));
            }
        }
        Ok(())
    }

    /// Returns an error for a setting whose feature is not enabled in this build.
    fn check_build(&self) -> Result<(), SettingsError> {
        let (cluster, sentinel) = (cfg!(feature = "cluster"), cfg!(feature = "sentinel"));
        for (setting, is_set, feature, is_built) in [
            ("cluster", self.cluster, "cluster", cluster),
            ("sentinel", self.sentinel, "sentinel", sentinel),
            ("ssl", self.ssl, "tls", cfg!(feature = "tls")),
            (
                "sentinel_ssl",
                self.is_sentinel_tls(),
                "tls",
                cfg!(feature = "tls"),
            ),
            (
                "otel_enabled",
                self.otel_enabled,
                "otel",
                cfg!(feature = "otel"),
            ),
        ] {
            if is_set && !is_built {
                let expected = format!("false, or the feature `{feature}` of axum-redis-cache");
                return Err(SettingsError::wrong(setting, true, expected));
            }
        }
        Ok(())
    }

    fn wrong_url(&self, expected: &'static str) -> SettingsError {
        let url = self.url.as_ref().map_or("", |url| url.expose_secret());
        SettingsError::wrong_url(url, expected)
    }

    fn warn_of_ignored(&self) {
        let by_url = self.url.is_some().then_some("url is set");
        let by_sentinels = self
            .sentinel
            .then_some("the Sentinels provide the address of Redis");
        let address = by_url.or(by_sentinels);
        #[cfg(feature = "credentials-provider")]
        let by_provider = self
            .credentials
            .as_ref()
            .map(|_| "a credentials provider is set");
        #[cfg(not(feature = "credentials-provider"))]
        let by_provider = None;
        let login = by_provider.or(by_url);
        let is_redis_tls = self.location().is_ok_and(|location| location.tls);
        let is_tls = self.is_sentinel_tls() || is_redis_tls;
        let no_tls = (!is_tls).then_some("neither ssl nor the url asks for TLS");
        let no_sentinels = (!self.sentinel).then_some("sentinel is false");
        let no_sentinel_tls = (!self.is_sentinel_tls()).then_some("TLS to the Sentinels is off");
        let (tls, of_sentinels) = (&self.tls, &self.sentinel_tls);
        let of_both = self.is_sentinel_tls() && of_sentinels.cert_reqs.is_none();
        let accept_any = [
            ("ssl_cert_reqs", tls, is_redis_tls || of_both),
            (
                "sentinel_ssl_cert_reqs",
                of_sentinels,
                self.is_sentinel_tls(),
            ),
        ];
        for (setting, tls, is_used) in accept_any {
            if is_used && tls.accepts_any() {
                tracing::warn!(
                    "{setting} is none: the certificate of each server is not verified, so an attacker on \
                     the network can read and change the traffic; use this for development only"
                );
            }
        }
        for (setting, is_set, reason) in [
            ("host", self.host.is_some(), address),
            ("port", self.port.is_some(), address),
            ("db", self.db.is_some(), by_url),
            ("username", self.username.is_some(), login),
            ("password", self.password.is_some(), login),
            ("ssl_certfile", tls.certfile.is_some(), no_tls),
            ("ssl_keyfile", tls.keyfile.is_some(), no_tls),
            ("ssl_ca_certs", tls.ca_certs.is_some(), no_tls),
            ("ssl_cert_reqs", tls.accepts_any(), no_tls),
            ("sentinel_ssl", self.sentinel_ssl.is_some(), no_sentinels),
            (
                "sentinel_ssl_certfile",
                of_sentinels.certfile.is_some(),
                no_sentinel_tls,
            ),
            (
                "sentinel_ssl_keyfile",
                of_sentinels.keyfile.is_some(),
                no_sentinel_tls,
            ),
            (
                "sentinel_ssl_ca_certs",
                of_sentinels.ca_certs.is_some(),
                no_sentinel_tls,
            ),
            (
                "sentinel_ssl_cert_reqs",
                of_sentinels.accepts_any(),
                no_sentinel_tls,
            ),
        ] {
            if let (true, Some(reason)) = (is_set, reason) {
                tracing::warn!("the setting {setting} is ignored, because {reason}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(url: &str) -> Settings {
        Settings::from_url(url).unwrap()
    }

    /// Returns the address, database, user and password of the client of each node.
    fn clients(settings: &Settings) -> Vec<(String, i64, Option<String>, Option<String>)> {
        let location = settings.location().unwrap();
        let access = settings.access().unwrap();
        let clients = location.endpoints.iter().map(|endpoint| {
            let client = access.client(endpoint).unwrap();
            let info = client.get_connection_info();
            let redis = info.redis_settings();
            let own = |text: Option<&str>| text.map(str::to_owned);
            let (username, password) = (own(redis.username()), own(redis.password()));
            (info.addr().to_string(), redis.db(), username, password)
        });
        clients.collect()
    }

    fn refusal(settings: &Settings) -> String {
        settings.deployment().unwrap_err().to_string()
    }

    #[test]
    fn the_fields_say_where_redis_is_unless_a_url_does() {
        let fields = Settings::default().host("a").unwrap().port(1).unwrap();
        let fields = fields.db(2).unwrap().username("u").password("p");
        let text = |text: &str| Some(text.to_owned());
        let expected = ("a:1".to_owned(), 2, text("u"), text("p"));
        assert_eq!(clients(&fields), [expected]);
        let by_url = fields.url("redis://b").unwrap();
        assert_eq!(clients(&by_url), [("b:6379".to_owned(), 0, None, None)]);
        assert_eq!(clients(&Settings::default())[0].0, "localhost:6379");
    }

    #[test]
    fn each_node_of_a_url_is_asked_with_the_same_decoded_credentials() {
        let settings = url("redis://us%40er:p%2C%3A%2F,@node1:1,node2,[2001:db8::1]:3/0");
        let (user, password) = (Some("us@er".to_owned()), Some("p,:/,".to_owned()));
        let nodes = ["node1:1", "node2:6379", "2001:db8::1:3"];
        let expected = nodes.map(|node| (node.to_owned(), 0, user.clone(), password.clone()));
        assert_eq!(clients(&settings), expected);
        let shown = settings.location().unwrap().endpoints[2].to_string();
        assert_eq!(shown, "[2001:db8::1]:3");
    }

    #[test]
    fn a_url_may_name_a_socket_or_an_ipv6_address() {
        let socket = url("unix:///run/redis.sock?db=2&user=u&pass=p%20q");
        let endpoint = Endpoint::Unix("/run/redis.sock".into());
        assert_eq!(socket.deployment(), Ok(Deployment::Standalone(endpoint)));
        let (user, password) = (Some("u".to_owned()), Some("p q".to_owned()));
        let expected = ("/run/redis.sock".to_owned(), 2, user, password);
        assert_eq!(clients(&socket), [expected]);
        let host = "::1".to_owned();
        let endpoint = Endpoint::Tcp { host, port: 7 };
        let address = url("redis://[::1]:7");
        assert_eq!(
            address.deployment(),
            Ok(Deployment::Standalone(endpoint.clone()))
        );
        let fields = Settings::default().host("[::1]").unwrap().port(7).unwrap();
        assert_eq!(fields.deployment(), Ok(Deployment::Standalone(endpoint)));
    }

    #[test]
    fn a_parameter_names_the_database_or_is_refused_by_its_name() {
        for (text, db) in [
            ("redis://a?db=3", 3),
            ("redis://a/?db=3", 3),
            ("redis://a:1/3?db=3", 3),
            ("redis://a,b?protocol=resp2&db=63", 63),
            ("valkey://a/20", 20),
            ("unix:///run/redis.sock?db=20", 20),
        ] {
            let databases: Vec<_> = clients(&url(text)).iter().map(|client| client.1).collect();
            assert!(
                databases.iter().all(|named| *named == db),
                "{text}: {databases:?}"
            );
        }
        for (url, parameter) in [
            ("redis://a?database=3", "database"),
            ("redis://a/0?db=0&timeout=5s", "timeout"),
            ("redis://:hunter2@a?ssl_cert_reqs=none", "ssl_cert_reqs"),
            ("rediss://a?DB=3", "DB"),
            ("redis://a?user=hunter2", "user"),
            ("unix:///run/redis.sock?password=hunter2", "password"),
        ] {
            let error = Settings::from_url(url).unwrap_err().to_string();
            let named = format!("://…: expected no parameter `{parameter}`, only `db`");
            assert!(error.contains(&named), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_malformed_url_is_refused() {
        for url in [
            "",
            "redis",
            "redis:/a",
            "redis://",
            "redis://:6379",
            "redis://a:0",
            "redis://a:70000",
            "redis://a,",
            "redis://a,,b",
            "redis://a b",
            "redis://a/x",
            "redis://a/2147483648",
            "redis://a/1/2",
            "redis://a?db=",
            "redis://a?db=-1",
            "redis://a?db=2147483648",
            "redis://a/2?db=3",
            "redis://a?protocol=9",
            "unix:///a?db=x",
            "redis://a/-1",
            "rediss://a/#insecure",
            "http://a",
            "unix://",
        ] {
            let error = Settings::from_url(url).unwrap_err().to_string();
            assert!(error.starts_with("url="), "{url}: {error}");
        }
    }

    #[test]
    fn what_a_method_cannot_refuse_is_refused_before_connecting() {
        let zero = std::time::Duration::ZERO;
        for (settings, error) in [
            (
                Settings::default().socket_timeout(zero),
                "socket_timeout=0: expected a number",
            ),
            (
                Settings::default().lease_ttl(zero),
                "lease_ttl=0: expected a number",
            ),
            (
                Settings::default().lease_ttl(std::time::Duration::MAX),
                "lease_ttl=18446744073709552000: expected a number",
            ),
            (
                Settings::default().socket_timeout(std::time::Duration::MAX),
                "socket_timeout=18446744073709552000: expected a number",
            ),
            (
                Settings::default().socket_connect_timeout(std::time::Duration::from_secs(86_401)),
                "socket_connect_timeout=86401: expected a number",
            ),
            (
                url("redis://a,b"),
                "url=redis://…: expected one host, because cluster is false",
            ),
            (
                Settings::default().cluster(true).sentinel(true),
                "sentinel=true: expected false, because cluster is true",
            ),
        ] {
            assert!(
                refusal(&settings).starts_with(error),
                "{}",
                refusal(&settings)
            );
        }
    }

    #[cfg(not(all(
        feature = "cluster",
        feature = "sentinel",
        feature = "tls",
        feature = "otel"
    )))]
    #[test]
    fn what_this_build_cannot_do_names_the_feature() {
        for (settings, feature, built) in [
            (
                Settings::default().cluster(true),
                "cluster",
                cfg!(feature = "cluster"),
            ),
            (
                Settings::default().sentinel(true),
                "sentinel",
                cfg!(feature = "sentinel"),
            ),
            (Settings::default().ssl(true), "tls", cfg!(feature = "tls")),
            (url("rediss://a"), "tls", cfg!(feature = "tls")),
            (
                Settings::default().otel_enabled(true),
                "otel",
                cfg!(feature = "otel"),
            ),
        ] {
            if !built {
                let error = refusal(&settings);
                assert!(error.contains(&format!("feature `{feature}`")), "{error}");
            }
        }
    }

    #[cfg(feature = "cluster")]
    #[test]
    fn a_cluster_has_hosts() {
        let nodes = url("redis://a:1,b:2").cluster(true).deployment().unwrap();
        let Deployment::Cluster(nodes) = nodes else {
            panic!("{nodes:?}");
        };
        let nodes: Vec<_> = nodes.iter().map(Endpoint::to_string).collect();
        assert_eq!(nodes, ["a:1", "b:2"]);
        assert!(Settings::default().cluster(true).deployment().is_ok());
        assert_eq!(
            refusal(&url("unix:///run/redis.sock").cluster(true)),
            "url=unix://…: expected hosts, because cluster is true"
        );
    }

    #[cfg(feature = "sentinel")]
    #[test]
    fn sentinels_are_asked_with_their_own_credentials() {
        let settings = Settings::default().sentinel(true).password("p");
        let error = "sentinel_nodes=: expected at least one host, because sentinel is true";
        assert_eq!(refusal(&settings), error);
        let settings = settings.sentinel_nodes(["a", "[::1]:2"]).unwrap();
        let settings = settings.sentinel_username("su").sentinel_password("sp");
        let Ok(Deployment::Sentinel { sentinels, master }) = settings.deployment() else {
            panic!("{settings:?}");
        };
        let shown: Vec<_> = sentinels.iter().map(Endpoint::to_string).collect();
        assert_eq!(
            (shown, &*master),
            (vec!["a:26379".to_owned(), "[::1]:2".to_owned()], "mymaster")
        );
        let client = settings
            .sentinel_access()
            .unwrap()
            .client(&sentinels[0])
            .unwrap();
        let redis = client.get_connection_info().redis_settings();
        assert_eq!(
            (redis.username(), redis.password()),
            (Some("su"), Some("sp"))
        );
        let client = settings.access().unwrap().client(&sentinels[0]).unwrap();
        let redis = client.get_connection_info().redis_settings();
        assert_eq!((redis.username(), redis.password()), (None, Some("p")));
        let error = refusal(&settings.url("redis://a").unwrap());
        assert_eq!(
            error,
            "url=redis://…: expected no URL, because sentinel is true: set sentinel_nodes instead"
        );
    }

    #[cfg(feature = "tls")]
    #[test]
    fn tls_is_spoken_if_the_url_or_the_setting_asks_for_it() {
        for (settings, tls) in [
            (url("rediss://a"), true),
            (url("valkeys://a"), true),
            (url("redis://a").ssl(true), true),
            (Settings::default().ssl(true), true),
            (url("redis://a"), false),
        ] {
            let location = settings.location().unwrap();
            let client = settings
                .access()
                .unwrap()
                .client(&location.endpoints[0])
                .unwrap();
            let address = client.get_connection_info().addr();
            assert_eq!(
                matches!(
                    address,
                    redis::ConnectionAddr::TcpTls {
                        insecure: false,
                        ..
                    }
                ),
                tls
            );
        }
        let error = refusal(&url("unix:///run/redis.sock").ssl(true));
        assert_eq!(error, "url=unix://…: expected a host, because ssl is true");
    }

    #[test]
    fn access_does_not_show_its_secrets() {
        let access = url("redis://u:hunter2@a").access().unwrap();
        assert!(!format!("{access:?}").contains("hunter2"));
    }
}
