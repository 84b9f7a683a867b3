use axum_redis_cache::cached;

fn is_draft(body: &str) -> bool {
    body.is_empty()
}

#[cached(ttl = 300, unless = is_draft)]
async fn handler() -> &'static str {
    "body"
}

fn main() {}
