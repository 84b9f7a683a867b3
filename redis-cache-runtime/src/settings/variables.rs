//! The settings by name: the allowed values of each, and the parser of its text. A test compares them
//! with the table in the documentation.

use std::str::FromStr;
use std::time::Duration;

use super::error::PEM;
use super::{CertReqs, Settings};

pub(super) const URL: &str =
    "redis://[user[:password]@]host[:port][/db], rediss://… for TLS, or unix:///path[?db=0]";
pub(super) const HOST: &str = "a host name or address, without a port";
pub(super) const PORT: &str = "a port number from 1 to 65535";
pub(super) const DB: &str = "a database number from 0 to 2147483647";
/// The last database that a server can have: it counts them in 31 bits.
pub(super) const LAST_DB: u32 = i32::MAX.unsigned_abs();
pub(super) const CERTIFICATES: &str = "a file of PEM certificates";
pub(super) const KEY: &str = "a file with a PEM private key that is not encrypted";
pub(super) const MASTER_NAME: &str = "at least one character";
pub(super) const NODES: &str =
    "host[:port] of each, with commas between; the port is 26379 if left out";
pub(super) const CONNECTIONS: &str = "a number from 1 to 1024";
pub(super) const PREFIX: &str = "at least one character, and no brace, space or control character";
pub(super) const SECONDS: &str =
    "a number of seconds greater than 0, such as 0.25, and at most 86400";
pub(super) const PULSE: &str = "a number of seconds from 0.5 to 60";
/// The longest time limit.
pub(crate) const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest window of a near cache.
pub(crate) const LONGEST_WINDOW: Duration = Duration::from_secs(1);
const WHOLE_SECONDS: &str = "a whole number of seconds; 0 means no expiry";
pub(super) const WINDOW: &str = "a number of seconds from 0.01 to 1";
pub(super) const NEAR_BYTES: &str =
    "a number of bytes, at least 4194304; 0 turns the near cache off";
const RUNS: &str = "a number of runs";
const BYTES: &str = "a number of bytes";
const CERT_REQS: &str = "required or none";
const BOOLEAN: &str = "true or false";
const TEXT: &str = "any text";

/// A setting that can be given as text.
pub(super) struct Variable {
    /// The name of the method. In capitals after `REDIS_`, it is the name of the variable.
    pub(super) name: &'static str,
    pub(super) allowed: &'static str,
    /// Parses a value; `None`: the value is not allowed.
    pub(super) set: fn(Settings, &str) -> Option<Settings>,
}

/// `variable!(name, what it allows, how its text is read)`; `name?`: its method refuses some values.
macro_rules! variable {
    ($name:ident, $allowed:expr, $read:expr) => {
        Variable {
            name: stringify!($name),
            allowed: $allowed,
            set: |settings, text| Some(settings.$name($read(text)?)),
        }
    };
    ($name:ident?, $allowed:expr, $read:expr) => {
        Variable {
            name: stringify!($name),
            allowed: $allowed,
            set: |settings, text| settings.$name($read(text)?).ok(),
        }
    };
}

pub(super) const VARIABLES: [Variable; 43] = [
    variable!(url?, URL, Some),
    variable!(host?, HOST, Some),
    variable!(port?, PORT, number),
    variable!(db?, DB, number),
    variable!(username, TEXT, Some),
    variable!(password, TEXT, Some),
    variable!(ssl, BOOLEAN, boolean),
    variable!(ssl_certfile, CERTIFICATES, path),
    variable!(ssl_keyfile, KEY, path),
    variable!(ssl_ca_certs, CERTIFICATES, path),
    variable!(ssl_check_hostname, BOOLEAN, boolean),
    variable!(ssl_cert_reqs, CERT_REQS, cert_reqs),
    variable!(cluster, BOOLEAN, boolean),
    variable!(sentinel, BOOLEAN, boolean),
    variable!(sentinel_master_name?, MASTER_NAME, Some),
    variable!(sentinel_nodes?, NODES, list),
    variable!(sentinel_username, TEXT, Some),
    variable!(sentinel_password, TEXT, Some),
    variable!(sentinel_ssl, BOOLEAN, boolean),
    variable!(sentinel_ssl_certfile, CERTIFICATES, path),
    variable!(sentinel_ssl_keyfile, KEY, path),
    variable!(sentinel_ssl_ca_certs, CERTIFICATES, path),
    variable!(sentinel_ssl_check_hostname, BOOLEAN, boolean),
    variable!(sentinel_ssl_cert_reqs, CERT_REQS, cert_reqs),
    variable!(max_connections?, CONNECTIONS, number),
    variable!(socket_timeout, SECONDS, seconds),
    variable!(socket_connect_timeout, SECONDS, seconds),
    variable!(pulse?, PULSE, seconds),
    variable!(hold_pending, BOOLEAN, boolean),
    variable!(prefix?, PREFIX, Some),
    variable!(default_ttl, WHOLE_SECONDS, whole_seconds),
    variable!(warn_unbounded_cache, BOOLEAN, boolean),
    variable!(otel_enabled, BOOLEAN, boolean),
    variable!(lease_ttl, SECONDS, seconds),
    variable!(max_detached_runs, RUNS, number),
    variable!(max_body_bytes, BYTES, number),
    variable!(max_streamed_bytes, BYTES, number),
    variable!(max_memory_bytes, BYTES, number),
    variable!(near_cache_bytes?, NEAR_BYTES, number),
    variable!(near_cache_window?, WINDOW, seconds),
    variable!(request_directives, BOOLEAN, boolean),
    variable!(cache_status, BOOLEAN, boolean),
    variable!(cache_groups, BOOLEAN, boolean),
];

/// The settings that are ignored when there is a URL.
pub(super) const IN_URL: [&str; 5] = ["host", "port", "db", "username", "password"];

/// Not what belongs into the file.
fn path(text: &str) -> Option<&str> {
    (!text.contains(PEM)).then_some(text)
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// Splits a text at commas, without empty parts.
#[allow(clippy::unnecessary_wraps, reason = "the others may fail")]
fn list(text: &str) -> Option<impl Iterator<Item = &str>> {
    let items = text.split(',').map(str::trim);
    Some(items.filter(|item| !item.is_empty()))
}

/// Returns whether a request can wait that long. A longer time is a mistake, and could overflow a clock.
pub(super) fn is_wait(duration: Duration) -> bool {
    !duration.is_zero() && duration <= LONGEST
}

/// Returns whether the interval of pulses is allowed.
pub(super) fn is_pulse(duration: Duration) -> bool {
    (Duration::from_millis(500)..=Duration::from_secs(60)).contains(&duration)
}

/// Returns whether the window of a near cache is allowed.
pub(super) fn is_window(duration: Duration) -> bool {
    (Duration::from_millis(10)..=LONGEST_WINDOW).contains(&duration)
}

/// Returns whether a near cache may have that size. A smaller one would have no room for long entries.
pub(super) fn is_near_cache(bytes: usize) -> bool {
    bytes == 0 || bytes >= 4 * 1024 * 1024
}

fn whole_seconds(text: &str) -> Option<Duration> {
    number(text).map(Duration::from_secs)
}

fn seconds(text: &str) -> Option<Duration> {
    let seconds = Duration::try_from_secs_f64(number(text)?).ok()?;
    is_wait(seconds).then_some(seconds)
}

fn cert_reqs(text: &str) -> Option<CertReqs> {
    match text.to_ascii_lowercase().as_str() {
        "required" => Some(CertReqs::Required),
        "none" => Some(CertReqs::None),
        _ => None,
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" | "t" | "y" => Some(true),
        "false" | "0" | "no" | "off" | "f" | "n" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(feature = "redis")]
    use crate::settings::tls_settings::TlsSettings;

    /// The rows of the table, without what is there for the eye only.
    fn table() -> Vec<[String; 4]> {
        let rows = include_str!("variables.md").lines().skip(2).map(|row| {
            let row = row.strip_prefix('|').unwrap().strip_suffix('|').unwrap();
            let cells: Vec<_> = row.split('|').map(|c| c.trim().replace('`', "")).collect();
            cells.try_into().unwrap()
        });
        rows.collect()
    }

    #[test]
    fn the_table_has_each_variable_and_what_it_allows() {
        let said: Vec<_> = table()
            .into_iter()
            .map(|[name, _, allowed, _]| (name, allowed))
            .collect();
        let read = VARIABLES.map(|variable| {
            let name = format!("REDIS_{}", variable.name.to_ascii_uppercase());
            (name, variable.allowed.to_owned())
        });
        assert_eq!(said, read);
    }

    #[cfg(feature = "redis")]
    #[test]
    fn the_defaults_of_the_table_are_those_of_the_code() {
        let effect = |settings: &Settings| {
            let (cert_reqs, check_hostname) =
                (settings.tls.cert_reqs(), settings.tls.checks_hostname());
            let left = Settings {
                host: None,
                port: None,
                db: None,
                tls: TlsSettings {
                    cert_reqs: Some(cert_reqs),
                    check_hostname: Some(check_hostname),
                    ..settings.tls.clone()
                },
                ..settings.clone()
            };
            let access = settings.access().unwrap();
            format!("{:?} {access:?} {left:?}", settings.deployment())
        };
        let defaults = Settings::default();
        for ([name, .., default], variable) in table().into_iter().zip(VARIABLES) {
            if default.is_empty() {
                let debug = match variable.name.split_once("ssl_") {
                    Some(("", _)) => format!("{:?}", defaults.tls),
                    Some(("sentinel_", _)) => format!("{:?}", defaults.sentinel_tls),
                    _ => format!("{defaults:?}"),
                };
                let debug = debug.replace(" }", ", }");
                let field = variable.name.split_once("ssl_");
                let field = field.map_or(variable.name, |(_, field)| field);
                let absent = ["None", "[]"].map(|none| format!(" {field}: {none},"));
                assert!(absent.iter().any(|absent| debug.contains(absent)), "{name}");
            } else {
                let said = (variable.set)(defaults.clone(), &default).unwrap();
                assert_eq!(effect(&said), effect(&defaults), "{name}");
            }
        }
    }
}
