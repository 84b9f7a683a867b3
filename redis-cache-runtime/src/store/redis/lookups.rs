//! Lookups on one server. Lookups that arrive while others are on their way share commands.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use redis::{Cmd, Pipeline, Value};
use smallvec::{SmallVec, smallvec};
use tokio::time::Instant;

use super::commands::{bytes, read, refuse_errors, values_of};
use super::node::{Node, Reply};
use super::request::{Purpose, Request};
use crate::key::{Address, Name, Names};
use crate::observe::fault::Fault;
use crate::store::near::connection::TrackedConnection;
use crate::store::shared_lookups::{Departure, Flight, Place, Ticket};
use crate::store::{Found, Incarnation};

/// The values of names, each with the server that answered.
pub(super) type Values = SmallVec<[(Option<Bytes>, Incarnation); 4]>;

/// The reply to the commands of a batch.
pub(super) type BatchReply = Result<Answers, Fault>;

/// The values of a lookup. Values in a reply that lookups share are taken out of it only where they are
/// needed, because every future on the way would move them.
pub(super) enum LookedUp {
    /// The reply to the batch has arrived, and the server accepted the commands of this lookup.
    Shared(Ticket<BatchReply>),
    Own(Box<OwnValues>),
}

/// The values of a lookup that shared no reply, or several.
pub(super) struct OwnValues {
    values: Values,
    /// The connections on which the servers track the values for the near cache. In a complete lookup,
    /// the member of the registry is the first. If a server does not track, there are none.
    tracked: Vec<Arc<TrackedConnection>>,
}

/// The answers to the commands of a batch, and the server that answered.
pub(super) struct Answers {
    /// The values of each command, one for each name, or the reason why the server refused it.
    commands: SmallVec<[Result<Vec<Option<Bytes>>, Fault>; 1]>,
    from: Incarnation,
    tracked: Option<Arc<TrackedConnection>>,
}

impl Node {
    /// Reads names, each with its slot, in a command that lookups share. `Ok(Err(..))`: the server refused
    /// the command for a slot.
    ///
    /// No `async fn`: the names would be in its future until the reply.
    pub(super) fn look_up<'a>(
        self: &Arc<Self>,
        names: impl Iterator<Item = (u16, Name<'a>)>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Result<LookedUp, Fault>, Fault>> {
        let (ticket, departure) = self.lookups.join(names, deadline);
        let alone = match departure {
            Some(Departure::Alone(flight)) => Some(Box::pin(self.send_alone(flight))),
            Some(departure) => {
                tokio::spawn(Arc::clone(self).send_lookups(departure));
                None
            }
            None => None,
        };
        async move {
            if let Some(alone) = alone {
                alone.await;
            }
            let refusal = match ticket.wait().await {
                Some(Ok(answers)) => answers.refusal(&ticket).cloned(),
                Some(Err(fault)) => return Err(fault.clone()),
                None => return Err(Fault::Timeout),
            };
            Ok(refusal.map_or(Ok(LookedUp::Shared(ticket)), Err))
        }
    }

    /// Reads names in a command of their own.
    pub(super) async fn read_alone(
        &self,
        command: Cmd,
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<LookedUp, Fault> {
        let request = Request::One(&command, purpose);
        let Reply { value, from, .. } = self.send(request, deadline).await?;
        let values = answer(value)?.into_iter();
        let values = values.map(|value| (value, from)).collect();
        Ok(LookedUp::own(values, Vec::new()))
    }

    /// Sends the lookup of a flight that no other lookup waits for.
    async fn send_alone(&self, flight: Flight<BatchReply>) {
        let reply = self.send_batch(&flight).await;
        let length = reply.as_ref().ok().map(Answers::length);
        flight.land(reply, length);
    }

    /// Sends the lookups of a flight, and then those that have arrived meanwhile.
    async fn send_lookups(self: Arc<Self>, departure: Departure<BatchReply>) {
        if let Departure::Boarding(_) = departure {
            ready_tasks().await;
        }
        let mut next = departure.leave();
        while let Some(flight) = next {
            let reply = self.send_batch(&flight).await;
            let length = reply.as_ref().ok().map(Answers::length);
            next = flight.land(reply, length);
        }
    }

    /// Sends the lookups of a flight. The budget of the command begins now: a lookup that has waited for
    /// long may be late, but the server is not to blame for that.
    async fn send_batch(&self, flight: &Flight<BatchReply>) -> BatchReply {
        let deadline = Instant::now() + self.lookup_budget();
        let mut commands = flight.names().commands();
        if let (1, Some(names)) = (commands.len(), commands.next()) {
            let count = names.len();
            let command = read(names);
            let request = Request::One(&command, Purpose::SHARED_LOOKUPS);
            let reply = self.send(request, deadline).await?;
            return Ok(Answers {
                commands: smallvec![answer_to(count, reply.value)],
                from: reply.from,
                tracked: reply.tracked,
            });
        }
        let commands = flight.names().commands();
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for names in commands {
            pipeline.add_command(read(names));
        }
        let request = Request::Many(&pipeline, Purpose::SHARED_LOOKUPS);
        let reply = self.send(request, deadline).await?;
        let values = values_of(reply.value)?;
        if values.len() != pipeline.len() {
            return Err(Fault::Protocol);
        }
        let counts = flight.names().commands().map(|names| names.len());
        let commands = counts.zip(values);
        Ok(Answers {
            commands: commands
                .map(|(count, value)| answer_to(count, value))
                .collect(),
            from: reply.from,
            tracked: reply.tracked,
        })
    }
}

/// Lets tasks run that are ready now.
async fn ready_tasks() {
    let mut have_run = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut have_run, true) {
            return Poll::Ready(());
        }
        // Not `yield_now`, which also waits for the events of sockets and timers.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl LookedUp {
    /// Returns values, and the connections on which the servers track them for the near cache.
    pub(super) fn own(values: Values, tracked: Vec<Arc<TrackedConnection>>) -> Self {
        Self::Own(Box::new(OwnValues { values, tracked }))
    }

    /// Returns the result of the lookup of an address.
    pub(super) fn found(&self, lookup: (&Address, bool), names: &Names) -> Found {
        match self {
            Self::Shared(ticket) => Found::of_values(shared_values(ticket), lookup, names),
            Self::Own(own) => Found::of_values(own.values.iter().cloned(), lookup, names),
        }
    }

    /// Returns the values, in the order of their names.
    #[cfg(feature = "cluster")]
    pub(super) fn values(&self) -> Values {
        match self {
            Self::Shared(ticket) => shared_values(ticket).collect(),
            Self::Own(own) => own.values.clone(),
        }
    }

    /// Returns the connections on which the servers track the values for the near cache. The member of
    /// the registry is the first. If a server does not track, there are none.
    pub(super) fn tracked(&self) -> Vec<Arc<TrackedConnection>> {
        match self {
            Self::Shared(ticket) => {
                let answers = ticket.reply().and_then(|reply| reply.as_ref().ok());
                let tracked = answers.and_then(|answers| answers.tracked.clone());
                tracked.into_iter().collect()
            }
            Self::Own(own) => own.tracked.clone(),
        }
    }
}

/// Returns the values of a lookup in the reply to its batch.
fn shared_values(
    ticket: &Ticket<BatchReply>,
) -> impl DoubleEndedIterator<Item = (Option<Bytes>, Incarnation)> {
    let answers = ticket.reply().and_then(|reply| reply.as_ref().ok());
    let from = answers.map_or_else(Incarnation::default, |answers| answers.from);
    let places = ticket.places.iter();
    places.map(move |place| (answers.and_then(|answers| answers.value(*place)), from))
}

impl Answers {
    /// Returns the reason why the server refused a command of a lookup, if it did.
    fn refusal(&self, ticket: &Ticket<BatchReply>) -> Option<&Fault> {
        let mut places = ticket.places.iter();
        places.find_map(|place| self.commands.get(place.command)?.as_ref().err())
    }

    fn value(&self, place: Place) -> Option<Bytes> {
        let values = self.commands.get(place.command)?.as_ref().ok()?;
        values.get(place.index)?.clone()
    }

    /// Returns the number of bytes of the values.
    fn length(&self) -> usize {
        let values = self.commands.iter().flatten().flatten().flatten();
        values.map(Bytes::len).sum()
    }
}

/// Returns the strings in the reply to a command for a number of names.
fn answer_to(names: usize, reply: Value) -> Result<Vec<Option<Bytes>>, Fault> {
    let values = answer(reply)?;
    let is_complete = values.len() == names;
    is_complete.then_some(values).ok_or(Fault::Protocol)
}

/// Returns the strings in the reply to one command.
fn answer(reply: Value) -> Result<Vec<Option<Bytes>>, Fault> {
    let values = values_of(refuse_errors(reply)?)?;
    Ok(values.into_iter().map(bytes).collect())
}
