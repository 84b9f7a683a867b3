//! Lookups on one server. Lookups that arrive while others are on their way share commands.

use std::sync::Arc;

use bytes::Bytes;
use redis::{Cmd, Pipeline, Value};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::commands::{bytes, read, refuse_errors, values_of};
use super::node::{Node, Reply};
use super::request::{Purpose, Request};
use crate::key::Name;
use crate::observe::fault::Fault;
use crate::store::Incarnation;
use crate::store::near::connection::TrackedConnection;
use crate::store::shared_lookups::{Flight, Place, Ticket};

/// The values of names, each with the server that answered.
pub(super) type Values = SmallVec<[(Option<Bytes>, Incarnation); 4]>;

/// The reply to the commands of a batch.
pub(super) type BatchReply = Result<Answers, Fault>;

/// The values of a lookup, and the connections on which the servers track them for the near cache. In a
/// complete lookup, the member of the registry is the first. If a server does not track, there are none.
pub(super) struct LookedUp {
    pub(super) values: Values,
    pub(super) tracked: Vec<Arc<TrackedConnection>>,
}

/// The answers to the commands of a batch, and the server that answered.
pub(super) struct Answers {
    /// The values of each command, or the reason why the server refused it.
    commands: Vec<Result<Vec<Option<Bytes>>, Fault>>,
    from: Incarnation,
    tracked: Option<Arc<TrackedConnection>>,
}

impl Node {
    /// Reads names, each with its slot, in a command that lookups share. `Ok(Err(..))`: the server refused
    /// the command for a slot.
    pub(super) async fn look_up<'a>(
        self: &Arc<Self>,
        names: impl Iterator<Item = (u16, Name<'a>)>,
        deadline: Instant,
    ) -> Result<Result<LookedUp, Fault>, Fault> {
        let (ticket, flight) = self.lookups.join(names);
        if let Some(flight) = flight {
            tokio::spawn(Arc::clone(self).send_lookups(flight));
        }
        match ticket.wait(deadline).await {
            Some(Ok(answers)) => Ok(answers.values(&ticket)),
            Some(Err(fault)) => Err(fault.clone()),
            None => Err(Fault::Timeout),
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
        Ok(LookedUp::untracked(values))
    }

    /// Sends the lookups of a flight, and then those that have arrived meanwhile.
    async fn send_lookups(self: Arc<Self>, first: Flight<BatchReply>) {
        let mut next = Some(first);
        while let Some(flight) = next {
            let reply = self.send_batch(&flight).await;
            let length = reply.as_ref().ok().map(Answers::length);
            next = flight.land(reply, length);
        }
    }

    /// Sends the lookups of a flight. The budget of the command begins now: a lookup that has waited for
    /// long may be late, but the server is not to blame for that.
    async fn send_batch(&self, flight: &Flight<BatchReply>) -> BatchReply {
        let deadline = Instant::now() + self.lookup_budget;
        let mut commands = flight.names().commands();
        if let (1, Some(names)) = (commands.len(), commands.next()) {
            let command = read(names);
            let request = Request::One(&command, Purpose::SHARED_LOOKUPS);
            let reply = self.send(request, deadline).await?;
            let commands = vec![answer(reply.value)];
            return Ok(Answers {
                commands,
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
        let commands = values_of(reply.value)?.into_iter().map(answer);
        Ok(Answers {
            commands: commands.collect(),
            from: reply.from,
            tracked: reply.tracked,
        })
    }
}

impl LookedUp {
    /// Returns values that a near cache must not keep.
    pub(super) fn untracked(values: Values) -> Self {
        Self {
            values,
            tracked: Vec::new(),
        }
    }
}

impl Answers {
    /// Returns the values of one lookup.
    fn values(&self, ticket: &Ticket<BatchReply>) -> Result<LookedUp, Fault> {
        let value = |place: &Place| match self.commands.get(place.command) {
            Some(Ok(values)) => {
                let value = values.get(place.index).ok_or(Fault::Protocol)?;
                Ok((value.clone(), self.from))
            }
            Some(Err(fault)) => Err(fault.clone()),
            None => Err(Fault::Protocol),
        };
        Ok(LookedUp {
            values: ticket.places.iter().map(value).collect::<Result<_, _>>()?,
            tracked: self.tracked.iter().cloned().collect(),
        })
    }

    /// Returns the number of bytes of the values.
    fn length(&self) -> usize {
        let values = self.commands.iter().flatten().flatten().flatten();
        values.map(Bytes::len).sum()
    }
}

/// Returns the strings in the reply to one command.
fn answer(reply: Value) -> Result<Vec<Option<Bytes>>, Fault> {
    let values = values_of(refuse_errors(reply)?)?;
    Ok(values.into_iter().map(bytes).collect())
}
