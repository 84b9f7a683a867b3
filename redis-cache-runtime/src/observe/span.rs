//! Spans around the operations of the cache.

use std::borrow::Cow;
use std::time::Duration;

#[cfg(feature = "otel")]
use opentelemetry::KeyValue;
#[cfg(feature = "otel")]
use opentelemetry::trace::{FutureExt, TraceContextExt};
use tracing::Instrument;

use super::measured::Written;
use super::observer::Observer;
use super::operation::Operation;
use crate::key::{Address, Eviction};

/// The current span of `tracing` and the current context of OpenTelemetry. Work that moves to another
/// task takes them along.
#[derive(Clone)]
pub(crate) struct TraceContext {
    span: tracing::Span,
    #[cfg(feature = "otel")]
    context: opentelemetry::Context,
}

impl TraceContext {
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

/// A span of `tracing`, of OpenTelemetry, or of both. It ends when it is dropped.
pub(crate) struct Span {
    trace: TraceContext,
    /// Set if `context` holds the span of this operation, not the surrounding one.
    #[cfg(feature = "otel")]
    is_in_otel: bool,
}

impl Observer {
    /// Starts the span of an operation; `None`: no subscriber and no exporter receives it.
    #[inline]
    pub(crate) fn span(&self, operation: Operation) -> Option<Span> {
        let span = operation.span();
        #[cfg(feature = "otel")]
        if let Some(otel) = &self.otel {
            let context = otel.begin(operation);
            return Some(Span {
                trace: TraceContext { span, context },
                is_in_otel: true,
            });
        }
        (!span.is_disabled()).then(|| Span {
            trace: TraceContext {
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
        self.trace.clone().around(work)
    }

    /// Sets the attributes of the handler and the address.
    pub(crate) fn about(&self, handler: &'static str, at: &Address) {
        self.text("cache.handler", handler);
        self.text("cache.key.hash", at.key.fingerprint());
        self.list("cache.groups", &at.groups.named().collect::<Vec<_>>());
    }

    /// Sets the lifetime of the entry.
    pub(crate) fn ttl(&self, ttl: Option<Duration>) {
        if let Some(ttl) = ttl {
            self.trace.span.record("cache.ttl", ttl.as_secs_f64());
            #[cfg(feature = "otel")]
            self.set(KeyValue::new("cache.ttl", ttl.as_secs_f64()));
        }
    }

    pub(crate) fn answered(&self, result: &'static str, hit: bool) {
        self.text("cache.result", result);
        self.trace.span.record("cache.hit", hit);
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

    /// Records a fault of the store by its name. Only faults are errors.
    pub(crate) fn failed(&self, fault: &'static str) {
        self.text("error.type", fault);
        #[cfg(feature = "otel")]
        if self.is_in_otel {
            let status = opentelemetry::trace::Status::error(fault);
            self.trace.context.span().set_status(status);
        }
    }

    fn text(&self, name: &'static str, value: impl Into<Cow<'static, str>>) {
        let value = value.into();
        self.trace.span.record(name, &*value);
        #[cfg(feature = "otel")]
        self.set(KeyValue::new(name, value));
    }

    fn list(&self, name: &'static str, names: &[&'static str]) {
        if names.is_empty() {
            return;
        }
        self.trace.span.record(name, names.join(","));
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
            self.trace.context.span().set_attribute(attribute);
        }
    }
}

#[cfg(feature = "otel")]
impl Drop for Span {
    /// Ends the span. Background work within it must not keep it open.
    fn drop(&mut self) {
        if self.is_in_otel {
            self.trace.context.span().end();
        }
    }
}
