//! The address at which a response is stored, for reads and for writes.

use super::Route;
use super::key_function::{KeyFunction, KeyKind};
use super::named::{key_of_function, key_of_template, key_of_url};
use super::read_url::{ReadMode, ReadUrl};
use super::selected::Selected;
use crate::engine::Engine;
use crate::key::reader::{UrlExtras, UrlValues};
use crate::key::registry::Instance;
use crate::key::request_url::RequestUrl;
use crate::key::{Address, CacheKey, Eviction, Scope, Selecting, Variant};
use crate::serve::request::{RequestHead, Url};

impl Route {
    /// Returns the key that a write evicts when it names the handler without values: the key of
    /// everything that the handler stored for the values of the path.
    ///
    /// Fails for a handler with a key function, because the keys of its other requests are unknown.
    pub(crate) fn key_named_by(
        &'static self,
        request: &RequestHead,
    ) -> Result<CacheKey, Unidentified> {
        let handler = self.plain();
        if let KeyKind::Function(_) = self.key {
            return Err(Unidentified::Function);
        }
        let UrlValues { base, extras } =
            self.values(request.request_url(), self.read, handler, ReadMode::WRITE);
        let UrlExtras {
            has_failed, names, ..
        } = extras.map_or_else(UrlExtras::default, |it| *it);
        let reads_so = handler.reads_by(&names);
        if has_failed || reads_so == Some(false) {
            return Err(Unidentified::OtherValues);
        }
        if reads_so.is_none() && !names.is_empty() {
            return Err(Unidentified::NotSeen);
        }
        Ok(CacheKey::of_handler(base, handler.bucket()))
    }

    /// Returns the eviction of everything that the handler stored.
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
            Url::Copied(url) => {
                let read = selected.read.unwrap_or(self.read);
                self.read_url_of(RequestUrl::Copied(&url), selected.types, read)
            }
            Url::None => self.read_url(request.request_url()),
        };
        self.make_address(engine, request, selected, url)
    }

    /// Returns whether the key function returns the same key for a write as for reads. It does if
    /// the write is mounted where the handler is.
    pub(crate) fn has_function_for(&'static self, request: &RequestHead) -> bool {
        let is_function = matches!(self.key, KeyKind::Function(_));
        is_function
            && self
                .plain()
                .known_mount(request.request_url().mount())
                .is_some()
    }

    /// Returns the address at which a write stores its response. `None`: the entries that it
    /// replaces are unknown, because the handler is mounted at other paths, or other queries may
    /// spell the same values.
    pub(crate) fn write_address(
        &'static self,
        engine: &Engine,
        request: &RequestHead,
        selected: Selected,
    ) -> Option<Addressing> {
        let handler = self.plain();
        let url = request.request_url();
        let is_named = selected.key.is_some();
        let mounted = handler.written_mount(url.mount(), url.nest(), is_named)?;
        // Another handler has the same name, and the entry would be that handler's.
        if handler.is_duplicate() {
            return None;
        }
        let mut values = self.values(url, self.read, handler, ReadMode::WRITE);
        if let Some(extras) = &mut values.extras {
            if extras.has_other_spellings && !is_named {
                return None;
            }
            if is_named {
                // The named values are complete: the URL of the write adds nothing.
                extras.rest.clear();
            }
        }
        Some(self.make_address(engine, request, selected, ReadUrl { values, mounted }))
    }

    fn make_address(
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
        let key_call = match self.key {
            KeyKind::Function(function) if named.is_none() && request.parts.is_some() => {
                Some(function)
            }
            _ => None,
        };
        let (key, rest) = match named {
            // A key of values that extends another key is complete.
            Some(key) if key.base().is_some() => (key, rest_of(values)),
            Some(key) => {
                let extras = values.extras.map_or_else(UrlExtras::default, |it| *it);
                (key.extended(&extras.more), extras.rest)
            }
            None if key_call.is_some() => (CacheKey::UNKNOWN, rest_of(values)),
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
                response_groups: None,
                mounted: Some(mounted.reading_early(self.reads_early)),
            },
            key_call: key_call.map(|function| {
                Box::new(KeyCall {
                    function,
                    handler,
                    scope: engine.scope().cloned(),
                })
            }),
        }
    }
}

fn rest_of(values: UrlValues) -> String {
    values.extras.map_or_else(String::new, |extras| extras.rest)
}

/// The reason why a write that names a handler does not identify an entry. The write then evicts
/// all entries of the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unidentified {
    /// The handler reads values that the path of the write lacks, or reads them by other names or
    /// in another order.
    OtherValues,
    /// No request has reached the handler yet, so the names of its path parameters are unknown.
    NotSeen,
    /// A key function makes the keys of the handler from other requests than this one.
    Function,
}

/// The address of a response, which may lack the key of a key function.
pub(crate) struct Addressing {
    at: Address,
    key_call: Option<Box<KeyCall>>,
}

/// The call of a key function, which may have to wait.
struct KeyCall {
    function: KeyFunction,
    handler: &'static Instance,
    scope: Option<Scope>,
}

impl Addressing {
    /// Completes the address with the key of the key function, if there is one. The address stays
    /// here: if it were moved, it would be in the future of the caller twice.
    pub(crate) async fn complete(&mut self, request: &RequestHead) -> &Address {
        if let (Some(key_call), Some(parts)) = (&self.key_call, request.parts.as_deref()) {
            let text = (key_call.function)(parts).await;
            let key = key_of_function(key_call.handler, &text);
            self.at.key = match &key_call.scope {
                Some(scope) => scope.key(key),
                None => key,
            };
        }
        &self.at
    }

    /// Returns the address, if it is complete.
    pub(crate) fn known(&self) -> Option<&Address> {
        self.key_call.is_none().then_some(&self.at)
    }

    /// Returns the address, which must be complete.
    pub(crate) fn into_address(self) -> Address {
        self.at
    }
}
