//! The metrics that this process exports.

use std::collections::BTreeSet;

use opentelemetry::{KeyValue, global};
use opentelemetry_sdk::metrics::data::{
    AggregatedMetrics, MetricData, ResourceMetrics, ScopeMetrics,
};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use prometheus::Registry;

pub(crate) struct Exports {
    meters: SdkMeterProvider,
    metrics: InMemoryMetricExporter,
    spans: InMemorySpanExporter,
    prometheus: Registry,
}

#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) unit: String,
    /// The bounds of a histogram.
    pub(crate) bounds: Vec<f64>,
    /// The counts of events or of measured times, by attributes.
    points: Vec<(Vec<(String, String)>, u64)>,
}

impl Exports {
    /// The metrics that are exported from now on.
    pub(crate) fn of_this_process() -> Self {
        let (metrics, spans) = (
            InMemoryMetricExporter::default(),
            InMemorySpanExporter::default(),
        );
        let prometheus = Registry::new();
        let reader = opentelemetry_prometheus::exporter().with_registry(prometheus.clone());
        let meters = SdkMeterProvider::builder()
            .with_reader(reader.build().unwrap())
            .with_periodic_exporter(metrics.clone())
            .build();
        global::set_meter_provider(meters.clone());
        let tracers = SdkTracerProvider::builder().with_simple_exporter(spans.clone());
        global::set_tracer_provider(tracers.build());
        Self {
            meters,
            metrics,
            spans,
            prometheus,
        }
    }

    pub(crate) fn metrics(&self) -> Vec<Metric> {
        self.metrics.reset();
        self.meters.force_flush().unwrap();
        let exports = self.metrics.get_finished_metrics().unwrap();
        let scopes = exports.iter().flat_map(ResourceMetrics::scope_metrics);
        let own = scopes.filter(|scope| scope.scope().name() == "axum-redis-cache");
        let metrics = own.flat_map(ScopeMetrics::metrics);
        metrics.map(Metric::of).filter(Metric::has_points).collect()
    }

    pub(crate) fn spans(&self) -> Vec<SpanData> {
        self.spans.get_finished_spans().unwrap()
    }

    /// The spans of that name with that attribute.
    pub(crate) fn spans_with(&self, name: &str, attribute: &str, value: &str) -> Vec<SpanData> {
        let has = |it: &KeyValue| it.key.as_str() == attribute && it.value.as_str() == value;
        let mut spans = self.spans();
        spans.retain(|span| span.name == name && span.attributes.iter().any(has));
        spans
    }

    /// Returns the value of a metric over everything that has these attributes.
    pub(crate) fn sum(&self, name: &str, attributes: &[(&str, &str)]) -> u64 {
        let metrics = self.metrics();
        let metric = metrics.iter().find(|metric| metric.name == name).unwrap();
        let points = metric.points.iter().filter(|(own, _)| {
            let mut asked = attributes.iter();
            asked.all(|(name, value)| own.iter().any(|(n, v)| n == name && v == value))
        });
        points.map(|(_, value)| value).sum()
    }

    pub(crate) fn prometheus_names(&self) -> BTreeSet<String> {
        let families = self.prometheus.gather();
        let names = families.iter().map(|family| family.name().to_owned());
        names.filter(|name| name != "target_info").collect()
    }
}

impl Metric {
    fn of(metric: &opentelemetry_sdk::metrics::data::Metric) -> Self {
        let own = |attributes: &mut dyn Iterator<Item = &KeyValue>| {
            attributes
                .map(|it| (it.key.to_string(), it.value.to_string()))
                .collect()
        };
        let mut bounds = Vec::new();
        let (kind, points) = match metric.data() {
            AggregatedMetrics::U64(MetricData::Sum(sum)) if sum.is_monotonic() => {
                let points = sum.data_points();
                let points = points.map(|it| (own(&mut it.attributes()), it.value()));
                ("counter", points.collect())
            }
            AggregatedMetrics::U64(MetricData::Gauge(gauge)) => {
                let points = gauge.data_points();
                let points = points.map(|it| (own(&mut it.attributes()), it.value()));
                ("gauge", points.collect())
            }
            AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                let points = histogram.data_points().map(|it| {
                    bounds = it.bounds().collect();
                    (own(&mut it.attributes()), it.count())
                });
                ("histogram", points.collect())
            }
            other => panic!("{other:?}"),
        };
        Self {
            name: metric.name().to_owned(),
            kind,
            unit: metric.unit().to_owned(),
            bounds,
            points,
        }
    }

    fn has_points(&self) -> bool {
        !self.points.is_empty()
    }

    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&str, &String)> {
        let points = self.points.iter();
        points.flat_map(|(own, _)| own.iter().map(|(name, value)| (&**name, value)))
    }

    pub(crate) fn attribute_names(&self) -> BTreeSet<String> {
        self.attributes().map(|(name, _)| name.to_owned()).collect()
    }
}
