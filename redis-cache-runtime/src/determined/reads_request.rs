//! Extractors that read the request alone.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, Version};

/// An extractor that reads the request alone, so that no eviction concerns what it read.
pub trait ReadsRequest {}

impl ReadsRequest for HeaderMap {}
impl ReadsRequest for Version {}
impl<T> ReadsRequest for ConnectInfo<T> {}

impl ReadsRequest for Body {}
impl ReadsRequest for Bytes {}
impl ReadsRequest for Request {}
impl ReadsRequest for String {}
impl<T> ReadsRequest for Json<T> {}

impl<T: ReadsRequest> ReadsRequest for Option<T> {}
impl<T: ReadsRequest, E> ReadsRequest for Result<T, E> {}

#[cfg(feature = "axum-extra")]
impl<T> ReadsRequest for axum_extra::TypedHeader<T> {}
