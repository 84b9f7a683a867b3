//! Keys of a handler's responses: of requests, of writes and of values.

use axum::http::header;

use super::selected::Types;
use super::{KeyFunction, KeyKind, ReadArguments, Route, Selected};
use crate::cache::Cache;
use crate::declared_groups;
use crate::key::asked::{Asked, KeptUrl};
use crate::key::normal::QueryRule;
use crate::key::reader::{Beyond, UrlReader, UrlValues};
use crate::key::{Address, CacheKey, Eviction, Group, Groups, Scope, Selecting, Variant};
use crate::key_part::Text;
use crate::registry::{Instance, Mounted};
use crate::request::{RequestHead, Url};

impl Route {
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

    pub(super) fn instance(&'static self, types: Types) -> &'static Instance {
        let make = || {
            let route: *const Self = self;
            let name = [self.name(), types.names].concat();
            declared_groups::declare_patterns(self.groups);
            declared_groups::declare_patterns(self.declared);
            for group in self.made_groups.map(|make| make()).into_iter().flatten() {
                declared_groups::declare(&group);
            }
            Instance::new(route.addr(), types.id, &name)
        };
        self.instances.get_or_add(|it| it.is_of(types.id), make)
    }

    /// Reads a URL as the handler does.
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
        if purpose.with_names {
            match values.beyond.as_deref() {
                None => mounted.note(String::new()),
                Some(beyond) if !beyond.has_failed => mounted.note(beyond.names.clone()),
                Some(_) => {}
            }
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
        if let KeyKind::Function(_) = self.key {
            // The function sees the whole head: what the key holds is up to it.
            reader.ignore_params();
        }
        reader.finish(purpose.with_names)
    }

    /// The key that a write evicts which names the handler without values: of everything that the
    /// handler stored for the values of the path.
    ///
    /// A key function does not tell what it made of other requests.
    pub(crate) fn named_by(&'static self, request: &RequestHead) -> Result<CacheKey, Unread> {
        let handler = self.plain();
        if let KeyKind::Function(_) = self.key {
            return Err(Unread::Function);
        }
        let UrlValues { base, beyond } =
            self.values(request.asked(), self.read, handler, Purpose::WRITE);
        let Beyond {
            has_failed, names, ..
        } = beyond.map_or_else(Beyond::default, |it| *it);
        let reads_so = handler.reads_by(&names);
        if has_failed || reads_so == Some(false) {
            return Err(Unread::OtherValues);
        }
        if reads_so.is_none() && !names.is_empty() {
            return Err(Unread::NotSeen);
        }
        Ok(CacheKey::of_handler(base, handler.bucket()))
    }

    /// The eviction of everything that the handler stored.
    pub(crate) fn everything(&'static self) -> Eviction {
        Eviction::Handler(self.plain().bucket())
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
        let (key, groups) = cache.in_scope(key, groups);
        Addressing {
            at: Address {
                key,
                variant,
                groups,
                mounted: Some(mounted.reading_early(self.reads_early)),
            },
            ask: ask.map(|function| {
                Box::new(Ask {
                    function,
                    handler,
                    scope: cache.scope().cloned(),
                })
            }),
        }
    }

    /// The groups of a response: those that were selected, or the route's.
    pub(super) fn groups_of(&self, selected: Option<Vec<Group>>) -> Groups {
        let groups = selected.or_else(|| self.made_groups.map(|make| make()));
        groups.map_or(Groups::Fixed(self.groups), Groups::Made)
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

/// The values that a handler reads of the URL of a request, and its mount.
#[derive(Clone, Debug)]
pub(crate) struct ReadUrl {
    values: UrlValues,
    mounted: Mounted,
}

/// The purpose of reading a URL.
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

/// Why a write that names a handler does not tell which of its entries it means. All of the handler
/// go then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// The handler reads other values, or reads them by other names or in another order.
    OtherValues,
    /// No request has shown yet by which names the handler reads its values.
    NotSeen,
    /// A function makes the keys of the handler, of other requests than this one.
    Function,
}

/// Where a response is stored, as far as it is known without waiting.
pub(crate) struct Addressing {
    at: Address,
    ask: Option<Box<Ask>>,
}

/// The function that makes the key, where that may have to wait.
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
