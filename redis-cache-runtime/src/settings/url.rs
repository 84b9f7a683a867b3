//! What a URL says. redis-rs reads it; this takes care of what it does not know: several nodes.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use super::deployment::Target;
use super::variables::URL;
use super::{Endpoint, SettingsError};

pub(super) fn parse(url: &str) -> Result<Target, SettingsError> {
    read(url).ok_or_else(|| SettingsError::wrong_url(url, URL))
}

fn read(url: &str) -> Option<Target> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    // Its one use would be to turn off every check of certificates.
    if rest.contains('#') {
        return None;
    }
    // Whether this build can speak TLS is told later, and better.
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
    Some(Target {
        endpoints,
        redis,
        tls,
    })
}

fn parse_one(url: &str) -> Option<ConnectionInfo> {
    let info = url.into_connection_info().ok()?;
    (0..=15)
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
