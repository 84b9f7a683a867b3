use axum_redis_cache::KeyPart;

#[derive(KeyPart)]
#[key_part(crate = "axum_redis_cache")]
struct Quoted(u64);

#[derive(KeyPart)]
#[key_part(crate = axum_redis_cache, crate = axum_redis_cache)]
struct Twice(u64);

#[derive(KeyPart)]
#[key_part(crate)]
struct Missing(u64);

#[derive(KeyPart)]
#[key_part]
struct Empty(u64);

fn main() {}
