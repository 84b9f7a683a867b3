use axum_redis_cache::cached;
use tracing::instrument;

#[cached(ttl = 300)]
#[instrument(err)]
async fn handler() -> Result<String, String> {
    Err(String::new())
}

fn main() {}
