//! Hand-written lookups that share commands, with as little as that needs: no budgets, no bounds of bytes
//! and one server.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use tokio::sync::{mpsc, oneshot};

use crate::candidates::{NONCE, failed, found_or_stored, product_name};

/// The largest number of lookups in a command.
const MAX_LOOKUPS: usize = 64;

/// A name, and where its value is wanted.
type Lookup = (String, oneshot::Sender<Option<Bytes>>);

/// Sends lookups to the task that reads for all of them.
#[derive(Clone)]
pub(crate) struct SharedLookups(mpsc::Sender<Lookup>);

impl SharedLookups {
    pub(crate) fn start(redis: MultiplexedConnection) -> Self {
        let (sender, receiver) = mpsc::channel(1024);
        tokio::spawn(read_for_all(receiver, redis));
        Self(sender)
    }
}

/// Reads what has arrived during the last command, in one command. The nonce is read once for all.
async fn read_for_all(mut receiver: mpsc::Receiver<Lookup>, mut redis: MultiplexedConnection) {
    let mut lookups = Vec::new();
    while receiver.recv_many(&mut lookups, MAX_LOOKUPS).await > 0 {
        let mut command = redis::cmd("MGET");
        command.arg(NONCE);
        for (name, _) in &lookups {
            command.arg(name);
        }
        let values: Vec<Option<Bytes>> = command.query_async(&mut redis).await.unwrap();
        for ((_, wanted), value) in lookups.drain(..).zip(values.into_iter().skip(1)) {
            // A request that has left needs no value.
            let _ = wanted.send(value);
        }
    }
}

pub(crate) async fn by_shared_mget(
    Path(id): Path<u64>,
    State(body): State<Bytes>,
    State(lookups): State<SharedLookups>,
    State(mut redis): State<MultiplexedConnection>,
) -> Result<Response, StatusCode> {
    let name = product_name(id);
    let (wanted, value) = oneshot::channel();
    lookups
        .0
        .send((name.clone(), wanted))
        .await
        .map_err(failed)?;
    let found = value.await.map_err(failed)?;
    found_or_stored(found, &mut redis, &name, body).await
}
