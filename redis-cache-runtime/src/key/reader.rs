//! Reads of a URL what the arguments of a handler can see, and writes it into a key.

use axum::http::uri::Authority;
use serde::de::DeserializeOwned;
use smallvec::SmallVec;

use super::asked::Asked;
use super::normal::{normalize_percent, push_text};
use super::path::PathParams;
use super::recorder::record;
use crate::key_part::{KeyPart, KeyWriter};

/// The URL of a request, of which each argument of a handler writes what it can see into the key.
///
/// [`Determined::read`](crate::Determined::read) is called with it.
#[derive(Debug)]
pub struct UrlReader<'a> {
    asked: Asked<'a>,
    params: SmallVec<[(&'a str, &'a str); 1]>,
    /// The handler, then the values of the path.
    base: String,
    /// Everything else of the key.
    more: String,
    /// What selects a variant of the key.
    rest: String,
    /// A bit for each parameter of the path that an argument reads.
    read: u64,
    /// Parameters were asked for by their names.
    by_name: bool,
    /// Something could not be read as the type of the argument.
    has_failed: bool,
}

/// What was read of a URL.
#[derive(Clone, Debug, Default)]
pub(crate) struct UrlValues {
    pub(crate) base: String,
    /// Apart, because most handlers read nothing else.
    pub(crate) beyond: Option<Box<Beyond>>,
}

/// What was read of a URL beside the values of the path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beyond {
    /// What extends the key.
    pub(crate) more: String,
    /// What selects a variant.
    pub(crate) rest: String,
    pub(crate) has_failed: bool,
    /// The names of the parameters that were read, if the values alone do not tell which they are.
    pub(crate) names: String,
}

impl<'a> UrlReader<'a> {
    /// A reader that appends the values of the path to a text.
    pub(crate) fn new(asked: Asked<'a>, base: String) -> Self {
        Self {
            asked,
            params: asked.params.iter().collect(),
            base,
            more: String::new(),
            rest: String::new(),
            read: 0,
            by_name: false,
            has_failed: false,
        }
    }

    #[doc(hidden)]
    /// Lets an argument be read without writing what it sees: the key holds it already, or the response
    /// does not depend on it.
    pub fn silently(&mut self, read: impl FnOnce(&mut Self)) {
        let (base, more, rest) = (self.base.len(), self.more.len(), self.rest.len());
        let had_failed = self.has_failed;
        read(self);
        self.has_failed = had_failed;
        self.base.truncate(base);
        self.more.truncate(more);
        self.rest.truncate(rest);
    }

    #[doc(hidden)]
    /// Lets an argument of the path be read into what extends the key.
    pub fn beside(&mut self, read: impl FnOnce(&mut Self)) {
        let base = self.base.len();
        read(self);
        if self.base.len() > base {
            let values = self.base.split_off(base);
            self.more().push_str(&values);
        }
    }

    /// Where the next text of what extends the key goes.
    pub(crate) fn more(&mut self) -> &mut String {
        self.more.push(if self.more.is_empty() { '?' } else { '|' });
        &mut self.more
    }

    /// Writes the parameters of the path as a type reads them.
    pub(crate) fn path<T: DeserializeOwned + 'static>(&mut self) {
        let mut params = PathParams::new(&self.params);
        self.base.push('/');
        let start = self.base.len();
        let recorded = record::<T, _>(&mut params, &mut self.base);
        let (read, by_name) = (params.read(), params.by_name());
        self.note(read, by_name);
        if recorded.is_err() {
            self.base.truncate(start);
            self.raw_path();
        }
    }

    /// Writes the parameters of the path as the value of a type.
    pub(crate) fn path_value<T: DeserializeOwned + KeyPart>(&mut self) {
        let mut params = PathParams::new(&self.params);
        let value = T::deserialize(&mut params);
        let (read, by_name) = (params.read(), params.by_name());
        self.note(read, by_name);
        self.base.push('/');
        match value {
            Ok(value) => value.write(&mut KeyWriter::new(&mut self.base)),
            Err(_) => self.raw_path(),
        }
    }

    fn note(&mut self, read: u64, by_name: bool) {
        self.read |= read;
        self.by_name |= by_name;
    }

    /// Writes the parameters of the path as they were sent.
    fn raw_path(&mut self) {
        self.has_failed = true;
        self.base.push('*');
        self.all_params();
    }

    /// Writes every parameter of the path, decoded.
    pub(crate) fn raw_params(&mut self) {
        self.base.push('/');
        self.all_params();
    }

    fn all_params(&mut self) {
        self.read = u64::MAX;
        let mut writer = KeyWriter::new(&mut self.base);
        for (_, value) in &self.params {
            writer.text(value);
        }
        if self.asked.params.is_malformed() {
            let path = normalize_percent(self.asked.uri.path());
            push_text(&mut self.base, &path);
        }
    }

    /// Writes what a type read of the query; `None`: it could not.
    pub(crate) fn query(&mut self, recorded: Option<String>) {
        match recorded {
            Some(text) if text.is_empty() && self.more.is_empty() => {}
            Some(text) => self.more().push_str(&text),
            None => self.raw_query(),
        }
    }

    /// Writes what a type reads of the query, if there is one.
    #[cfg(feature = "axum-extra")]
    pub(crate) fn optional_query(&mut self, read: impl FnOnce(&axum::http::Uri) -> Option<String>) {
        if self.asked.uri.query().is_none() {
            return;
        }
        match read(self.asked.uri) {
            Some(text) => self.more().push_str(&text),
            None => self.raw_query(),
        }
    }

    /// Writes the query as the value of a type.
    pub(crate) fn query_value<T: KeyPart>(&mut self, value: Option<&T>) {
        match value {
            Some(value) => value.write(&mut KeyWriter::new(self.more())),
            None => self.raw_query(),
        }
    }

    /// Writes a query that could not be read.
    fn raw_query(&mut self) {
        self.has_failed = true;
        self.exact_query();
    }

    /// Writes the query as it was sent.
    pub(crate) fn exact_query(&mut self) {
        // No query at all is not the same as an empty one.
        if let Some(query) = self.asked.uri.query() {
            let more = self.more();
            more.push('*');
            push_text(more, query);
        }
    }

    /// Writes the URI as it was sent: the authority selects a variant, because the version of HTTP
    /// decides where it is.
    pub(crate) fn exact_uri(&mut self) {
        let asked = self.asked;
        for uri in asked.uris() {
            let more = self.more();
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
        let asked = self.asked;
        for uri in asked.uris() {
            push_text(self.more(), &normalize_percent(uri.path()));
        }
    }

    /// Writes the text of the query in normal form, the parameters sorted by name.
    pub(crate) fn query_text(&mut self, rule: super::normal::QueryRule) {
        let query = self.asked.uri.query().unwrap_or_default();
        rule.write(query, self.more());
    }

    /// The URI, for extractors that read a query.
    pub(crate) fn uri(&self) -> &'a axum::http::Uri {
        self.asked.uri
    }

    /// Writes the authority, which selects a variant.
    pub(crate) fn authority(&mut self) {
        if let Some(authority) = self.asked.uri.authority() {
            self.rest.push('@');
            self.rest.push_str(authority.as_str());
        }
    }

    /// Ends the reading: parameters of the path that no argument reads select a variant.
    pub(crate) fn finish(mut self, with_names: bool) -> UrlValues {
        let params = std::mem::take(&mut self.params);
        let is_unread = |at: usize| at >= 64 || self.read & (1 << at) == 0;
        for (at, (name, value)) in params.iter().enumerate() {
            if is_unread(at) {
                self.rest.push('|');
                push_text(&mut self.rest, name);
                self.rest.push('=');
                push_text(&mut self.rest, value);
            }
        }
        if self.asked.params.is_malformed() && self.read != u64::MAX {
            self.rest.push_str(self.asked.uri.path());
        }
        let names = if with_names {
            self.names(&params)
        } else {
            String::new()
        };
        let is_plain = self.more.is_empty() && self.rest.is_empty() && names.is_empty();
        let beyond = (!is_plain || self.has_failed).then(|| {
            Box::new(Beyond {
                more: self.more,
                rest: self.rest,
                has_failed: self.has_failed,
                names,
            })
        });
        UrlValues {
            base: self.base,
            beyond,
        }
    }

    /// The names of the parameters that were read: empty if there is one, and it was read by its
    /// place.
    fn names(&self, params: &[(&str, &str)]) -> String {
        if !self.by_name && params.len() < 2 {
            return String::new();
        }
        let is_read = |at: usize| at < 64 && self.read & (1 << at) != 0;
        let read = params.iter().enumerate().filter(|(at, _)| is_read(*at));
        let mut names: Vec<&str> = read.map(|(_, (name, _))| *name).collect();
        if self.by_name {
            names.sort_unstable();
        }
        names.join(", ")
    }
}
