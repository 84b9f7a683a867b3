//! One server, over as many connections as the settings allow.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use redis::Value;
use tokio::time::Instant;

use super::finder::Finder;
use super::history::History;
use super::link::{Link, LinkState, Shared};
use super::request::{Request, until};
use crate::fault::Fault;

pub(super) struct Node {
    links: Box<[Link]>,
    next: AtomicUsize,
}

impl Node {
    pub(super) fn new(
        shared: &Arc<Shared>,
        finder: Finder,
        history: History,
        connections: usize,
    ) -> Self {
        let (finder, history) = (Arc::new(finder), Arc::new(history));
        let link = |_| {
            Link::new(
                Arc::clone(shared),
                Arc::clone(&finder),
                Arc::clone(&history),
            )
        };
        Self {
            links: (0..connections.max(1)).map(link).collect(),
            next: AtomicUsize::new(0),
        }
    }

    /// Sends a request, to be answered until a deadline. On a connection that turns out to be closed
    /// it is sent once more on a new one: everything in the protocol may be repeated.
    pub(super) async fn send(
        &self,
        request: Request<'_>,
        deadline: Instant,
    ) -> Result<Value, Fault> {
        let link = self.link();
        if let Some(mut connected) = link.connected() {
            request.check(&connected)?;
            let end = until(deadline, request.send(&mut connected.connection)).await;
            match link.settle(end, &connected) {
                Err(Fault::Disconnected) => {}
                result => return result,
            }
        }
        // Boxed, because it is rare.
        Box::pin(async {
            let mut connected = link.connect(deadline).await?;
            request.check(&connected)?;
            let end = until(deadline, request.send(&mut connected.connection)).await;
            link.settle(end, &connected)
        })
        .await
    }

    /// The next connection.
    pub(super) fn link(&self) -> &Link {
        match &*self.links {
            [link] => link,
            links => &links[self.next.fetch_add(1, Ordering::Relaxed) % links.len()],
        }
    }

    pub(super) fn states(&self) -> impl Iterator<Item = LinkState> {
        self.links.iter().map(Link::state)
    }
}
