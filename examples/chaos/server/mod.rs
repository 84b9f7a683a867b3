//! A process that serves the application.

mod database;
mod routes;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use axum_redis_cache::{Cache, Settings};

use database::Database;
use routes::{AppState, router};

/// A server process; it ends when this is dropped, or the process that started it ends.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    process: Child,
}

impl Running {
    pub(crate) fn start(redis: &str, database: SocketAddr) -> Self {
        let own = std::env::current_exe().unwrap();
        let mut process = Command::new(own)
            .args(["serve", redis, &database.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.as_mut().unwrap())
            .read_line(&mut address)
            .unwrap();
        let address = address.trim().parse().expect("an address");
        Self { address, process }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Serves on a free loopback port, prints its address, and ends when its standard input does.
pub(crate) async fn serve(redis: &str, database: &str) {
    let settings = Settings::from_url(redis).unwrap();
    let state = AppState {
        cache: Cache::connect(settings).unwrap(),
        database: Database::new(database.parse().unwrap()),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router(state)).into_future());
    let end = || std::io::stdin().read_line(&mut String::new());
    let _ = tokio::task::spawn_blocking(end).await;
}
