//! A dashboard whose numbers are expensive: values in the cache, beside the responses of handlers.
//!
//! ```sh
//! cargo run --example dashboard                                    # in memory, no server needed
//! REDIS_URL=redis://127.0.0.1:6379 cargo run --example dashboard   # in Redis
//! ```
//!
//! Then try:
//!
//! ```sh
//! curl http://127.0.0.1:3000/dashboard          # takes a second: nothing is computed yet
//! curl http://127.0.0.1:3000/dashboard          # at once; visits are counted anew every 5 seconds
//! curl -X POST http://127.0.0.1:3000/orders/42  # an order of 42 cents: sums are computed anew
//! curl http://127.0.0.1:3000/dashboard          # a second again, with the new sum
//! curl -X PUT http://127.0.0.1:3000/notice/Sale # on the dashboard for an hour, or until DELETE
//! seq 50 | xargs -P 50 -I{} curl -s http://127.0.0.1:3000/dashboard   # once, however many ask
//! ```
//!
//! It listens on `ADDR`, by default `127.0.0.1:3000`.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{FromRef, Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use axum_redis_cache::{Cache, Settings, cache_evict};
use serde::{Deserialize, Serialize};

#[derive(Clone, FromRef)]
struct AppState {
    cache: Cache,
    db: Db,
}

#[derive(Serialize)]
struct Dashboard {
    sales: Sales,
    best: Option<u64>,
    visits: u64,
    notice: Option<String>,
}

/// What is expensive to compute.
#[derive(Serialize, Deserialize)]
struct Sales {
    orders: usize,
    cents: u64,
}

/// Made of parts that change at different times, so its response is not cached, but each part is.
async fn dashboard(State(cache): State<Cache>, State(db): State<Db>) -> Json<Dashboard> {
    db.visit();
    // Computed once a minute, by one of all who ask, in whichever process. An order evicts it sooner.
    let sums = cache.group("orders").ttl(60);
    let sales = sums.get_or_insert_with("sales", async || db.sales().await);
    let best = sums.get_or_insert_with("best", async || db.best().await);
    // A counter may be a little late.
    let counters = cache.ttl(Duration::from_secs(5));
    let visits = counters.get_or_insert_with("visits", async || db.visits());
    let (sales, best, visits, notice) = tokio::join!(sales, best, visits, cache.get("notice"));
    Json(Dashboard {
        sales,
        best,
        visits,
        notice,
    })
}

async fn put_notice(Path(notice): Path<String>, State(cache): State<Cache>) {
    cache.ttl(60 * 60).set("notice", &notice).await;
}

async fn delete_notice(State(cache): State<Cache>) {
    cache.delete("notice").await;
}

/// Drops every value of the group, when the order is in the database. A computation that began
/// before it is not stored.
#[cache_evict(group = "orders")]
async fn place_order(Path(cents): Path<u64>, State(db): State<Db>) -> StatusCode {
    db.insert(cents);
    StatusCode::CREATED
}

fn router(state: AppState) -> Router {
    Router::new()
        .route("/dashboard", get(dashboard))
        .route("/orders/{cents}", post(place_order))
        .route("/notice", delete(delete_notice))
        .route("/notice/{notice}", put(put_notice))
        .with_state(state)
}

/// On Redis if its settings are there, in memory otherwise.
fn cache() -> Result<Cache, Box<dyn Error>> {
    let variables = ["REDIS_URL", "REDIS_HOST", "REDIS_CLUSTER", "REDIS_SENTINEL"];
    if variables
        .iter()
        .any(|name| std::env::var_os(name).is_some())
    {
        println!("The cache is in Redis.");
        return Ok(Cache::connect(Settings::from_env()?)?);
    }
    println!("The cache is in memory. Set REDIS_URL to have it in Redis.");
    Ok(Cache::in_memory())
}

#[tokio::main]
async fn main() {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
        .init();
    if let Err(error) = run().await {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let state = AppState {
        cache: cache()?,
        db: Db::default(),
    };
    let cache = state.cache.clone();
    let address = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(&address).await?;
    let url = format!("http://{}", listener.local_addr()?);
    println!("Listening on {url}");
    println!("Try:");
    println!("  curl {url}/dashboard     # takes a second; again: at once");
    println!("  curl -X POST {url}/orders/42     # the next dashboard is computed anew");
    axum::serve(listener, router(state))
        .with_graceful_shutdown(shutdown())
        .await?;
    cache.shutdown().await;
    Ok(())
}

async fn shutdown() {
    // Without a handler for Ctrl-C, the process ends at Ctrl-C anyway.
    let _ = tokio::signal::ctrl_c().await;
}

/// A "database" in which aggregates take a second.
#[derive(Clone, Default)]
struct Db {
    orders: Arc<Mutex<Vec<u64>>>,
    visits: Arc<AtomicU64>,
}

impl Db {
    fn visit(&self) {
        self.visits.fetch_add(1, Ordering::Relaxed);
    }

    fn visits(&self) -> u64 {
        self.visits.load(Ordering::Relaxed)
    }

    async fn sales(&self) -> Sales {
        let orders = self.scan().await;
        Sales {
            orders: orders.len(),
            cents: orders.iter().sum(),
        }
    }

    async fn best(&self) -> Option<u64> {
        self.scan().await.into_iter().max()
    }

    async fn scan(&self) -> Vec<u64> {
        println!("Scanning the orders …");
        let orders = self.orders().clone();
        tokio::time::sleep(Duration::from_secs(1)).await;
        orders
    }

    fn insert(&self, cents: u64) {
        self.orders().push(cents);
    }

    fn orders(&self) -> MutexGuard<'_, Vec<u64>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
