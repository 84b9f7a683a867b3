//! The primary that Redis Sentinel names.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::timeout;

use super::context::ClientContext;
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

    /// Returns whether the primary of a generation is still the primary; `true` while no sentinel
    /// answers.
    pub(super) async fn is_current(&self, generation: u64, context: &ClientContext) -> bool {
        let named = self.ask(context).await;
        named.map_or(true, |(_, current)| current == generation)
    }

    /// Asks the sentinel that answered last, and the others when it does not.
    async fn ask(&self, context: &ClientContext) -> Result<(Endpoint, u64), Fault> {
        let connection = self.last_reply().connection.clone();
        if let Some(connection) = connection {
            let mut question = Question {
                sentinels: self,
                is_answered: false,
            };
            if let Ok(endpoint) = self.ask_over(&connection, context).await {
                question.is_answered = true;
                return Ok(self.note(endpoint));
            }
        }
        let first = self.last_reply().sentinel;
        let mut fault = Fault::Unreachable;
        for turn in 0..self.asked.len() {
            let sentinel = (first + turn) % self.asked.len();
            // If this sentinel does not answer, the next call begins with another.
            self.last_reply().sentinel = sentinel + 1;
            let named = timeout(context.budget(), self.ask_anew(sentinel, context)).await;
            match named.unwrap_or(Err(Fault::Timeout)) {
                Ok(endpoint) => return Ok(self.note(endpoint)),
                Err(why) => fault = fault.or_more_telling(why),
            }
        }
        Err(fault)
    }

    async fn ask_anew(&self, sentinel: usize, context: &ClientContext) -> Result<Endpoint, Fault> {
        let opened = self.asked[sentinel].connect(context, None).await?;
        let endpoint = self.ask_over(&opened, context).await?;
        let mut last_reply = self.last_reply();
        last_reply.sentinel = sentinel;
        last_reply.connection = Some(opened);
        Ok(endpoint)
    }

    async fn ask_over(
        &self,
        sentinel: &Opened,
        context: &ClientContext,
    ) -> Result<Endpoint, Fault> {
        let mut sentinel = sentinel.connection.clone();
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master);
        let named = timeout(context.budget(), ask.query_async(&mut sentinel)).await;
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

/// A question to the sentinel that answered last. If there is no answer, or the caller stops waiting,
/// the next question goes to another sentinel.
struct Question<'a> {
    sentinels: &'a Sentinels,
    is_answered: bool,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.sentinels.last_reply().connection = None;
        }
    }
}
