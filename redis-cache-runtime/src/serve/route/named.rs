//! Keys of a handler that code makes from values, a template or a text.

use super::Route;
use super::key_function::KeyKind;
use super::read_url::ReadMode;
use crate::key::CacheKey;
use crate::key::part::Text;
use crate::key::reader::UrlValues;
use crate::key::registry::Instance;
use crate::key::request_url::{RequestUrl, UrlCopy};

impl Route {
    /// Returns the key that a template makes.
    pub fn key_of_template(&'static self, template: &Text) -> CacheKey {
        key_of_template(self.plain(), template)
    }

    /// Returns a builder of the key of values.
    pub fn key_of_values(&'static self) -> KeyBuilder {
        let handler = self.plain();
        KeyBuilder {
            base: handler.name().to_owned(),
            more: String::new(),
            bucket: handler.bucket(),
        }
    }

    /// Returns the key of a text: a path and query, for a handler that reads nothing of the path,
    /// or the result of the key function.
    pub fn key_of_text(&'static self, text: &str) -> CacheKey {
        let handler = self.plain();
        if let KeyKind::Function(_) = self.key {
            return key_of_function(handler, text);
        }
        let url = UrlCopy::of_text(text);
        let values = self.values(RequestUrl::Copied(&url), self.read, handler, ReadMode::READ);
        key_of_url(values, handler).0
    }
}

/// Returns the key of the values that were read from a URL, and the rest of the URL, which selects
/// a variant.
pub(super) fn key_of_url(values: UrlValues, handler: &Instance) -> (CacheKey, String) {
    let key = CacheKey::of_handler(values.base, handler.bucket());
    match values.extras {
        None => (key, String::new()),
        Some(extras) => (key.extended(&extras.more), extras.rest),
    }
}

pub(super) fn key_of_function(handler: &Instance, text: &str) -> CacheKey {
    let text = [handler.name(), "=", text].concat();
    CacheKey::of_handler(text, handler.bucket())
}

pub(super) fn key_of_template(handler: &Instance, template: &Text) -> CacheKey {
    let text = [handler.name(), " ", template.as_str()].concat();
    CacheKey::of_handler(text, handler.bucket())
}

/// A builder of a key from values.
#[derive(Debug)]
pub struct KeyBuilder {
    base: String,
    more: String,
    bucket: u8,
}

impl KeyBuilder {
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

    /// Returns the key.
    pub fn into_key(self) -> CacheKey {
        CacheKey::of_handler(self.base, self.bucket).extended(&self.more)
    }
}
