//! The commands of the near cache on Redis, and the pushes on a tracked connection.
//!
//! A hash is the registry of the connections that keep copies, another is the bell that evictions ring,
//! and a third has the last bell that each connection has acknowledged.

use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::aio::{AsyncPushSender, ConnectionLike, MultiplexedConnection, SendError};
use redis::{Cmd, Pipeline, PushInfo, PushKind, Value};
use tokio::time::{Instant, sleep, timeout};

use super::commands::{bytes, eval, refuse_errors, values_of};
use super::context::ClientContext;
use super::link::SharedConnection;
use super::node::Node;
use super::request::{Purpose, Request};
use crate::key::{Name, hex};
use crate::observe::fault::Fault;
use crate::store::near::NearCache;
use crate::store::near::connection::{Bell, MemberCommands, Observed, TrackedConnection};
use crate::store::near::eviction::{EvictionCommands, Member, Registry};
use crate::store::random_nonce;

/// The fields of the registry that are no names of connections.
const FOUNDED: &str = "founded";
const FOUNDING: &str = "founding";

/// The fields of the bell.
const ERA: &str = "era";
const NUMBER: &str = "number";

/// The end of the value of a member that was given up.
const GIVEN_UP: &str = " given up";

/// Founds the registry, unless it was lost since the attempt began. KEYS: registry. ARGV: attempt.
const FOUND: &str = "\
if redis.call('HGET', KEYS[1], 'founding') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'founded', '')
end
return 0";

/// The number of acknowledgements that are read without a pause.
const EAGER_READS: u32 = 8;

/// The longest window that the settings allow.
const LONGEST_WINDOW: Duration = Duration::from_secs(1);

/// The pause before a connection reads the registry again if it could not.
const RETRY: Duration = Duration::from_millis(50);

/// The longest pause between two reads of acknowledgements.
const LONGEST_PAUSE: Duration = Duration::from_millis(8);

/// The names of the three hashes.
pub(super) struct NearNames {
    registry: String,
    bell: String,
    acknowledged: String,
}

impl NearNames {
    pub(super) fn new(prefix: &str) -> Self {
        let name = |kind| format!("{prefix}:cache:near:{kind}");
        Self {
            registry: name("registry"),
            bell: name("bell"),
            acknowledged: name("acknowledged"),
        }
    }

    /// Returns the command that reads the registry.
    pub(super) fn read_registry(&self) -> Cmd {
        let mut command = redis::cmd("HGETALL");
        command.arg(&self.registry);
        command
    }

    pub(super) fn registry(&self) -> Name<'_> {
        [&self.registry, "", "", ""]
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

/// Returns whether a server pushes an invalidation before, and not within, the replies that follow. Redis
/// does so from 7.0 on, and Redis before 7.0.9 can crash when it drops tracked names. Dragonfly does not.
fn sends_pushes_in_order(info: &Value) -> bool {
    let info = match info {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes),
        Value::VerbatimString { text, .. } => text.into(),
        _ => return false,
    };
    let version = info
        .lines()
        .find_map(|line| line.strip_prefix("redis_version:"));
    let numbers = version.unwrap_or_default().trim().split('.');
    let mut numbers = numbers.map(|number| number.parse().unwrap_or(0));
    let version: [u32; 3] = std::array::from_fn(|_| numbers.next().unwrap_or(0));
    version >= [7, 0, 9] && !info.contains("dragonfly_version:")
}

/// Applies the pushes of a connection. redis-rs calls it in the task that reads the connection, before
/// it reads a later reply.
#[derive(Clone)]
pub(super) struct Pushes {
    context: Arc<ClientContext>,
    cache: Arc<NearCache>,
    connection: Arc<TrackedConnection>,
}

impl Pushes {
    /// Returns the receiver of the pushes of a new connection; `None`: there is no near cache.
    pub(super) fn new(context: &Arc<ClientContext>) -> Option<Self> {
        let cache = Arc::clone(context.near_cache.as_ref()?);
        let id = hex(&random_nonce().ok()?);
        Some(Self {
            context: Arc::clone(context),
            cache,
            connection: Arc::new(TrackedConnection::new(id, context.near_window)),
        })
    }

    /// Asks the server to track what is read on a connection. `None`: the server refuses.
    pub(super) async fn start(
        self,
        connection: &mut MultiplexedConnection,
    ) -> Result<Option<Arc<TrackedConnection>>, Fault> {
        let mut info = redis::cmd("INFO");
        info.arg("server");
        let info = self.run(connection, &info).await;
        if !info.as_ref().is_ok_and(sends_pushes_in_order) {
            self.context
                .warn_of_tracking("its version is unknown or too old");
            return Ok(None);
        }
        let mut track = redis::cmd("CLIENT");
        track.arg("TRACKING").arg("ON");
        match self.run(connection, &track).await {
            Ok(Value::Okay) => Ok(Some(self.connection)),
            Ok(_) => Err(Fault::Protocol),
            Err(fault @ Fault::Refused(_)) => {
                self.context.warn_of_tracking(&fault.to_string());
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    async fn run(
        &self,
        connection: &mut MultiplexedConnection,
        command: &Cmd,
    ) -> Result<Value, Fault> {
        let reply = timeout(self.context.budget, connection.req_packed_command(command)).await;
        let reply = reply.map_err(|_| Fault::Timeout)?;
        refuse_errors(reply.map_err(|error| Fault::from(&error))?)
    }

    fn apply(&self, name: &[u8]) {
        let names = &self.context.near_names;
        if name == names.registry.as_bytes() {
            self.connection.registry_changed();
        } else if name == names.bell.as_bytes() {
            self.connection.bell_rung();
        } else {
            self.cache.invalidate(name);
        }
    }
}

impl AsyncPushSender for Pushes {
    fn send(&self, push: PushInfo) -> Result<(), SendError> {
        if push.kind != PushKind::Invalidate {
            return Ok(());
        }
        for data in push.data {
            if let Value::Array(names) = data {
                for name in names {
                    if let Value::BulkString(name) = name {
                        self.apply(&name);
                    }
                }
            } else {
                // The server does not know any more what it tracked.
                self.cache.invalidate_all();
                self.connection.registry_changed();
            }
        }
        Ok(())
    }
}

/// Attends to a tracked connection until it is dropped.
pub(super) async fn attend(shared: Weak<SharedConnection>, connection: Arc<TrackedConnection>) {
    let mut acknowledged = None;
    loop {
        let Some(commands) = shared.upgrade().map(OnConnection) else {
            return;
        };
        let ended = connection.attend(&commands, &mut acknowledged).await;
        drop(commands);
        match ended {
            Ok(()) => connection.rest().await,
            // Without a proof, no copy is served. Lookups notice if the connection is lost.
            Err(_) => sleep(RETRY).await,
        }
    }
}

/// Ends the service of copies that were read on a connection.
pub(super) async fn leave(shared: &Arc<SharedConnection>, connection: &TrackedConnection) {
    let commands = OnConnection(Arc::clone(shared));
    // If this fails, evictions give the connection up.
    let _ = connection.leave(&commands).await;
}

/// The commands that are sent on the connection itself.
struct OnConnection(Arc<SharedConnection>);

impl OnConnection {
    async fn run(&self, commands: &Pipeline) -> Result<Vec<Value>, Fault> {
        let context = self.0.context();
        let mut connection = self.0.connection();
        let replies = connection.req_packed_commands(commands, 0, commands.len());
        let replies = timeout(context.budget, replies)
            .await
            .map_err(|_| Fault::Timeout)?
            .map_err(|error| Fault::from(&error))?;
        self.0.check_trust()?;
        replies.into_iter().map(refuse_errors).collect()
    }
}

impl MemberCommands for OnConnection {
    async fn observe(&self, name: &str) -> Result<Observed, Fault> {
        let names = &self.0.context().near_names;
        let mut commands = redis::pipe();
        commands.cmd("HGET").arg(&names.registry).arg(name);
        let bell = commands.cmd("HMGET").arg(&names.bell);
        bell.arg(ERA).arg(NUMBER);
        let [member, bell]: [Value; 2] = self
            .run(&commands)
            .await?
            .try_into()
            .map_err(|_| Fault::Protocol)?;
        let is_member = bytes(member).is_some_and(|value| !value.ends_with(GIVEN_UP.as_bytes()));
        let bell: (Option<Vec<u8>>, Option<u64>) =
            redis::from_redis_value(bell).map_err(|_| Fault::Protocol)?;
        let bell = match bell {
            (Some(era), Some(number)) => Some(Bell { era, number }),
            _ => None,
        };
        Ok(Observed { is_member, bell })
    }

    async fn register(&self, name: &str, instead_of: &str, window: Duration) -> Result<(), Fault> {
        let names = &self.0.context().near_names;
        let mut commands = redis::pipe();
        commands.cmd("HDEL").arg(&names.registry).arg(instead_of);
        commands
            .cmd("HDEL")
            .arg(&names.acknowledged)
            .arg(instead_of);
        let register = commands.cmd("HSET").arg(&names.registry);
        register.arg(name).arg(window_in_registry(window));
        self.run(&commands).await.map(drop)
    }

    async fn deregister(&self, name: &str) -> Result<(), Fault> {
        let names = &self.0.context().near_names;
        let mut commands = redis::pipe();
        commands.cmd("HDEL").arg(&names.registry).arg(name);
        commands.cmd("HDEL").arg(&names.acknowledged).arg(name);
        self.run(&commands).await.map(drop)
    }

    async fn acknowledge(&self, name: &str, bell: &Bell) -> Result<(), Fault> {
        let names = &self.0.context().near_names;
        let mut commands = redis::pipe();
        let acknowledge = commands.cmd("HSET").arg(&names.acknowledged);
        acknowledge.arg(name).arg(acknowledgement(bell));
        self.run(&commands).await.map(drop)
    }
}

/// Returns the window in milliseconds, rounded up.
fn window_in_registry(window: Duration) -> u128 {
    window.as_micros().div_ceil(1000)
}

/// Returns the acknowledgement of a bell: its number, then its era.
fn acknowledgement(bell: &Bell) -> Vec<u8> {
    let mut text = format!("{} ", bell.number).into_bytes();
    text.extend_from_slice(&bell.era);
    text
}

/// Returns whether an acknowledgement is one of a bell, or of a later one.
fn acknowledges(text: &[u8], bell: &Bell) -> bool {
    let mut parts = text.splitn(2, |byte| *byte == b' ');
    let number = parts
        .next()
        .and_then(|number| std::str::from_utf8(number).ok());
    let number: Option<u64> = number.and_then(|number| number.parse().ok());
    number.is_some_and(|number| number >= bell.number) && parts.next() == Some(&bell.era[..])
}

/// The commands of an eviction.
pub(super) struct OnNode<'a> {
    pub(super) node: &'a Node,
    pub(super) context: &'a ClientContext,
}

impl OnNode<'_> {
    async fn run(&self, commands: &Pipeline) -> Result<Vec<Value>, Fault> {
        let deadline = Instant::now() + self.context.budget;
        let request = Request::Many(commands, Purpose::OTHER);
        let reply = self.node.send(request, deadline).await?;
        let values = values_of(reply.value)?.into_iter();
        values.map(refuse_errors).collect()
    }

    async fn run_one(&self, command: Cmd) -> Result<Value, Fault> {
        let mut commands = redis::pipe();
        commands.add_command(command);
        self.run(&commands).await?.pop().ok_or(Fault::Protocol)
    }
}

impl EvictionCommands for OnNode<'_> {
    async fn ring(&self) -> Result<Bell, Fault> {
        let bell = &self.context.near_names.bell;
        let mut commands = redis::pipe();
        let era = hex(&random_nonce()?);
        commands.cmd("HSETNX").arg(bell).arg(ERA).arg(era);
        commands.cmd("HINCRBY").arg(bell).arg(NUMBER).arg(1);
        commands.cmd("HGET").arg(bell).arg(ERA);
        let [_, number, era]: [Value; 3] = self
            .run(&commands)
            .await?
            .try_into()
            .map_err(|_| Fault::Protocol)?;
        let number = redis::from_redis_value(number).map_err(|_| Fault::Protocol)?;
        let era = bytes(era).ok_or(Fault::Protocol)?.to_vec();
        Ok(Bell { era, number })
    }

    async fn await_acknowledgements(
        &self,
        members: &[Member],
        bell: &Bell,
        window: Duration,
    ) -> Vec<Member> {
        let until = Instant::now() + with_reserve(window);
        let mut silent = members.to_vec();
        for turn in 0_u32.. {
            let mut command = redis::cmd("HMGET");
            command.arg(&self.context.near_names.acknowledged);
            for member in &silent {
                command.arg(&member.name);
            }
            if let Ok(Value::Array(texts)) = self.run_one(command).await {
                let mut texts = texts.into_iter().map(bytes);
                silent.retain(|_| {
                    let text = texts.next().flatten();
                    !text.is_some_and(|text| acknowledges(&text, bell))
                });
            }
            let now = Instant::now();
            if silent.is_empty() || now >= until {
                break;
            }
            // Even the shortest sleep takes a millisecond.
            if let Some(turn) = turn.checked_sub(EAGER_READS) {
                let pause = LONGEST_PAUSE.min(Duration::from_millis(1) * (turn + 1));
                sleep(pause.min(until - now)).await;
            }
        }
        silent
    }

    async fn pause(&self, window: Duration) {
        sleep(with_reserve(window)).await;
    }

    async fn give_up(&self, members: &[Member]) {
        let mut commands = redis::pipe();
        let command = commands.cmd("HSET").arg(&self.context.near_names.registry);
        for member in members {
            let window = window_in_registry(member.window);
            command.arg(&member.name).arg(format!("{window}{GIVEN_UP}"));
        }
        // If this fails, the next eviction waits for them, too.
        let _ = self.run(&commands).await;
    }

    async fn remove(&self, members: &[Member]) {
        let near_names = &self.context.near_names;
        let mut commands = redis::pipe();
        for hash in [&near_names.registry, &near_names.acknowledged] {
            let command = commands.cmd("HDEL").arg(hash);
            for member in members {
                command.arg(&member.name);
            }
        }
        let _ = self.run(&commands).await;
    }

    async fn begin_founding(&self) -> Result<Vec<u8>, Fault> {
        let registry = &self.context.near_names.registry;
        let mut commands = redis::pipe();
        let attempt = hex(&random_nonce()?);
        let begin = commands.cmd("HSETNX").arg(registry);
        begin.arg(FOUNDING).arg(attempt);
        commands.cmd("HGET").arg(registry).arg(FOUNDING);
        let mut replies = self.run(&commands).await?;
        let attempt = replies.pop().and_then(bytes).ok_or(Fault::Protocol)?;
        Ok(attempt.to_vec())
    }

    async fn found(&self, attempt: &[u8]) {
        let mut command = eval(FOUND, &[self.context.near_names.registry()]);
        command.arg(attempt);
        let _ = self.run_one(command).await;
    }
}

/// Returns a window and one per cent, because two clocks do not run at exactly the same speed.
fn with_reserve(window: Duration) -> Duration {
    window + window / 100 + Duration::from_millis(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_and_others_do_not_send_pushes_in_order() {
        let sends = |info: &str| sends_pushes_in_order(&Value::BulkString(info.into()));
        assert!(sends("# Server\r\nredis_version:7.0.15\r\n"));
        assert!(sends("redis_version:7.2.4\r\nserver_name:valkey\r\n"));
        assert!(sends("redis_version:10.0.0\r\n"));
        assert!(!sends("redis_version:6.2.14\r\n"));
        assert!(!sends("redis_version:7.0.8\r\n"));
        assert!(!sends(
            "redis_version:7.4.0\r\ndragonfly_version:df-1.30\r\n"
        ));
        assert!(!sends(""));
        assert!(!sends_pushes_in_order(&Value::Nil));
    }

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
        let acknowledges = |one: &Bell, other: &Bell| acknowledges(&acknowledgement(one), other);
        assert!(acknowledges(&bell("a b", 7), &bell("a b", 7)));
        assert!(acknowledges(&bell("a", 8), &bell("a", 7)));
        assert!(!acknowledges(&bell("a", 6), &bell("a", 7)));
        assert!(!acknowledges(&bell("b", 8), &bell("a", 7)));
    }
}
