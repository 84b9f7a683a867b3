use axum_redis_cache::KeyPart;

#[derive(KeyPart)]
union Number {
    signed: i64,
    unsigned: u64,
}

fn main() {}
