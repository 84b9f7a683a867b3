//! The primary that Redis Sentinel names.
//!
//! All Sentinels are asked at the same time. Each also tells the epoch of the last failover that it has
//! heard of. An answer with a lower epoch than that of the known primary is out of date.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::ConnectionLike;
use redis::{FromRedisValue, Pipeline, Value};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::context::ClientContext;
use super::health::longest_rest;
use super::server::{Opened, Server};
use crate::observe::fault::Fault;
use crate::settings::{Access, Endpoint, SettingsError};

/// The time after which a primary that no Sentinel names is given up. Sentinels tell each other of a
/// failover every two seconds.
const UNCONFIRMED: Duration = Duration::from_secs(10);

pub(super) struct Sentinels {
    all: Vec<Sentinel>,
    master: String,
    /// The credentials and TLS settings for the primary.
    access: Access,
    known: Mutex<Known>,
    /// The generation number of the known primary.
    generation: watch::Sender<u64>,
}

struct Sentinel {
    server: Server,
    /// The connection, while no question is under way. A question that is given up loses it, because it
    /// may hang.
    connection: Mutex<Option<Opened>>,
}

#[derive(Default)]
struct Known {
    primary: Option<Primary>,
    /// The generation number that was returned last for a connection to the primary.
    tried: u64,
    /// The time at which the Sentinels were last asked for another primary.
    asked: Option<Instant>,
    /// The time since which no Sentinel has named the known primary, although most have answered.
    unconfirmed: Option<Instant>,
}

/// A primary as a Sentinel names it.
struct Primary {
    endpoint: Endpoint,
    epoch: u64,
}

/// The number of answers to a question, and the one with the highest epoch.
#[derive(Default)]
struct Answers {
    count: usize,
    newest: Option<Primary>,
    /// One of them names the known primary.
    confirms: bool,
}

impl Sentinels {
    pub(super) fn new(
        sentinels: &[Endpoint],
        master: String,
        sentinel_access: &Access,
        access: Access,
    ) -> Result<Self, SettingsError> {
        let sentinels = sentinels.iter().map(|at| {
            Ok(Sentinel {
                server: Server::new(sentinel_access, at)?,
                connection: Mutex::default(),
            })
        });
        Ok(Self {
            all: sentinels.collect::<Result<_, _>>()?,
            master,
            access,
            known: Mutex::default(),
            generation: watch::Sender::new(0),
        })
    }

    /// Returns the primary and its generation number. If it has been returned before, more than half of
    /// the Sentinels have to answer: it may have failed.
    pub(super) async fn find(&self, context: &ClientContext) -> Result<(Server, u64), Fault> {
        let is_untried = || self.generation() > self.known().tried;
        if !is_untried() {
            let is_enough = |count| count > self.all.len() / 2 || is_untried();
            self.ask(context, is_enough).await?;
        }
        let mut known = self.known();
        known.tried = self.generation();
        let primary = known.primary.as_ref().ok_or(Fault::Unreachable)?;
        let server = Server::new(&self.access, &primary.endpoint);
        Ok((server.map_err(|_| Fault::Protocol)?, known.tried))
    }

    /// Asks again and again until there is another primary than that of a generation. Returns the new
    /// generation number.
    pub(super) async fn wait_for_next(&self, known: u64, context: &ClientContext) -> u64 {
        let rest = longest_rest(context.pulse);
        let mut generation = self.generation.subscribe();
        loop {
            let is_next = |generation: &u64| *generation != known;
            if let Ok(Ok(generation)) = timeout(rest, generation.wait_for(is_next)).await {
                return *generation;
            }
            if self.is_due(rest) {
                // Without an answer, the known primary stays.
                let _ = self.ask(context, |_| false).await;
            }
        }
    }

    /// Returns whether nobody has asked for another primary for a time. The caller does so now.
    fn is_due(&self, rest: Duration) -> bool {
        let mut known = self.known();
        let is_due = known.asked.is_none_or(|asked| asked.elapsed() >= rest);
        if is_due {
            known.asked = Some(Instant::now());
        }
        is_due
    }

    /// Asks all Sentinels, and takes over newer answers as they arrive, until there are enough. After an
    /// answer, the next one is awaited for one time budget.
    async fn ask(
        &self,
        context: &ClientContext,
        is_enough: impl Fn(usize) -> bool,
    ) -> Result<(), Fault> {
        let questions = self.all.iter().map(|it| it.ask(&self.master, context));
        let mut questions: FuturesUnordered<_> = questions.collect();
        let mut answers = Answers::default();
        let mut fault = Fault::Unreachable;
        loop {
            let next = questions.next();
            let next = match answers.count {
                0 => next.await,
                _ => timeout(context.budget(), next).await.unwrap_or_default(),
            };
            match next {
                Some(Ok(named)) => self.take_over(named, &mut answers),
                Some(Err(why)) => fault = fault.or_more_telling(why),
                None => break,
            }
            if is_enough(answers.count) {
                break;
            }
        }
        if answers.count == 0 {
            return Err(fault);
        }
        self.check_confirmed(answers);
        Ok(())
    }

    /// Replaces a primary that no Sentinel has named for a while, although their epochs are not newer: the
    /// Sentinels were configured anew, so that their epochs began again.
    fn check_confirmed(&self, answers: Answers) {
        let mut known = self.known();
        if answers.confirms {
            known.unconfirmed = None;
        } else if answers.count > self.all.len() / 2 {
            let since = *known.unconfirmed.get_or_insert_with(Instant::now);
            if since.elapsed() >= UNCONFIRMED {
                self.replace(&mut known, answers.newest);
            }
        }
    }

    /// Records an answer, and takes it over if it is newer.
    fn take_over(&self, named: Primary, answers: &mut Answers) {
        answers.count += 1;
        let mut known = self.known();
        match &mut known.primary {
            Some(primary) if primary.endpoint == named.endpoint => {
                primary.epoch = primary.epoch.max(named.epoch);
                answers.confirms = true;
            }
            Some(primary) if named.epoch <= primary.epoch => {
                let newest = answers.newest.take();
                answers.newest = newest
                    .filter(|newest| newest.epoch > named.epoch)
                    .or(Some(named));
            }
            _ => {
                self.replace(&mut known, Some(named));
                answers.confirms = true;
            }
        }
    }

    fn replace(&self, known: &mut Known, primary: Option<Primary>) {
        if let Some(primary) = &primary {
            let Primary { endpoint, epoch } = primary;
            tracing::debug!(%endpoint, epoch, "the Sentinels name another primary");
        }
        known.primary = primary;
        known.unconfirmed = None;
        self.generation.send_modify(|generation| *generation += 1);
    }

    fn generation(&self) -> u64 {
        *self.generation.borrow()
    }

    /// Locks the known primary. A panic in a critical section leaves it consistent.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sentinel {
    async fn ask(&self, master: &str, context: &ClientContext) -> Result<Primary, Fault> {
        let connection = self.connection().take();
        let mut opened = match connection {
            Some(opened) => opened,
            None => self.server.connect(context, None).await?,
        };
        let mut question = Pipeline::with_capacity(2);
        for name in ["GET-MASTER-ADDR-BY-NAME", "MASTER"] {
            question.cmd("SENTINEL").arg(name).arg(master);
        }
        let replies = opened.connection.req_packed_commands(&question, 0, 2);
        let replies = timeout(context.budget.largest(), replies).await;
        let replies = replies
            .map_err(|_| Fault::Timeout)?
            .map_err(|error| Fault::from(&error))?;
        *self.connection() = Some(opened);
        let [address, master_fields]: [Value; 2] =
            replies.try_into().map_err(|_| Fault::Protocol)?;
        let address: Option<(String, u16)> = parsed(address)?;
        let (host, port) = address.ok_or_else(|| Fault::UnknownPrimary(master.to_owned()))?;
        let fields: HashMap<String, String> = parsed(master_fields)?;
        let epoch = fields.get("config-epoch").and_then(|it| it.parse().ok());
        Ok(Primary {
            endpoint: Endpoint::Tcp { host, port },
            epoch: epoch.ok_or(Fault::Protocol)?,
        })
    }

    /// Locks the connection. There is no critical section in which it could become inconsistent.
    fn connection(&self) -> MutexGuard<'_, Option<Opened>> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Parses a reply, which may be an error.
fn parsed<T: FromRedisValue>(reply: Value) -> Result<T, Fault> {
    let reply = reply.extract_error().map_err(|error| Fault::from(&error))?;
    T::from_redis_value(reply).map_err(|_| Fault::Protocol)
}
