//! The primary that Redis Sentinel names.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::timeout;

use super::link::Shared;
use super::server::{Opened, Server};
use crate::observe::fault::Fault;
use crate::settings::{Access, Endpoint, SettingsError};

pub(super) struct Sentinels {
    asked: Vec<Server>,
    master: String,
    /// How to reach the primary, wherever it is.
    access: Access,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    /// The primary that was named last.
    endpoint: Option<Endpoint>,
    /// How many were named until then.
    number: u64,
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
            found: Mutex::default(),
        })
    }

    /// The primary, and how many were found until it was. Each time another sentinel is asked first:
    /// the last one may not know yet that the primary it named is gone.
    pub(super) async fn find(&self, shared: &Shared) -> Result<(Server, u64), Fault> {
        {
            let mut found = self.found();
            found.connection = None;
            found.sentinel += 1;
        }
        let (endpoint, number) = self.ask(shared).await?;
        let server = Server::new(&self.access, &endpoint);
        Ok((server.map_err(|_| Fault::Protocol)?, number))
    }

    /// Whether no other primary took the place of the one of that number. While no sentinel answers,
    /// nobody knows better.
    pub(super) async fn is_current(&self, found: u64, shared: &Shared) -> bool {
        let named = self.ask(shared).await;
        named.map_or(true, |(_, number)| number == found)
    }

    /// Asks the sentinel that answered last, and the others when it does not.
    async fn ask(&self, shared: &Shared) -> Result<(Endpoint, u64), Fault> {
        let connection = self.found().connection.clone();
        if let Some(connection) = connection {
            let mut question = Question {
                sentinels: self,
                is_answered: false,
            };
            if let Ok(endpoint) = self.ask_over(&connection, shared).await {
                question.is_answered = true;
                return Ok(self.note(endpoint));
            }
        }
        let first = self.found().sentinel;
        let mut fault = Fault::Unreachable;
        for turn in 0..self.asked.len() {
            let sentinel = (first + turn) % self.asked.len();
            // Whoever asks next begins with another, if this one does not answer.
            self.found().sentinel = sentinel + 1;
            let named = timeout(shared.budget, self.ask_anew(sentinel, shared)).await;
            match named.unwrap_or(Err(Fault::Timeout)) {
                Ok(endpoint) => return Ok(self.note(endpoint)),
                Err(why) => fault = fault.or_more_telling(why),
            }
        }
        Err(fault)
    }

    async fn ask_anew(&self, sentinel: usize, shared: &Shared) -> Result<Endpoint, Fault> {
        let opened = self.asked[sentinel].connect(shared).await?;
        let endpoint = self.ask_over(&opened, shared).await?;
        let mut found = self.found();
        found.sentinel = sentinel;
        found.connection = Some(opened);
        Ok(endpoint)
    }

    async fn ask_over(&self, sentinel: &Opened, shared: &Shared) -> Result<Endpoint, Fault> {
        let mut sentinel = sentinel.connection.clone();
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master);
        let named = timeout(shared.budget, ask.query_async(&mut sentinel)).await;
        let named: Option<(String, u16)> = named
            .map_err(|_| Fault::Timeout)?
            .map_err(|error| Fault::from(&error))?;
        let (host, port) = named.ok_or_else(|| Fault::UnknownPrimary(self.master.clone()))?;
        Ok(Endpoint::Tcp { host, port })
    }

    fn note(&self, endpoint: Endpoint) -> (Endpoint, u64) {
        let mut found = self.found();
        if found.endpoint.as_ref() != Some(&endpoint) {
            found.endpoint = Some(endpoint.clone());
            found.number += 1;
        }
        (endpoint, found.number)
    }

    /// Every critical section leaves it whole, however it ends.
    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question to the sentinel that answered last. If there is no answer, also because nobody waits for it
/// any more, others are asked next.
struct Question<'a> {
    sentinels: &'a Sentinels,
    is_answered: bool,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.sentinels.found().connection = None;
        }
    }
}
