//! URLs of Redis. redis-rs parses them. This module adds several nodes, and refuses parameters that
//! redis-rs would ignore.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use super::location::Location;
use super::variables::{DB, LAST_DB, URL};
use super::{Endpoint, SettingsError};

pub(super) fn parse(url: &str) -> Result<Location, SettingsError> {
    // Its only use would be to turn off the checks of certificates.
    if url.contains('#') {
        let expected = "no `#`, which is %23 in credentials; see {ssl_cert_reqs} for certificates";
        return Err(SettingsError::wrong_url(url, expected));
    }
    let mut location = read(url).ok_or_else(|| SettingsError::wrong_url(url, URL))?;
    let is_socket = location.is_socket();
    if let Some(db) = database(url, is_socket)? {
        let by_path = location.redis.db();
        if !is_socket && has_path(url) && by_path != db {
            let expected = "one database, by the path or by `db`";
            return Err(SettingsError::wrong_url(url, expected));
        }
        location.redis = location.redis.set_db(db);
    }
    Ok(location)
}

fn read(url: &str) -> Option<Location> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    // A later check reports a build without TLS with a better message.
    let (plain, tls) = match &*scheme {
        "rediss" => ("redis", true),
        "valkeys" => ("valkey", true),
        _ => (&*scheme, false),
    };
    let mut infos = Vec::new();
    if matches!(plain, "redis" | "valkey") {
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (credentials, nodes) = match authority.rfind('@') {
            Some(at) => authority.split_at(at + 1),
            None => ("", authority),
        };
        for node in nodes.split(',') {
            let node = node.trim();
            infos.push(parse_one(&format!("{plain}://{credentials}{node}{path}"))?);
        }
    } else {
        infos.push(parse_one(url)?);
    }
    let redis = infos.first()?.redis_settings().clone();
    let endpoints = infos.iter().map(endpoint).collect::<Option<_>>()?;
    Some(Location {
        endpoints,
        redis,
        tls,
    })
}

fn parse_one(url: &str) -> Option<ConnectionInfo> {
    let info = url.into_connection_info().ok()?;
    (0..=i64::from(LAST_DB))
        .contains(&info.redis_settings().db())
        .then_some(info)
}

fn endpoint(info: &ConnectionInfo) -> Option<Endpoint> {
    match info.addr() {
        ConnectionAddr::Tcp(host, port) if *port > 0 => Some(Endpoint::Tcp {
            host: host.clone(),
            port: *port,
        }),
        ConnectionAddr::Unix(path) => Some(Endpoint::Unix(path.clone())),
        _ => None,
    }
}

/// Returns the database of a parameter. Refuses parameters that would have no effect.
fn database(url: &str, is_socket: bool) -> Result<Option<i64>, SettingsError> {
    let (known, list): (&[&str], _) = if is_socket {
        let list = "`db`, `user`, `pass` and `protocol`";
        (&["db", "user", "pass", "protocol"], list)
    } else {
        (&["db", "protocol"], "`db` and `protocol`")
    };
    let (_, query) = url.split_once('?').unwrap_or_default();
    let mut database = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if !known.contains(&&*name) {
            // Before an `@` it may be the end of a password.
            let is_name = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
            let expected = if !query.contains('@') && name.chars().all(is_name) {
                format!("no parameter `{name}`, only {list}")
            } else {
                format!("no parameters but {list}")
            };
            return Err(SettingsError::wrong_url(url, expected));
        }
        if name == "db" {
            let db = value.parse::<u32>().ok().filter(|db| *db <= LAST_DB);
            let expected = || SettingsError::wrong_url(url, format!("in `db`, {DB}"));
            database = Some(i64::from(db.ok_or_else(expected)?));
        }
    }
    Ok(database)
}

fn has_path(url: &str) -> bool {
    let before = url.split('?').next().unwrap_or_default();
    let (_, rest) = before.split_once("://").unwrap_or_default();
    rest.split_once('/')
        .is_some_and(|(_, path)| !path.trim_matches('/').is_empty())
}
