//! A cache exports the telemetry that `docs/guide/telemetry.md` lists and the dashboard shows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod app;
mod documented;
mod exported;

use std::collections::BTreeSet;
use std::time::Duration;

use app::App;
use axum_redis_cache::{Cache, Settings};
use documented::Tables;
use exported::Exports;
use opentelemetry::trace::Status;
use test_support::{Proxy, RedisServer};

/// One test, because the providers are those of the process.
#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_documented_telemetry_is_exported() {
    let exports = Exports::of_this_process();
    let off = App::new(Cache::in_memory(), None);
    off.do_everything().await;
    assert!(exports.metrics().is_empty() && exports.spans().is_empty());

    let redis = RedisServer::start();
    let mut apps = Vec::new();
    for (prefix, loss) in [("telemetry", "GET"), ("other", "PUT")] {
        let proxy = Proxy::start(redis.address().into()).await;
        let settings = Settings::from_url(proxy.url()).unwrap();
        let settings = settings.prefix(prefix).unwrap().otel_enabled(true);
        // The machine may be busy.
        let settings = settings.socket_timeout(Duration::from_secs(1));
        let app = App::new(Cache::connect(settings).unwrap(), Some(proxy));
        app.do_everything().await;
        app.lose_redis(loss).await;
        apps.push(app);
    }

    every_metric_is_in_the_table(&exports);
    every_result_is_counted(&exports);
    no_metric_has_a_value_of_a_request(&exports);
    every_span_is_in_the_table(&exports);
    only_faults_are_errors(&exports);
    spans_stay_in_the_trace_of_their_request(&exports);
    prometheus_names_them_as_the_dashboard_does(&exports);
}

fn every_metric_is_in_the_table(exports: &Exports) {
    let documented = Tables::read();
    let metrics = exports.metrics();
    let names: BTreeSet<_> = metrics.iter().map(|metric| &metric.name).collect();
    assert_eq!(names, documented.metrics.keys().collect());
    for metric in &metrics {
        let row = &documented.metrics[&metric.name];
        assert_eq!(metric.kind, row.kind, "{metric:?}");
        assert_eq!(metric.unit, row.unit, "{metric:?}");
        assert_eq!(metric.attribute_names(), row.attributes, "{metric:?}");
        if metric.kind == "histogram" {
            assert_eq!(metric.bounds.first(), Some(&0.000_01));
            assert_eq!(metric.bounds.last(), Some(&10.0));
        }
    }
}

fn every_result_is_counted(exports: &Exports) {
    let product = "telemetry::app::get_product";
    for (result, least) in [
        ("hit", 1),
        ("miss", 1),
        ("stale", 1),
        ("bypass", 1),
        ("collapsed", 3),
    ] {
        let handler = match result {
            "stale" => "telemetry::app::ages_at_once",
            "collapsed" => "telemetry::app::waits_at_the_gate",
            _ => product,
        };
        let points = [("cache.handler", handler), ("cache.result", result)];
        assert!(exports.sum("cache.requests", &points) >= least, "{result}");
    }
    for (write, result) in [
        ("fill", "stored"),
        ("fill", "superseded"),
        ("fill", "refused"),
        ("fill", "failed"),
        ("write_through", "stored"),
        ("write_through", "refused"),
        ("write_through", "failed"),
    ] {
        let points = [("cache.write", write), ("cache.result", result)];
        let sum = exports.sum("cache.writes", &points);
        assert!(sum > 0, "{write} {result}");
    }
    for target in ["key", "group", "all"] {
        let sum = exports.sum("cache.evictions", &[("cache.target", target)]);
        assert!(sum > 0, "{target}");
    }
    for operation in ["get", "lease", "put", "release", "remove"] {
        let points = [("cache.store.operation", operation)];
        let count = exports.sum("cache.store.operation.duration", &points);
        assert!(count > 0, "{operation}");
    }
    for handler in ["get_product", "rename_product", "delete_product"] {
        let handler = format!("telemetry::app::{handler}");
        let points = [("cache.handler", &*handler)];
        assert!(exports.sum("cache.handler.duration", &points) > 0);
    }
    let values = [("cache.handler", "values")];
    assert!(exports.sum("cache.requests", &values) > 0 && exports.sum("cache.writes", &values) > 0);
    for prefix in ["telemetry", "other"] {
        let own = ("cache.prefix", prefix);
        assert!(exports.sum("cache.pending_evictions", &[own]) > 0);
        assert_eq!(exports.sum("redis.connections", &[own]), 1);
    }
}

fn no_metric_has_a_value_of_a_request(exports: &Exports) {
    let documented = Tables::read();
    for metric in exports.metrics() {
        for (name, value) in metric.attributes() {
            assert!(!value.contains(app::SECRET), "{name}={value}");
            let is_ours = name == "cache.handler" && value.starts_with("telemetry::app::");
            let is_listed = documented.attributes[name].contains(value);
            let is_setting = name == "cache.prefix" && ["telemetry", "other"].contains(&&**value);
            assert!(is_ours || is_listed || is_setting, "{name}={value}");
        }
    }
}

fn every_span_is_in_the_table(exports: &Exports) {
    let documented = Tables::read();
    let spans = exports.spans();
    let names: BTreeSet<_> = spans.iter().map(|span| span.name.to_string()).collect();
    assert_eq!(names, documented.spans.keys().cloned().collect());
    for (name, row) in &documented.spans {
        let own = spans.iter().filter(|span| span.name == **name);
        let attributes = own.flat_map(|span| &span.attributes);
        let seen: BTreeSet<_> = attributes.map(|it| it.key.to_string()).collect();
        let unseen: Vec<_> = row.difference(&seen).collect();
        assert!(seen.is_subset(row), "{name}: {seen:?}");
        // A write is hardly ever refused when it is stored already.
        assert!(
            unseen.is_empty() || (name == "cache.put" && unseen == ["cache.refusal"]),
            "{name}: {unseen:?}"
        );
    }
    for span in spans {
        let shown = format!("{:?}", span.attributes);
        assert!(!shown.contains(app::SECRET), "{shown}");
        assert!(!shown.contains("product:"), "{shown}");
    }
    let hash = exports.spans_with("cache.get", "cache.key.hash", app::KEY_HASH);
    assert!(!hash.is_empty(), "known to who knows the key");
}

fn only_faults_are_errors(exports: &Exports) {
    for span in exports.spans() {
        let fault = span
            .attributes
            .iter()
            .any(|it| it.key.as_str() == "error.type");
        let is_error = matches!(span.status, Status::Error { .. });
        assert_eq!(is_error, fault, "{span:?}");
    }
    for hit in exports.spans_with("cache.get", "cache.result", "hit") {
        assert_eq!(hit.status, Status::Unset);
    }
}

fn spans_stay_in_the_trace_of_their_request(exports: &Exports) {
    for span in exports.spans() {
        assert_eq!(span.span_context.trace_id(), app::TRACE, "{span:?}");
        assert_eq!(span.parent_span_id, app::SPAN, "{span:?}");
    }
}

fn prometheus_names_them_as_the_dashboard_does(exports: &Exports) {
    let documented = Tables::read();
    let exported: BTreeSet<_> = exports.prometheus_names();
    assert_eq!(exported, documented.prometheus_families());
}

#[test]
fn the_dashboard_shows_every_metric_of_the_table_and_no_other() {
    let documented = Tables::read();
    let text = include_str!("../../dashboards/axum-redis-cache.json");
    let dashboard: serde_json::Value = serde_json::from_str(text).unwrap();
    let mut queries = Vec::new();
    collect_queries(&dashboard, &mut queries);
    let words: BTreeSet<&str> = queries
        .iter()
        .flat_map(|query| query.split(|c: char| !c.is_alphanumeric() && c != '_'))
        .filter(|word| {
            ["cache_", "redis_", "error_"]
                .iter()
                .any(|it| word.starts_with(it))
        })
        .collect();
    let series = documented.prometheus_series();
    let labels = documented.prometheus_labels();
    for word in &words {
        assert!(
            series.contains_key(*word) || labels.contains(*word),
            "{word}"
        );
    }
    let shown: BTreeSet<_> = words.iter().filter_map(|word| series.get(*word)).collect();
    assert_eq!(shown, documented.metrics.keys().collect());
}

/// The texts that a dashboard asks Prometheus.
fn collect_queries<'a>(value: &'a serde_json::Value, queries: &mut Vec<&'a str>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if name == "expr" || name == "query" => queries.push(text),
                    _ => collect_queries(value, queries),
                }
            }
        }
        serde_json::Value::Array(values) => {
            for value in values {
                collect_queries(value, queries);
            }
        }
        _ => {}
    }
}
