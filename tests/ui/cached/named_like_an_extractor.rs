use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum_redis_cache::cached;

/// Not the one of axum: what it is called does not matter.
struct State(String);

impl<S: Sync> FromRequestParts<S> for State {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(format!("{:?}", parts.headers)))
    }
}

#[cached(ttl = 300)]
async fn handler(State(headers): State) -> String {
    headers
}

fn main() {}
