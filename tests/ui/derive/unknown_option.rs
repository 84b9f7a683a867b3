use axum_redis_cache::KeyPart;

#[derive(KeyPart)]
#[key_part(rename = "id")]
struct Id(u64);

#[derive(KeyPart)]
#[key_part(krate = axum_redis_cache, skip)]
struct Other(u64);

fn main() {}
