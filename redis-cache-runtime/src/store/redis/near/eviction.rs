//! The commands of an eviction for the near caches of all processes.

use std::time::Duration;

use redis::{Cmd, Pipeline, Value};
use tokio::time::{Instant, sleep};

use super::{ERA, FOUNDING, GIVEN_UP, NUMBER, bell_of_text, window_in_registry};
use crate::key::hex;
use crate::observe::fault::Fault;
use crate::store::near::connection::Bell;
use crate::store::near::eviction::{EvictionCommands, Member};
use crate::store::random_nonce;
use crate::store::redis::commands::{bytes, eval, refuse_errors, values_of};
use crate::store::redis::context::ClientContext;
use crate::store::redis::node::Node;
use crate::store::redis::request::{Purpose, Request};

/// Founds the registry, unless it was lost since the attempt began. KEYS: registry. ARGV: attempt.
const FOUND: &str = "\
if redis.call('HGET', KEYS[1], 'founding') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'founded', '')
end
return 0";

/// The number of acknowledgements that are read without a pause.
const EAGER_READS: u32 = 8;

/// The longest pause between two reads of acknowledgements.
const LONGEST_PAUSE: Duration = Duration::from_millis(8);

/// The commands of an eviction.
pub(in super::super) struct OnNode<'a> {
    pub(in super::super) node: &'a Node,
    pub(in super::super) context: &'a ClientContext,
}

impl OnNode<'_> {
    async fn run(&self, commands: &Pipeline) -> Result<Vec<Value>, Fault> {
        let deadline = Instant::now() + self.context.budget();
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
                    let last = text.as_deref().and_then(bell_of_text);
                    !last.is_some_and(|last| last.includes(bell))
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
        let names: Vec<&str> = members.iter().map(|member| &*member.name).collect();
        let commands = self.context.near_names.remove(&names);
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
        let registry = &self.context.near_names.registry;
        let mut command = eval(FOUND, &[[registry, "", "", ""]]);
        command.arg(attempt);
        let _ = self.run_one(command).await;
    }
}

/// Returns a window and one per cent, because two clocks do not run at exactly the same speed.
pub(in super::super) fn with_reserve(window: Duration) -> Duration {
    window + window / 100 + Duration::from_millis(1)
}
