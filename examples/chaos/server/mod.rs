//! A process that serves the application.

mod database;
mod routes;

use axum_redis_cache::{Cache, Settings};

use database::Database;
use routes::{AppState, router};

/// Serves on a free loopback port, prints its address, and ends when its standard input does.
pub(crate) async fn serve(servers: &str, address: &str, database: &str) {
    let state = AppState {
        cache: Cache::connect(settings(servers, address)).unwrap(),
        database: Database::new(database.parse().unwrap()),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router(state)).into_future());
    let end = || std::io::stdin().read_line(&mut String::new());
    let _ = tokio::task::spawn_blocking(end).await;
}

/// The answer to a write waits until nobody serves what it evicts, so that what it promises can be
/// checked also while Redis refuses evictions. Each process has a near cache.
fn settings(servers: &str, address: &str) -> Settings {
    let settings = settings_of(servers, address);
    let settings = settings.near_cache_bytes(64 * 1024 * 1024).unwrap();
    settings.hold_pending(true)
}

fn settings_of(servers: &str, address: &str) -> Settings {
    if servers == "sentinel" {
        let settings = Settings::default().sentinel(true);
        return settings.sentinel_nodes(address.split(',')).unwrap();
    }
    let settings = Settings::from_url(address).unwrap();
    settings.cluster(servers == "cluster")
}
