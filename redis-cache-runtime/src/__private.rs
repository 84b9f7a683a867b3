//! The names that generated code and the tests of the macros use. No other code may use them: they change without notice.

pub use std::sync::LazyLock;
pub use std::time::Duration;

pub use axum::http::HeaderName;
pub use axum::response::Response;

pub use crate::attribute::companion::{
    Handler, KeyText, OfRequest, OfTypes, OfValues, named_alone,
};
pub use crate::attribute::determined::{
    Determined, ElementOf, IsDetermined, MayReadEarly, NotAValue, NotDetermined, NotIdentifying,
    Probe, UrlPart, ValueOf, is_by_url, read, sees_query,
};
#[cfg(feature = "aide")]
pub use crate::attribute::head::Documented;
pub use crate::attribute::head::{DebugHandlerBelongsBelow, Head, NoUrl, WholeUrl};
pub use crate::http::cache_control::Declared;
pub use crate::http::storable::StorableStatus;
pub use crate::key::normal::QueryRule;
pub use crate::key::part::{Any, Kind, KindType, Part, Text, is_in_values, kind_of};
pub use crate::key::reader::UrlReader;
pub use crate::key::{CacheKey, sorted_groups as sorted};
pub use crate::serve::evict::{Evictions, evict};
pub use crate::serve::read::read_through;
pub use crate::serve::request::{ALL_FIELDS, PARTS, WRITE, proof_if};
pub use crate::serve::route::selected::Selected;
pub use crate::serve::route::{KeyResult, Route};
pub use crate::serve::run::{InPlace, Run};
pub use crate::serve::write::write_through;
pub use crate::serve::writer::Writer;
