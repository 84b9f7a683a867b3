use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum_redis_cache::cached;

struct User {
    id: u64,
    name: String,
}

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self { id: 1, name: String::new() })
    }
}

#[cached(ttl = 300)]
async fn handler(User { id, name }: User) -> String {
    format!("{id} {name}")
}

fn main() {}
