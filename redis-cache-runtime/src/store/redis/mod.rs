//! The store protocol on Redis.

mod link;

use std::future::poll_fn;
use std::io::Write;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisWrite, ToRedisArgs, Value};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::{Claim, Claimed, Found, Lease, LeaseTimes, Nonce, Stamps, Token, random_nonce};
use crate::fault::{Fault, FaultLog};
use crate::key::{Address, Eviction, Name, Names};
use crate::settings::{Settings, SettingsError};
use link::{Connected, Link};

/// Reads a nonce or seeds it, and makes it last at least as long as asked.
/// KEYS: nonce. ARGV: fresh nonce, milliseconds (0: for ever).
const SEED: &str = "\
local nonce = redis.pcall('GET', KEYS[1])
local ttl = tonumber(ARGV[2])
if type(nonce) ~= 'string' or #nonce ~= 16 then
  redis.call('SET', KEYS[1], ARGV[1])
  nonce = ARGV[1]
  if ttl > 0 then redis.call('PEXPIRE', KEYS[1], ttl) end
  return nonce
end
local left = redis.call('PTTL', KEYS[1])
if left >= 0 then
  if ttl == 0 then redis.call('PERSIST', KEYS[1])
  elseif left < ttl then redis.call('PEXPIRE', KEYS[1], ttl) end
end
return nonce";

/// Stores an entry if the lease is still held.
/// KEYS: lease, entry. ARGV: token, entry, milliseconds (0: for ever).
const FILL: &str = "\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if ARGV[3] == '0' then redis.call('SET', KEYS[2], ARGV[2])
else redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3]) end
return 1";

/// Like `FILL`, for a write: everything else known of the key goes, and if the lease was lost, the
/// entry too.
/// KEYS: lease, entry, then the names whose removal evicts the key, the variants' nonce last.
/// ARGV: as for `FILL`, then the new nonce of the variants (empty: none).
const WRITE_THROUGH: &str = "\
local held = redis.call('GET', KEYS[1]) == ARGV[1]
redis.call('DEL', unpack(KEYS))
if not held then return 0 end
local function set(key, value)
  if ARGV[3] == '0' then redis.call('SET', key, value)
  else redis.call('SET', key, value, 'PX', ARGV[3]) end
end
set(KEYS[2], ARGV[2])
if ARGV[4] ~= '' then set(KEYS[#KEYS], ARGV[4]) end
return 1";

/// Holds a lease that is still held for longer. KEYS: lease. ARGV: token, its next token,
/// milliseconds.
const RENEW: &str = "\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1";

/// Gives a lease back if it is still held. KEYS: lease. ARGV: token.
const RELEASE: &str = "\
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0";

#[derive(Debug)]
pub(crate) struct RedisStore {
    names: Names,
    link: Link,
    budget: Duration,
}

impl RedisStore {
    pub(crate) fn new(settings: &Settings, faults: Arc<FaultLog>) -> Result<Self, SettingsError> {
        let names = Names::new(&settings.prefix);
        Ok(Self {
            link: Link::new(settings, names.clone(), faults)?,
            names,
            budget: settings.socket_timeout,
        })
    }

    /// One `MGET`: the entry first, then its nonces, then the lease.
    pub(crate) async fn get(&self, at: &Address, holder: bool) -> Result<Found, Fault> {
        let mut mget = Cmd::with_capacity(2 + at.groups.iter().count(), 160);
        mget.arg("MGET").arg(Arg(self.names.entry(at)));
        for nonce in self.names.nonces(at) {
            mget.arg(Arg(nonce));
        }
        if holder {
            mget.arg(Arg(self.names.lease(at)));
        }
        let reply = self.in_time(Request::Lookup(&mget)).await;
        let Value::Array(values) = reply.and_then(refuse_errors)? else {
            return Err(Fault::Protocol);
        };
        let mut values = values.into_iter();
        let entry = values.next().and_then(bytes);
        let holder = holder.then(|| values.next_back()).flatten();
        Ok(Found {
            entry,
            nonces: values.map(|value| nonce(&value)).collect(),
            holder: holder.as_ref().and_then(token),
        })
    }

    pub(crate) async fn lease(
        &self,
        at: &Address,
        claim: Claim,
        drawn: Token,
        times: LeaseTimes,
    ) -> Result<Claimed, Fault> {
        let mut commands = Pipeline::new();
        let name = claim.lease(&self.names, at);
        let set = commands.cmd("SET").arg(Arg(name)).arg(&drawn.0);
        set.arg("PX").arg(millis(Some(times.hold)));
        if claim != Claim::Override {
            set.arg("NX");
            let mget = commands.cmd("MGET").arg(Arg(name));
            mget.arg(Arg(self.names.entry(at)));
        }
        for name in self.names.nonces(at) {
            commands.add_command(seed(name, times.nonce())?);
        }
        let mut values = self.run_all(&commands).await?.into_iter();
        let set = values.next();
        let mut entry = None;
        if claim != Claim::Override {
            let Some(Value::Array(there)) = values.next() else {
                return Err(Fault::Protocol);
            };
            let holder = there.first().and_then(token);
            // It is sent again on a new connection when it is not known what became of it.
            let is_taken = set == Some(Value::Okay) || holder == Some(drawn);
            if !is_taken {
                // One that ended just now was held by somebody all the same.
                return Ok(Claimed::Held(holder.unwrap_or(drawn)));
            }
            entry = there.into_iter().nth(1).and_then(bytes);
        }
        let stamps: Option<Stamps> = values.map(|value| nonce(&value)).collect();
        let stamps = stamps.ok_or(Fault::Protocol)?;
        Lease::new(at, claim, drawn, stamps).map(|lease| Claimed::Taken(lease, entry))
    }

    pub(crate) async fn renew(
        &self,
        at: &Address,
        lease: &Lease,
        token: Token,
        hold: Duration,
    ) -> Result<bool, Fault> {
        let mut command = eval(RENEW, &[lease.claim.lease(&self.names, at)]);
        command.arg(&lease.token.0).arg(&token.0);
        command.arg(millis(Some(hold)));
        Ok(self.run(&command).await? == Value::Int(1))
    }

    pub(crate) async fn put(
        &self,
        at: &Address,
        lease: &Lease,
        entry: &[u8],
        ttl: Option<Duration>,
    ) -> Result<bool, Fault> {
        let (lease_name, entry_name) = (lease.claim.lease(&self.names, at), self.names.entry(at));
        let mut command = match lease.claim {
            Claim::IfFree | Claim::Alone => eval(FILL, &[lease_name, entry_name]),
            Claim::Override => {
                let key = Eviction::Key(at.key.clone());
                let mut names = vec![lease_name, entry_name, self.names.lease(at)];
                names.extend(self.names.evicted(&key));
                eval(WRITE_THROUGH, &names)
            }
        };
        command.arg(&lease.token.0).arg(entry).arg(millis(ttl));
        if lease.claim == Claim::Override {
            command.arg(lease.variants(at).map_or(&[][..], |nonce| nonce));
        }
        Ok(self.run(&command).await? == Value::Int(1))
    }

    pub(crate) async fn prolong(&self, at: &Address, ttl: Option<Duration>) -> Result<(), Fault> {
        let mut commands = Pipeline::new();
        for name in self.names.nonces(at) {
            commands.add_command(seed(name, ttl)?);
        }
        self.run_all(&commands).await.map(drop)
    }

    pub(crate) async fn release(
        &self,
        at: &Address,
        claim: Claim,
        token: Token,
    ) -> Result<(), Fault> {
        let mut command = eval(RELEASE, &[claim.lease(&self.names, at)]);
        command.arg(&token.0);
        self.run(&command).await.map(drop)
    }

    pub(crate) async fn remove(&self, evictions: &[Eviction]) -> Result<(), Fault> {
        let mut del = redis::cmd("DEL");
        for name in evictions
            .iter()
            .flat_map(|eviction| self.names.evicted(eviction))
        {
            del.arg(Arg(name));
        }
        self.run(&del).await.map(drop)
    }

    async fn run(&self, command: &Cmd) -> Result<Value, Fault> {
        self.in_time(Request::One(command))
            .await
            .and_then(refuse_errors)
    }

    async fn run_all(&self, commands: &Pipeline) -> Result<Vec<Value>, Fault> {
        match self.in_time(Request::Many(commands)).await? {
            Value::Array(values) => values.into_iter().map(refuse_errors).collect(),
            _ => Err(Fault::Protocol),
        }
    }

    /// Sends a request within the time budget. On a connection that turns out to be closed it is
    /// sent once more on a new one: everything in the protocol may be repeated.
    async fn in_time(&self, request: Request<'_>) -> Result<Value, Fault> {
        let deadline = Instant::now() + request.budget(self.budget);
        if let Some(mut connected) = self.link.connected() {
            request.check(&connected)?;
            let end = until(deadline, request.send(&mut connected.connection)).await;
            match self.link.settle(end, &connected) {
                Err(Fault::Disconnected) => {}
                result => return result,
            }
        }
        // Boxed, because it is rare.
        Box::pin(async {
            let mut connected = self.link.connect(deadline).await?;
            request.check(&connected)?;
            let end = until(deadline, request.send(&mut connected.connection)).await;
            self.link.settle(end, &connected)
        })
        .await
    }
}

/// Waits for a reply. One that arrived while this process had no time to read it is not late.
async fn until<T>(
    deadline: Instant,
    mut reply: RedisFuture<'_, T>,
) -> Result<Result<T, RedisError>, Elapsed> {
    let end = timeout_at(deadline, reply.as_mut()).await;
    if end.is_ok() {
        return end;
    }
    // Once for what reads from the socket, and once for what hands it on.
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    match poll_fn(|cx| Poll::Ready(reply.as_mut().poll(cx))).await {
        Poll::Ready(reply) => Ok(reply),
        Poll::Pending => end,
    }
}

/// What is sent at once.
#[derive(Clone, Copy)]
enum Request<'a> {
    One(&'a Cmd),
    /// Like `One`, for what is believed only when Redis has settled.
    Lookup(&'a Cmd),
    /// Its reply is an array.
    Many(&'a Pipeline),
}

impl<'a> Request<'a> {
    /// What a lookup finds is believed only if it came soon: another process, whose eviction waited
    /// for Redis as long, must not have given up yet.
    fn budget(self, budget: Duration) -> Duration {
        match self {
            Self::Lookup(_) => budget / 2,
            Self::One(_) | Self::Many(_) => budget,
        }
    }

    fn check(self, connected: &Connected) -> Result<(), Fault> {
        match self {
            Self::Lookup(_) if !connected.has_settled() => Err(Fault::Settling),
            _ => Ok(()),
        }
    }

    /// Boxed, because the future is large and every future around it is moved with it.
    fn send(self, connection: &'a mut MultiplexedConnection) -> RedisFuture<'a, Value> {
        match self {
            Self::One(command) | Self::Lookup(command) => connection.req_packed_command(command),
            Self::Many(commands) => Box::pin(async move {
                let replies = connection
                    .req_packed_commands(commands, 0, commands.len())
                    .await;
                replies.map(Value::Array)
            }),
        }
    }
}

fn seed(name: Name<'_>, ttl: Option<Duration>) -> Result<Cmd, Fault> {
    let mut command = eval(SEED, &[name]);
    command.arg(&random_nonce()?).arg(millis(ttl));
    Ok(command)
}

/// The call of a script, up to its keys. Redis keeps what it compiled, so sending the text every
/// time costs little, and there is no reply to handle for a script that Redis has forgotten.
fn eval(script: &str, keys: &[Name<'_>]) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(script).arg(keys.len());
    for key in keys {
        command.arg(Arg(*key));
    }
    command
}

/// Milliseconds for `PX`, which must not be 0; 0 stands for no expiry.
fn millis(ttl: Option<Duration>) -> u64 {
    // Redis refuses expiry times past what it can add to its clock.
    const MAX: u64 = 1 << 52;
    ttl.map_or(0, |ttl| {
        u64::try_from(ttl.as_millis()).unwrap_or(MAX).clamp(1, MAX)
    })
}

fn bytes(value: Value) -> Option<Bytes> {
    match value {
        Value::BulkString(bytes) => Some(bytes.into()),
        _ => None,
    }
}

fn nonce(value: &Value) -> Option<Nonce> {
    match value {
        Value::BulkString(bytes) => bytes.as_slice().try_into().ok(),
        _ => None,
    }
}

fn token(value: &Value) -> Option<Token> {
    match value {
        Value::BulkString(bytes) => Some(Token::of_bytes(bytes)),
        _ => None,
    }
}

fn refuse_errors(value: Value) -> Result<Value, Fault> {
    match value {
        Value::ServerError(error) => Err(Fault::Refused(error.code().to_owned())),
        value => Ok(value),
    }
}

impl From<&RedisError> for Fault {
    fn from(error: &RedisError) -> Self {
        match error.code() {
            Some(code) => Self::Refused(code.to_owned()),
            None if error.kind() == ErrorKind::AuthenticationFailed => Self::Credentials,
            None if error.is_timeout() => Self::Timeout,
            None if error.is_unrecoverable_error() || error.is_io_error() => Self::Disconnected,
            None => Self::Protocol,
        }
    }
}

/// A name as an argument: its pieces go into the command without being joined before.
struct Arg<'a>(Name<'a>);

impl ToRedisArgs for Arg<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        let mut writer = out.writer_for_next_arg();
        for piece in self.0.iter().filter(|piece| !piece.is_empty()) {
            // Writing to a buffer in memory does not fail.
            let _ = writer.write_all(piece.as_bytes());
        }
    }
}

impl redis::ToSingleRedisArg for Arg<'_> {}
