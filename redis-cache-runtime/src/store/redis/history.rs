//! Whether a Redis still holds what it held.
//!
//! A Redis that was started anew may have come back with data from before evictions that it took, and
//! a replica that was promoted may never have heard of the last of them. Redis names such a break: the
//! replication id of a primary changes with each.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// What is known of the data of one server, whichever process serves it.
#[derive(Debug)]
pub(super) struct History {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    known: Known,
    broke: Option<Instant>,
}

#[derive(Debug)]
enum Known {
    /// Nothing was ever read from it, and nothing evicted.
    Nothing,
    /// It takes the place of another.
    #[cfg(feature = "cluster")]
    Another,
    Id(String),
}

impl History {
    /// Of a server that is met for the first time.
    pub(super) fn of_a_stranger() -> Self {
        Self::new(Known::Nothing)
    }

    /// Of a server that serves what another served before.
    #[cfg(feature = "cluster")]
    pub(super) fn of_a_successor() -> Self {
        Self::new(Known::Another)
    }

    fn new(known: Known) -> Self {
        let inner = Inner { known, broke: None };
        Self {
            inner: Mutex::new(inner),
        }
    }

    /// Notes what a server calls its history, and returns when it last began anew. If it does now,
    /// says so before anybody who asks later is told that all is well.
    pub(super) fn meet(&self, id: &str, on_break: impl FnOnce()) -> Option<Instant> {
        // Every critical section leaves it whole, however it ends.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let breaks = match &inner.known {
            Known::Nothing => false,
            #[cfg(feature = "cluster")]
            Known::Another => true,
            Known::Id(before) => before != id,
        };
        if breaks {
            on_break();
            inner.broke = Some(Instant::now());
        }
        inner.known = Known::Id(id.to_owned());
        inner.broke
    }
}

/// What a server says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Introduction<'a> {
    pub(super) is_replica: bool,
    /// Whether it refuses everything else until it has read its data from disk.
    pub(super) is_loading: bool,
    /// What it calls its history, if it has a name for it.
    pub(super) id: Option<&'a str>,
    /// Whether it never makes room by evicting what does not expire.
    pub(super) keeps_for_ever: bool,
}

impl<'a> Introduction<'a> {
    /// Reads the reply to `INFO`.
    pub(super) fn parse(info: &'a str) -> Self {
        let value = |name: &str| {
            let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':');
            info.lines().find_map(value).map(str::trim)
        };
        let policy = value("maxmemory_policy").unwrap_or_default();
        Self {
            is_replica: value("role") == Some("slave"),
            is_loading: value("loading") == Some("1"),
            id: value("master_replid").or_else(|| value("run_id")),
            keeps_for_ever: value("maxmemory") == Some("0")
                || policy == "noeviction"
                || policy.starts_with("volatile-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_breaks_when_its_name_changes_and_with_each_successor() {
        let history = History::of_a_stranger();
        let breaks = |id| {
            let mut breaks = false;
            history.meet(id, || breaks = true);
            breaks
        };
        let breaks = ["a", "a", "b", "b", "a"].map(breaks);
        assert_eq!(breaks, [false, false, true, false, true]);
    }

    #[test]
    fn what_a_server_says_of_itself_is_understood() {
        let info = "# Server\r\nrun_id:r\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n\
            role:master\r\nmaster_replid:x\r\nmaster_replid2:0\r\n";
        let understood = Introduction::parse(info);
        let expected = Introduction {
            is_replica: false,
            is_loading: false,
            id: Some("x"),
            keeps_for_ever: true,
        };
        assert_eq!(understood, expected);
        let bounded = Introduction::parse("maxmemory:1000\r\nmaxmemory_policy:allkeys-lru\r\n");
        assert!(!bounded.keeps_for_ever);
        assert!(Introduction::parse("role:slave\r\n").is_replica);
        assert!(Introduction::parse("loading:1\r\n").is_loading);
        assert_eq!(Introduction::parse(""), Introduction::default());
    }
}
