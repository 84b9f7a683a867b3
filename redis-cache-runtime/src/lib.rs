//! What the attributes of `axum-redis-cache` call at run time. Depend on that crate instead: it
//! re-exports everything here that is meant to be used.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod background;
mod backlog;
mod cache;
mod clock;
mod declared_groups;
mod determined;
mod entry;
mod explanation;
mod fault;
mod handler;
mod http;
mod identifies;
mod key;
mod key_part;
#[cfg(test)]
mod model;
mod observe;
mod registry;
mod request;
mod route;
mod serve;
mod settings;
mod status;
mod store;
mod witnessed;

pub use cache::{Cache, Ttl, Values};
pub use determined::{Determined, ReadsRequest, Source};
pub use explanation::{Explanation, LeaseState, StoredEntry};
pub use http::fields::X_REDIS_CACHE;
pub use identifies::IdentifiesCaller;
pub use key::CacheKey;
pub use key::reader::UrlReader;
pub use key_part::{KeyPart, KeyWriter};
pub use settings::{CertReqs, Settings, SettingsError};
pub use status::{ConnectionState, PingError, ServerStatus, Status};
#[cfg(feature = "redis")]
pub use store::Redis;

/// What generated code uses; no other code may.
#[doc(hidden)]
pub mod __private {
    pub use std::sync::LazyLock;
    pub use std::time::Duration;

    pub use axum::response::Response;

    pub use crate::determined::{
        Determined, ElementOf, IsDetermined, MayReadEarly, NotAValue, NotDetermined,
        NotIdentifying, Probe, UrlPart, ValueOf, is_by_url, read, sees_query,
    };
    pub use crate::handler::{Handler, KeyText, OfRequest, OfTypes, OfValues, named_alone};
    pub use crate::http::cache_control::Declared;
    pub use crate::key::normal::QueryRule;
    pub use crate::key::reader::UrlReader;
    pub use crate::key::{CacheKey, sorted_groups as sorted};
    pub use crate::key_part::{Any, Kind, KindType, Part, Text, kind_of};
    #[cfg(feature = "aide")]
    pub use crate::request::Documented;
    pub use crate::request::{
        ALL_FIELDS, DebugHandlerBelongsBelow, Head, NoUrl, PARTS, WRITE, WholeUrl, proof_if,
    };
    pub use crate::route::{KeyResult, Route, Selected};
    pub use crate::serve::evict::{Evictions, evict};
    pub use crate::serve::read::read_through;
    pub use crate::serve::run::{InPlace, Run};
    pub use crate::serve::write::write_through;
    pub use crate::serve::writer::Writer;
    pub use axum::http::HeaderName;
}
