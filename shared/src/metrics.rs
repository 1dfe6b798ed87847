//! Metrics that can't fail: a family that could not be made or registered is logged once and then counts
//! nothing, since no metric is worth a panic. Labels come from closed sets, never from an id.

use std::sync::LazyLock;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts};

pub type Counters = LazyLock<Option<IntCounterVec>>;
pub type Gauges = LazyLock<Option<IntGaugeVec>>;
pub type Histograms = LazyLock<Option<HistogramVec>>;

/// Bounds in seconds from half a millisecond to 30 s, for whatever waits on a network.
const SECONDS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

pub fn counters(name: &str, help: &str, labels: &[&str]) -> Option<IntCounterVec> {
    registered(IntCounterVec::new(Opts::new(name, help), labels))
}

pub fn gauges(name: &str, help: &str, labels: &[&str]) -> Option<IntGaugeVec> {
    registered(IntGaugeVec::new(Opts::new(name, help), labels))
}

/// A histogram of seconds.
pub fn histograms(name: &str, help: &str, labels: &[&str]) -> Option<HistogramVec> {
    registered(HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels))
}

fn registered<M: Collector + Clone + 'static>(metric: Result<M, prometheus::Error>) -> Option<M> {
    let registered =
        metric.and_then(|metric| prometheus::register(Box::new(metric.clone())).map(|()| metric));
    registered.inspect_err(|error| tracing::error!(%error, "a metric can't be registered")).ok()
}

/// Counts one.
pub fn count(counters: &Counters, labels: &[&str]) {
    add_count(counters, labels, 1);
}

/// Counts so many; with 0 the series is there from then on.
pub fn add_count(counters: &Counters, labels: &[&str], many: u64) {
    if let Some(counter) = counters.as_ref().and_then(|all| all.get_metric_with_label_values(labels).ok()) {
        counter.inc_by(many);
    }
}

pub fn set(gauges: &Gauges, labels: &[&str], value: i64) {
    if let Some(gauge) = gauges.as_ref().and_then(|all| all.get_metric_with_label_values(labels).ok()) {
        gauge.set(value);
    }
}

pub fn add(gauges: &Gauges, labels: &[&str], change: i64) {
    if let Some(gauge) = gauges.as_ref().and_then(|all| all.get_metric_with_label_values(labels).ok()) {
        gauge.add(change);
    }
}

/// Without a series nobody takes an old value for a new one.
pub fn remove(gauges: &Gauges, labels: &[&str]) {
    // An error means that there is none.
    gauges.as_ref().map(|all| all.remove_label_values(labels).ok());
}

pub fn observe(histograms: &Histograms, labels: &[&str], took: Duration) {
    if let Some(histogram) = histograms.as_ref().and_then(|all| all.get_metric_with_label_values(labels).ok())
    {
        histogram.observe(took.as_secs_f64());
    }
}
