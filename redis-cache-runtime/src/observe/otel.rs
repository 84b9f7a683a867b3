//! The metrics and spans of OpenTelemetry, which `docs/guide/telemetry.md` lists.

use opentelemetry::global::{self, BoxedTracer};
use opentelemetry::metrics::{Counter, Histogram, Meter};
use opentelemetry::trace::{TraceContextExt, Tracer};
use opentelemetry::{Context, InstrumentationScope, KeyValue};

use super::measured::{Measured, Writes, Written};
use super::operation::Operation;
use super::status::{ConnectionState, Status};

/// The bounds of the histograms in seconds, from 10 µs to 10 s.
const SECONDS: [f64; 19] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025,
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The instruments of OpenTelemetry. They outlive the cache if an exporter still reads them.
pub(super) struct Otel {
    tracer: BoxedTracer,
    meter: Meter,
    requests: Counter<u64>,
    writes: Counter<u64>,
    evictions: Counter<u64>,
    faults: Counter<u64>,
    store_operations: Histogram<f64>,
    handlers: Histogram<f64>,
}

impl Default for Otel {
    fn default() -> Self {
        let scope = InstrumentationScope::builder("axum-redis-cache")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        let meter = global::meter_with_scope(scope.clone());
        let counter = |name, unit, description| {
            let counter = meter.u64_counter(name).with_unit(unit);
            counter.with_description(description).build()
        };
        let seconds = |name, description| {
            let seconds = meter.f64_histogram(name).with_unit("s");
            let seconds = seconds.with_boundaries(SECONDS.to_vec());
            seconds.with_description(description).build()
        };
        Self {
            requests: counter(
                "cache.requests",
                "{request}",
                "Requests for responses and values, by how they were answered",
            ),
            writes: counter(
                "cache.writes",
                "{write}",
                "What was to be stored, by what became of it",
            ),
            evictions: counter("cache.evictions", "{eviction}", "Evictions"),
            faults: counter("cache.faults", "{fault}", "Faults of the store"),
            store_operations: seconds("cache.store.operation.duration", "How long the store takes"),
            handlers: seconds("cache.handler.duration", "How long handlers take"),
            tracer: global::tracer_with_scope(scope),
            meter,
        }
    }
}

impl Otel {
    /// Begins a span within the current one.
    pub(super) fn begin(&self, operation: Operation) -> Context {
        Context::current_with_span(self.tracer.start(operation.name()))
    }

    pub(super) fn record(&self, measured: Measured) {
        match measured {
            Measured::Request { handler, result } => self.requests.add(
                1,
                &[
                    KeyValue::new("cache.handler", handler),
                    KeyValue::new("cache.result", result),
                ],
            ),
            Measured::Write {
                handler,
                writes,
                written,
            } => self.wrote(handler, writes, written),
            Measured::Eviction { target } => {
                self.evictions
                    .add(1, &[KeyValue::new("cache.target", target)]);
            }
            Measured::Fault(fault) => self.faults.add(1, &[KeyValue::new("error.type", fault)]),
            Measured::StoreOperation {
                operation,
                fault,
                took,
            } => {
                let operation = KeyValue::new("cache.store.operation", operation);
                let took = took.as_secs_f64();
                match fault.map(|fault| KeyValue::new("error.type", fault)) {
                    Some(fault) => self.store_operations.record(took, &[operation, fault]),
                    None => self.store_operations.record(took, &[operation]),
                }
            }
            Measured::Handler { handler, took } => self.handlers.record(
                took.as_secs_f64(),
                &[KeyValue::new("cache.handler", handler)],
            ),
        }
    }

    fn wrote(&self, handler: &'static str, writes: Writes, written: Written) {
        let writes = match writes {
            Writes::Fill => "fill",
            Writes::Through => "write_through",
        };
        let [handler, writes, result] = [
            KeyValue::new("cache.handler", handler),
            KeyValue::new("cache.write", writes),
            KeyValue::new("cache.result", written.name()),
        ];
        let reason = match written {
            Written::Stored | Written::Superseded => None,
            Written::Refused(reason) => Some(KeyValue::new("cache.refusal", reason)),
            Written::Failed(fault) => Some(KeyValue::new("error.type", fault)),
        };
        match reason {
            Some(reason) => self.writes.add(1, &[handler, writes, result, reason]),
            None => self.writes.add(1, &[handler, writes, result]),
        }
    }

    /// Registers the metrics of a status. The prefix is an attribute that tells caches apart.
    pub(super) fn watch(
        &self,
        prefix: &str,
        status: impl Fn() -> Option<Status> + Clone + Send + Sync + 'static,
    ) {
        let prefix = KeyValue::new("cache.prefix", prefix.to_owned());
        let gauge = |name, unit, description, number: fn(&Status) -> usize| {
            let (status, prefix) = (status.clone(), prefix.clone());
            let gauge = self.meter.u64_observable_gauge(name).with_unit(unit);
            let gauge = gauge.with_description(description);
            gauge
                .with_callback(move |gauge| {
                    if let Some(status) = status() {
                        gauge.observe(number(&status) as u64, std::slice::from_ref(&prefix));
                    }
                })
                .build();
        };
        gauge(
            "cache.pending_evictions",
            "{eviction}",
            "Evictions that wait for the store to take them",
            |status| status.pending_evictions,
        );
        gauge(
            "cache.near_cache.entries",
            "{entry}",
            "Copies of entries in the near cache",
            |status| status.near_cache.as_ref().map_or(0, |near| near.entries),
        );
        gauge(
            "cache.near_cache.size",
            "By",
            "Estimated memory of the copies in the near cache",
            |status| status.near_cache.as_ref().map_or(0, |near| near.bytes),
        );
        self.meter
            .u64_observable_gauge("redis.connections")
            .with_unit("{connection}")
            .with_description("Connections to Redis, by how they are doing")
            .with_callback(move |gauge| {
                let Some(status) = status() else {
                    return;
                };
                for state in ConnectionState::ALL {
                    let state_name = KeyValue::new("redis.connection.state", state.name());
                    gauge.observe(status.connections_in(state), &[prefix.clone(), state_name]);
                }
            })
            .build();
    }
}
