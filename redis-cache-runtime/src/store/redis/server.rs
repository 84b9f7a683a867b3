//! One server, and connecting to it.

#[cfg(feature = "tls")]
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use redis::aio::MultiplexedConnection;
use redis::{Client, ProtocolVersion, RedisError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::context::ClientContext;
use super::near::Pushes;
use crate::observe::fault::Fault;
#[cfg(feature = "credentials-provider")]
use crate::settings::Credentials;
#[cfg(feature = "tls")]
use crate::settings::Tls;
use crate::settings::{Access, Endpoint, SettingsError};

#[derive(Clone)]
pub(super) struct Server {
    endpoint: Endpoint,
    client: Client,
    #[cfg(feature = "credentials-provider")]
    credentials: Option<Credentials>,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

/// A connection after the login. It is closed when its driver is dropped.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) connection: MultiplexedConnection,
    pub(super) received: Received,
    /// The task that drives the connection. It is aborted when the last clone is dropped.
    _driver: Arc<AbortOnDropHandle<()>>,
}

/// The number of bytes that have arrived on a connection. A growing number tells a slow link with a
/// large reply from a connection that hangs.
#[derive(Clone, Debug, Default)]
pub(super) struct Received(Arc<AtomicU64>);

/// A stream that counts the bytes that it receives.
struct Counted<S> {
    stream: S,
    received: Received,
}

impl Server {
    pub(super) fn new(access: &Access, endpoint: &Endpoint) -> Result<Self, SettingsError> {
        Ok(Self {
            endpoint: endpoint.clone(),
            client: access.client(endpoint)?,
            #[cfg(feature = "credentials-provider")]
            credentials: access.credentials().cloned(),
            #[cfg(feature = "tls")]
            tls: access.tls().cloned(),
        })
    }

    /// Connects and logs in. With a receiver of pushes, the connection uses RESP3.
    pub(super) async fn connect(
        &self,
        context: &ClientContext,
        pushes: Option<Pushes>,
    ) -> Result<Opened, Fault> {
        let connecting = Box::pin(self.connect_by_kind(context, pushes));
        let opened = timeout(context.connect_timeout, connecting).await;
        opened.map_err(|_| Fault::Timeout)?
    }

    async fn connect_by_kind(
        &self,
        context: &ClientContext,
        pushes: Option<Pushes>,
    ) -> Result<Opened, Fault> {
        match &self.endpoint {
            Endpoint::Tcp { host, port } => {
                let stream = TcpStream::connect((&**host, *port)).await;
                let stream = stream.map_err(|_| Fault::Disconnected)?;
                stream.set_nodelay(true).map_err(|_| Fault::Disconnected)?;
                #[cfg(feature = "tls")]
                if let Some(tls) = &self.tls {
                    let stream = tls.connect(host, stream).await;
                    let stream = stream.map_err(|error| fault_of_tls(&error))?;
                    return self.log_in(stream, context, pushes).await;
                }
                self.log_in(stream, context, pushes).await
            }
            #[cfg(unix)]
            Endpoint::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                let stream = stream.map_err(|_| Fault::Disconnected)?;
                self.log_in(stream, context, pushes).await
            }
            #[cfg(not(unix))]
            Endpoint::Unix(_) => Err(Fault::Disconnected),
        }
    }

    async fn log_in<S>(
        &self,
        stream: S,
        context: &ClientContext,
        pushes: Option<Pushes>,
    ) -> Result<Opened, Fault>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let received = Received::default();
        let stream = Counted {
            stream,
            received: received.clone(),
        };
        let mut login = self.client.get_connection_info().redis_settings().clone();
        let mut config = context.config.clone();
        #[cfg(feature = "credentials-provider")]
        if let Some(credentials) = &self.credentials {
            config = config.set_credentials_provider(credentials.clone());
        }
        let says_hello = pushes.is_some();
        if let Some(pushes) = pushes {
            login = login.set_protocol(ProtocolVersion::RESP3);
            config = config.set_push_sender(pushes);
        }
        let opened = MultiplexedConnection::new_with_config(&login, stream, config).await;
        let (connection, driver) = opened.map_err(|error| self.fault_of(&error, says_hello))?;
        Ok(Opened {
            connection,
            received,
            _driver: Arc::new(AbortOnDropHandle::new(tokio::spawn(driver))),
        })
    }

    /// Returns the fault of a failed login, with a name of its own for a refused `SELECT`. If `HELLO` was
    /// sent, the error may be about `HELLO`, and its text may contain the password.
    fn fault_of(&self, error: &RedisError, says_hello: bool) -> Fault {
        let db = self.client.get_connection_info().redis_settings().db();
        match Fault::from(error) {
            Fault::Refused(code) if code == "ERR" && db != 0 && !says_hello => {
                Fault::Database(error.detail().unwrap_or(&code).to_owned())
            }
            fault => fault,
        }
    }
}

impl Received {
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let received = buffer.filled().len().saturating_sub(before) as u64;
        self.received.0.fetch_add(received, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Returns the fault of an error of redis-rs while it read or wrote. A server that requires a client
/// certificate refuses it only after the handshake.
#[cfg(feature = "tls")]
pub(super) fn fault_of_io(error: &RedisError) -> Fault {
    let error = error.source().and_then(|error| error.downcast_ref());
    let error: Option<&Arc<dyn Error + Send + Sync>> = error;
    let error = error.and_then(|error| error.downcast_ref());
    error.map_or(Fault::Disconnected, fault_of_tls)
}

/// Returns the fault of TLS behind an error, if TLS failed.
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
