//! The reply to `INFO`.

use redis::Value;
use sha2::{Digest, Sha256};

use crate::observe::fault::Fault;
use crate::store::Incarnation;

/// The parts of the reply to `INFO` that decide about trust.
#[derive(Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct ServerInfo {
    pub(super) is_replica: bool,
    /// The server refuses other commands until it has read its data from disk.
    pub(super) is_loading: bool,
    /// Changes whenever the server may have lost evictions that it took.
    pub(super) incarnation: Incarnation,
    /// The server never evicts keys without expiry for memory.
    pub(super) keeps_for_ever: bool,
    /// The server pushes an invalidation before, and not within, the replies that follow.
    pub(super) pushes_in_order: bool,
}

impl ServerInfo {
    /// Reads the reply to `INFO`. Without the command, or without permission for it, nothing is known.
    pub(super) fn of_reply(reply: Value) -> Result<Self, Fault> {
        match reply {
            Value::BulkString(info) => Ok(Self::parse(&String::from_utf8_lossy(&info))),
            Value::VerbatimString { text, .. } => Ok(Self::parse(&text)),
            Value::ServerError(error) if !matches!(error.code(), "ERR" | "NOPERM") => {
                Err(Fault::Refused(error.code().to_owned()))
            }
            _ => Ok(Self::default()),
        }
    }

    fn parse(info: &str) -> Self {
        let value = |name: &str| {
            let mut lines = info.lines().filter_map(|line| line.split_once(':'));
            lines.find_map(|(it, value)| (it == name).then_some(value.trim()))
        };
        let policy = value("maxmemory_policy").unwrap_or_default();
        Self {
            is_replica: value("role") == Some("slave"),
            is_loading: value("loading") == Some("1"),
            incarnation: incarnation(
                value("run_id").or_else(|| value("master_replid")),
                value("master_replid2"),
            ),
            keeps_for_ever: value("maxmemory") == Some("0")
                || policy == "noeviction"
                || policy.starts_with("volatile-"),
            pushes_in_order: value("redis_version").is_some_and(pushes_in_order)
                && value("dragonfly_version").is_none(),
        }
    }
}

/// Returns whether a version of Redis pushes invalidations in order. Redis does so from 7.0 on, and before
/// 7.0.9 it can crash when it drops tracked names.
fn pushes_in_order(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    let version: [u32; 3] = std::array::from_fn(|_| numbers.next().unwrap_or(0));
    version >= [7, 0, 9]
}

/// Derives the incarnation from ids that change when evictions may be lost.
///
/// A restarted server may have older data, and has a new run id. A promoted replica may lack the last
/// evictions, and its run id differs from that of the previous primary. A server that was a replica for a
/// while may have the data of another: its second replication id is that of the primary that it followed.
/// The first replication id also changes when nothing is lost, so it is not used.
fn incarnation(run_id: Option<&str>, second_replication_id: Option<&str>) -> Incarnation {
    let Some(run_id) = run_id else {
        return Incarnation::default();
    };
    let mut hash = Sha256::new();
    hash.update(run_id);
    hash.update([0]);
    hash.update(second_replication_id.unwrap_or_default());
    let hash = hash.finalize();
    let mut incarnation = Incarnation::default();
    incarnation
        .iter_mut()
        .zip(hash)
        .for_each(|(to, from)| *to = from);
    incarnation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_of_itself_is_understood() {
        let info = "# Server\r\nrun_id:r\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n\
            role:master\r\nmaster_replid:x\r\nmaster_replid2:0\r\n";
        let expected = ServerInfo {
            is_replica: false,
            is_loading: false,
            incarnation: incarnation(Some("r"), Some("0")),
            keeps_for_ever: true,
            pushes_in_order: false,
        };
        assert_eq!(ServerInfo::parse(info), expected);
        let bounded = ServerInfo::parse("maxmemory:1000\r\nmaxmemory_policy:allkeys-lru\r\n");
        assert!(!bounded.keeps_for_ever);
        assert!(ServerInfo::parse("role:slave\r\n").is_replica);
        assert!(ServerInfo::parse("loading:1\r\n").is_loading);
        assert_eq!(ServerInfo::parse(""), ServerInfo::default());
    }

    #[test]
    fn a_server_is_another_after_a_restart_and_after_it_followed_a_primary() {
        let incarnation = |info: &str| ServerInfo::parse(info).incarnation;
        let before = incarnation("run_id:r\nmaster_replid:x\nmaster_replid2:0\n");
        let first_replica = incarnation("run_id:r\nmaster_replid:y\nmaster_replid2:0\n");
        let restarted = incarnation("run_id:s\nmaster_replid:x\nmaster_replid2:0\n");
        let promoted_again = incarnation("run_id:r\nmaster_replid:y\nmaster_replid2:z\n");
        assert_eq!(before, first_replica);
        assert_ne!(before, restarted);
        assert_ne!(before, promoted_again);
    }

    #[test]
    fn old_servers_and_others_do_not_send_pushes_in_order() {
        let sends = |info: &str| ServerInfo::parse(info).pushes_in_order;
        assert!(sends("# Server\r\nredis_version:7.0.15\r\n"));
        assert!(sends("redis_version:7.2.4\r\nserver_name:valkey\r\n"));
        assert!(sends("redis_version:10.0.0\r\n"));
        assert!(!sends("redis_version:6.2.14\r\n"));
        assert!(!sends("redis_version:7.0.8\r\n"));
        assert!(!sends(
            "redis_version:7.4.0\r\ndragonfly_version:df-1.30\r\n"
        ));
        assert!(!sends(""));
        assert!(!ServerInfo::of_reply(Value::Nil).unwrap().pushes_in_order);
    }
}
