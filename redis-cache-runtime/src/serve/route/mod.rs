//! The declarations of attributes, built once per handler by generated code.

pub(crate) mod address;
mod key_function;
mod named;
pub(crate) mod read_url;
pub(crate) mod selected;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::http::HeaderName;
use axum::response::Response;

use self::key_function::{KeyFunction, KeyKind};
use self::read_url::ReadArguments;
use crate::engine::{Engine, clock};
use crate::http::cache_control::{ClientPolicy, Declared};
use crate::http::freshness::{Grant, StaleWindows};
use crate::http::storable::{NotStorable, StorePolicy, is_representation};
use crate::key::normal::QueryRule;
use crate::key::registry::{Grown, Instance, name_of};
use crate::key::{Group, Groups};
use crate::observe::{Measured, Writes, Written};

pub use self::key_function::KeyResult;

/// The declarations of `#[cached]` or `#[cache_put]`. Built by the compiler, as a static of generated
/// code.
#[derive(Debug)]
pub struct Route {
    /// Names the handler, unless a name was given.
    named: fn() -> &'static str,
    name: Option<&'static str>,
    /// Reads what the arguments of the handler see of a URL.
    read: ReadArguments,
    instances: Grown<Instance>,
    ttl: Option<Declared>,
    /// Sorted and without repeats.
    groups: &'static [&'static str],
    /// Makes the groups, where they are expressions that use no value.
    made_groups: Option<fn() -> Vec<Group>>,
    /// The patterns of the names of its groups: NUL stands for a value.
    declared: &'static [&'static str],
    query: QueryRule,
    key: KeyKind,
    pub(crate) client: ClientPolicy,
    pub(crate) store: StorePolicy,
    unless: Option<fn(&Response) -> bool>,
    /// Its arguments may have been read from what can change, before the handler runs.
    pub(crate) reads_early: bool,
    /// One bit for each reason that was named in the log.
    refused: AtomicU32,
}

impl Route {
    /// The route of a handler, which a function names by its companion.
    pub const fn new(named: fn() -> &'static str) -> Self {
        Self {
            named,
            name: None,
            read: |_| {},
            instances: Grown::new(),
            ttl: None,
            groups: &[],
            made_groups: None,
            declared: &[],
            query: QueryRule::None,
            key: KeyKind::Default,
            client: ClientPolicy::NONE,
            store: StorePolicy::NONE,
            unless: None,
            reads_early: false,
            refused: AtomicU32::new(0),
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

    /// The name of the handler, whatever it is called.
    #[must_use]
    pub const fn name_is(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    /// Reads a URL as the arguments of the handler do.
    #[must_use]
    pub const fn reads(mut self, read: ReadArguments) -> Self {
        self.read = read;
        self
    }

    /// Makes the eviction groups, sorted and without repeats.
    #[must_use]
    pub const fn groups_by(mut self, make: fn() -> Vec<Group>) -> Self {
        self.made_groups = Some(make);
        self
    }

    /// The patterns of the names of its groups: NUL stands for a value.
    #[must_use]
    pub const fn declares(mut self, patterns: &'static [&'static str]) -> Self {
        self.declared = patterns;
        self
    }

    /// Which parameters of the query are in the key, whatever the arguments see.
    #[must_use]
    pub const fn query(mut self, query: QueryRule) -> Self {
        self.query = query;
        self
    }

    /// Makes the key of a request, instead of the default.
    #[must_use]
    pub const fn key_by(mut self, function: KeyFunction) -> Self {
        self.key = KeyKind::Function(function);
        self
    }

    /// The key is made by a template, of values.
    #[must_use]
    pub const fn key_by_template(mut self) -> Self {
        self.key = KeyKind::Template;
        self
    }

    /// Sets whether the key identifies the caller. If so, responses to requests with `Authorization`
    /// may be stored, and clients receive `private` unless the route declares otherwise.
    #[must_use]
    pub const fn identified(mut self, identified: bool) -> Self {
        self.store.identified = identified;
        if identified {
            self.client.visibility = Some("private");
        }
        self
    }

    /// Sets whether a value that proxies do not see selects the response, so that they must not store
    /// it.
    #[must_use]
    pub const fn selected_unseen(mut self, is_unseen: bool) -> Self {
        if is_unseen {
            self.client.visibility = Some("private");
        }
        self
    }

    /// Sets whether arguments may have been read from data that can change, before the handler runs.
    #[must_use]
    pub const fn reads_early(mut self, reads_early: bool) -> Self {
        self.reads_early = reads_early;
        self
    }

    /// Sets the largest `max-age` for clients.
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

    /// Returns the freshness lifetime of the responses; `None`: no expiry.
    pub(crate) fn lifetime(&self, engine: &Engine) -> Option<Duration> {
        engine.lifetime_of(self.ttl.map(Declared::get))
    }

    /// Returns the time for which responses are kept, which includes the windows in which stale ones are
    /// of use; `None`: for ever.
    pub(crate) fn kept_for(&self, engine: &Engine) -> Option<Duration> {
        let windows = self.windows().longest();
        let lifetime = self.lifetime(engine);
        lifetime.map(|ttl| ttl.saturating_add(windows))
    }

    /// The groups of a response: those that were selected, or the route's.
    pub(super) fn groups_of(&self, selected: Option<Vec<Group>>) -> Groups {
        let groups = selected.or_else(|| self.made_groups.map(|make| make()));
        groups.map_or(Groups::Fixed(self.groups), Groups::Made)
    }

    pub(crate) fn windows(&self) -> StaleWindows {
        self.client.windows()
    }

    /// Checks whether a response to a read may be stored, by everything except its body.
    pub(crate) fn check_response(
        &self,
        response: &Response,
        ttl: Option<Duration>,
    ) -> Result<Grant, NotStorable> {
        let declared = self.store.statuses.contains(&response.status().as_u16());
        self.check(declared, response, ttl)
    }

    /// Checks whether a response to a write may be stored, as if its status were 200.
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
            return Err(NotStorable::Status(response.status()));
        }
        let grant = self
            .store
            .check_fields(response.headers(), ttl, clock::time())?;
        match self.unless {
            Some(unless) if unless(response) => Err(NotStorable::Unless),
            _ => Ok(grant),
        }
    }

    /// The name of the handler in keys, logs, metrics and spans.
    pub fn name(&self) -> &'static str {
        self.name.unwrap_or_else(|| name_of((self.named)()))
    }

    /// The reasons that were named in the log.
    pub(crate) fn named_reasons(&self) -> impl Iterator<Item = &'static str> {
        let named = self.refused.load(Ordering::Relaxed);
        let is_named = move |reason: &NotStorable| named & reason.bit() != 0;
        let reasons = NotStorable::ALL.into_iter().filter(is_named);
        reasons.map(NotStorable::reason)
    }

    /// Names in the log why something is not stored, once, and counts it.
    pub(crate) fn refuse(&self, reason: NotStorable, writes: Writes, engine: &Engine) {
        engine.observer().record(Measured::Write {
            handler: self.name(),
            writes,
            written: Written::Refused(reason.name()),
        });
        let bit = reason.bit();
        if self.refused.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            let (reason, status) = (reason.reason(), reason.status());
            tracing::info!(route = self.name(), reason, status, "not stored");
        }
    }
}
