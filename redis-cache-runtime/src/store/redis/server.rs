//! One server, and the way to it.

#[cfg(feature = "tls")]
use std::error::Error;
#[cfg(feature = "tls")]
use std::io;
#[cfg(feature = "tls")]
use std::sync::Arc;

#[cfg(feature = "tls")]
use redis::ConnectionAddr;
use redis::aio::MultiplexedConnection;
use redis::{Client, RedisError};
#[cfg(feature = "tls")]
use tokio::net::TcpStream;
#[cfg(feature = "tls")]
use tokio::time::timeout;
#[cfg(feature = "tls")]
use tokio_util::task::AbortOnDropHandle;

use super::link::Shared;
use crate::fault::Fault;
#[cfg(feature = "tls")]
use crate::settings::Tls;
use crate::settings::{Access, Endpoint, SettingsError};

#[derive(Clone)]
pub(super) struct Server {
    client: Client,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

/// The task that serves a connection, which ends when nobody uses the connection any more.
#[derive(Clone, Default)]
pub(super) struct Driver {
    #[cfg(feature = "tls")]
    _task: Option<Arc<AbortOnDropHandle<()>>>,
}

impl Server {
    pub(super) fn new(access: &Access, endpoint: &Endpoint) -> Result<Self, SettingsError> {
        Ok(Self {
            client: access.client(endpoint)?,
            #[cfg(feature = "tls")]
            tls: access.tls().cloned(),
        })
    }

    /// A connection, logged in, that lasts as long as its driver is kept.
    pub(super) async fn connect(
        &self,
        shared: &Shared,
    ) -> Result<(MultiplexedConnection, Driver), Fault> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return Box::pin(self.connect_by(tls, shared)).await;
        }
        let client = &self.client;
        let connecting = client.get_multiplexed_async_connection_with_config(&shared.config);
        let connection = connecting.await.map_err(|error| self.fault_of(&error))?;
        Ok((connection, Driver::default()))
    }

    /// Names the refusal of `SELECT`, which is a part of the login.
    fn fault_of(&self, error: &RedisError) -> Fault {
        let db = self.client.get_connection_info().redis_settings().db();
        match Fault::from(error) {
            Fault::Refused(code) if code == "ERR" && db != 0 => {
                Fault::Database(error.detail().unwrap_or(&code).to_owned())
            }
            fault => fault,
        }
    }

    /// redis-rs could not be told which certificates to accept.
    #[cfg(feature = "tls")]
    async fn connect_by(
        &self,
        tls: &Tls,
        shared: &Shared,
    ) -> Result<(MultiplexedConnection, Driver), Fault> {
        let info = self.client.get_connection_info();
        let ConnectionAddr::TcpTls { host, port, .. } = info.addr() else {
            return Err(Fault::Protocol);
        };
        let opening = async {
            let stream = TcpStream::connect((&**host, *port)).await;
            let stream = stream.map_err(|_| Fault::Disconnected)?;
            stream.set_nodelay(true).map_err(|_| Fault::Disconnected)?;
            let stream = tls.connect(host, stream).await;
            let stream = stream.map_err(|error| fault_of_tls(&error))?;
            let (settings, config) = (info.redis_settings(), shared.config.clone());
            let opened = MultiplexedConnection::new_with_config(settings, stream, config).await;
            opened.map_err(|error| self.fault_of(&error))
        };
        let opened = timeout(shared.connect_timeout, opening).await;
        let (connection, driver) = opened.map_err(|_| Fault::Timeout)??;
        let task = Arc::new(AbortOnDropHandle::new(tokio::spawn(driver)));
        Ok((connection, Driver { _task: Some(task) }))
    }
}

/// The fault of an error that redis-rs met while it read or wrote. A server that wants a certificate
/// says so after the handshake.
#[cfg(feature = "tls")]
pub(super) fn fault_of_io(error: &RedisError) -> Fault {
    let error = error.source().and_then(|error| error.downcast_ref());
    let error: Option<&Arc<dyn Error + Send + Sync>> = error;
    let error = error.and_then(|error| error.downcast_ref());
    error.map_or(Fault::Disconnected, fault_of_tls)
}

/// Why TLS failed, if that is the reason for an error.
#[cfg(feature = "tls")]
fn fault_of_tls(error: &io::Error) -> Fault {
    use rustls::{CertificateError, Error};

    let reason = error.get_ref().and_then(|error| error.downcast_ref());
    let reason = match reason {
        Some(error @ Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            format!("{error}, see REDIS_SSL_CA_CERTS")
        }
        Some(error) => error.to_string(),
        None if error.kind() == io::ErrorKind::InvalidInput => error.to_string(),
        None => return Fault::Disconnected,
    };
    Fault::Tls(reason)
}
