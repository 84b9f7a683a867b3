use axum::extract::Path;
use axum_redis_cache::cache_evict;

#[cache_evict(key)]
async fn of_the_request(Path(id): Path<u64>) {
    let _ = id;
}

#[cache_evict(key = "product:{id}", all)]
async fn of_a_template(Path(id): Path<u64>) {
    let _ = id;
}

#[cache_evict(key("product"))]
async fn of_a_list(Path(id): Path<u64>) {
    let _ = id;
}

fn main() {}
