use axum::extract::State;
use axum_redis_cache::{Cache, cache_evict, cached};

#[cached(ttl = 300)]
async fn list<T: Clone + Send + Sync>(State(state): State<T>) -> &'static str
where
    Cache: axum::extract::FromRef<T>,
{
    drop(state);
    "list"
}

#[cache_evict(list)]
async fn handler() {}

fn main() {}
