//! What the attributes of `axum-redis-cache` call at run time. Depend on that crate instead: it
//! re-exports everything here that is meant to be used.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod cache;
mod clock;
mod entry;
mod fault;
mod http;
mod key;
mod request;
mod route;
mod serve;
mod settings;
mod store;

pub use cache::Cache;
pub use settings::{Settings, SettingsError};

/// What generated code uses; no other code may.
#[doc(hidden)]
pub mod __private {
    pub use std::sync::LazyLock;
    pub use std::time::Duration;

    pub use axum::response::Response;

    pub use crate::request::{Read, ReadAllFields, Write, WriteAllFields};
    pub use crate::route::{Evict, Route};
    pub use crate::serve::evict::evict;
    pub use crate::serve::read::read_through;
    pub use crate::serve::write::write_through;
}
