use axum_redis_cache::KeyPart;

struct Inner(u64);

#[derive(KeyPart)]
struct Outer {
    inner: Option<Inner>,
}

fn main() {}
