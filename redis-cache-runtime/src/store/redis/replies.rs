//! Values, and the servers that sent them.

use std::vec;

use redis::Value;

use crate::store::Incarnation;

/// The values that servers sent, each with its server.
pub(super) struct Replies {
    values: vec::IntoIter<Value>,
    from: Senders,
}

enum Senders {
    One(Incarnation),
    #[cfg(feature = "cluster")]
    Each(vec::IntoIter<Incarnation>),
}

impl Replies {
    pub(super) fn of_one(values: Vec<Value>, from: Incarnation) -> Self {
        Self {
            values: values.into_iter(),
            from: Senders::One(from),
        }
    }

    #[cfg(feature = "cluster")]
    pub(super) fn of_many(replies: Vec<(Value, Incarnation)>) -> Self {
        let (values, from): (Vec<_>, Vec<_>) = replies.into_iter().unzip();
        Self {
            values: values.into_iter(),
            from: Senders::Each(from.into_iter()),
        }
    }
}

impl Iterator for Replies {
    type Item = (Value, Incarnation);

    fn next(&mut self) -> Option<Self::Item> {
        let value = self.values.next()?;
        let from = match &mut self.from {
            Senders::One(from) => Some(*from),
            #[cfg(feature = "cluster")]
            Senders::Each(from) => from.next(),
        };
        Some((value, from.unwrap_or_default()))
    }
}

impl DoubleEndedIterator for Replies {
    fn next_back(&mut self) -> Option<Self::Item> {
        let value = self.values.next_back()?;
        let from = match &mut self.from {
            Senders::One(from) => Some(*from),
            #[cfg(feature = "cluster")]
            Senders::Each(from) => from.next_back(),
        };
        Some((value, from.unwrap_or_default()))
    }
}
