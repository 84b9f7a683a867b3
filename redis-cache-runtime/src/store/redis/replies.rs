//! Values, and the servers that sent them.

use std::vec;

use redis::Value;

use crate::store::Incarnation;

/// The values that servers sent, each with its server.
pub(super) enum Replies {
    OfOne(vec::IntoIter<Value>, Incarnation),
    #[cfg(feature = "cluster")]
    OfMany(vec::IntoIter<(Value, Incarnation)>),
}

impl Replies {
    pub(super) fn of_one(values: Vec<Value>, from: Incarnation) -> Self {
        Self::OfOne(values.into_iter(), from)
    }

    #[cfg(feature = "cluster")]
    pub(super) fn of_many(replies: Vec<(Value, Incarnation)>) -> Self {
        Self::OfMany(replies.into_iter())
    }
}

impl Iterator for Replies {
    type Item = (Value, Incarnation);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::OfOne(values, from) => Some((values.next()?, *from)),
            #[cfg(feature = "cluster")]
            Self::OfMany(replies) => replies.next(),
        }
    }
}

impl DoubleEndedIterator for Replies {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Self::OfOne(values, from) => Some((values.next_back()?, *from)),
            #[cfg(feature = "cluster")]
            Self::OfMany(replies) => replies.next_back(),
        }
    }
}
