//! The login at a server.

use std::fmt;

#[cfg(feature = "cluster")]
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::{Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};
use secrecy::{ExposeSecret, SecretString};

#[cfg(feature = "credentials-provider")]
use super::Credentials;
#[cfg(feature = "tls")]
use super::tls::Tls;
use super::tls_settings::TlsSettings;
use super::{Endpoint, Settings, SettingsError};

/// The credentials, the database and the TLS configuration for any server of a deployment.
#[derive(Clone)]
pub(crate) struct Access {
    redis: RedisConnectionInfo,
    /// The provider of the credentials, if they change.
    #[cfg(feature = "credentials-provider")]
    credentials: Option<Credentials>,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

impl Settings {
    /// Returns the access to the servers with the data.
    pub(crate) fn access(&self) -> Result<Access, SettingsError> {
        let target = self.location()?;
        Ok(Access {
            #[cfg(feature = "credentials-provider")]
            credentials: self.credentials.clone(),
            ..Access::new(target.redis, target.tls.then(|| self.tls.clone()))?
        })
    }

    pub(super) fn is_sentinel_tls(&self) -> bool {
        self.sentinel && self.sentinel_ssl.unwrap_or(self.ssl)
    }

    /// Returns the access to the Sentinels, which have their own credentials.
    pub(crate) fn sentinel_access(&self) -> Result<Access, SettingsError> {
        let password = self.sentinel_password.as_ref();
        let redis = login(self.sentinel_username.as_deref(), password);
        let tls = || self.sentinel_tls.clone().or(self.tls.clone());
        Access::new(redis, self.is_sentinel_tls().then(tls))
    }
}

pub(super) fn login(
    username: Option<&str>,
    password: Option<&SecretString>,
) -> RedisConnectionInfo {
    let mut redis = RedisConnectionInfo::default();
    if let Some(username) = username {
        redis = redis.set_username(username);
    }
    if let Some(password) = password {
        redis = redis.set_password(password.expose_secret());
    }
    redis
}

impl Access {
    /// Returns the access without a provider of credentials. `tls`: the settings, if TLS is on.
    #[cfg_attr(
        not(feature = "tls"),
        allow(
            unused_variables,
            clippy::needless_pass_by_value,
            clippy::unnecessary_wraps,
            reason = "to ask for TLS was refused"
        )
    )]
    fn new(redis: RedisConnectionInfo, tls: Option<TlsSettings>) -> Result<Self, SettingsError> {
        Ok(Self {
            redis,
            #[cfg(feature = "credentials-provider")]
            credentials: None,
            #[cfg(feature = "tls")]
            tls: tls.map(Tls::read).transpose()?,
        })
    }

    /// Returns a client for one server.
    pub(crate) fn client(&self, endpoint: &Endpoint) -> Result<Client, SettingsError> {
        let address = match endpoint {
            Endpoint::Tcp { host, port } => self.address(host, *port),
            Endpoint::Unix(path) => ConnectionAddr::Unix(path.clone()),
        };
        let info = address.into_connection_info();
        info.and_then(|info| Client::open(info.set_redis_settings(self.redis.clone())))
            .map_err(|error| SettingsError::connection(&error))
    }

    /// Returns the builder of a client for a whole cluster.
    #[cfg(feature = "cluster")]
    pub(crate) fn cluster(
        &self,
        nodes: &[Endpoint],
    ) -> Result<ClusterClientBuilder, SettingsError> {
        let info = |node| Ok(self.client(node)?.get_connection_info().clone());
        let nodes: Result<Vec<_>, SettingsError> = nodes.iter().map(info).collect();
        let builder = ClusterClient::builder(nodes?);
        #[cfg(feature = "credentials-provider")]
        let builder = match &self.credentials {
            Some(credentials) => builder.set_credentials_provider(credentials.clone()),
            None => builder,
        };
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return Ok(tls.of_cluster(builder));
        }
        Ok(builder)
    }

    /// Returns the provider of the credentials, if they change.
    #[cfg(feature = "credentials-provider")]
    pub(crate) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Returns the TLS configuration, if the servers use TLS.
    #[cfg(feature = "tls")]
    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Returns the database.
    pub(crate) fn db(&self) -> i64 {
        self.redis.db()
    }

    /// Returns whether servers have to present a certificate.
    #[cfg(feature = "cluster")]
    #[cfg_attr(not(feature = "tls"), allow(clippy::unused_self))]
    pub(crate) fn is_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }

    #[cfg_attr(not(feature = "tls"), allow(clippy::unused_self))]
    fn address(&self, host: &str, port: u16) -> ConnectionAddr {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return ConnectionAddr::TcpTls {
                host: host.to_owned(),
                port,
                insecure: !tls.verifies,
                tls_params: None,
            };
        }
        ConnectionAddr::Tcp(host.to_owned(), port)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Credentials are secret, so they are not shown.
        f.debug_struct("Access")
            .field("db", &self.redis.db())
            .finish_non_exhaustive()
    }
}
