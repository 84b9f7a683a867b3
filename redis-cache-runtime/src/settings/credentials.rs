//! Credentials that change while the cache is used.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use redis::{BasicAuth, RedisResult, StreamingCredentialsProvider};

/// A provider that all connections share.
#[derive(Clone)]
pub(crate) struct Credentials(Arc<dyn StreamingCredentialsProvider>);

impl Credentials {
    pub(super) fn new(provider: impl StreamingCredentialsProvider + 'static) -> Self {
        Self(Arc::new(provider))
    }
}

impl StreamingCredentialsProvider for Credentials {
    fn subscribe(&self) -> Pin<Box<dyn Stream<Item = RedisResult<BasicAuth>> + Send + 'static>> {
        self.0.subscribe()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}
