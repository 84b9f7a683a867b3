//! The methods of [`Cache`] for values and evictions.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Cache, Ttl, Values};
use crate::engine::due_eviction::DueEviction;
use crate::key::{self, CacheKey, Eviction};

/// Values that are in no group and have the default lifetime, and evictions. See [`Values`] for the
/// guarantees.
impl Cache {
    /// Returns the values of a group.
    ///
    /// ```
    /// # use axum_redis_cache::Cache;
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let cache = Cache::in_memory();
    /// let users = cache.group("users");
    /// users.ttl(60).set("42", "Ada").await;
    /// assert_eq!(users.get::<String>("42").await.as_deref(), Some("Ada"));
    /// assert_eq!(cache.get::<String>("42").await, None);
    /// # });
    /// ```
    pub fn group(&self, group: impl Into<String>) -> Values {
        Values::new(self).group(group)
    }

    /// Returns the values in no group. Values that are stored through the returned view stay fresh
    /// for `ttl`: whole seconds or a [`Duration`](std::time::Duration); zero: no expiry.
    ///
    /// ```
    /// # use axum_redis_cache::Cache;
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let cache = Cache::in_memory();
    /// cache.ttl(60).set("visitors", &1).await;
    /// assert_eq!(cache.get("visitors").await, Some(1));
    /// # });
    /// ```
    pub fn ttl(&self, ttl: impl Into<Ttl>) -> Values {
        Values::new(self).ttl(ttl)
    }

    /// Returns the value of a key. See [`Values::get`].
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        Values::new(self).get(key).await
    }

    /// Returns the values of several keys, in the order of the keys. See [`Values::get_many`].
    pub async fn get_many<T: DeserializeOwned>(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Vec<Option<T>> {
        Values::new(self).get_many(keys).await
    }

    /// Returns whether a key has a value. See [`Values::has`].
    pub async fn has(&self, key: &str) -> bool {
        Values::new(self).has(key).await
    }

    /// Stores a value. See [`Values::set`].
    pub async fn set<T: Serialize + ?Sized>(&self, key: &str, value: &T) {
        Values::new(self).set(key, value).await;
    }

    /// Stores several values concurrently. See [`Values::set_many`].
    pub async fn set_many<K: AsRef<str>, T: Serialize>(
        &self,
        pairs: impl IntoIterator<Item = (K, T)>,
    ) {
        Values::new(self).set_many(pairs).await;
    }

    /// Returns the value of a key. If there is none, calls an async function or closure, such as
    /// `async || 42`, once for all concurrent callers, and stores the result. See
    /// [`Values::get_or_insert_with`].
    ///
    /// ```
    /// # use axum_redis_cache::Cache;
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let cache = Cache::in_memory();
    /// assert_eq!(cache.get_or_insert_with("answer", async || 42).await, 42);
    /// assert_eq!(cache.get("answer").await, Some(42));
    /// # });
    /// ```
    pub async fn get_or_insert_with<T: Serialize + DeserializeOwned>(
        &self,
        key: &str,
        make: impl AsyncFnOnce() -> T,
    ) -> T {
        Values::new(self).get_or_insert_with(key, make).await
    }

    /// Does the same as [`get_or_insert_with`](Self::get_or_insert_with), for a function that may
    /// fail. See [`Values::get_or_try_insert_with`].
    ///
    /// # Errors
    ///
    /// Returns the error of the function.
    pub async fn get_or_try_insert_with<T: Serialize + DeserializeOwned, E>(
        &self,
        key: &str,
        make: impl AsyncFnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        Values::new(self).get_or_try_insert_with(key, make).await
    }

    /// Evicts the value of a key.
    pub async fn delete(&self, key: &str) {
        Values::new(self).delete(key).await;
    }

    /// Evicts the values and the responses of a group, in constant time.
    ///
    /// ```
    /// # use axum_redis_cache::{Cache, cached};
    /// #[cached(ttl = 300, group = "products")]
    /// async fn list_products() -> &'static str {
    ///     "[]"
    /// }
    ///
    /// async fn import(cache: Cache) {
    ///     cache.group("products").set("imported", &true).await;
    ///     // Evicts the response of `list_products` and the value.
    ///     cache.delete_group("products").await;
    /// }
    /// ```
    pub async fn delete_group(&self, group: &str) {
        let group = key::group(group.to_owned().into());
        self.evict_one(self.engine.eviction_of_group(&group)).await;
    }

    /// Evicts all values and responses, in constant time.
    pub async fn clear(&self) {
        self.evict_one(self.engine.eviction_of_all()).await;
    }

    /// Evicts the entry of a key of a handler, such as `get_product::key(42)`. To evict a value or
    /// a group by its name, use [`delete`](Self::delete) or [`delete_group`](Self::delete_group).
    ///
    /// When this returns, no request that starts later gets the old entry, in this process or
    /// another. If the eviction does not reach the store within the time budget, it is retried
    /// until it does. Until then, this process does not use the entry; other processes may.
    ///
    /// ```
    /// # use axum_redis_cache::{Cache, cached};
    /// # use axum::extract::Path;
    /// #[cached(ttl = 300, key = "product:{id}")]
    /// async fn get_product(Path(id): Path<u64>) -> String {
    ///     format!("product {id}")
    /// }
    ///
    /// async fn sold_out(cache: &Cache, id: u64) {
    ///     cache.evict(get_product::key(id)).await;
    /// }
    /// ```
    pub async fn evict(&self, key: CacheKey) {
        self.evict_one(self.engine.eviction_of_key(key)).await;
    }

    /// Runs an eviction, even if the future of the caller is dropped meanwhile.
    async fn evict_one(&self, eviction: Eviction) {
        DueEviction::new(self.engine.client().clone(), vec![eviction])
            .run()
            .await;
    }
}
