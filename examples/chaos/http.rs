//! An HTTP client that keeps a connection to each process.

use std::error::Error;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

pub(crate) struct Client {
    addresses: Vec<SocketAddr>,
    idle: Vec<Option<Connection>>,
}

/// Closed when it is dropped.
struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    task: JoinHandle<hyper::Result<()>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) process: usize,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) field: Option<(&'static str, &'static str)>,
}

pub(crate) struct Reply {
    /// What `X-Redis-Cache` says.
    pub(crate) outcome: String,
    /// The version at both ends of the body.
    pub(crate) version: u64,
}

type Failure = Box<dyn Error + Send + Sync>;

impl Client {
    pub(crate) fn new(addresses: &[SocketAddr]) -> Self {
        Self {
            addresses: addresses.to_vec(),
            idle: addresses.iter().map(|_| None).collect(),
        }
    }

    /// Sends a request, and reads the response if it is a success. When this is dropped before it
    /// is done, the connection is closed.
    pub(crate) async fn send(&mut self, call: &Call) -> Result<Reply, Failure> {
        let mut connection = match self.idle[call.process].take() {
            Some(connection) => connection,
            None => Connection::open(self.addresses[call.process]).await?,
        };
        let reply = connection.send(call).await?;
        self.idle[call.process] = Some(connection);
        Ok(reply)
    }
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let task = tokio::spawn(connection);
        Ok(Self { sender, task })
    }

    async fn send(&mut self, call: &Call) -> Result<Reply, Failure> {
        let mut request = Request::builder()
            .method(call.method)
            .uri(&call.path)
            .header("host", "localhost");
        if let Some((name, value)) = call.field {
            request = request.header(name, value);
        }
        self.sender.ready().await?;
        let response = self
            .sender
            .send_request(request.body(Empty::new())?)
            .await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        if !head.status.is_success() {
            return Err(head.status.to_string().into());
        }
        let outcome = head.headers.get("x-redis-cache");
        let outcome = outcome.ok_or("no X-Redis-Cache")?.to_str()?.to_owned();
        let body = std::str::from_utf8(&body)?;
        let (first, _) = body.split_once(' ').ok_or("no version")?;
        if !body.ends_with(&format!(" {first}")) {
            return Err("not the body of one version".into());
        }
        let version = first.parse()?;
        Ok(Reply { outcome, version })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}
