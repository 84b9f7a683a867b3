//! What the attributes declared, built once per handler by generated code.

use std::any::{TypeId, type_name};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderName, header};
use axum::response::Response;

use crate::cache::Cache;
use crate::clock;
use crate::http::cache_control::{ClientPolicy, Declared};
use crate::http::freshness::{Grant, StaleWindows};
use crate::http::storable::{NotStorable, StorePolicy, is_representation};
use crate::key::asked::{Asked, KeptUrl};
use crate::key::normal::QueryRule;
use crate::key::reader::{Beyond, UrlReader, UrlValues};
use crate::key::{
    Address, CacheKey, Eviction, Group, Groups, Scope, Selecting, Variant, sorted_groups,
};
use crate::key_part::Text;
use crate::observe::{Measured, Writes, Written};
use crate::registry::{self, Grown, Instance, Mounted};
use crate::request::{RequestHead, Url};

/// What `#[cached]` or `#[cache_put]` declared. Built by the compiler, as a static of generated code.
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
    /// What names of its groups look like: NUL stands for a value.
    declared: &'static [&'static str],
    query: QueryRule,
    key: KeyKind,
    pub(crate) client: ClientPolicy,
    pub(crate) store: StorePolicy,
    unless: Option<fn(&Response) -> bool>,
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

    /// What the arguments of the handler see of a URL.
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

    /// What names of its groups look like: NUL stands for a value.
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

    /// The key that a template makes.
    pub fn key_of_template(&'static self, template: &Text) -> CacheKey {
        key_of_template(self.plain(), template)
    }

    /// The key of values, which are still to be named.
    pub fn key_of_values(&'static self) -> KeyOfValues {
        let handler = self.plain();
        KeyOfValues {
            base: handler.name().to_owned(),
            more: String::new(),
            bucket: handler.bucket(),
        }
    }

    /// The key of a text: a path and query, of a handler that reads nothing of the path; or what the key
    /// function returned.
    pub fn key_of_text(&'static self, text: &str) -> CacheKey {
        let handler = self.plain();
        if let KeyKind::Function(_) = self.key {
            return key_of_function(handler, text);
        }
        let url = KeptUrl::of_text(text);
        let values = self.values(Asked::Kept(&url), self.read, handler, Purpose::READ);
        key_of_url(values, handler).0
    }

    /// The handler, where it is not generic.
    fn plain(&'static self) -> &'static Instance {
        self.instance(Types::none())
    }

    fn instance(&'static self, types: Types) -> &'static Instance {
        let make = || {
            let route: *const Self = self;
            let name = [self.name(), types.names].concat();
            registry::declare_groups(self.declared);
            for group in self.made_groups.map(|make| make()).into_iter().flatten() {
                registry::declare_group(&group);
            }
            Instance::new(route.addr(), types.id, &name)
        };
        self.instances.get_or_add(|it| it.is_of(types.id), make)
    }

    /// What the handler reads of a URL.
    pub(crate) fn read_url(&'static self, asked: Asked<'_>) -> ReadUrl {
        self.read_url_of(asked, Types::none(), self.read)
    }

    fn read_url_of(&'static self, asked: Asked<'_>, types: Types, read: ReadArguments) -> ReadUrl {
        let handler = self.instance(types);
        let mounted = handler.mount(asked.mount());
        let purpose = Purpose {
            with_names: !mounted.knows_names(),
            ..Purpose::READ
        };
        let values = self.values(asked, read, handler, purpose);
        if !mounted.knows_names() {
            let beyond = values.beyond.as_deref();
            mounted.note(beyond.map_or_else(String::new, |beyond| beyond.names.clone()));
        }
        ReadUrl { values, mounted }
    }

    fn values(
        &self,
        asked: Asked<'_>,
        read: ReadArguments,
        handler: &Instance,
        purpose: Purpose,
    ) -> UrlValues {
        let mut base = String::new();
        if let KeyKind::Default = self.key {
            base.reserve(handler.name().len() + 32);
            base.push_str(handler.name());
        }
        let mut reader = UrlReader::new(asked, base, purpose.is_write);
        read(&mut reader);
        if self.query != QueryRule::None {
            reader.query_text(self.query);
        }
        // Who looks for the host may find it in the URI (RFC 9112 §3.2.2, RFC 9113 §8.3.1).
        if self.store.vary.contains(&header::HOST) {
            reader.authority();
        }
        reader.finish(purpose.with_names)
    }

    pub(crate) fn lifetime(&self) -> Option<Duration> {
        self.ttl.map(Declared::get)
    }

    pub(crate) fn windows(&self) -> StaleWindows {
        self.client.windows()
    }

    /// The key that a write evicts which names the handler without values: of everything that the
    /// handler stored for the values of the path.
    ///
    /// A key function does not tell what it made of other requests.
    pub(crate) fn named_by(&'static self, request: &RequestHead) -> Result<CacheKey, Unread> {
        let handler = self.plain();
        if let KeyKind::Function(_) = self.key {
            return Err(Unread::OtherValues(handler.bucket()));
        }
        let UrlValues { base, beyond } =
            self.values(request.asked(), self.read, handler, Purpose::WRITE);
        let Beyond {
            has_failed, names, ..
        } = beyond.map_or_else(Beyond::default, |it| *it);
        let reads_so = handler.reads_by(&names);
        if has_failed || reads_so == Some(false) {
            return Err(Unread::OtherValues(handler.bucket()));
        }
        if reads_so.is_none() && !names.is_empty() {
            return Err(Unread::NotSeen(handler.bucket()));
        }
        Ok(CacheKey::of_handler(base, handler.bucket()))
    }

    /// Where the response to a request is stored, as far as it is known without waiting.
    pub(crate) fn address(
        &'static self,
        cache: &Cache,
        request: &mut RequestHead,
        selected: Selected,
    ) -> Addressing {
        let url = match std::mem::take(&mut request.url) {
            Url::Read(url) => url,
            Url::Kept(url) => {
                let read = selected.read.unwrap_or(self.read);
                self.read_url_of(Asked::Kept(&url), selected.types, read)
            }
            Url::None => self.read_url(request.asked()),
        };
        self.addressed(cache, request, selected, url)
    }

    /// Returns whether the key function makes of a write what it makes of reads: on the same path.
    pub(crate) fn has_function_for(&'static self, request: &RequestHead) -> bool {
        let is_function = matches!(self.key, KeyKind::Function(_));
        is_function && self.plain().known_mount(request.asked().mount()).is_some()
    }

    /// Where a write stores its response; `None`: it is not known which entries it replaces, because the
    /// handler is mounted at other paths, or the query may stand for others.
    pub(crate) fn written(
        &'static self,
        cache: &Cache,
        request: &RequestHead,
        selected: Selected,
    ) -> Option<Addressing> {
        let handler = self.plain();
        let asked = request.asked();
        let is_named = selected.key.is_some();
        let mounted = handler.written_mount(asked.mount(), asked.nest(), is_named)?;
        // Its name is another handler's, whose entries these would be.
        if handler.is_duplicate() {
            return None;
        }
        let mut values = self.values(asked, self.read, handler, Purpose::WRITE);
        if let Some(beyond) = &mut values.beyond {
            if beyond.has_other_spellings && !is_named {
                return None;
            }
            if is_named {
                // What the values do not name, the URL of the write does not tell either.
                beyond.rest.clear();
            }
        }
        Some(self.addressed(cache, request, selected, ReadUrl { values, mounted }))
    }

    fn addressed(
        &'static self,
        cache: &Cache,
        request: &RequestHead,
        selected: Selected,
        ReadUrl { values, mounted }: ReadUrl,
    ) -> Addressing {
        let handler = mounted.handler();
        let template = selected
            .template
            .map(|template| key_of_template(handler, &template));
        let named = selected.key.or(template);
        let ask = match self.key {
            KeyKind::Function(function) if named.is_none() && request.parts.is_some() => {
                Some(function)
            }
            _ => None,
        };
        let (key, rest) = match named {
            // A key of values that extends another already says everything.
            Some(key) if key.base().is_some() => (key, rest_of(values)),
            Some(key) => {
                let beyond = values.beyond.map_or_else(Beyond::default, |it| *it);
                (key.extended(&beyond.more), beyond.rest)
            }
            None if ask.is_some() => (CacheKey::UNKNOWN, rest_of(values)),
            None => key_of_url(values, handler),
        };
        let variant = Variant::of(&Selecting {
            nominated: self.store.vary,
            fields: request.map(),
            values: selected.vary_by.as_deref(),
            rest: &rest,
            mount: mounted.selects(),
        });
        let groups = self.groups_of(selected.groups);
        let (key, groups) = match cache.scope() {
            None => (key, groups),
            Some(scope) if ask.is_some() => (key, scope.groups(&groups)),
            Some(scope) => (scope.key(key), scope.groups(&groups)),
        };
        let scope = cache.scope();
        Addressing {
            at: Address {
                key,
                variant,
                groups,
                mounted: Some(mounted),
            },
            ask: ask.map(|function| {
                Box::new(Ask {
                    function,
                    handler,
                    scope: scope.cloned(),
                })
            }),
        }
    }

    /// The groups of a response: those that were selected, or the route's.
    fn groups_of(&self, selected: Option<Vec<Group>>) -> Groups {
        let groups = selected.or_else(|| self.made_groups.map(|make| make()));
        groups.map_or(Groups::Fixed(self.groups), Groups::Made)
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

    /// The name of the handler in keys, logs, metrics and spans.
    pub fn name(&self) -> &'static str {
        self.name.unwrap_or_else(|| (self.named)())
    }

    /// The reasons that were named in the log.
    pub(crate) fn named_reasons(&self) -> impl Iterator<Item = &'static str> {
        let named = self.refused.load(Ordering::Relaxed);
        let is_named = move |reason: &NotStorable| named & (1 << *reason as u32) != 0;
        let reasons = NotStorable::ALL.into_iter().filter(is_named);
        reasons.map(NotStorable::reason)
    }

    /// Names in the log why something is not stored, once, and counts it.
    pub(crate) fn refuse(&self, reason: NotStorable, writes: Writes, cache: &Cache) {
        cache.observer().record(Measured::Write {
            handler: self.name(),
            writes,
            written: Written::Refused(reason.name()),
        });
        let bit = 1 << reason as u32;
        if self.refused.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            tracing::info!(route = self.name(), reason = reason.reason(), "not stored");
        }
    }
}

/// The key of what was read of a URL, and what selects a variant of it.
fn key_of_url(values: UrlValues, handler: &Instance) -> (CacheKey, String) {
    let key = CacheKey::of_handler(values.base, handler.bucket());
    match values.beyond {
        None => (key, String::new()),
        Some(beyond) => (key.extended(&beyond.more), beyond.rest),
    }
}

fn rest_of(values: UrlValues) -> String {
    values.beyond.map_or_else(String::new, |beyond| beyond.rest)
}

fn key_of_function(handler: &Instance, text: &str) -> CacheKey {
    let text = [handler.name(), "=", text].concat();
    CacheKey::of_handler(text, handler.bucket())
}

fn key_of_template(handler: &Instance, template: &Text) -> CacheKey {
    let text = [handler.name(), " ", template.as_str()].concat();
    CacheKey::of_handler(text, handler.bucket())
}

/// A key while its values are named.
#[derive(Debug)]
pub struct KeyOfValues {
    base: String,
    more: String,
    bucket: u8,
}

impl KeyOfValues {
    /// Appends the value of an argument, of the path or of the query.
    #[must_use]
    pub fn part(mut self, is_of_path: bool, value: &Text) -> Self {
        let (out, separator) = match (is_of_path, self.more.is_empty()) {
            (true, _) => (&mut self.base, '/'),
            (false, true) => (&mut self.more, '?'),
            (false, false) => (&mut self.more, '|'),
        };
        out.push(separator);
        out.push_str(value.as_str());
        self
    }

    /// The key.
    pub fn into_key(self) -> CacheKey {
        CacheKey::of_handler(self.base, self.bucket).extended(&self.more)
    }
}

/// What a handler reads of the URL of a request, and where it is mounted.
#[derive(Clone, Debug)]
pub struct ReadUrl {
    values: UrlValues,
    mounted: Mounted,
}

/// What a URL is read for.
#[derive(Clone, Copy)]
struct Purpose {
    /// The names of the parameters of the path matter.
    with_names: bool,
    /// It matters how else the same values can be spelled.
    is_write: bool,
}

impl Purpose {
    const READ: Self = Self {
        with_names: false,
        is_write: false,
    };
    const WRITE: Self = Self {
        with_names: true,
        is_write: true,
    };
}

/// What the key of a handler is made of.
#[derive(Clone, Copy, Debug)]
enum KeyKind {
    /// What its arguments see of the URL.
    Default,
    /// The values of a template.
    Template,
    /// What a function makes of the head of the request.
    Function(KeyFunction),
}

/// Why a write that names a handler does not tell which of its entries it means. All of the handler
/// go then, which are those in its bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// The handler reads other values, or reads them by other names or in another order.
    OtherValues(u8),
    /// No request has shown yet by which names the handler reads its values.
    NotSeen(u8),
}

impl Unread {
    pub(crate) fn eviction(self) -> Eviction {
        match self {
            Self::OtherValues(bucket) | Self::NotSeen(bucket) => Eviction::Handler(bucket),
        }
    }
}

/// Where a response is stored, as far as it is known without waiting.
pub(crate) struct Addressing {
    at: Address,
    ask: Option<Box<Ask>>,
}

/// What makes the key, where that may have to wait.
struct Ask {
    function: KeyFunction,
    handler: &'static Instance,
    scope: Option<Scope>,
}

impl Addressing {
    /// Asks for the key, if it has to be asked for. The address stays here: moved, it would be in the
    /// future of the caller twice.
    pub(crate) async fn complete(&mut self, request: &RequestHead) -> &Address {
        if let (Some(ask), Some(parts)) = (&self.ask, request.parts.as_deref()) {
            let text = (ask.function)(parts).await;
            let key = key_of_function(ask.handler, &text);
            self.at.key = match &ask.scope {
                Some(scope) => scope.key(key),
                None => key,
            };
        }
        &self.at
    }

    /// The address, once it is complete.
    pub(crate) fn into_address(self) -> Address {
        self.at
    }
}

/// The types that a generic handler is an instance of.
#[derive(Clone, Copy, Debug)]
struct Types {
    id: TypeId,
    names: &'static str,
}

impl Types {
    /// No types: the handler is not generic.
    fn none() -> Self {
        Self {
            id: TypeId::of::<()>(),
            names: "",
        }
    }
}

/// What the arguments of a handler select, where the route leaves it to them.
#[derive(Debug)]
pub struct Selected {
    key: Option<CacheKey>,
    vary_by: Option<String>,
    /// Sorted and without repeats.
    groups: Option<Vec<Group>>,
    types: Types,
    read: Option<ReadArguments>,
    template: Option<Text>,
}

impl Default for Selected {
    fn default() -> Self {
        Self {
            key: None,
            vary_by: None,
            groups: None,
            types: Types::none(),
            read: None,
            template: None,
        }
    }
}

impl Selected {
    /// Nothing: the key is that of the request, the groups are those of the route.
    pub fn new() -> Self {
        Self::default()
    }

    /// An instance of a generic handler, by its types, and what its arguments see of a URL.
    pub fn of_types<T: 'static>(read: ReadArguments) -> Self {
        let types = Types {
            id: TypeId::of::<T>(),
            // The arguments of a marker type.
            names: type_name::<T>()
                .split_once("__AxumRedisCacheTypes")
                .map_or("", |(_, it)| it),
        };
        Self {
            types,
            read: Some(read),
            ..Self::default()
        }
    }

    /// The key, and the groups that it decides about.
    #[must_use]
    pub fn key(mut self, mut key: CacheKey) -> Self {
        self.groups = key.groups.take();
        self.key = Some(key);
        self
    }

    /// The key that a template of a generic handler makes.
    #[must_use]
    pub fn template(mut self, template: Text) -> Self {
        self.template = Some(template);
        self
    }

    /// The values that select the response.
    #[must_use]
    pub fn vary_by(mut self, values: Text) -> Self {
        self.vary_by = Some(values.into_string());
        self
    }

    /// The groups, instead of the route's.
    #[must_use]
    pub fn groups<const N: usize>(mut self, groups: [Text; N]) -> Self {
        self.groups = Some(sorted_groups(groups));
        self
    }

    /// The key that was selected.
    pub(crate) fn selected_key(&self) -> Option<&CacheKey> {
        self.key.as_ref()
    }

    /// The groups of a response that is not stored.
    pub(crate) fn into_groups(self, route: &Route) -> Groups {
        route.groups_of(self.groups)
    }

    /// Returns whether another handler has the name of this one.
    pub(crate) fn is_duplicate(&self, route: &'static Route) -> bool {
        route.instance(self.types).is_duplicate()
    }
}

/// Reads what the arguments of a handler see of a URL.
pub(crate) type ReadArguments = fn(&mut UrlReader<'_>);

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
