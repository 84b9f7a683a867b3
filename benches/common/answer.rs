//! Requests and responses as bytes, because a client that parses costs the servers their cores.

use std::io::{Error, Result};
use std::time::Duration;

use tokio::net::TcpStream;

/// What `X-Redis-Cache` may say; `none` is a response without it.
pub(crate) const OUTCOMES: [&str; 5] = ["HIT", "MISS", "STALE", "BYPASS", "none"];

/// A response that was read to its end.
pub(crate) struct Answer {
    pub(crate) outcome: &'static str,
    head: String,
    /// The bytes of head and body.
    length: usize,
}

/// How fast a client reads: so many bytes, then a pause.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) bytes: usize,
    pub(crate) pause: Duration,
}

impl Pace {
    pub(crate) const AT_ONCE: Self = Self {
        bytes: 16 * 1024,
        pause: Duration::ZERO,
    };
}

pub(crate) fn request(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n")
}

/// Writes a request, and reads the response to its end.
pub(crate) async fn exchange(stream: &TcpStream, request: &str, pace: Pace) -> Result<Answer> {
    write(stream, request).await?;
    let mut head = Vec::with_capacity(512);
    let answer = loop {
        read(stream, pace, |bytes| head.extend_from_slice(bytes)).await?;
        if let Some(answer) = Answer::parse(&head)? {
            break answer;
        }
    };
    let mut received = head.len();
    while received < answer.length {
        received += read(stream, pace, |_| ()).await?;
    }
    if received > answer.length {
        return Err(Error::other("more than one response"));
    }
    Ok(answer)
}

pub(crate) async fn write(stream: &TcpStream, request: &str) -> Result<()> {
    let mut rest = request.as_bytes();
    while !rest.is_empty() {
        stream.writable().await?;
        match stream.try_write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => (),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits for bytes before it holds a buffer, so that thousands of clients need little memory.
async fn read(stream: &TcpStream, pace: Pace, mut take: impl FnMut(&[u8])) -> Result<usize> {
    loop {
        stream.readable().await?;
        match read_now(stream, pace.bytes, &mut take) {
            Ok(0) => return Err(Error::other("the server closed the connection")),
            Ok(received) => {
                if !pace.pause.is_zero() {
                    tokio::time::sleep(pace.pause).await;
                }
                return Ok(received);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => (),
            Err(error) => return Err(error),
        }
    }
}

fn read_now(stream: &TcpStream, limit: usize, take: &mut impl FnMut(&[u8])) -> Result<usize> {
    let mut buffer = [0; Pace::AT_ONCE.bytes];
    let received = stream.try_read(&mut buffer[..limit])?;
    take(&buffer[..received]);
    Ok(received)
}

impl Answer {
    /// What the response at the start of these bytes tells, once its head is complete.
    fn parse(bytes: &[u8]) -> Result<Option<Self>> {
        let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else {
            return Ok(None);
        };
        let mut answer = Self {
            outcome: "none",
            head: String::from_utf8_lossy(&bytes[..end]).into_owned(),
            length: end + 4,
        };
        if !answer.head.starts_with("HTTP/1.1 200") {
            return Err(Error::other(answer.head));
        }
        if let Some(said) = answer.field("x-redis-cache") {
            let outcome = OUTCOMES.iter().find(|outcome| **outcome == said);
            answer.outcome = outcome.ok_or_else(|| Error::other("an unknown outcome"))?;
        }
        let body: Option<usize> = answer
            .field("content-length")
            .and_then(|text| text.parse().ok());
        answer.length += body.ok_or_else(|| Error::other("no content-length"))?;
        Ok(Some(answer))
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.find_map(|(field, value)| field.eq_ignore_ascii_case(name).then_some(value))
    }
}
