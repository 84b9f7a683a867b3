use axum_redis_cache::KeyPart;

#[derive(KeyPart)]
struct Page {
    number: u64,
    #[key_part(skip)]
    requested_at: u64,
}

#[derive(KeyPart)]
enum Sort {
    #[key_part(rename = "n")]
    Name,
}

fn main() {}
