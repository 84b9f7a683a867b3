//! The extractor of the connection to Redis.

use std::convert::Infallible;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;

use super::Cache;
use crate::store::Redis;

impl<S> FromRequestParts<S> for Redis
where
    Cache: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        Ok(Cache::from_ref(state).redis())
    }
}
