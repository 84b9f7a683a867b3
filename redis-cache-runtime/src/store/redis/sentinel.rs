//! The primary that Redis Sentinel names.

use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{sleep, timeout};

use super::context::ClientContext;
use super::health::longest_rest;
use super::server::{Opened, Server};
use crate::observe::fault::Fault;
use crate::settings::{Access, Endpoint, SettingsError};

pub(super) struct Sentinels {
    asked: Vec<Server>,
    master: String,
    /// The credentials and TLS settings for the primary.
    access: Access,
    last_reply: Mutex<LastReply>,
}

#[derive(Default)]
struct LastReply {
    /// The primary that was named last.
    endpoint: Option<Endpoint>,
    /// The generation number of that primary.
    generation: u64,
    /// The sentinel that answered last.
    sentinel: usize,
    connection: Option<Opened>,
}

impl Sentinels {
    pub(super) fn new(
        sentinels: &[Endpoint],
        master: String,
        sentinel_access: &Access,
        access: Access,
    ) -> Result<Self, SettingsError> {
        let asked = sentinels.iter().map(|at| Server::new(sentinel_access, at));
        Ok(Self {
            asked: asked.collect::<Result<_, _>>()?,
            master,
            access,
            last_reply: Mutex::default(),
        })
    }

    /// Returns the primary and its generation number. Each call asks another sentinel first: the last
    /// one may not know yet that its primary is gone.
    pub(super) async fn find(&self, context: &ClientContext) -> Result<(Server, u64), Fault> {
        {
            let mut last_reply = self.last_reply();
            last_reply.connection = None;
            last_reply.sentinel += 1;
        }
        let (endpoint, generation) = self.ask(context).await?;
        let server = Server::new(&self.access, &endpoint);
        Ok((server.map_err(|_| Fault::Protocol)?, generation))
    }

    /// Asks again and again until another primary than that of a generation is named. Returns the new
    /// generation number.
    pub(super) async fn wait_for_next(&self, known: u64, context: &ClientContext) -> u64 {
        loop {
            sleep(longest_rest(context.pulse)).await;
            if let Ok((_, generation)) = self.ask(context).await
                && generation != known
            {
                return generation;
            }
        }
    }

    /// Asks the sentinel that answered last, and one more whenever nobody has answered within the time
    /// budget. A sentinel that is farther away has time to answer, too.
    async fn ask(&self, context: &ClientContext) -> Result<(Endpoint, u64), Fault> {
        let (connection, first) = {
            let last_reply = self.last_reply();
            (last_reply.connection.clone(), last_reply.sentinel)
        };
        let connected = connection.into_iter().map(|it| (first, Some(it)));
        let count = self.asked.len();
        let others = (0..count).map(|turn| ((first + turn) % count, None));
        let mut answers = FuturesUnordered::new();
        let mut faults = Vec::new();
        for (sentinel, connection) in connected.chain(others) {
            answers.push(self.ask_one(sentinel, connection, context));
            let named = timeout(context.budget(), first_named(&mut answers, &mut faults)).await;
            if let Ok(Some(endpoint)) = named {
                return Ok(self.note(endpoint));
            }
        }
        match first_named(&mut answers, &mut faults).await {
            Some(endpoint) => Ok(self.note(endpoint)),
            None => Err(faults
                .into_iter()
                .fold(Fault::Unreachable, Fault::or_more_telling)),
        }
    }

    async fn ask_one(
        &self,
        sentinel: usize,
        connection: Option<Opened>,
        context: &ClientContext,
    ) -> Result<Endpoint, Fault> {
        let opened = match connection {
            Some(opened) => opened,
            None => self.asked[sentinel].connect(context, None).await?,
        };
        let answer = self.ask_over(&opened, context).await;
        let mut last_reply = self.last_reply();
        if answer.is_ok() {
            last_reply.sentinel = sentinel;
            last_reply.connection = Some(opened);
        } else if last_reply.sentinel == sentinel {
            last_reply.connection = None;
        }
        answer
    }

    async fn ask_over(
        &self,
        sentinel: &Opened,
        context: &ClientContext,
    ) -> Result<Endpoint, Fault> {
        let mut sentinel = sentinel.connection.clone();
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master);
        let named = timeout(context.budget.largest(), ask.query_async(&mut sentinel)).await;
        let named: Option<(String, u16)> = named
            .map_err(|_| Fault::Timeout)?
            .map_err(|error| Fault::from(&error))?;
        let (host, port) = named.ok_or_else(|| Fault::UnknownPrimary(self.master.clone()))?;
        Ok(Endpoint::Tcp { host, port })
    }

    fn note(&self, endpoint: Endpoint) -> (Endpoint, u64) {
        let mut last_reply = self.last_reply();
        if last_reply.endpoint.as_ref() != Some(&endpoint) {
            last_reply.endpoint = Some(endpoint.clone());
            last_reply.generation += 1;
        }
        (endpoint, last_reply.generation)
    }

    /// Locks the last reply. A panic in a critical section leaves it consistent.
    fn last_reply(&self) -> MutexGuard<'_, LastReply> {
        self.last_reply
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the first primary that a sentinel names. `None`: all answers are faults.
async fn first_named(
    answers: &mut FuturesUnordered<impl Future<Output = Result<Endpoint, Fault>>>,
    faults: &mut Vec<Fault>,
) -> Option<Endpoint> {
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(endpoint) => return Some(endpoint),
            Err(fault) => faults.push(fault),
        }
    }
    None
}
