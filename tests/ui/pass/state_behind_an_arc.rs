//! A state behind an `Arc`, by the derive of axum and by hand.

use std::sync::Arc;

use axum::extract::{FromRef, Path, State};
use axum::routing::get;
use axum::{Router, debug_handler};
use axum_redis_cache::{Cache, cache_evict, cache_put, cached};

#[derive(FromRef)]
struct AppState {
    cache: Cache,
    #[from_ref(skip)]
    names: Vec<String>,
}

#[cached(ttl = 60)]
async fn name_of(Path(number): Path<usize>, State(app): State<Arc<AppState>>) -> String {
    app.names.get(number).cloned().unwrap_or_default()
}

/// Only the router says what its state is.
#[cached(ttl = 60)]
async fn no_arguments() -> &'static str {
    "none"
}

#[cached(ttl = 60)]
#[debug_handler]
async fn names(State(app): State<Arc<AppState>>) -> String {
    app.names.join(", ")
}

#[cache_evict(name_of)]
#[debug_handler]
async fn rename(Path(_): Path<usize>, State(_app): State<Arc<AppState>>, cache: Cache) {
    drop(cache);
}

#[cache_put(name_of)]
async fn replace(Path(_): Path<usize>, State(_app): State<Arc<AppState>>, body: String) -> String {
    body
}

struct ByHand {
    cache: Cache,
}

impl FromRef<ByHand> for Cache {
    fn from_ref(state: &ByHand) -> Self {
        state.cache.clone()
    }
}

fn main() {
    let state = AppState { cache: Cache::in_memory(), names: Vec::new() };
    let _: Router = Router::new()
        .route("/", get(no_arguments))
        .route("/names", get(names))
        .route("/names/{number}", get(name_of).delete(rename).put(replace))
        .with_state(Arc::new(state));
    let _: Router = Router::new()
        .route("/", get(no_arguments))
        .with_state(Arc::new(ByHand { cache: Cache::in_memory() }));
    let _: Router = Router::new()
        .route("/", get(no_arguments))
        .with_state(Arc::new(Cache::in_memory()));
}
