use axum::Router;
use axum::extract::State;
use axum::routing::get;
use axum_redis_cache::cached;

#[derive(Clone)]
struct AppState;

#[cached(ttl = 300)]
async fn handler(State(_): State<AppState>) -> &'static str {
    "body"
}

fn main() {
    let _ = Router::<AppState>::new().route("/", get(handler));
}
