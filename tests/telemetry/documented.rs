//! The tables of `docs/guide/telemetry.md`.

use std::collections::{BTreeMap, BTreeSet};

pub(crate) struct Tables {
    pub(crate) metrics: BTreeMap<String, Metric>,
    /// With their attributes.
    pub(crate) spans: BTreeMap<String, BTreeSet<String>>,
    /// With the values that are named.
    pub(crate) attributes: BTreeMap<String, BTreeSet<String>>,
}

pub(crate) struct Metric {
    pub(crate) kind: String,
    pub(crate) unit: String,
    pub(crate) attributes: BTreeSet<String>,
}

impl Tables {
    pub(crate) fn read() -> Self {
        let text = include_str!("../../docs/guide/telemetry.md");
        let metrics = rows(text, "metric").map(|cells| {
            let metric = Metric {
                kind: cells[1].to_owned(),
                unit: quoted(cells[2]).next().unwrap(),
                attributes: quoted(cells[3]).collect(),
            };
            (quoted(cells[0]).next().unwrap(), metric)
        });
        let spans = rows(text, "span");
        let spans =
            spans.map(|cells| (quoted(cells[0]).next().unwrap(), quoted(cells[2]).collect()));
        let attributes = rows(text, "attribute");
        let attributes =
            attributes.map(|cells| (quoted(cells[0]).next().unwrap(), quoted(cells[1]).collect()));
        Self {
            metrics: metrics.collect(),
            spans: spans.collect(),
            attributes: attributes.collect(),
        }
    }

    /// The names of the metrics in Prometheus.
    pub(crate) fn prometheus_families(&self) -> BTreeSet<String> {
        self.metrics
            .iter()
            .map(|(name, it)| it.family(name))
            .collect()
    }

    /// The names of their series in Prometheus, with their metrics.
    pub(crate) fn prometheus_series(&self) -> BTreeMap<String, String> {
        let series = self.metrics.iter().flat_map(|(name, metric)| {
            let family = metric.family(name);
            let suffixes: &[&str] = match &*metric.kind {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            let series = suffixes
                .iter()
                .map(move |suffix| format!("{family}{suffix}"));
            series.map(|series| (series, name.clone()))
        });
        series.collect()
    }

    /// The names of the attributes in Prometheus.
    pub(crate) fn prometheus_labels(&self) -> BTreeSet<String> {
        let of_metrics = self.metrics.values().flat_map(|metric| &metric.attributes);
        of_metrics.map(|name| name.replace('.', "_")).collect()
    }
}

impl Metric {
    fn family(&self, name: &str) -> String {
        let name = name.replace('.', "_");
        match &*self.kind {
            "counter" => format!("{name}_total"),
            "histogram" => format!("{name}_seconds"),
            _ if self.unit == "By" => format!("{name}_bytes"),
            _ => name,
        }
    }
}

/// The rows of the table whose first column is called that.
fn rows<'a>(text: &'a str, first: &str) -> impl Iterator<Item = Vec<&'a str>> {
    let title = format!("| {first} |");
    let table = text
        .lines()
        .skip_while(move |line| !line.starts_with(&title));
    let rows = table.skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
}

/// Returns the texts between backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}
