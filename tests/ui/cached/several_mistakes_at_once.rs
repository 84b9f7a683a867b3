use axum::routing::get;
use axum_redis_cache::{Cache, cached};

#[cached(ttl = -1, group = "", status(600))]
fn handler() -> &'static str {
    "body"
}

fn main() {
    // The function is there all the same: this is the only other error.
    let _ = axum::Router::<Cache>::new().route("/", get(handler));
}
