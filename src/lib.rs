// If a link is defined twice, the first definition counts: those of the README lead to files, these to
// pages.
//! [quick_start]: crate::guide::quick_start
//! [keys]: crate::guide::keys
//! [cdn]: crate::guide::cdn
//! [groups]: crate::guide::groups
//! [groups of a response]: crate::guide::groups#groups-that-only-the-response-knows
//! [http]: crate::guide::http
//! [users]: crate::guide::users
//! [write_through]: crate::guide::write_through
//! [values]: crate::guide::values
//! [failures]: crate::guide::failures
//! [deployment]: crate::guide::deployment
//! [settings]: crate::Settings::from_env
//! [telemetry]: crate::guide::telemetry
//! [testing]: crate::guide::testing
//! [migrating]: crate::guide::migrating
//! [cached]: macro@crate::cached
//! [cache_evict]: macro@crate::cache_evict
//! [cache_put]: macro@crate::cache_put
// The package `tests` tests the snippets: they need more dependencies than an application.
#![cfg_attr(not(doctest), doc = include_str!("../README.md"))]

#[cfg(all(doc, not(doctest)))]
pub mod guide;

#[doc = include_str!("guide_links.md")]
#[cfg_attr(not(doctest), doc = include_str!("../docs/cached.md"))]
pub use redis_cache_macros::cached;

#[cfg_attr(not(doctest), doc = include_str!("../docs/cache_evict.md"))]
pub use redis_cache_macros::cache_evict;

#[doc = include_str!("guide_links.md")]
#[cfg_attr(not(doctest), doc = include_str!("../docs/cache_put.md"))]
pub use redis_cache_macros::cache_put;

/// Implements [`KeyPart`](trait@KeyPart) for a struct or an enum, from all of its fields.
///
/// ```
/// use axum::extract::Path;
/// use axum_redis_cache::{KeyPart, cached};
/// use serde::Deserialize;
///
/// #[derive(KeyPart, Deserialize)]
/// struct ProductId(u64);
///
/// #[derive(KeyPart, Deserialize)]
/// enum Currency {
///     Eur,
///     Usd,
/// }
///
/// #[cached(ttl = 300, key = "price:{id}:{currency}")]
/// async fn price(Path((id, currency)): Path<(ProductId, Currency)>) -> String {
///     let sign = match currency {
///         Currency::Eur => "€",
///         Currency::Usd => "$",
///     };
///     format!("{sign} {}", id.0)
/// }
///
/// # async fn changed(cache: &axum_redis_cache::Cache) {
/// // The key is `price:7:Eur`.
/// cache.evict(price::key(ProductId(7), Currency::Eur)).await;
/// # }
/// ```
///
/// Fields are written in their order. In an enum, the name of the variant comes first. A struct with
/// one field is written like that field. If you reorder fields or rename variants, the keys change.
///
/// A field that is not a `KeyPart`, such as a float, is an error. Type parameters that fields use must
/// be `KeyPart`s. The only option is `#[key_part(crate = path)]`, for a crate that re-exports this one.
pub use redis_cache_macros::KeyPart;

#[cfg(feature = "redis")]
pub use redis_cache_runtime::Redis;
#[cfg(feature = "credentials-provider")]
pub use redis_cache_runtime::{BasicAuth, StreamingCredentialsProvider};
pub use redis_cache_runtime::{
    Cache, CacheKey, CertReqs, ConnectionState, Determined, DoNotStore, Explanation, Groups,
    IdentifiesCaller, KeyPart, KeyWriter, LeaseState, NearCacheStatus, PingError, ReadsRequest,
    ServerStatus, Settings, SettingsError, Source, Status, StoredEntry, Ttl, UrlReader, Values,
    X_REDIS_CACHE,
};

#[doc(hidden)]
pub use redis_cache_runtime::__private;
