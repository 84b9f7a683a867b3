use axum::extract::State;
use axum_redis_cache::cached;

#[cached(ttl = 300)]
async fn handler(
    State(_): State<()>,
    State(_): State<()>,
    State(_): State<()>,
    State(_): State<()>,
    State(_): State<()>,
    State(_): State<()>,
    State(_): State<()>,
    State(_): State<()>,
    State(_): State<()>,
    State(_): State<()>,
    State(_): State<()>,
    State(_): State<()>,
    State(_): State<()>,
    State(_): State<()>,
    State(_): State<()>,
    State(_): State<()>,
    State(_): State<()>,
) -> String {
    String::new()
}

fn main() {}
