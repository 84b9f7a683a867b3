//! Commands for the slots of a cluster, and the parts in which they are sent.

use std::sync::Arc;

use redis::{Cmd, Pipeline, ServerError, ServerErrorKind, Value};

use super::slots::ReportedAddress;
use crate::key::{Name, slot};
use crate::observe::fault::Fault;
use crate::store::Incarnation;
use crate::store::redis::commands::{Arg, delete, first_value, read, values_of};
use crate::store::redis::node::Node;

/// A command for one slot.
pub(in super::super) enum Task<'a> {
    /// Reads names that are all in the slot.
    Read(Vec<Name<'a>>),
    /// Deletes names that are all in the slot, the first of them first.
    Delete(Vec<Name<'a>>),
    /// Runs a command on the node of a name.
    Run(Name<'a>, Cmd),
}

impl Task<'_> {
    fn slot(&self) -> u16 {
        match self {
            Self::Read(names) | Self::Delete(names) => names.first().map_or(0, |name| slot(*name)),
            Self::Run(name, _) => slot(*name),
        }
    }
}

/// A task under way, or a part of one.
#[derive(Clone)]
pub(super) struct Part<'t> {
    /// The index of the task, and of its reply.
    task: usize,
    /// The index of the part's value in that reply; `None`: the part is the whole task.
    within: Option<usize>,
    pub(super) slot: u16,
    action: Action<'t>,
    pub(super) next: Next,
}

#[derive(Clone, Copy)]
enum Action<'t> {
    Read(&'t [Name<'t>]),
    Delete(&'t [Name<'t>]),
    /// Repeats the deletion of the first name. The reply shows whether another node has to delete the
    /// names, too.
    DeleteAgain(&'t [Name<'t>]),
    Run(&'t Cmd),
}

/// The node that a part is sent to next.
#[derive(Clone)]
pub(super) enum Next {
    /// The primary of the slot.
    Primary,
    Moved(Named),
    /// The slot is migrating to that node, which takes commands for it only after `ASKING`.
    Ask(Named),
}

/// A node that a redirection names.
#[derive(Clone)]
pub(super) struct Named {
    /// The node that sent the redirection. Its host is used if the redirection names none.
    pub(super) by: Arc<Node>,
    pub(super) address: ReportedAddress,
}

impl<'t> Part<'t> {
    /// Returns the parts of a whole task. A deletion is sent twice. If the slot is migrating, the first
    /// deletion may find the lease of a fill on one node and the entry on the other, and the fill may
    /// end in between. The second time, the old node has none of the names and redirects to the new
    /// node.
    pub(super) fn whole((index, task): (usize, &'t Task<'t>)) -> impl Iterator<Item = Self> {
        let part = Self {
            task: index,
            within: None,
            slot: task.slot(),
            action: match task {
                Task::Read(names) => Action::Read(names),
                Task::Delete(names) => Action::Delete(names),
                Task::Run(_, command) => Action::Run(command),
            },
            next: Next::Primary,
        };
        let again = match part.action {
            Action::Delete(names) => Some(Self {
                action: Action::DeleteAgain(names),
                ..part.clone()
            }),
            _ => None,
        };
        std::iter::once(part).chain(again)
    }

    /// Drops a `MOVED` redirection, because a newer map includes the move.
    pub(super) fn not_moved(mut self) -> Self {
        if let Next::Moved(_) = self.next {
            self.next = Next::Primary;
        }
        self
    }

    pub(super) fn is_asking(&self) -> bool {
        matches!(self.next, Next::Ask(_))
    }

    pub(super) fn add_to(&self, pipeline: &mut Pipeline) {
        pipeline.add_command(match self.action {
            Action::Read(names) => read(names.iter().copied().map(Arg)),
            Action::Delete(names) => delete(names.iter().copied()),
            Action::DeleteAgain(names) => delete(names.first().copied()),
            Action::Run(command) => command.clone(),
        });
    }

    /// Splits the part into one for each name: while a slot migrates, no node has all of them.
    fn split(&self) -> Vec<Self> {
        let names = match self.action {
            Action::Read(names) | Action::Delete(names) if names.len() > 1 => names,
            Action::DeleteAgain(names) => names,
            _ => return Vec::new(),
        };
        let part = |(within, name)| Self {
            within: Some(within),
            action: match self.action {
                Action::Delete(_) | Action::DeleteAgain(_) => Action::Delete(name),
                _ => Action::Read(name),
            },
            next: Next::Primary,
            ..*self
        };
        names.chunks(1).enumerate().map(part).collect()
    }
}

/// The values that a task read, or its reply, each with the incarnation of its node.
pub(in super::super) type Answer = Vec<(Value, Incarnation)>;

/// The replies to tasks.
pub(super) struct Replies(Vec<Result<Answer, Fault>>);

impl Replies {
    pub(super) fn of(tasks: usize) -> Self {
        Self(vec![Ok(Vec::new()); tasks])
    }

    pub(super) fn into_inner(self) -> Vec<Result<Answer, Fault>> {
        self.0
    }

    /// Records the reply to a part, and returns the parts to send next.
    pub(super) fn take<'t>(
        &mut self,
        mut part: Part<'t>,
        by: &Arc<Node>,
        (reply, from): (Value, Incarnation),
    ) -> Vec<Part<'t>> {
        let Value::ServerError(error) = reply else {
            self.put(&part, reply, from);
            return Vec::new();
        };
        let kind = error.kind();
        let is_on_its_way = matches!(kind, Some(ServerErrorKind::Ask | ServerErrorKind::TryAgain));
        if is_on_its_way {
            let parts = part.split();
            if !parts.is_empty() {
                let nothing = (Value::Nil, Incarnation::default());
                self.set(&part, Ok(vec![nothing; parts.len()]));
                return parts;
            }
        }
        let named = named(&error).map(|address| Named {
            by: Arc::clone(by),
            address,
        });
        part.next = match (kind, named) {
            (Some(ServerErrorKind::Moved), Some(named)) => Next::Moved(named),
            (Some(ServerErrorKind::Ask), Some(named)) => Next::Ask(named),
            _ => {
                self.fail(&part, Fault::Refused(error.code().to_owned()));
                return Vec::new();
            }
        };
        vec![part]
    }

    /// Records the fault of a part as the fault of its task.
    pub(super) fn fail(&mut self, part: &Part<'_>, fault: Fault) {
        self.set(part, Err(fault));
    }

    fn put(&mut self, part: &Part<'_>, reply: Value, from: Incarnation) {
        let answer = match (part.action, part.within) {
            (Action::Delete(_) | Action::DeleteAgain(_), _) => return,
            (Action::Run(_), _) => Ok(vec![(reply, from)]),
            (Action::Read(_), Some(within)) => {
                if let Some(Ok(whole)) = self.0.get_mut(part.task)
                    && let Some(value) = whole.get_mut(within)
                {
                    *value = (first_value(reply).unwrap_or(Value::Nil), from);
                }
                return;
            }
            (Action::Read(_), None) => values_of(reply)
                .map(|values| values.into_iter().map(|value| (value, from)).collect()),
        };
        self.set(part, answer);
    }

    /// Keeps the first fault of the parts.
    fn set(&mut self, part: &Part<'_>, reply: Result<Answer, Fault>) {
        if let Some(known) = self.0.get_mut(part.task).filter(|known| known.is_ok()) {
            *known = reply;
        }
    }
}

/// Parses the node of a redirection, `slot host:port`.
fn named(error: &ServerError) -> Option<ReportedAddress> {
    let (_slot, address) = error.details()?.split_once(' ')?;
    ReportedAddress::parse(address)
}
