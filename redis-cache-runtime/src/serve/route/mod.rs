//! The declarations of attributes. Generated code builds one static `Route` per handler, and
//! nothing changes it but the counters of its log lines and the mounts of the handler.

pub(crate) mod address;
mod key_function;
mod named;
pub(crate) mod read_url;
pub(crate) mod selected;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode};
use axum::response::Response;

use self::key_function::{KeyFunction, KeyKind};
use self::read_url::ReadArguments;
use crate::engine::known_groups::MAX_GROUPS;
use crate::engine::{Engine, clock};
use crate::http::cache_control::{ClientPolicy, Declared};
use crate::http::freshness::{Grant, StaleWindows};
use crate::http::storable::{NotStorable, StorableStatus, StorePolicy, is_representation};
use crate::key::normal::QueryRule;
use crate::key::registry::{Grown, Instance, name_of};
use crate::key::{DeclaredGroups, Group, is_group};
use crate::observe::{Measured, Writes, Written};
use crate::serve::response_parts::{DoNotStore, Groups};

pub use self::key_function::KeyResult;

/// The declarations of `#[cached]` or `#[cache_put]`. A `const` expression of generated code builds
/// it as a static.
#[derive(Debug)]
pub struct Route {
    /// Returns the path of the handler, from which its name is made unless one is declared.
    named: fn() -> &'static str,
    name: Option<&'static str>,
    /// Reads the parts of a URL that the arguments of the handler read.
    read: ReadArguments,
    instances: Grown<Instance>,
    ttl: Option<Declared>,
    /// The largest reduction of a lifetime, in percent.
    jitter: u8,
    stale_if_slow: Option<Declared>,
    /// The groups that the code names, sorted, without duplicates.
    groups: &'static [&'static str],
    /// Every name in `groups` is the group itself.
    are_groups: bool,
    /// Makes the groups, if there are expressions that use no argument.
    made_groups: Option<fn() -> Vec<Group>>,
    /// The patterns of the names of the groups: NUL is the placeholder of a value.
    declared: &'static [&'static str],
    query: QueryRule,
    key: KeyKind,
    pub(crate) client: ClientPolicy,
    pub(crate) store: StorePolicy,
    bypass: Option<fn(&Parts) -> bool>,
    unless: Option<fn(&Response) -> bool>,
    /// The arguments may be read from data that can change, before the handler runs.
    pub(crate) reads_early: bool,
    /// One bit for each reason that was logged.
    refused: AtomicU32,
}

impl Route {
    /// Creates the route of a handler. `named` returns the path of its companion.
    pub const fn new(named: fn() -> &'static str) -> Self {
        Self {
            named,
            name: None,
            read: |_| {},
            instances: Grown::new(),
            ttl: None,
            jitter: 0,
            stale_if_slow: None,
            groups: &[],
            are_groups: true,
            made_groups: None,
            declared: &[],
            query: QueryRule::None,
            key: KeyKind::Default,
            client: ClientPolicy::NONE,
            store: StorePolicy::NONE,
            bypass: None,
            unless: None,
            reads_early: false,
            refused: AtomicU32::new(0),
        }
    }

    /// Sets the freshness lifetime; zero: no expiry.
    #[must_use]
    pub const fn ttl(mut self, ttl: Declared) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Sets the largest reduction of a lifetime, in percent.
    #[must_use]
    pub const fn jitter(mut self, percent: u8) -> Self {
        self.jitter = percent;
        self
    }

    /// Sets the names of the eviction groups, sorted and without duplicates.
    #[must_use]
    pub const fn groups(mut self, names: &'static [&'static str]) -> Self {
        self.groups = names;
        let mut rest = names;
        while let [name, others @ ..] = rest {
            self.are_groups &= is_group(name);
            rest = others;
        }
        self
    }

    /// Sets the name of the handler, instead of the name of its function.
    #[must_use]
    pub const fn name_is(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    /// Sets the function that reads a URL as the arguments of the handler do.
    #[must_use]
    pub const fn reads(mut self, read: ReadArguments) -> Self {
        self.read = read;
        self
    }

    /// Sets the function that makes the eviction groups, sorted and without duplicates.
    #[must_use]
    pub const fn groups_by(mut self, make: fn() -> Vec<Group>) -> Self {
        self.made_groups = Some(make);
        self
    }

    /// Sets the patterns of the names of the groups: NUL is the placeholder of a value.
    #[must_use]
    pub const fn declares(mut self, patterns: &'static [&'static str]) -> Self {
        self.declared = patterns;
        self
    }

    /// Sets the parameters of the query that are in the key, whatever the arguments read.
    #[must_use]
    pub const fn query(mut self, query: QueryRule) -> Self {
        self.query = query;
        self
    }

    /// Sets the function that makes the key of a request, instead of the default key.
    #[must_use]
    pub const fn key_by(mut self, function: KeyFunction) -> Self {
        self.key = KeyKind::Function(function);
        self
    }

    /// Declares that a template makes the key from values.
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

    /// Sets the largest `max-age` for CDNs.
    #[must_use]
    pub const fn cdn_max_age(mut self, max_age: Declared) -> Self {
        self.client.cdn_max_age = Some(max_age);
        self
    }

    /// Adds `private` to `Cache-Control`: a response is for one user.
    #[must_use]
    pub const fn private(mut self) -> Self {
        self.client.visibility = Some("private");
        self
    }

    /// Sets the time for which a stale response is served while it is refreshed.
    #[must_use]
    pub const fn stale_while_revalidate(mut self, window: Declared) -> Self {
        self.client.stale_while_revalidate = Some(window);
        self
    }

    /// Sets the time for which a stale response is served when the handler fails.
    #[must_use]
    pub const fn stale_if_error(mut self, window: Declared) -> Self {
        self.client.stale_if_error = Some(window);
        self
    }

    /// Sets the time after which a request gets a stale response while the handler runs on; zero: at once.
    #[must_use]
    pub const fn stale_if_slow(mut self, time: Declared) -> Self {
        self.stale_if_slow = Some(time);
        self
    }

    /// Declares that responses are the same for everyone, and adds `public` to `Cache-Control`.
    #[must_use]
    pub const fn public(mut self) -> Self {
        self.client.visibility = Some("public");
        self.store.public = true;
        self
    }

    /// Adds `no-store` to `Cache-Control`: clients must not store a response.
    #[must_use]
    pub const fn no_store(mut self) -> Self {
        self.client.no_store = true;
        self
    }

    /// Sets the request fields that select the response, sorted and without duplicates.
    #[must_use]
    pub const fn vary(mut self, names: &'static [HeaderName]) -> Self {
        self.store.vary = names;
        self
    }

    /// Sets the storable statuses.
    #[must_use]
    pub const fn statuses(mut self, statuses: &'static [StorableStatus]) -> Self {
        self.store.statuses = statuses;
        self
    }

    /// Sets the response fields that belong to one request.
    #[must_use]
    pub const fn not_stored(mut self, names: &'static [HeaderName]) -> Self {
        self.store.not_stored = names;
        self
    }

    /// Sets the function that returns whether a request bypasses the cache.
    #[must_use]
    pub const fn bypass(mut self, bypass: fn(&Parts) -> bool) -> Self {
        self.bypass = Some(bypass);
        self
    }

    /// Sets the function that returns whether a response must not be stored.
    #[must_use]
    pub const fn unless(mut self, unless: fn(&Response) -> bool) -> Self {
        self.unless = Some(unless);
        self
    }

    /// Returns the freshness lifetime of the responses with a status; `None`: no expiry.
    fn lifetime_of(&self, status: StorableStatus, engine: &Engine) -> Option<Duration> {
        engine.lifetime_of(status.lifetime().or(self.ttl.map(Declared::get)))
    }

    /// Returns whether a request bypasses the cache.
    pub(super) fn is_bypassed_by(&self, request: &Parts) -> bool {
        self.bypass.is_some_and(|bypass| bypass(request))
    }

    /// Returns the time for which responses are kept, including the windows in which stale
    /// responses may be served; `None`: no expiry.
    pub(crate) fn kept_for(&self, engine: &Engine) -> Option<Duration> {
        let windows = self.windows().longest();
        let mut longest = Duration::ZERO;
        for status in self.store.statuses {
            longest = longest.max(self.lifetime_of(*status, engine)?);
        }
        Some(longest.saturating_add(windows))
    }

    /// Returns the groups of a response: the selected ones, or those of the route.
    pub(super) fn groups_of(&self, selected: Option<Vec<Group>>) -> DeclaredGroups {
        let groups = selected.or_else(|| self.made_groups.map(|make| make()));
        match groups {
            Some(groups) => DeclaredGroups::Made(groups),
            None if self.are_groups => DeclaredGroups::Fixed(self.groups),
            None => DeclaredGroups::of_names(self.groups),
        }
    }

    pub(crate) fn windows(&self) -> StaleWindows {
        let mut windows = self.client.windows();
        if self.patience().is_some_and(|patience| patience.is_zero()) {
            windows.while_revalidate = windows.longest();
        }
        windows
    }

    /// Returns the time for which a request waits before it gets a stale response.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.stale_if_slow.map(Declared::get)
    }

    /// Checks whether a response to a read may be stored, by everything except its body.
    pub(crate) fn check_response(
        &self,
        response: &Response,
        engine: &Engine,
    ) -> Result<Grant, NotStorable> {
        self.check(self.store.status(response.status()), response, engine)
    }

    /// Checks whether a response to a write may be stored, as if its status were 200.
    pub(crate) fn check_written(
        &self,
        response: &Response,
        engine: &Engine,
    ) -> Result<Grant, NotStorable> {
        const OK: StorableStatus = StorableStatus::new(200);
        let ok = self.store.status(StatusCode::OK).unwrap_or(&OK);
        let status = is_representation(response.status()).then_some(ok);
        self.check(status, response, engine)
    }

    fn check(
        &self,
        status: Option<&StorableStatus>,
        response: &Response,
        engine: &Engine,
    ) -> Result<Grant, NotStorable> {
        let Some(status) = status else {
            return Err(NotStorable::Status(response.status()));
        };
        if response.extensions().get::<DoNotStore>().is_some() {
            return Err(NotStorable::DoNotStore);
        }
        let groups = response.extensions().get::<Groups>();
        if groups.is_some_and(|groups| groups.len() > MAX_GROUPS) {
            return Err(NotStorable::TooManyGroups);
        }
        let lifetime = self.lifetime_of(*status, engine);
        let mut grant = self
            .store
            .check_fields(response.headers(), lifetime, clock::time())?;
        if status.lifetime().is_some() {
            grant = grant.at_most(lifetime);
        }
        if self.jitter != 0 {
            grant = grant.shortened(self.jitter, fastrand::f64());
        }
        match self.unless {
            Some(unless) if unless(response) => Err(NotStorable::Unless),
            _ => Ok(grant),
        }
    }

    /// Returns the name of the handler in keys, logs, metrics and spans.
    pub fn name(&self) -> &'static str {
        self.name.unwrap_or_else(|| name_of((self.named)()))
    }

    /// Returns the reasons that were logged.
    pub(crate) fn named_reasons(&self) -> impl Iterator<Item = &'static str> {
        let named = self.refused.load(Ordering::Relaxed);
        let is_named = move |reason: &&NotStorable| named & reason.bit() != 0;
        let reasons = NotStorable::ALL.iter().filter(is_named);
        reasons.map(|reason| reason.reason())
    }

    /// Counts that something is not stored, and logs the reason the first time.
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
