//! The near cache on Redis.
//!
//! A hash is the registry of the connections that keep copies, another is the bell that evictions ring,
//! and a third has the last bell that each connection has acknowledged.

mod eviction;
mod member;
mod pushes;
#[cfg(feature = "cluster")]
mod readers;

use std::time::Duration;

use redis::{Cmd, Pipeline, Value};

pub(super) use self::eviction::OnNode;
#[cfg(feature = "cluster")]
pub(super) use self::eviction::with_reserve;
#[cfg(feature = "cluster")]
pub(super) use self::member::OnConnection;
pub(super) use self::member::{attend, leave};
pub(super) use self::pushes::Pushes;
#[cfg(feature = "cluster")]
pub(super) use self::readers::Readers;
use super::commands::refuse_errors;
use crate::observe::fault::Fault;
use crate::settings::LONGEST_WINDOW;
use crate::store::near::connection::Bell;
use crate::store::near::eviction::{Member, Registry};

/// The fields of the registry that are no names of connections.
const FOUNDED: &str = "founded";
const FOUNDING: &str = "founding";

/// The fields of the bell.
const ERA: &str = "era";
const NUMBER: &str = "number";

/// The end of the value of a member that was given up.
const GIVEN_UP: &str = " given up";

/// The names of the three hashes.
pub(super) struct NearNames {
    registry: String,
    bell: String,
    acknowledged: String,
}

impl NearNames {
    pub(super) fn new(prefix: &str) -> Self {
        Self::starting_with(&format!("{prefix}:cache:near:"))
    }

    /// Returns names that are all in one slot.
    #[cfg(feature = "cluster")]
    pub(super) fn in_cluster(prefix: &str) -> Self {
        Self::starting_with(&format!("{prefix}:cache:near:{{{prefix}:near}}:"))
    }

    fn starting_with(start: &str) -> Self {
        let name = |kind| format!("{start}{kind}");
        Self {
            registry: name("registry"),
            bell: name("bell"),
            acknowledged: name("acknowledged"),
        }
    }

    #[cfg(feature = "cluster")]
    pub(super) fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the command that reads the registry.
    pub(super) fn read_registry(&self) -> Cmd {
        let mut command = redis::cmd("HGETALL");
        command.arg(&self.registry);
        command
    }

    /// Returns the commands that remove connections, with what they have acknowledged.
    fn remove(&self, connections: &[&str]) -> Pipeline {
        let mut commands = redis::pipe();
        for hash in [&self.registry, &self.acknowledged] {
            commands.cmd("HDEL").arg(hash).arg(connections);
        }
        commands
    }
}

/// Parses the registry.
pub(super) fn registry(reply: Value) -> Result<Registry, Fault> {
    let fields: Vec<(Vec<u8>, Vec<u8>)> = match refuse_errors(reply)? {
        value @ (Value::Array(_) | Value::Map(_)) => {
            redis::from_redis_value(value).map_err(|_| Fault::Protocol)?
        }
        _ => return Err(Fault::Protocol),
    };
    let mut registry = Registry::default();
    for (name, value) in fields {
        let [name, value] = [name, value].map(|text| String::from_utf8_lossy(&text).into_owned());
        match name.as_str() {
            FOUNDED => registry.is_founded = true,
            FOUNDING => {}
            _ => registry.members.push(member(name, &value)),
        }
    }
    Ok(registry)
}

/// Parses a member. A value that no member has written counts as a member that was given up, so that it
/// is removed.
fn member(name: String, value: &str) -> Member {
    let window = value.strip_suffix(GIVEN_UP);
    let millis = window.unwrap_or(value).parse().ok();
    let parsed = millis.map(Duration::from_millis);
    let parsed = parsed.filter(|window| *window <= LONGEST_WINDOW);
    Member {
        name,
        window: parsed.unwrap_or(LONGEST_WINDOW),
        is_given_up: window.is_some() || parsed.is_none(),
    }
}

/// Returns the window in milliseconds, rounded up.
fn window_in_registry(window: Duration) -> u128 {
    window.as_micros().div_ceil(1000)
}

/// Returns the text of a bell: its number, then its era.
fn text_of_bell(bell: &Bell) -> Vec<u8> {
    let mut text = format!("{} ", bell.number).into_bytes();
    text.extend_from_slice(&bell.era);
    text
}

/// Parses the text of a bell.
fn bell_of_text(text: &[u8]) -> Option<Bell> {
    let mut parts = text.splitn(2, |byte| *byte == b' ');
    let number = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let era = parts.next()?.to_vec();
    Some(Bell { era, number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_field_of_the_registry_counts_as_a_member_that_was_given_up() {
        let field = |text: &str| Value::BulkString(text.into());
        let fields = [
            "founded",
            "",
            "a-1",
            "50",
            "b-1",
            "50 given up",
            "c",
            "1700000000000",
            "d",
            "x",
        ];
        let registry = registry(Value::Array(fields.map(field).into())).unwrap();
        assert!(registry.is_founded);
        let members = registry.members.iter();
        let members: Vec<_> = members
            .map(|member| {
                (
                    member.name.as_str(),
                    member.window.as_millis(),
                    member.is_given_up,
                )
            })
            .collect();
        let expected = [
            ("a-1", 50, false),
            ("b-1", 50, true),
            ("c", 1000, true),
            ("d", 1000, true),
        ];
        assert_eq!(members, expected);
    }

    #[test]
    fn a_later_bell_of_the_same_era_is_an_acknowledgement() {
        let bell = |era: &str, number| Bell {
            era: era.into(),
            number,
        };
        let acknowledges = |one: &Bell, other: &Bell| {
            let read = bell_of_text(&text_of_bell(one)).unwrap();
            read.includes(other)
        };
        assert!(acknowledges(&bell("a b", 7), &bell("a b", 7)));
        assert!(acknowledges(&bell("a", 8), &bell("a", 7)));
        assert!(!acknowledges(&bell("a", 6), &bell("a", 7)));
        assert!(!acknowledges(&bell("b", 8), &bell("a", 7)));
    }
}
