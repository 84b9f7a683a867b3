//! What the attributes declared, built once per handler by generated code.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::http::{HeaderName, StatusCode};
use axum::response::Response;

use crate::clock;
use crate::http::freshness::{ClientPolicy, Grant};
use crate::http::storable::{NotStorable, StorePolicy, is_representation};
use crate::key::{Address, Eviction, Group, Key, Variant};
use crate::request::RequestHead;

/// What `#[cached]` or `#[cache_put]` declared.
#[derive(Debug)]
pub struct Route {
    name: &'static str,
    pub(crate) ttl: Option<Duration>,
    groups: Vec<Group>,
    pub(crate) client: ClientPolicy,
    pub(crate) store: StorePolicy,
    unless: Option<fn(&Response) -> bool>,
    /// One bit for each reason that was named in the log.
    named: AtomicU32,
}

impl Route {
    /// The route of the handler of that name.
    pub fn new(name: &'static str) -> Self {
        let statuses = vec![StatusCode::OK.as_u16()];
        Self {
            name,
            ttl: None,
            groups: Vec::new(),
            client: ClientPolicy::default(),
            store: StorePolicy {
                vary: Vec::new(),
                statuses,
                public: false,
            },
            unless: None,
            named: AtomicU32::new(0),
        }
    }

    /// The freshness lifetime; zero: no expiry.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// The eviction groups.
    #[must_use]
    pub fn groups(mut self, groups: &[&'static str]) -> Self {
        self.groups = groups.iter().map(|group| Group::Borrowed(group)).collect();
        self.groups.sort_unstable();
        self.groups.dedup();
        self
    }

    /// What clients are told at most.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.client.max_age = Some(max_age);
        self
    }

    /// Clients are told that responses are for one user.
    #[must_use]
    pub fn private(mut self) -> Self {
        self.client.visibility = Some("private");
        self
    }

    /// Responses are the same for everyone, and clients are told so.
    #[must_use]
    pub fn public(mut self) -> Self {
        self.client.visibility = Some("public");
        self.store.public = true;
        self
    }

    /// Clients are told not to store responses.
    #[must_use]
    pub fn no_store(mut self) -> Self {
        self.client.no_store = true;
        self
    }

    /// The request fields that select the response, by lower-case names.
    #[must_use]
    pub fn vary(mut self, names: &[&'static str]) -> Self {
        let names = names
            .iter()
            .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok());
        self.store.vary = names.collect();
        self.store
            .vary
            .sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        self.store.vary.dedup();
        self
    }

    /// The storable statuses.
    #[must_use]
    pub fn statuses(mut self, statuses: &[u16]) -> Self {
        self.store.statuses = statuses.to_vec();
        self
    }

    /// When not to store.
    #[must_use]
    pub fn unless(mut self, unless: fn(&Response) -> bool) -> Self {
        self.unless = Some(unless);
        self
    }

    pub(crate) fn variant(&self, request: &RequestHead) -> Option<Variant> {
        Variant::of_fields(&self.store.vary, request.map())
    }

    pub(crate) fn address<'a>(&'a self, key: &'a Key, variant: Option<&'a Variant>) -> Address<'a> {
        Address {
            key,
            variant,
            groups: &self.groups,
        }
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

    /// Names a reason in the log, once.
    pub(crate) fn name_reason(&self, reason: NotStorable) {
        let bit = 1 << reason as u32;
        if self.named.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            tracing::info!(route = self.name, reason = reason.reason(), "not stored");
        }
    }
}

/// What `#[cache_evict]` declared.
#[derive(Debug, Default)]
pub struct Evict {
    targets: Vec<Target>,
    pub(crate) always: bool,
}

#[derive(Debug)]
enum Target {
    RequestKey,
    Fixed(Eviction),
}

impl Evict {
    /// No targets yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Evicts the default key of the request.
    #[must_use]
    pub fn request_key(mut self) -> Self {
        self.targets.push(Target::RequestKey);
        self
    }

    /// Evicts a key.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        self.fixed(Eviction::Key(Key::literal(key)))
    }

    /// Evicts every entry of a group.
    #[must_use]
    pub fn group(self, group: &'static str) -> Self {
        self.fixed(Eviction::Group(Group::Borrowed(group)))
    }

    /// Evicts everything.
    #[must_use]
    pub fn all(self) -> Self {
        self.fixed(Eviction::All)
    }

    /// Evicts whatever the handler answers.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.always = true;
        self
    }

    fn fixed(mut self, eviction: Eviction) -> Self {
        self.targets.push(Target::Fixed(eviction));
        self
    }

    /// What to evict for a request.
    pub(crate) fn evictions(&self, request: &RequestHead) -> Vec<Eviction> {
        let resolve = |target: &Target| match target {
            Target::RequestKey => Eviction::Key(request.key.clone()),
            Target::Fixed(eviction) => eviction.clone(),
        };
        self.targets.iter().map(resolve).collect()
    }
}
