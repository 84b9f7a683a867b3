//! The methods of [`Cache`] that attributes have no options for: values, and evictions from any code.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Cache, Ttl, Values};
use crate::engine::due_eviction::DueEviction;
use crate::key::{self, CacheKey, Eviction};

/// Values in no group, with the default lifetime, and evictions. [`Values`] says what is promised.
impl Cache {
    /// The values of a group.
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

    /// The values in no group, of which those that are stored through this stay fresh for `ttl`:
    /// whole seconds or a [`Duration`](std::time::Duration); zero: no expiry.
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

    /// The value of a key. See [`Values::get`].
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        Values::new(self).get(key).await
    }

    /// The values of some keys, in their order, looked up at once. See [`Values::get_many`].
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

    /// Stores some values at once. See [`Values::set_many`].
    pub async fn set_many<K: AsRef<str>, T: Serialize>(
        &self,
        pairs: impl IntoIterator<Item = (K, T)>,
    ) {
        Values::new(self).set_many(pairs).await;
    }

    /// The value of a key. Where there is none, it is made and stored, once however many ask: by an
    /// async function or closure, `async || 42`. See [`Values::get_or_insert_with`].
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

    /// Like [`get_or_insert_with`](Self::get_or_insert_with), for a function that may fail. See
    /// [`Values::get_or_try_insert_with`].
    ///
    /// # Errors
    ///
    /// The error of what was to make it.
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

    /// Evicts a group: its values and its responses, in constant time however many they are.
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
    ///     // Both what `list_products` answered and the value.
    ///     cache.delete_group("products").await;
    /// }
    /// ```
    pub async fn delete_group(&self, group: &str) {
        let group = key::group(group.to_owned().into());
        self.evict_one(self.engine.eviction_of_group(&group)).await;
    }

    /// Evicts everything, values and responses, in constant time.
    pub async fn clear(&self) {
        self.evict_one(self.engine.eviction_of_all()).await;
    }

    /// Evicts the entry of a key, which a handler names: `get_product::key(42)`. A text is not a key; for
    /// what a text names, there are [`delete`](Self::delete) and [`delete_group`](Self::delete_group).
    ///
    /// When this is done, no request that starts later is answered with the old entry, in this
    /// process or another. If the store could not be told within the time budget, this process
    /// answers no request with it, and goes on telling the store until it listens.
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

    /// Evicts, even when the caller goes away meanwhile.
    async fn evict_one(&self, eviction: Eviction) {
        DueEviction::new(self.engine.client().clone(), vec![eviction])
            .run()
            .await;
    }
}
