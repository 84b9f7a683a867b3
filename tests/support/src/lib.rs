//! Real servers, a faulty network and a raw HTTP client for the tests of this workspace.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc
)]

mod certificates;
mod client;
mod gate;
mod guardian;
mod log;
mod nginx;
mod ports;
mod proxy;
mod redis_cluster;
mod redis_process;
mod redis_sentinels;
mod redis_server;
mod server_process;
mod temp_dir;
mod varnish;
mod waiting;

pub use certificates::Certificates;
pub use client::{Client, Reply};
pub use gate::Gate;
pub use log::Log;
pub use nginx::Nginx;
pub use proxy::Proxy;
pub use redis_cluster::RedisCluster;
pub use redis_sentinels::{Passwords, RedisSentinels};
pub use redis_server::RedisServer;
pub use server_process::ServerProcess;
pub use temp_dir::TempDir;
pub use varnish::Varnish;
pub use waiting::{in_time, until};
