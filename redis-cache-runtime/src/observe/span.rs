//! Spans around what the cache does.

use std::borrow::Cow;
use std::time::Duration;

#[cfg(feature = "otel")]
use opentelemetry::KeyValue;
#[cfg(feature = "otel")]
use opentelemetry::trace::{FutureExt, TraceContextExt};
use tracing::Instrument;
use tracing::field::Empty;

use super::{Observer, Written};
use crate::key::{Address, Eviction};

/// An operation of the cache that has a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Looks for a response or a value, and waits for who makes it.
    Get,
    /// Stores what a read made.
    Set,
    /// Stores what a write made.
    Put,
    Evict,
}

impl Operation {
    #[cfg(feature = "otel")]
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Get => "cache.get",
            Self::Set => "cache.set",
            Self::Put => "cache.put",
            Self::Evict => "cache.evict",
        }
    }

    /// Returns a span of `tracing`, which is disabled unless a subscriber enables the debug level.
    #[inline]
    fn span(self) -> tracing::Span {
        macro_rules! span {
            ($name:literal) => {
                tracing::debug_span!(
                    $name,
                    "cache.handler" = Empty,
                    "cache.key.hash" = Empty,
                    "cache.groups" = Empty,
                    "cache.ttl" = Empty,
                    "cache.result" = Empty,
                    "cache.hit" = Empty,
                    "cache.refusal" = Empty,
                    "cache.target" = Empty,
                    "error.type" = Empty,
                )
            };
        }
        match self {
            Self::Get => span!("cache.get"),
            Self::Set => span!("cache.set"),
            Self::Put => span!("cache.put"),
            Self::Evict => span!("cache.evict"),
        }
    }
}

/// A place in a trace, so that work which moves to another task stays there.
#[derive(Clone)]
pub(crate) struct Place {
    span: tracing::Span,
    #[cfg(feature = "otel")]
    context: opentelemetry::Context,
}

impl Place {
    pub(crate) fn current() -> Self {
        Self {
            span: tracing::Span::current(),
            #[cfg(feature = "otel")]
            context: opentelemetry::Context::current(),
        }
    }

    pub(crate) fn around<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        #[cfg(feature = "otel")]
        let work = work.with_context(self.context);
        work.instrument(self.span)
    }
}

/// A span that somebody wants: of `tracing`, of OpenTelemetry, or both. It ends when it is dropped.
pub(crate) struct Span {
    place: Place,
    /// Set if the OpenTelemetry span is this one, and not the surrounding one.
    #[cfg(feature = "otel")]
    is_in_otel: bool,
}

impl Observer {
    /// The span of an operation, if anybody wants it.
    #[inline]
    pub(crate) fn span(&self, operation: Operation) -> Option<Span> {
        let span = operation.span();
        #[cfg(feature = "otel")]
        if let Some(otel) = &self.otel {
            let context = otel.begin(operation);
            return Some(Span {
                place: Place { span, context },
                is_in_otel: true,
            });
        }
        (!span.is_disabled()).then(|| Span {
            place: Place {
                span,
                #[cfg(feature = "otel")]
                context: opentelemetry::Context::current(),
            },
            #[cfg(feature = "otel")]
            is_in_otel: false,
        })
    }
}

impl Span {
    pub(crate) fn around<F: Future>(&self, work: F) -> impl Future<Output = F::Output> {
        self.place.clone().around(work)
    }

    /// Sets the attributes of the handler and the address.
    pub(crate) fn about(&self, handler: &'static str, at: &Address) {
        self.text("cache.handler", handler);
        self.text("cache.key.hash", at.key.fingerprint());
        self.list("cache.groups", &at.groups.named().collect::<Vec<_>>());
    }

    /// For how long what is there, or is stored, stays of use.
    pub(crate) fn ttl(&self, ttl: Option<Duration>) {
        if let Some(ttl) = ttl {
            self.place.span.record("cache.ttl", ttl.as_secs_f64());
            #[cfg(feature = "otel")]
            self.set(KeyValue::new("cache.ttl", ttl.as_secs_f64()));
        }
    }

    pub(crate) fn answered(&self, result: &'static str, hit: bool) {
        self.text("cache.result", result);
        self.place.span.record("cache.hit", hit);
        #[cfg(feature = "otel")]
        self.set(KeyValue::new("cache.hit", hit));
    }

    pub(crate) fn written(&self, written: Written) {
        self.text("cache.result", written.name());
        match written {
            Written::Refused(reason) => self.text("cache.refusal", reason),
            Written::Failed(fault) => self.failed(fault),
            Written::Stored | Written::Superseded => {}
        }
    }

    pub(crate) fn evicts(&self, evictions: &[Eviction]) {
        let mut targets: Vec<_> = evictions.iter().map(Eviction::target).collect();
        targets.sort_unstable();
        targets.dedup();
        self.list("cache.target", &targets);
        let named = evictions.iter().filter_map(Eviction::named_group);
        self.list("cache.groups", &named.collect::<Vec<_>>());
        if let [Eviction::Key(key)] = evictions {
            self.text("cache.key.hash", key.fingerprint());
        }
    }

    /// The store had a fault of that name. Nothing else is an error.
    pub(crate) fn failed(&self, fault: &'static str) {
        self.text("error.type", fault);
        #[cfg(feature = "otel")]
        if self.is_in_otel {
            let status = opentelemetry::trace::Status::error(fault);
            self.place.context.span().set_status(status);
        }
    }

    fn text(&self, name: &'static str, value: impl Into<Cow<'static, str>>) {
        let value = value.into();
        self.place.span.record(name, &*value);
        #[cfg(feature = "otel")]
        self.set(KeyValue::new(name, value));
    }

    fn list(&self, name: &'static str, names: &[&'static str]) {
        if names.is_empty() {
            return;
        }
        self.place.span.record(name, names.join(","));
        #[cfg(feature = "otel")]
        {
            let names = names.iter().map(|name| (*name).into());
            let array = opentelemetry::Array::String(names.collect());
            self.set(KeyValue::new(name, opentelemetry::Value::Array(array)));
        }
    }

    #[cfg(feature = "otel")]
    fn set(&self, attribute: KeyValue) {
        if self.is_in_otel {
            self.place.context.span().set_attribute(attribute);
        }
    }
}

#[cfg(feature = "otel")]
impl Drop for Span {
    /// Ends the span. Background work within it must not keep it open.
    fn drop(&mut self) {
        if self.is_in_otel {
            self.place.context.span().end();
        }
    }
}
