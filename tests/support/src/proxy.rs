use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::waiting::in_time;

const CHUNK: usize = 16 * 1024;
/// Chunks of a direction that may be held; the sender notices when there are more.
const HELD_CHUNKS: usize = 1024;

/// A TCP proxy on a free loopback port, for tests of what happens when a connection fails. It runs
/// in the caller's runtime until this is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    upstream: SocketAddr,
    control: watch::Sender<Control>,
    /// The time at which a slow link is free.
    free: Mutex<Instant>,
    /// The bytes of replies that are still forwarded before the connection that carries them is reset.
    replies_left: Mutex<Option<usize>>,
    /// Counts the chunks of requests that were read, forwarded or not.
    requests: watch::Sender<usize>,
}

#[derive(Clone, Copy)]
struct Control {
    mode: Mode,
    /// Counts the times when all connections were closed.
    cuts: u64,
    /// Counts the times when all connections were stranded.
    strandings: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Pass,
    Delay(Duration),
    /// So many bytes of replies in a second, over all connections.
    Limit(u32),
    Hang,
    Refuse,
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Requests,
    Replies,
}

impl Proxy {
    /// A proxy in front of that address, which need not be up yet.
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let mode = Mode::Pass;
        let shared = Arc::new(Shared {
            upstream,
            control: watch::Sender::new(Control {
                mode,
                cuts: 0,
                strandings: 0,
            }),
            free: Mutex::new(Instant::now()),
            replies_left: Mutex::new(None),
            requests: watch::Sender::new(0),
        });
        let task = tokio::spawn(Shared::accept(Arc::clone(&shared), listener));
        Self {
            address,
            shared,
            task,
        }
    }

    /// The address at which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of the Redis behind it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Forwards everything at once, as it does at first, and what it kept before.
    pub fn pass(&self) {
        self.set(Mode::Pass);
    }

    /// Holds each chunk of replies that long: a slow server.
    pub fn delay(&self, delay: Duration) {
        self.set(Mode::Delay(delay));
    }

    /// Forwards so many bytes of replies in a second, over all connections: a slow link.
    pub fn limit(&self, bytes_per_second: u32) {
        self.set(Mode::Limit(bytes_per_second));
    }

    /// Forwards nothing any more on all present connections, which nobody learns; new ones pass: a
    /// network that has forgotten them.
    pub fn strand(&self) {
        self.shared
            .control
            .send_modify(|control| control.strandings += 1);
    }

    /// Forwards nothing any more, and keeps it: a server that hangs.
    pub fn hang(&self) {
        self.set(Mode::Hang);
    }

    /// Closes all connections, and new ones as soon as they are made: a server that is down.
    pub fn refuse(&self) {
        self.set(Mode::Refuse);
    }

    /// Closes all present connections, and forgets what it kept.
    pub fn cut(&self) {
        self.shared.control.send_modify(|control| control.cuts += 1);
    }

    /// Resets one connection: the one on which a reply goes on after that many more bytes of
    /// replies were forwarded, counted over all connections.
    pub fn cut_replies_after(&self, bytes: usize) {
        *self.shared.replies_left() = Some(bytes);
    }

    /// Waits until something more is sent to the server, although it may not be forwarded.
    pub async fn request(&self) {
        let mut requests = self.shared.requests.subscribe();
        in_time("a request at the proxy", requests.changed())
            .await
            .expect("a running proxy");
    }

    fn set(&self, mode: Mode) {
        self.shared
            .control
            .send_modify(|control| control.mode = mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            connections.spawn(Arc::clone(&self).serve(client));
            while connections.try_join_next().is_some() {}
        }
    }

    /// Serves a connection until either side, or the control, ends it.
    async fn serve(self: Arc<Self>, mut client: TcpStream) {
        let mut control = self.control.subscribe();
        let cuts = control.borrow().cuts;
        let ended = control
            .wait_for(|control| control.cuts != cuts || matches!(control.mode, Mode::Refuse));
        let _ = tokio::select! {
            biased;
            _ = ended => Ok(()),
            end = self.forward(&mut client) => end,
        };
    }

    async fn forward(&self, client: &mut TcpStream) -> io::Result<()> {
        let mut server = TcpStream::connect(self.upstream).await?;
        server.set_nodelay(true)?;
        client.set_nodelay(true)?;
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            // The end of the requests is forwarded too, and the replies to them may follow.
            Err(error) = self.pump(from_client, to_server, Direction::Requests) => Err(error),
            end = self.pump(from_server, to_client, Direction::Replies) => end,
        }
    }

    async fn pump(
        &self,
        from: ReadHalf<'_>,
        to: WriteHalf<'_>,
        direction: Direction,
    ) -> io::Result<()> {
        let (chunks, held) = mpsc::channel(HELD_CHUNKS);
        let read = async {
            self.read(from, chunks, direction).await;
            Ok(())
        };
        tokio::try_join!(read, self.write(to, held, direction)).map(drop)
    }

    /// Reads chunks, and notes when each is due. Whatever ends them, what came before still counts:
    /// a server reads the requests of a client that is gone.
    async fn read(
        &self,
        mut from: ReadHalf<'_>,
        chunks: mpsc::Sender<(Instant, Bytes)>,
        direction: Direction,
    ) {
        loop {
            let mut chunk = BytesMut::with_capacity(CHUNK);
            if !matches!(from.read_buf(&mut chunk).await, Ok(1..)) {
                return;
            }
            if direction == Direction::Requests {
                self.requests.send_modify(|count| *count += 1);
            }
            let delay = match self.control.borrow().mode {
                Mode::Delay(delay) if direction == Direction::Replies => delay,
                _ => Duration::ZERO,
            };
            let chunk = (Instant::now() + delay, chunk.freeze());
            if chunks.send(chunk).await.is_err() {
                return;
            }
        }
    }

    /// Writes chunks when they are due.
    async fn write(
        &self,
        mut to: WriteHalf<'_>,
        mut held: mpsc::Receiver<(Instant, Bytes)>,
        direction: Direction,
    ) -> io::Result<()> {
        let mut control = self.control.subscribe();
        let strandings = control.borrow().strandings;
        while let Some((due, chunk)) = held.recv().await {
            let due = due.max(self.due_on_slow_link(direction, chunk.len()));
            if due > Instant::now() {
                sleep_until(due).await;
            }
            let goes_on = control
                .wait_for(|control| control.mode != Mode::Hang && control.strandings == strandings);
            goes_on.await.map_err(io::Error::other)?;
            if direction == Direction::Replies
                && let Some(last) = self.last_bytes(chunk.len())
            {
                to.write_all(&chunk[..last]).await?;
                to.as_ref().set_zero_linger()?;
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            to.write_all(&chunk).await?;
        }
        to.shutdown().await
    }

    /// Returns the time at which a slow link has forwarded all earlier bytes and these.
    fn due_on_slow_link(&self, direction: Direction, length: usize) -> Instant {
        let now = Instant::now();
        match self.control.borrow().mode {
            Mode::Limit(rate) if direction == Direction::Replies => {
                let length = u32::try_from(length).unwrap_or(u32::MAX);
                let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
                *free = now.max(*free) + Duration::from_secs(1) * length / rate;
                *free
            }
            _ => now,
        }
    }

    /// Returns how many of these bytes are forwarded before the connection is reset, if it is.
    fn last_bytes(&self, length: usize) -> Option<usize> {
        let mut left = self.replies_left();
        match left.take()? {
            last if last < length => Some(last),
            more => {
                *left = Some(more - length);
                None
            }
        }
    }

    fn replies_left(&self) -> std::sync::MutexGuard<'_, Option<usize>> {
        self.replies_left
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
