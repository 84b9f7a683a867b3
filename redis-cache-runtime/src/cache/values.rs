//! Typed values that applications store in a cache, with the same guarantees as responses.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Cache;
use crate::engine::due_eviction::DueEviction;
use crate::engine::{Engine, declared_groups};
use crate::key::{self, Address, CacheKey, Group};
use crate::observe::Writes;
use crate::serve::response_parts::Groups;
use crate::serve::value;

static NO_GROUPS: Groups = Groups::none();

/// The largest number of keys that `get_many` or `set_many` handle at once.
const AT_ONCE: usize = 64;

/// The time for which a value stays fresh: whole seconds, or a `Duration`. Zero: no expiry.
///
/// ```
/// use std::time::Duration;
/// use axum_redis_cache::Ttl;
///
/// assert_eq!(Ttl::from(60), Ttl::from(Duration::from_secs(60)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl(Duration);

impl From<u64> for Ttl {
    /// Converts whole seconds.
    fn from(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl From<Duration> for Ttl {
    fn from(ttl: Duration) -> Self {
        Self(ttl)
    }
}

/// The values of a cache, in a group and with a freshness lifetime of their own.
///
/// A value is anything that serde can write as JSON and read back. [`Cache`] has most of these
/// methods, for values in no group and with the default lifetime. [`Cache::group`] and
/// [`Cache::ttl`] return this type:
///
/// ```
/// # use axum_redis_cache::Cache;
/// # use std::time::Duration;
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let cache = Cache::in_memory();
/// let dashboard = cache.group("dashboard").ttl(60);
///
/// let total = dashboard.get_or_insert_with("total", async || 6 * 7).await;
/// assert_eq!(total, 42);
/// dashboard.ttl(Duration::from_secs(5)).set("visitors", &[1, 2]).await;
/// assert_eq!(dashboard.get("visitors").await, Some(vec![1, 2]));
///
/// cache.delete_group("dashboard").await;
/// assert!(!dashboard.has("total").await && !dashboard.has("visitors").await);
/// # });
/// ```
///
/// The group is part of the key: a value is found only in the group in which it was stored. Keys of
/// values never equal those of responses. A group may hold both, and its eviction removes both.
///
/// Values have the same guarantees as responses. A value that was made before an eviction or a
/// [`set`](Self::set) of its key is never returned after that. If the store is unreachable, no value is
/// found and no call fails. An eviction applies to every process as soon as its call returns. The
/// exception is an eviction that does not reach the store: it is retried until it does. Until then,
/// this process does not use the evicted values, but other processes may.
#[derive(Clone, Debug)]
pub struct Values {
    engine: Engine,
    group: Option<Group>,
    /// `None`: no expiry.
    lifetime: Option<Duration>,
}

impl Values {
    pub(super) fn new(cache: &Cache) -> Self {
        Self {
            engine: cache.engine.clone(),
            group: None,
            lifetime: cache.engine.lifetime_of(None),
        }
    }

    /// Returns the values of a group.
    #[must_use]
    pub fn group(&self, group: impl Into<String>) -> Self {
        let group = key::group(group.into().into());
        declared_groups::declare(&group);
        Self {
            group: Some(group),
            ..self.clone()
        }
    }

    /// Returns a view of the same values. Values that are stored through the view stay fresh for `ttl`:
    /// whole seconds or a [`Duration`]; zero: no expiry.
    #[must_use]
    pub fn ttl(&self, ttl: impl Into<Ttl>) -> Self {
        Self {
            lifetime: self.engine.lifetime_of(Some(ttl.into().0)),
            ..self.clone()
        }
    }

    /// Returns the value of a key; `None`: there is none, or it does not decode as a `T`.
    ///
    /// ```
    /// # use axum_redis_cache::Cache;
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let cache = Cache::in_memory();
    /// cache.set("rate:eur", &1.08).await;
    /// assert_eq!(cache.get::<f64>("rate:eur").await, Some(1.08));
    /// assert_eq!(cache.get::<String>("rate:eur").await, None);
    /// assert_eq!(cache.get::<f64>("rate:usd").await, None);
    /// # });
    /// ```
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let json = value::get(self.engine.clone(), self.address(key)).await?;
        value::decode(&json)
    }

    /// Returns the values of several keys, in the order of the keys. They are looked up
    /// concurrently.
    ///
    /// ```
    /// # use axum_redis_cache::Cache;
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let cache = Cache::in_memory();
    /// cache.set_many([("a", 1), ("b", 2)]).await;
    /// assert_eq!(cache.get_many::<u32>(["b", "c", "a"]).await, [Some(2), None, Some(1)]);
    /// # });
    /// ```
    pub async fn get_many<T: DeserializeOwned>(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Vec<Option<T>> {
        let addresses = keys.into_iter().map(|key| self.address(key.as_ref()));
        let found = get_all(self.engine.clone(), addresses.collect()).await;
        let decode = |json: Option<Bytes>| json.and_then(|json| value::decode(&json));
        found.into_iter().map(decode).collect()
    }

    /// Returns whether a key has a value of any type.
    pub async fn has(&self, key: &str) -> bool {
        let found = value::get(self.engine.clone(), self.address(key)).await;
        found.is_some()
    }

    /// Stores a value. After this call, the old value is never returned again. The new value is not
    /// stored in two cases:
    ///
    /// * The value cannot be encoded as JSON (such as a map whose keys are not strings), or its JSON is
    ///   longer than [`max_body_bytes`](crate::Settings::max_body_bytes). The log names the reason.
    /// * The key was evicted or set again meanwhile. It is unknown which value is newer, so neither is
    ///   kept.
    ///
    /// If the future is dropped before its end, the key is evicted.
    pub async fn set<T: Serialize + ?Sized>(&self, key: &str, value: &T) {
        self.set_with_groups(key, value, &NO_GROUPS).await;
    }

    /// Does the same as [`set`](Self::set), for a value that is also in other groups. These groups are
    /// not part of the key. As with `set`, the value is stored even if its data was evicted after the
    /// data was read and before this call.
    /// [`get_or_insert_with_groups`](Self::get_or_insert_with_groups) does not store such a value.
    pub async fn set_with_groups<T: Serialize + ?Sized>(
        &self,
        key: &str,
        value: &T,
        groups: &Groups,
    ) {
        let json = value::encode(value, groups, Writes::Through, &self.engine);
        let engine = self.engine.clone();
        let at = self.address(key);
        Box::pin(value::write(engine, at, self.lifetime, groups, json)).await;
    }

    /// Stores several values concurrently, each as [`set`](Self::set) does. If a key is repeated,
    /// its last value is stored.
    pub async fn set_many<K: AsRef<str>, T: Serialize>(
        &self,
        pairs: impl IntoIterator<Item = (K, T)>,
    ) {
        let encoded = pairs.into_iter().map(|(key, value)| {
            let json = value::encode(&value, &NO_GROUPS, Writes::Through, &self.engine);
            (self.address(key.as_ref()), json)
        });
        write_all(self.engine.clone(), self.lifetime, encoded.collect()).await;
    }

    /// Returns the value of a key. If there is none, calls an async function or an async closure, such
    /// as `async || count(&db).await`, and stores the result. (A block, `async { .. }`, is not a
    /// function.)
    ///
    /// Concurrent callers share one value, even in several processes: one caller makes the value, and
    /// the others wait for it. The function runs in the task of its caller. If the future of that
    /// caller is dropped, another waiting caller makes the value. If the function takes longer than
    /// [`lease_ttl`](crate::Settings::lease_ttl), the value is not stored, and the other callers stop
    /// waiting and make it themselves. They do the same if the function panics, or if the value cannot
    /// be stored.
    ///
    /// ```
    /// # use axum_redis_cache::Cache;
    /// # async fn count_orders() -> u64 { 7 }
    /// async fn orders(cache: Cache) -> String {
    ///     let orders = cache.group("orders").ttl(60);
    ///     let count: u64 = orders.get_or_insert_with("count", count_orders).await;
    ///     let double = orders.get_or_insert_with("double", async || 2 * count).await;
    ///     format!("{count} orders, twice that is {double}")
    /// }
    /// ```
    pub async fn get_or_insert_with<T: Serialize + DeserializeOwned>(
        &self,
        key: &str,
        make: impl AsyncFnOnce() -> T,
    ) -> T {
        let make = async || Ok::<_, Infallible>(make().await);
        let Ok(value) = self.get_or_try_insert_with(key, make).await;
        value
    }

    /// Does the same as [`get_or_insert_with`](Self::get_or_insert_with), for a function that also
    /// returns the groups of the value, because they depend on the value. These groups are not part of
    /// the key.
    ///
    /// ```
    /// use axum_redis_cache::{Cache, Groups};
    ///
    /// # async fn best_sellers() -> Vec<u64> { vec![7, 8] }
    /// async fn menu(cache: &Cache) -> Vec<u64> {
    ///     let values = cache.group("menu").ttl(60);
    ///     let make = async || {
    ///         let ids = best_sellers().await;
    ///         (Groups::each("product:", ids.iter().copied()), ids)
    ///     };
    ///     values.get_or_insert_with_groups("best sellers", make).await
    /// }
    ///
    /// // Evicts the menu if it has product 7.
    /// # async fn sold_out(cache: &Cache) {
    /// cache.delete_group("product:7").await;
    /// # }
    /// ```
    ///
    /// A value that names a group for the first time is not stored. The next value is stored, as
    /// described at [`Groups`].
    pub async fn get_or_insert_with_groups<T: Serialize + DeserializeOwned>(
        &self,
        key: &str,
        make: impl AsyncFnOnce() -> (Groups, T),
    ) -> T {
        let make = async || Ok::<_, Infallible>(make().await);
        let Ok(value) = self.get_or_try_insert_with_groups(key, make).await;
        value
    }

    /// Does the same as [`get_or_insert_with`](Self::get_or_insert_with), for a function that may
    /// fail. An error is not stored, and the waiting callers make the value themselves.
    ///
    /// ```
    /// # use axum_redis_cache::Cache;
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let cache = Cache::in_memory();
    /// let parsed = cache.get_or_try_insert_with("port", async || "http".parse::<u16>()).await;
    /// assert!(parsed.is_err() && !cache.has("port").await);
    /// # });
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the error of the function.
    pub async fn get_or_try_insert_with<T: Serialize + DeserializeOwned, E>(
        &self,
        key: &str,
        make: impl AsyncFnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let make = async || Ok((Groups::default(), make().await?));
        self.get_or_try_insert_with_groups(key, make).await
    }

    /// Does the same as [`get_or_insert_with_groups`](Self::get_or_insert_with_groups), for a function
    /// that may fail.
    ///
    /// # Errors
    ///
    /// Returns the error of the function.
    pub async fn get_or_try_insert_with_groups<T: Serialize + DeserializeOwned, E>(
        &self,
        key: &str,
        make: impl AsyncFnOnce() -> Result<(Groups, T), E>,
    ) -> Result<T, E> {
        let engine = self.engine.clone();
        Box::pin(value::get_or_make(
            engine,
            self.address(key),
            self.lifetime,
            make,
        ))
        .await
    }

    /// Evicts the value of a key.
    pub async fn delete(&self, key: &str) {
        let key = CacheKey::of_value(self.group.as_deref(), key);
        let eviction = self.engine.eviction_of_key(key);
        DueEviction::new(self.engine.client().clone(), vec![eviction])
            .run()
            .await;
    }

    fn address(&self, key: &str) -> Address {
        let key = CacheKey::of_value(self.group.as_deref(), key);
        let groups = key::DeclaredGroups::Made(self.group.iter().cloned().collect());
        let (key, groups) = self.engine.in_scope(key, groups);
        Address {
            key,
            variant: None,
            groups,
            response_groups: None,
            mounted: None,
        }
    }
}

/// Looks up several values. This function and `write_all` are not generic, and their futures are
/// boxed. Otherwise the compiler would compile them again for each type.
fn get_all(engine: Engine, addresses: Vec<Address>) -> BoxFuture<'static, Vec<Option<Bytes>>> {
    let lookups = addresses
        .into_iter()
        .map(move |at| value::get(engine.clone(), at));
    Box::pin(stream::iter(lookups).buffered(AT_ONCE).collect())
}

#[allow(
    clippy::mutable_key_type,
    reason = "the part of an address that changes is not part of its hash"
)]
fn write_all(
    engine: Engine,
    lifetime: Option<Duration>,
    values: HashMap<Address, Option<Vec<u8>>>,
) -> BoxFuture<'static, ()> {
    let writes = values
        .into_iter()
        .map(move |(at, json)| value::write(engine.clone(), at, lifetime, &NO_GROUPS, json));
    Box::pin(stream::iter(writes).buffer_unordered(AT_ONCE).collect())
}
