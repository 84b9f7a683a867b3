//! A products API over a slow "database", with its responses cached.
//!
//! ```sh
//! cargo run --example products                                    # in memory, no server needed
//! REDIS_URL=redis://127.0.0.1:6379 cargo run --example products   # in Redis
//! ```
//!
//! It listens on `ADDR`, by default `127.0.0.1:3000`.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{FromRef, Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use axum_redis_cache::{Cache, Groups, Settings, cache_evict, cache_put, cached};
use serde::{Deserialize, Serialize};

#[derive(Clone, FromRef)]
struct AppState {
    cache: Cache,
    db: Db,
}

#[derive(Clone, Serialize, Deserialize)]
struct Product {
    name: String,
    cents: u64,
}

#[derive(Deserialize)]
struct Paging {
    #[serde(default)]
    page: usize,
}

/// Each page of the list is an entry of its own, which is also in a group for each product that it shows.
#[cached(ttl = "1m", group = "products")]
async fn list_products(
    Query(paging): Query<Paging>,
    State(db): State<Db>,
) -> (Groups, Json<BTreeMap<u64, Product>>) {
    let products = db.list(paging.page).await;
    (Groups::each("product:", products.keys()), Json(products))
}

#[cached(ttl = 300, max_age = 30, group = "products")]
async fn get_product(
    Path(id): Path<u64>,
    State(db): State<Db>,
) -> Result<Json<Product>, StatusCode> {
    db.find(id).await.map(Json).ok_or(StatusCode::NOT_FOUND)
}

/// Stores its response for the next `GET` of the same path, and drops the pages that show the product.
#[cache_put(get_product)]
#[cache_evict(group = "product:{id}")]
async fn replace_product(
    Path(id): Path<u64>,
    State(db): State<Db>,
    Json(product): Json<Product>,
) -> Result<Json<Product>, StatusCode> {
    let replaced = db.replace(id, product.clone()).await;
    replaced
        .then_some(Json(product))
        .ok_or(StatusCode::NOT_FOUND)
}

/// Drops the entry of this path, and all pages: the products after this one move up.
#[cache_evict(get_product, list_products)]
async fn delete_product(Path(id): Path<u64>, State(db): State<Db>) -> StatusCode {
    db.delete(id).await;
    StatusCode::NO_CONTENT
}

/// Changes everything, so it drops everything of the group: in constant time, however much it is.
#[cache_evict(group = "products")]
async fn import_products(State(db): State<Db>) -> StatusCode {
    db.import().await;
    StatusCode::NO_CONTENT
}

fn router(state: AppState) -> Router {
    Router::new()
        .route("/products", get(list_products))
        .route("/products/import", post(import_products))
        .route(
            "/products/{id}",
            get(get_product).put(replace_product).delete(delete_product),
        )
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
    let address = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(&address).await?;
    let url = format!("http://{}", listener.local_addr()?);
    println!("Listening on {url}");
    println!("Try:");
    println!("  curl -i {url}/products/1     # MISS, takes 100 ms; again: HIT");
    println!("  curl -i -X DELETE {url}/products/1");
    println!("  curl -i {url}/products -H 'If-None-Match: *'     # 304");
    axum::serve(listener, router(state))
        .with_graceful_shutdown(shutdown())
        .await?;
    Ok(())
}

async fn shutdown() {
    // Without a handler for Ctrl-C, the process ends at Ctrl-C anyway.
    let _ = tokio::signal::ctrl_c().await;
}

/// A "database" in which everything takes 100 ms.
#[derive(Clone)]
struct Db {
    products: Arc<Mutex<BTreeMap<u64, Product>>>,
}

const PAGE: usize = 10;

impl Default for Db {
    fn default() -> Self {
        let product = |id| {
            (
                id,
                Product {
                    name: format!("Product {id}"),
                    cents: 100 * id,
                },
            )
        };
        Self {
            products: Arc::new(Mutex::new((1..=25).map(product).collect())),
        }
    }
}

impl Db {
    async fn list(&self, page: usize) -> BTreeMap<u64, Product> {
        self.with(|products| {
            let page = products.iter().skip(page.saturating_mul(PAGE)).take(PAGE);
            page.map(|(id, product)| (*id, product.clone())).collect()
        })
        .await
    }

    async fn find(&self, id: u64) -> Option<Product> {
        self.with(|products| products.get(&id).cloned()).await
    }

    async fn replace(&self, id: u64, product: Product) -> bool {
        self.with(|products| match products.get_mut(&id) {
            Some(old) => {
                *old = product;
                true
            }
            None => false,
        })
        .await
    }

    async fn delete(&self, id: u64) {
        self.with(|products| products.remove(&id)).await;
    }

    async fn import(&self) {
        self.with(|products| products.values_mut().for_each(|product| product.cents += 1))
            .await;
    }

    async fn with<T>(&self, query: impl FnOnce(&mut BTreeMap<u64, Product>) -> T) -> T {
        tokio::time::sleep(Duration::from_millis(100)).await;
        query(&mut self.products.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
