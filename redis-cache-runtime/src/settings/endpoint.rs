//! The address of one server.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;

/// The address of one server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "read only to connect")
)]
pub(crate) enum Endpoint {
    /// An IPv6 address stands without brackets.
    Tcp {
        host: String,
        port: u16,
    },
    Unix(PathBuf),
}

impl Endpoint {
    /// `host`, `host:port`, `[address]:port` or an IPv6 address without a port.
    pub(super) fn parse(text: &str, default_port: u16) -> Option<Self> {
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) if host(text).is_none() => (name, port.parse().ok()?),
            _ => (text, default_port),
        };
        let host = host(name)?;
        (port > 0).then_some(Self::Tcp { host, port })
    }
}

/// A host name or address, without the brackets of an IPv6 address.
pub(super) fn host(text: &str) -> Option<String> {
    let in_brackets = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let host = in_brackets.unwrap_or(text);
    let is_address = || {
        let address = host.split_once('%').map_or(host, |(address, _)| address);
        address.parse::<Ipv6Addr>().is_ok()
    };
    let bad = |c: char| c.is_whitespace() || c.is_control() || "/@,:[]".contains(c);
    let is_name = in_brackets.is_none() && !host.is_empty() && !host.contains(bad);
    (is_name || is_address()).then(|| host.to_owned())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_as_it_can_be_read() {
        for (text, shown) in [
            ("redis", Some("redis:6379")),
            ("redis:6380", Some("redis:6380")),
            ("10.0.0.1:1", Some("10.0.0.1:1")),
            ("[::1]:6380", Some("[::1]:6380")),
            ("[::1]", Some("[::1]:6379")),
            ("::1", Some("[::1]:6379")),
            ("fe80::1%eth0", Some("[fe80::1%eth0]:6379")),
            ("", None),
            (":6379", None),
            ("redis:0", None),
            ("redis:70000", None),
            ("redis:", None),
            ("[redis]:6379", None),
            ("a b", None),
            ("redis://a", None),
            ("user@a", None),
        ] {
            let endpoint = Endpoint::parse(text, 6379).map(|endpoint| endpoint.to_string());
            assert_eq!(endpoint.as_deref(), shown, "{text}");
        }
    }
}
