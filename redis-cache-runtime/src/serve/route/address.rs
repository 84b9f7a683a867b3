//! The address at which a response is stored.

use super::Route;
use super::key_function::{KeyFunction, KeyKind};
use super::named::{key_of_function, key_of_template, key_of_url};
use super::read_url::{Purpose, ReadUrl};
use super::selected::Selected;
use crate::engine::Engine;
use crate::key::asked::Asked;
use crate::key::reader::{Beyond, UrlValues};
use crate::key::registry::Instance;
use crate::key::{Address, CacheKey, Eviction, Scope, Selecting, Variant};
use crate::serve::request::{RequestHead, Url};

impl Route {
    /// Returns the key that a write evicts when it names the handler without values: it covers all
    /// entries of the handler for the values of the path.
    ///
    /// The keys that a key function made of other requests are not known.
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

    /// Returns the eviction of all entries of the handler.
    pub(crate) fn everything(&'static self) -> Eviction {
        Eviction::Handler(self.plain().bucket())
    }

    /// Returns the address of the response to a request, without the key of a key function.
    pub(crate) fn address(
        &'static self,
        engine: &Engine,
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
        self.addressed(engine, request, selected, url)
    }

    /// Returns whether a write is on a path of the handler, so that its key function makes the same key
    /// for both.
    pub(crate) fn has_function_for(&'static self, request: &RequestHead) -> bool {
        let is_function = matches!(self.key, KeyKind::Function(_));
        is_function && self.plain().known_mount(request.asked().mount()).is_some()
    }

    /// Returns the address at which a write stores its response. `None`: the entries that it replaces
    /// are not known, because the handler is mounted at other paths, or other queries may stand for the
    /// same values.
    pub(crate) fn written(
        &'static self,
        engine: &Engine,
        request: &RequestHead,
        selected: Selected,
    ) -> Option<Addressing> {
        let handler = self.plain();
        let asked = request.asked();
        let is_named = selected.key.is_some();
        let mounted = handler.written_mount(asked.mount(), asked.nest(), is_named)?;
        // The name is another handler's, and these would be its entries.
        if handler.is_duplicate() {
            return None;
        }
        let mut values = self.values(asked, self.read, handler, Purpose::WRITE);
        if let Some(beyond) = &mut values.beyond {
            if beyond.has_other_spellings && !is_named {
                return None;
            }
            if is_named {
                // Parameters that the named values leave out are not in the URL of the write either.
                beyond.rest.clear();
            }
        }
        Some(self.addressed(engine, request, selected, ReadUrl { values, mounted }))
    }

    fn addressed(
        &'static self,
        engine: &Engine,
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
            // A key of values that extends another is complete.
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
        let (key, groups) = engine.in_scope(key, groups);
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
                    scope: engine.scope().cloned(),
                })
            }),
        }
    }
}

fn rest_of(values: UrlValues) -> String {
    values.beyond.map_or_else(String::new, |beyond| beyond.rest)
}

/// The reason why a write that names a handler does not identify its entry. All entries of the handler
/// are evicted then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// The handler reads other values, or reads them by other names or in another order.
    OtherValues,
    /// No request has shown yet by which names the handler reads its values.
    NotSeen,
    /// A key function makes the keys of the handler from requests other than this one.
    Function,
}

/// The address of a response, which may lack the key of a key function.
pub(crate) struct Addressing {
    at: Address,
    ask: Option<Box<Ask>>,
}

/// The key function of a handler, which may have to wait.
struct Ask {
    function: KeyFunction,
    handler: &'static Instance,
    scope: Option<Scope>,
}

impl Addressing {
    /// Runs the key function, if there is one. The address stays here: if it moved, it would be in the
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

    /// Returns the address, once it is complete.
    pub(crate) fn into_address(self) -> Address {
        self.at
    }
}
