//! The values that a handler reads from a URL, and its mount.

use std::any::TypeId;

use axum::http::header;

use super::Route;
use super::key_function::KeyKind;
use crate::engine::declared_groups;
use crate::key::normal::QueryRule;
use crate::key::reader::{UrlReader, UrlValues};
use crate::key::registry::{Instance, Mounted};
use crate::key::request_url::RequestUrl;

/// A function that reads the parts of a URL that the arguments of a handler read.
pub(crate) type ReadArguments = fn(&mut UrlReader<'_>);

/// The values that a handler reads from the URL of a request, and its mount.
#[derive(Clone, Debug)]
pub(crate) struct ReadUrl {
    pub(super) values: UrlValues,
    pub(super) mounted: Mounted,
}

/// The details that a reader of a URL collects.
#[derive(Clone, Copy)]
pub(super) struct ReadMode {
    /// The names of the path parameters are collected.
    with_names: bool,
    /// Other spellings of the same values are looked for.
    is_write: bool,
}

impl ReadMode {
    pub(super) const READ: Self = Self {
        with_names: false,
        is_write: false,
    };
    pub(super) const WRITE: Self = Self {
        with_names: true,
        is_write: true,
    };
}

/// The type arguments of an instance of a generic handler.
#[derive(Clone, Copy, Debug)]
pub(super) struct Types {
    pub(super) id: TypeId,
    pub(super) names: &'static str,
}

impl Types {
    /// Returns no types: the handler is not generic.
    pub(super) fn none() -> Self {
        Self {
            id: TypeId::of::<()>(),
            names: "",
        }
    }
}

impl Route {
    /// Returns the instance of a handler that is not generic.
    pub(super) fn plain(&'static self) -> &'static Instance {
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
    pub(crate) fn read_url(&'static self, url: RequestUrl<'_>) -> ReadUrl {
        self.read_url_of(url, Types::none(), self.read)
    }

    pub(super) fn read_url_of(
        &'static self,
        url: RequestUrl<'_>,
        types: Types,
        read: ReadArguments,
    ) -> ReadUrl {
        let handler = self.instance(types);
        let mounted = handler.mount(url.mount());
        let mode = ReadMode {
            with_names: !mounted.knows_names(),
            ..ReadMode::READ
        };
        let values = self.values(url, read, handler, mode);
        if mode.with_names {
            match values.extras.as_deref() {
                None => mounted.note(String::new()),
                Some(extras) if !extras.has_failed => mounted.note(extras.names.clone()),
                Some(_) => {}
            }
        }
        ReadUrl { values, mounted }
    }

    pub(super) fn values(
        &self,
        url: RequestUrl<'_>,
        read: ReadArguments,
        handler: &Instance,
        mode: ReadMode,
    ) -> UrlValues {
        let mut base = String::new();
        if let KeyKind::Default = self.key {
            base.reserve(handler.name().len() + 32);
            base.push_str(handler.name());
        }
        let mut reader = UrlReader::new(url, base, mode.is_write);
        read(&mut reader);
        if self.query != QueryRule::None {
            reader.query_text(self.query);
        }
        // A handler that looks for the host may find it in the URI (RFC 9112 §3.2.2, RFC 9113
        // §8.3.1).
        if self.store.vary.contains(&header::HOST) {
            reader.authority();
        }
        if let KeyKind::Function(_) = self.key {
            // The key function reads the whole head and decides what the key holds.
            reader.ignore_params();
        }
        reader.finish(mode.with_names)
    }
}
