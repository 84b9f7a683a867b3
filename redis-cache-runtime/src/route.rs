//! What the attributes declared, built once per handler by generated code.

use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::http::HeaderName;
use axum::http::request::Parts;
use axum::response::Response;

use crate::cache::Cache;
use crate::clock;
use crate::handler::KeyText;
use crate::http::cache_control::{ClientPolicy, Declared};
use crate::http::freshness::{Grant, StaleWindows};
use crate::http::storable::{NotStorable, StorePolicy, is_representation};
use crate::key::{Address, CacheKey, Group, Groups, Variant, sorted_groups};
use crate::key_part::Text;
use crate::observe::{Measured, Writes, Written};
use crate::request::RequestHead;
use crate::uri::{QueryRule, Target};

/// What `#[cached]` or `#[cache_put]` declared. Built by the compiler, as a static of generated code.
#[derive(Debug)]
pub struct Route {
    name: &'static str,
    ttl: Option<Declared>,
    /// Sorted and without repeats.
    groups: &'static [&'static str],
    query: QueryRule,
    custom_key: Option<KeyFunction>,
    pub(crate) client: ClientPolicy,
    pub(crate) store: StorePolicy,
    unless: Option<fn(&Response) -> bool>,
    /// One bit for each reason that was named in the log.
    named: AtomicU32,
}

impl Route {
    /// The route of the handler of that name.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            ttl: None,
            groups: &[],
            query: QueryRule::None,
            custom_key: None,
            client: ClientPolicy::NONE,
            store: StorePolicy::NONE,
            unless: None,
            named: AtomicU32::new(0),
        }
    }

    /// The freshness lifetime; zero: no expiry.
    #[must_use]
    pub const fn ttl(mut self, ttl: Declared) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// The eviction groups, sorted and without repeats.
    #[must_use]
    pub const fn groups(mut self, groups: &'static [&'static str]) -> Self {
        self.groups = groups;
        self
    }

    /// How much of the query is in the default key.
    #[must_use]
    pub const fn query(mut self, query: QueryRule) -> Self {
        self.query = query;
        self
    }

    /// Makes the key of a request, instead of the default.
    #[must_use]
    pub const fn key_by(mut self, function: KeyFunction) -> Self {
        self.custom_key = Some(function);
        self
    }

    /// Whether the key holds who asks, so that responses to requests with `Authorization` may be
    /// stored.
    #[must_use]
    pub const fn identified(mut self, identified: bool) -> Self {
        self.store.identified = identified;
        self
    }

    /// What clients are told at most.
    #[must_use]
    pub const fn max_age(mut self, max_age: Declared) -> Self {
        self.client.max_age = Some(max_age);
        self
    }

    /// Clients are told that responses are for one user.
    #[must_use]
    pub const fn private(mut self) -> Self {
        self.client.visibility = Some("private");
        self
    }

    /// For how long a stale response is served while it is refreshed.
    #[must_use]
    pub const fn stale_while_revalidate(mut self, window: Declared) -> Self {
        self.client.stale_while_revalidate = Some(window);
        self
    }

    /// For how long a stale response is served when the handler fails.
    #[must_use]
    pub const fn stale_if_error(mut self, window: Declared) -> Self {
        self.client.stale_if_error = Some(window);
        self
    }

    /// Responses are the same for everyone, and clients are told so.
    #[must_use]
    pub const fn public(mut self) -> Self {
        self.client.visibility = Some("public");
        self.store.public = true;
        self
    }

    /// Clients are told not to store responses.
    #[must_use]
    pub const fn no_store(mut self) -> Self {
        self.client.no_store = true;
        self
    }

    /// The request fields that select the response, sorted and without repeats.
    #[must_use]
    pub const fn vary(mut self, names: &'static [HeaderName]) -> Self {
        self.store.vary = names;
        self
    }

    /// The storable statuses.
    #[must_use]
    pub const fn statuses(mut self, statuses: &'static [u16]) -> Self {
        self.store.statuses = statuses;
        self
    }

    /// When not to store.
    #[must_use]
    pub const fn unless(mut self, unless: fn(&Response) -> bool) -> Self {
        self.unless = Some(unless);
        self
    }

    /// The key of what a text names: the default key of a path and query, or what the key function
    /// returned.
    pub fn key_of(&self, text: &impl KeyText) -> CacheKey {
        self.key_of_text(text.as_str())
    }

    fn key_of_text(&self, text: &str) -> CacheKey {
        match self.custom_key {
            Some(_) => CacheKey::new(text.to_owned()),
            None => Target::of_text(text).into_key(self.query),
        }
    }

    pub(crate) fn lifetime(&self) -> Option<Duration> {
        self.ttl.map(Declared::get)
    }

    pub(crate) fn windows(&self) -> StaleWindows {
        self.client.windows()
    }

    /// The key of a request, when its arguments do not select it.
    pub(crate) async fn key(&self, request: &RequestHead) -> CacheKey {
        match (self.custom_key, request.parts.as_deref()) {
            (Some(function), Some(parts)) => CacheKey::new(function(parts).await),
            _ => request.target.clone().into_key(self.query),
        }
    }

    /// Where the response to a request is stored, as far as it is known without waiting. Takes the
    /// target out of the request.
    pub(crate) fn address(&self, request: &mut RequestHead, selected: Selected) -> Addressing {
        let variant = Variant::of(self.store.vary, request.map(), selected.vary_by.as_deref());
        let (key, to_ask) = match (selected.key, self.custom_key) {
            (Some(key), _) => (key, None),
            (None, Some(function)) if request.parts.is_some() => {
                (CacheKey::UNKNOWN, Some(function))
            }
            (None, _) => (
                std::mem::take(&mut request.target).into_key(self.query),
                None,
            ),
        };
        let groups = self.groups_of(selected.groups);
        Addressing {
            at: Address {
                key,
                variant,
                groups,
            },
            to_ask,
        }
    }

    /// The groups of a response: those that were selected, or the route's.
    fn groups_of(&self, selected: Option<Vec<Group>>) -> Groups {
        selected.map_or(Groups::Fixed(self.groups), Groups::Made)
    }

    /// Whether the request rules out the cache; one without fields that matter never does.
    pub(crate) fn check_request(&self, request: &RequestHead) -> Result<(), NotStorable> {
        let fields = request.fields.as_deref();
        fields.map_or(Ok(()), |fields| self.store.check_request(fields))
    }

    /// Whether a response of a read may be stored, going by everything but its body.
    pub(crate) fn check_response(
        &self,
        response: &Response,
        ttl: Option<Duration>,
    ) -> Result<Grant, NotStorable> {
        let declared = self.store.statuses.contains(&response.status().as_u16());
        self.check(declared, response, ttl)
    }

    /// Whether a response of a write may be stored, as if its status had been 200.
    pub(crate) fn check_written(
        &self,
        response: &Response,
        ttl: Option<Duration>,
    ) -> Result<Grant, NotStorable> {
        self.check(is_representation(response.status()), response, ttl)
    }

    fn check(
        &self,
        status: bool,
        response: &Response,
        ttl: Option<Duration>,
    ) -> Result<Grant, NotStorable> {
        if !status {
            return Err(NotStorable::Status);
        }
        let grant = self
            .store
            .check_fields(response.headers(), ttl, clock::time())?;
        match self.unless {
            Some(unless) if unless(response) => Err(NotStorable::Unless),
            _ => Ok(grant),
        }
    }

    /// What its handler is called in logs, metrics and spans.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The reasons that were named in the log.
    pub(crate) fn named_reasons(&self) -> impl Iterator<Item = &'static str> {
        let named = self.named.load(Ordering::Relaxed);
        let is_named = move |reason: &NotStorable| named & (1 << *reason as u32) != 0;
        let reasons = NotStorable::ALL.into_iter().filter(is_named);
        reasons.map(NotStorable::reason)
    }

    /// Names in the log why something is not stored, once, and counts it.
    pub(crate) fn refuse(&self, reason: NotStorable, writes: Writes, cache: &Cache) {
        cache.observer().record(Measured::Write {
            handler: self.name,
            writes,
            written: Written::Refused(reason.name()),
        });
        let bit = 1 << reason as u32;
        if self.named.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            tracing::info!(route = self.name, reason = reason.reason(), "not stored");
        }
    }
}

/// Where a response is stored, as far as it is known without waiting.
pub(crate) struct Addressing {
    at: Address,
    /// Makes the key.
    to_ask: Option<KeyFunction>,
}

impl Addressing {
    /// Asks for the key, if it has to be asked for. The address stays here: moved, it would be in the
    /// future of the caller twice.
    pub(crate) async fn complete(&mut self, request: &RequestHead) -> &Address {
        if let (Some(function), Some(parts)) = (self.to_ask, request.parts.as_deref()) {
            self.at.key = CacheKey::new(function(parts).await);
        }
        &self.at
    }

    /// The address, once it is complete.
    pub(crate) fn into_address(self) -> Address {
        self.at
    }
}

/// What the arguments of a handler select, where the route leaves it to them.
#[derive(Debug, Default)]
pub struct Selected {
    key: Option<CacheKey>,
    vary_by: Option<String>,
    /// Sorted and without repeats.
    groups: Option<Vec<Group>>,
}

impl Selected {
    /// Nothing: the key is that of the request, the groups are those of the route.
    pub fn new() -> Self {
        Self::default()
    }

    /// The key, and the groups that it decides about.
    #[must_use]
    pub fn key(mut self, mut key: CacheKey) -> Self {
        self.groups = key.groups.take();
        self.key = Some(key);
        self
    }

    /// The key that is the default one of a path and query.
    #[must_use]
    pub fn target(self, target: &str) -> Self {
        self.key(default_key(target, QueryRule::All))
    }

    /// The values that select the response.
    #[must_use]
    pub fn vary_by(mut self, values: Text) -> Self {
        self.vary_by = Some(values.into_string());
        self
    }

    /// The default keys that reads of the same path may have, where the query makes a difference.
    pub(crate) fn spellings(&self, target: &Target) -> Vec<CacheKey> {
        if self.key.is_some() || !target.has_query() {
            return Vec::new();
        }
        let rules = [QueryRule::None, QueryRule::All, QueryRule::Exact];
        rules.map(|rule| target.clone().into_key(rule)).into()
    }

    /// The groups of a response that is not stored.
    pub(crate) fn into_groups(self, route: &Route) -> Groups {
        route.groups_of(self.groups)
    }

    /// The groups, instead of the route's.
    #[must_use]
    pub fn groups<const N: usize>(mut self, groups: [Text; N]) -> Self {
        self.groups = Some(sorted_groups(groups));
        self
    }
}

/// The default key of a path and query.
pub(crate) fn default_key(target: &str, query: QueryRule) -> CacheKey {
    Target::of_text(target).into_key(query)
}

/// Makes the key of a request.
pub(crate) type KeyFunction = for<'a> fn(&'a Parts) -> KeyFuture<'a>;

type KeyFuture<'a> = Pin<Box<dyn Future<Output = String> + Send + 'a>>;

/// What a key function may return: a `String`, or a future of one.
#[diagnostic::on_unimplemented(
    message = "a key function returns a `String` or a future of one, not `{Self}`",
    label = "expected `fn(&Parts) -> String` or `async fn(&Parts) -> String`"
)]
pub trait KeyResult<'a, When> {
    /// The key, by and by.
    fn into_future(self) -> KeyFuture<'a>;
}

/// The result of a function that is not async.
#[derive(Debug)]
pub struct Now;

/// The result of an async function.
#[derive(Debug)]
pub struct Later;

impl<'a> KeyResult<'a, Now> for String {
    fn into_future(self) -> KeyFuture<'a> {
        Box::pin(std::future::ready(self))
    }
}

impl<'a, F: Future<Output = String> + Send + 'a> KeyResult<'a, Later> for F {
    fn into_future(self) -> KeyFuture<'a> {
        Box::pin(self)
    }
}
