use axum::extract::Path;
use axum_redis_cache::cached;
use tracing::instrument;

#[cached(ttl = 300)]
#[instrument(fields(id = %id))]
async fn handler(Path(id): Path<u64>) -> String {
    id.to_string()
}

fn main() {}
