//! Reads the parts of a URL that the arguments of a handler read, and writes them into a key.

use axum::http::Uri;
use axum::http::uri::Authority;
use serde::de::DeserializeOwned;
use smallvec::SmallVec;

use super::normal::{QueryRule, normalize_percent, push_text};
use super::path::PathParams;
use super::recorder::record;
use super::request_url::{Params, RequestUrl};
use super::type_fields::has_one_spelling;
use crate::key::part::{KeyPart, KeyWriter, is_of_one_parameter};

/// A reader of the URL of a request. Each argument of a handler writes the parts that it reads into the
/// key.
///
/// The reader is passed to [`Determined::read`](crate::Determined::read).
#[derive(Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each records an independent finding"
)]
pub struct UrlReader<'a> {
    url: RequestUrl<'a>,
    /// The parameters of the path, copied when they are needed.
    params: Option<Params>,
    /// The text of the key: the handler, then the values of the path.
    base: String,
    /// The text that extends the key, such as the values of the query.
    more: String,
    /// The text that selects a variant of the key.
    rest: String,
    /// A bit for each parameter of the path that an argument reads.
    read: u64,
    /// The whole path is written, so every parameter is in the key.
    has_path: bool,
    /// The values alone do not identify the parameters of the path.
    needs_names: bool,
    /// The path could not be read as the type of the argument.
    has_failed: bool,
    /// The URL is that of a write, so other spellings of the same values matter.
    is_for_write: bool,
    /// The same values can be spelled in another way, which has another key.
    has_other_spellings: bool,
}

/// The values that were read from a URL.
#[derive(Clone, Debug, Default)]
pub(crate) struct UrlValues {
    pub(crate) base: String,
    /// The other results. Boxed, because most requests have none.
    pub(crate) extras: Option<Box<UrlExtras>>,
}

/// The results of reading a URL, except the values of the path.
#[derive(Clone, Debug, Default)]
pub(crate) struct UrlExtras {
    /// The text that extends the key.
    pub(crate) more: String,
    /// The text that selects a variant.
    pub(crate) rest: String,
    pub(crate) has_failed: bool,
    pub(crate) has_other_spellings: bool,
    /// The names of the parameters that were read, if the values alone are ambiguous.
    pub(crate) names: String,
}

impl<'a> UrlReader<'a> {
    /// Returns a reader that appends the values of the path to a text.
    pub(crate) fn new(url: RequestUrl<'a>, base: String, is_for_write: bool) -> Self {
        Self {
            url,
            params: None,
            base,
            more: String::new(),
            rest: String::new(),
            read: 0,
            has_path: false,
            needs_names: false,
            has_failed: false,
            is_for_write,
            has_other_spellings: false,
        }
    }

    #[doc(hidden)]
    /// Reads an argument without writing its values: the key holds them already, or the response does
    /// not depend on them.
    pub fn silently(&mut self, read: impl FnOnce(&mut Self)) {
        let (base, more, rest) = (self.base.len(), self.more.len(), self.rest.len());
        let (had_failed, had_path) = (self.has_failed, self.has_path);
        read(self);
        (self.has_failed, self.has_path) = (had_failed, had_path);
        self.base.truncate(base);
        self.more.truncate(more);
        self.rest.truncate(rest);
    }

    #[doc(hidden)]
    /// Reads an argument of the path into the extension of the key.
    pub fn beside(&mut self, read: impl FnOnce(&mut Self)) {
        let base = self.base.len();
        read(self);
        if self.base.len() > base {
            let values = self.base.split_off(base);
            self.more().push_str(&values);
        }
    }

    /// Returns the text to which the next extension of the key is appended.
    fn more(&mut self) -> &mut String {
        next_extension(&mut self.more)
    }

    /// Takes the parameters of the path out of the reader. Copies them from the request if necessary.
    fn take_params(&mut self) -> Params {
        let params = self.params.take();
        params.unwrap_or_else(|| self.url.params())
    }

    /// Writes the parameters of the path as a type reads them.
    pub(crate) fn path<T: DeserializeOwned + 'static>(&mut self) {
        self.read_path(|params, out| record::<T, _>(params, out).is_ok());
    }

    /// Writes the parameters of the path as the value of a type.
    pub(crate) fn path_value<T: DeserializeOwned + KeyPart + Send>(&mut self) {
        if is_of_one_parameter(T::KIND)
            && let Some(value) = self.url.only_param::<T>()
        {
            self.read = u64::MAX;
            self.base.push('/');
            return value.write(&mut KeyWriter::new(&mut self.base));
        }
        self.read_path(|params, out| {
            let value = T::deserialize(params);
            value.is_ok_and(|value| {
                value.write(&mut KeyWriter::new(out));
                true
            })
        });
    }

    /// Reads the parameters of the path as a type. If `read` returns `false`, the parameters do not
    /// parse as the type, and each is written as its decoded text.
    fn read_path(&mut self, read: impl FnOnce(&mut PathParams<'_>, &mut String) -> bool) {
        let kept = self.take_params();
        let pairs: SmallVec<[_; 4]> = kept.iter().collect();
        let mut params = PathParams::new(&pairs);
        self.base.push('/');
        let start = self.base.len();
        let is_read = read(&mut params, &mut self.base);
        self.read |= params.read();
        self.needs_names |= params.needs_names();
        drop(pairs);
        self.params = Some(kept);
        if !is_read {
            self.base.truncate(start);
            self.raw_path();
        }
    }

    /// Writes the decoded text of each parameter of the path, because the parameters do not parse.
    fn raw_path(&mut self) {
        self.has_failed = true;
        self.base.push('*');
        self.all_params();
    }

    /// Writes every parameter of the path, decoded.
    pub(crate) fn raw_params(&mut self) {
        self.base.push('/');
        self.needs_names = true;
        self.all_params();
    }

    fn all_params(&mut self) {
        self.read = u64::MAX;
        let params = self.take_params();
        let mut writer = KeyWriter::new(&mut self.base);
        for (_, value) in params.iter() {
            writer.text(value);
        }
        if params.is_malformed() {
            for uri in self.url.uris() {
                push_text(&mut self.base, uri.path());
            }
        }
        self.params = Some(params);
    }

    /// Records, for a write, whether a type may read the same values from another query.
    pub(crate) fn note_spellings<T: DeserializeOwned>(&mut self) {
        if self.is_for_write {
            let query = self.url.uri().query().unwrap_or_default();
            self.has_other_spellings |= !has_one_spelling::<T>(query);
        }
    }

    /// Writes the values that a type read from the query; `None`: the query does not parse.
    pub(crate) fn query(&mut self, recorded: Option<String>) {
        match recorded {
            Some(text) if text.is_empty() && self.more.is_empty() => {}
            Some(text) => self.more().push_str(&text),
            None => self.exact_query(),
        }
    }

    /// Writes the values that a type reads from the query, if there is a query.
    #[cfg(feature = "axum-extra")]
    pub(crate) fn optional_query(&mut self, read: impl FnOnce(&Uri) -> Option<String>) {
        if self.url.uri().query().is_none() {
            return;
        }
        match read(self.url.uri()) {
            Some(text) => self.more().push_str(&text),
            None => self.exact_query(),
        }
    }

    /// Writes the query as the value of a type.
    pub(crate) fn query_value<T: KeyPart>(&mut self, value: Option<&T>) {
        match value {
            Some(value) => value.write(&mut KeyWriter::new(self.more())),
            None => self.exact_query(),
        }
    }

    /// Writes the query as it was sent.
    pub(crate) fn exact_query(&mut self) {
        // A missing query differs from an empty one.
        if let Some(query) = self.url.uri().query() {
            let more = next_extension(&mut self.more);
            more.push('*');
            push_text(more, query);
        }
    }

    /// Writes the URI as it was sent. Its scheme and authority select a variant instead of extending
    /// the key, because the version of HTTP decides whether the URI has them.
    pub(crate) fn exact_uri(&mut self) {
        self.has_path = true;
        for uri in self.url.uris() {
            let more = next_extension(&mut self.more);
            push_text(more, uri.path());
            if let Some(query) = uri.query() {
                more.push('?');
                push_text(more, query);
            }
            for part in [uri.scheme_str(), uri.authority().map(Authority::as_str)] {
                self.rest.push('|');
                self.rest.push_str(part.unwrap_or_default());
            }
        }
        if self.rest.bytes().all(|byte| byte == b'|') {
            self.rest.clear();
        }
    }

    /// Writes the text of the path in normal form.
    pub(crate) fn path_text(&mut self) {
        self.has_path = true;
        for uri in self.url.uris() {
            push_text(
                next_extension(&mut self.more),
                &normalize_percent(uri.path()),
            );
        }
    }

    /// Writes the text of the query in normal form, the parameters sorted by name.
    pub(crate) fn query_text(&mut self, rule: QueryRule) {
        let query = self.url.uri().query().unwrap_or_default();
        rule.write(query, next_extension(&mut self.more));
    }

    /// Returns the URI, for extractors that read a query.
    pub(crate) fn uri(&self) -> &Uri {
        self.url.uri()
    }

    /// Treats all parameters of the path as read.
    pub(crate) fn ignore_params(&mut self) {
        self.read = u64::MAX;
    }

    /// Writes the authority, which selects a variant.
    pub(crate) fn authority(&mut self) {
        if let Some(authority) = self.url.uri().authority() {
            self.rest.push('@');
            self.rest.push_str(authority.as_str());
        }
    }

    /// Finishes the reading. Parameters of the path that no argument has read select a variant.
    pub(crate) fn finish(mut self, with_names: bool) -> UrlValues {
        let mut names = String::new();
        // Skipped if all parameters count as read and none was copied. Then no parameter is left to
        // write. The names are not needed either: the path has a single parameter, or a key function
        // makes the key.
        if self.params.is_some() || self.read != u64::MAX {
            let params = self.take_params();
            self.write_unread(&params);
            if with_names {
                names = self.names(&params);
            }
        }
        let is_plain = self.more.is_empty() && self.rest.is_empty() && names.is_empty();
        let is_plain = is_plain && !self.has_failed && !self.has_other_spellings;
        let extras = (!is_plain).then(|| {
            Box::new(UrlExtras {
                more: self.more,
                rest: self.rest,
                has_failed: self.has_failed,
                has_other_spellings: self.has_other_spellings,
                names,
            })
        });
        UrlValues {
            base: self.base,
            extras,
        }
    }

    fn write_unread(&mut self, params: &Params) {
        if self.has_path {
            return;
        }
        for (at, (name, value)) in params.iter().enumerate() {
            if !self.has_read(at) {
                self.rest.push('|');
                push_text(&mut self.rest, name);
                self.rest.push('=');
                push_text(&mut self.rest, value);
            }
        }
        if params.is_malformed() && self.read != u64::MAX {
            for uri in self.url.uris() {
                self.rest.push('|');
                self.rest.push_str(uri.path());
            }
        }
    }

    /// Returns whether an argument has read the parameter at an index. Only the first 64 parameters
    /// have a bit.
    fn has_read(&self, at: usize) -> bool {
        at < 64 && self.read & (1 << at) != 0
    }

    /// Returns the names of the parameters that were read, in their order. Empty if the values are
    /// unambiguous without the names: no parameter was read or the path has only one, and no type needs
    /// the names.
    fn names(&self, params: &Params) -> String {
        let read = params.iter().enumerate();
        let read = read.filter(|(at, _)| self.has_read(*at));
        let names: Vec<&str> = read.map(|(_, (name, _))| name).collect();
        if !self.needs_names && (names.is_empty() || params.iter().len() == 1) {
            return String::new();
        }
        format!("({})", names.join(", "))
    }
}

/// Appends the separator before the next part of the extension, or the `?` before the first one.
fn next_extension(more: &mut String) -> &mut String {
    more.push(if more.is_empty() { '?' } else { '|' });
    more
}
