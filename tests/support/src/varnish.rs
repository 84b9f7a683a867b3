use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use crate::guardian::{Guardian, is_installed};
use crate::ports::free_ports;
use crate::temp_dir::TempDir;
use crate::waiting::{start_on_free_ports, wait_until_it_says};

/// A Varnish that caches what another server answers, on a free loopback port. It is stopped when this is
/// dropped or the process ends.
pub struct Varnish {
    address: SocketAddrV4,
    _guardian: Guardian,
    _directory: TempDir,
}

const START: &str = r#"PATH=$PATH:/usr/sbin
varnishd -F -j none -T none -a "127.0.0.1:$1" -f "$2/default.vcl" -n "$2/work" -s malloc,16m \
  -p "default_grace=$3" -p default_keep=60 </dev/null 2>&1 & server=$!; exec >/dev/null"#;
const STOP: &str = r#"kill "$server"; wait "$server""#;

/// The text that Varnish writes when it listens.
const LISTENS: &str = "said Child starts";

impl Varnish {
    /// Starts it in front of a server, with VCL of the test. For `grace` seconds, it may serve a stale
    /// response while it fetches a new one. Says so and returns `None` where Varnish is not installed.
    pub fn in_front_of(server: SocketAddr, grace: u32, vcl: &str) -> Option<Self> {
        if !is_installed("varnishd") {
            return None;
        }
        Some(start_on_free_ports("Varnish", || {
            let [port] = free_ports();
            let directory = TempDir::new();
            let file = directory.path().join("default.vcl");
            std::fs::write(file, configuration(server, vcl))?;
            let directory_name = directory.path().display().to_string();
            let arguments = [port.to_string(), directory_name, grace.to_string()];
            let mut guardian = Guardian::start(START, STOP, arguments);
            let listens = |line: &str| line.contains(LISTENS).then_some(());
            wait_until_it_says(guardian.output(), listens)?;
            Ok(Self {
                address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port),
                _guardian: guardian,
                _directory: directory,
            })
        }))
    }

    /// The address at which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address.into()
    }
}

/// The configuration of a cache. `X-Shared-Cache` says how it answered.
fn configuration(server: SocketAddr, vcl: &str) -> String {
    let (host, port) = (server.ip(), server.port());
    format!(
        r#"vcl 4.1;
        import std;
        backend default {{ .host = "{host}"; .port = "{port}"; }}
        {vcl}
        sub vcl_deliver {{
            set resp.http.X-Shared-Cache = "MISS";
            if (obj.hits > 0) {{ set resp.http.X-Shared-Cache = "HIT"; }}
        }}"#
    )
}
