use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use crate::guardian::{Guardian, is_installed};
use crate::ports::free_ports;
use crate::temp_dir::TempDir;
use crate::waiting::{start_on_free_ports, wait_until_it_says};

/// An nginx that caches what another server answers, on a free loopback port. It is stopped when this
/// is dropped or the process ends.
pub struct Nginx {
    address: SocketAddrV4,
    _guardian: Guardian,
    _directory: TempDir,
}

const START: &str = r#"PATH=$PATH:/usr/sbin
nginx -e stderr -c "$1" </dev/null 2>&1 & server=$!; exec >/dev/null"#;
const STOP: &str = r#"kill "$server"; wait "$server""#;

/// The line that nginx writes when it listens.
const LISTENS: &str = "start worker process";

impl Nginx {
    /// Starts it in front of a server, with directives such as `proxy_cache_revalidate on;`. Says so and
    /// returns `None` where nginx is not installed.
    pub fn in_front_of(server: SocketAddr, directives: &str) -> Option<Self> {
        if !is_installed("nginx") {
            return None;
        }
        Some(start_on_free_ports("nginx", || {
            let [port] = free_ports();
            let directory = TempDir::new();
            let file = directory.path().join("nginx.conf");
            let directory_name = directory.path().display().to_string();
            std::fs::write(
                &file,
                configuration(&directory_name, port, server, directives),
            )?;
            let mut guardian = Guardian::start(START, STOP, [&file]);
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
fn configuration(directory: &str, port: u16, server: SocketAddr, directives: &str) -> String {
    format!(
        "daemon off;
        user root;
        pid {directory}/nginx.pid;
        error_log stderr notice;
        events {{}}
        http {{
            access_log off;
            client_body_temp_path {directory}/body;
            fastcgi_temp_path {directory}/fastcgi;
            proxy_temp_path {directory}/proxy;
            scgi_temp_path {directory}/scgi;
            uwsgi_temp_path {directory}/uwsgi;
            proxy_cache_path {directory}/cache keys_zone=responses:1m;
            server {{
                listen 127.0.0.1:{port};
                location / {{
                    proxy_pass http://{server};
                    proxy_http_version 1.1;
                    proxy_cache responses;
                    add_header X-Shared-Cache $upstream_cache_status;
                    {directives}
                }}
            }}
        }}"
    )
}
