//! Commands of the protocol, and their arguments.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, RedisWrite, ToRedisArgs, Value};

use crate::key::Name;
use crate::observe::fault::Fault;
use crate::store::random_nonce;

/// Reads a nonce or seeds it, and makes it last at least as long as asked. A nonce that is prolonged lasts
/// half as long again: each prolongation invalidates the copies in near caches.
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
  elseif left < ttl then redis.call('PEXPIRE', KEYS[1], ttl + math.floor(ttl / 2)) end
end
return nonce";

/// Stores an entry if the lease is still held.
/// KEYS: lease, entry. ARGV: token, entry, milliseconds (0: for ever).
pub(super) const FILL: &str = "\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if ARGV[3] == '0' then redis.call('SET', KEYS[2], ARGV[2])
else redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3]) end
return 1";

/// Stores an entry like `FILL`, for a write: deletes everything else of the key, and the entry too if
/// the lease was lost.
/// KEYS: lease, entry, then the names whose removal evicts the key, the variants' nonce last.
/// ARGV: as for `FILL`, then the new nonce of the variants (empty: none).
pub(super) const WRITE_THROUGH: &str = "\
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

/// Stores values if the lease is still held, like `FILL`. The script names the lease alone, so that a
/// node runs it while the slot is migrating and the other names are not there yet. If the node refuses
/// the write, the lease is lost.
/// KEYS: lease. ARGV: token, milliseconds (0: for ever), then each name and its value. The names
/// are in the slot of the lease.
#[cfg(feature = "cluster")]
pub(super) const STORE_ALONE: &str = "\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
for n = 3, #ARGV, 2 do
  if ARGV[2] == '0' then redis.call('SET', ARGV[n], ARGV[n + 1])
  else redis.call('SET', ARGV[n], ARGV[n + 1], 'PX', ARGV[2]) end
end
return 1";

/// Renews a lease that is still held. KEYS: lease. ARGV: token, its next token,
/// milliseconds.
pub(super) const RENEW: &str = "\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1";

/// Gives a lease back if it is still held. KEYS: lease. ARGV: token.
pub(super) const RELEASE: &str = "\
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0";

pub(super) fn seed(name: Name<'_>, ttl: Option<Duration>) -> Result<Cmd, Fault> {
    let mut command = eval(SEED, &[name]);
    command.arg(&random_nonce()?).arg(millis(ttl));
    Ok(command)
}

/// Reads strings. `MGET` returns nothing for values of other types; `GET` would be refused.
pub(super) fn read(names: impl IntoIterator<Item = impl ToRedisArgs>) -> Cmd {
    about("MGET", names)
}

/// Deletes names.
pub(super) fn delete<'a>(names: impl IntoIterator<Item = Name<'a>>) -> Cmd {
    about("DEL", names.into_iter().map(Arg))
}

fn about(command: &str, names: impl IntoIterator<Item = impl ToRedisArgs>) -> Cmd {
    let names = names.into_iter();
    let arguments = 1 + names.size_hint().0;
    let mut cmd = Cmd::with_capacity(arguments, arguments * 96);
    cmd.arg(command);
    for name in names {
        cmd.arg(name);
    }
    cmd
}

/// Returns whether an error code means that another node of the cluster has the names.
pub(super) fn is_redirection(code: &str) -> bool {
    matches!(code, "MOVED" | "ASK" | "TRYAGAIN")
}

/// Returns a reply, unless the server refused the command.
pub(super) fn refuse_errors(value: Value) -> Result<Value, Fault> {
    match value {
        Value::ServerError(error) => Err(Fault::Refused(error.code().to_owned())),
        value => Ok(value),
    }
}

/// Returns the bytes of a value, if it is a string.
pub(super) fn bytes(value: Value) -> Option<Bytes> {
    match value {
        Value::BulkString(bytes) => Some(bytes.into()),
        _ => None,
    }
}

/// Returns the values of a reply to several names, or to several commands.
pub(super) fn values_of(reply: Value) -> Result<Vec<Value>, Fault> {
    match reply {
        Value::Array(values) => Ok(values),
        _ => Err(Fault::Protocol),
    }
}

/// Returns the only value of a reply.
pub(super) fn first_value(reply: Value) -> Option<Value> {
    values_of(reply).ok()?.into_iter().next()
}

/// Builds the call of a script, up to its keys. Redis caches compiled scripts, so sending the text every
/// time costs little, and `NOSCRIPT` replies cannot occur.
pub(super) fn eval(script: &str, keys: &[Name<'_>]) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(script).arg(keys.len());
    for key in keys {
        command.arg(Arg(*key));
    }
    command
}

/// Returns milliseconds for `PX`, at least 1; 0 means no expiry.
pub(super) fn millis(ttl: Option<Duration>) -> u64 {
    // Redis refuses expiry times that overflow its clock.
    const MAX: u64 = 1 << 52;
    ttl.map_or(0, |ttl| {
        u64::try_from(ttl.as_millis()).unwrap_or(MAX).clamp(1, MAX)
    })
}

/// A name as an argument. Its pieces are written into the command directly.
pub(super) struct Arg<'a>(pub(super) Name<'a>);

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
