use std::fmt::Debug;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::waiting::in_time;

/// An HTTP client that sends request targets and fields exactly as they are given.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    address: SocketAddr,
}

/// A response that was read to its end.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Client {
    /// A client of the server at that address.
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// The address of the server.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a GET without further fields.
    pub async fn get(&self, target: &str) -> Reply {
        self.send("GET", target, &[]).await
    }

    /// Sends a GET with fields.
    pub async fn get_with(&self, target: &str, fields: &[(&str, &str)]) -> Reply {
        self.send("GET", target, fields).await
    }

    /// Sends a request without a body.
    pub async fn send(&self, method: &str, target: &str, fields: &[(&str, &str)]) -> Reply {
        Reply::of(self.open(method, target, fields).await).await
    }

    /// Sends a request without a body by HTTP/2.
    pub async fn send_by_http_2(
        &self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
    ) -> Reply {
        let stream = TcpStream::connect(self.address)
            .await
            .expect("a running server");
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("a handshake");
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://test{target}"));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(Bytes::new()))
            .expect("a valid request");
        let response = in_time("a response", sender.send_request(request)).await;
        Reply::of(response.expect("a response")).await
    }

    /// Sends a request with a body.
    pub async fn send_body(
        &self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let body = body.to_owned().into();
        Reply::of(self.open_with(method, target, fields, body).await).await
    }

    /// Sends a request without a body, and leaves the body of the response to the caller.
    pub async fn open(
        &self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
    ) -> Response<Incoming> {
        self.open_with(method, target, fields, Bytes::new()).await
    }

    /// Like [`open`](Self::open); `None` when the server ends the connection before the response.
    pub async fn try_open(
        &self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
    ) -> Option<Response<Incoming>> {
        self.request(method, target, fields, Bytes::new())
            .await
            .ok()
    }

    async fn open_with(
        &self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: Bytes,
    ) -> Response<Incoming> {
        self.request(method, target, fields, body)
            .await
            .expect("a response")
    }

    async fn request(
        &self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: Bytes,
    ) -> hyper::Result<Response<Incoming>> {
        let stream = TcpStream::connect(self.address)
            .await
            .expect("a running server");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .expect("a handshake");
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header("host", "test");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).expect("a valid request");
        in_time("a response", sender.send_request(request)).await
    }
}

impl Reply {
    /// Reads a response to its end, also one of a router that was called without a server.
    pub async fn of<B>(response: Response<B>) -> Self
    where
        B: Body,
        B::Error: Debug,
    {
        let (parts, body) = response.into_parts();
        let body = in_time("a whole body", body.collect()).await;
        Self {
            status: parts.status,
            headers: parts.headers,
            body: body.expect("a whole body").to_bytes(),
        }
    }

    /// The only value of a field; panics when it is repeated.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values
            .next()
            .map(|value| value.to_str().expect("a readable field"));
        assert!(
            values.next().is_none(),
            "{name} is repeated in {:?}",
            self.headers
        );
        value
    }

    /// The value of `X-Redis-Cache`.
    pub fn outcome(&self) -> &str {
        self.field("x-redis-cache").unwrap_or("none")
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }
}
