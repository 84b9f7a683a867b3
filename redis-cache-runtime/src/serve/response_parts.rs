//! Parts of a response by which a handler controls the cache.

use std::collections::BTreeSet;
use std::convert::Infallible;

use axum::response::{IntoResponseParts, ResponseParts};

use crate::key::part::{KeyPart, Text};
use crate::key::{self, Group};

/// A response part that keeps this one response out of the cache. It is not sent to clients.
///
/// A handler returns it with a response that must not be reused for a reason that only the handler knows,
/// such as a page with a part that could not be loaded:
///
/// ```
/// use axum::response::{IntoResponse, Response};
/// use axum_redis_cache::{DoNotStore, cached};
///
/// #[cached(ttl = 60)]
/// async fn page() -> Response {
///     match recommendations().await {
///         Some(recommendations) => format!("page with {recommendations}").into_response(),
///         None => (DoNotStore, "page").into_response(),
///     }
/// }
/// # async fn recommendations() -> Option<String> { None }
/// ```
///
/// The response has `X-Redis-Cache: BYPASS`. An entry that is already stored remains. With
/// `#[cache_put]`, the write evicts the entry instead of replacing it. A handler without these attributes
/// may return `DoNotStore`, too, but without any effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoNotStore;

impl IntoResponseParts for DoNotStore {
    type Error = Infallible;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Infallible> {
        response.extensions_mut().insert(self);
        Ok(response)
    }
}

/// Groups that only the response knows. A handler returns them together with the body, for example a
/// group for each item of a list:
///
/// ```
/// use axum::Json;
/// use axum_redis_cache::{Groups, cache_evict, cached};
/// # use serde::Serialize;
/// # #[derive(Serialize)]
/// # struct Product { id: u64 }
/// # async fn first_products() -> Vec<Product> { Vec::new() }
///
/// #[cached(ttl = 300)]
/// async fn list_products() -> (Groups, Json<Vec<Product>>) {
///     let products = first_products().await;
///     let groups = Groups::each("product:", products.iter().map(|product| product.id));
///     (groups, Json(products))
/// }
///
/// // Evicts exactly the lists that show this product.
/// #[cache_evict(group = "product:{id}")]
/// async fn delete_product(axum::extract::Path(id): axum::extract::Path<u64>) {}
/// ```
///
/// Groups can also be collected from names: `names.collect::<Groups>()`. The names are used as they are,
/// as in [`Cache::delete_group`](crate::Cache::delete_group). [`each`](Self::each) spells values as
/// templates do.
///
/// The groups are added to those that the attribute declares. They are never sent to clients. If a
/// response has several `Groups`, all of them apply. A handler without `#[cached]` or `#[cache_put]` may
/// return them, too, but without any effect.
///
/// A response is stored only if the cache knew all its groups before the handler ran. Otherwise the
/// cache could not tell whether one of them was evicted during the run. So if a response names a
/// group for the first time, it is not stored, and has `X-Redis-Cache: MISS`. The cache remembers the
/// groups, so the next response is stored. A response may name up to 256 groups. If it names more, it
/// is not stored, and has `X-Redis-Cache: BYPASS`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups(BTreeSet<Group>);

impl Groups {
    pub(crate) const fn none() -> Self {
        Self(BTreeSet::new())
    }

    /// Returns one group for each value. The values are spelled as in a template: a write with
    /// `group = "brand:{brand}"` evicts the group that `Groups::each("brand:", ["caf\u{e9}"])` names.
    /// For integers, that is the same as `format!("product:{id}")`.
    pub fn each<T: KeyPart>(prefix: &'static str, values: impl IntoIterator<Item = T>) -> Self {
        let group = |value| Text::new().literal(prefix).value(&value).into_group();
        Self(values.into_iter().map(group).collect())
    }

    /// Returns the number of groups.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the groups, sorted.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.0.iter()
    }
}

impl<T: Into<String>> FromIterator<T> for Groups {
    fn from_iter<I: IntoIterator<Item = T>>(groups: I) -> Self {
        let mut all = Self::default();
        all.extend(groups);
        all
    }
}

impl<T: Into<String>> Extend<T> for Groups {
    fn extend<I: IntoIterator<Item = T>>(&mut self, groups: I) {
        let groups = groups
            .into_iter()
            .map(|name| key::group(name.into().into()));
        self.0.extend(groups);
    }
}

impl<T: Into<String>, const N: usize> From<[T; N]> for Groups {
    fn from(groups: [T; N]) -> Self {
        groups.into_iter().collect()
    }
}

impl IntoResponseParts for Groups {
    type Error = Infallible;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Infallible> {
        match response.extensions_mut().get_mut::<Self>() {
            Some(groups) => groups.0.extend(self.0),
            None => {
                response.extensions_mut().insert(self);
            }
        }
        Ok(response)
    }
}
