//! Metrics that can't fail: a family that could not be made or registered is logged once and then counts
//! nothing, since no metric is worth a panic. Labels come from closed sets, never from an id.
//!
//! Each part declares its own by `catalogue!` in its file `events`, and begins them when it starts: what has not
//! happened yet is told as 0. A counter that appeared with its first count would hide that from Prometheus, which sees
//! an increase only between two values.

use std::sync::LazyLock;
use std::time::Duration;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts};

pub use crate::metrics_catalogue as catalogue;

pub type Counters = LazyLock<Option<IntCounterVec>>;
pub type Gauges = LazyLock<Option<IntGaugeVec>>;
pub type Histograms = LazyLock<Option<HistogramVec>>;

/// Bounds in seconds from half a millisecond to 30 s, for whatever waits on a network.
const SECONDS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Bounds in seconds for what may wait in a queue, ours or Telegram's: up to the 24 h after which a message is too old
/// (facts T4). Telegram's clock has whole seconds.
const LONG: [f64; 12] = [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 7200.0, 86_400.0];

/// Of a label whose values are known only when they come: partitions, services, connections.
pub const OPEN: &[&str] = &[];

/// Declares the metrics of one part, each a static for the functions beside it, and a function that begins them all. A
/// line is the static's name, its kind (a function of this file), the metric's name, its help, and its labels with all
/// values that they can have.
#[macro_export]
macro_rules! metrics_catalogue {
    ($(#[$doc:meta])* $visibility:vis fn $begin:ident;
     $($name:ident: $kind:ident($metric:literal, $help:literal $(, $label:literal: $values:expr)*);)+) => {
        $(static $name: $crate::metrics_catalogue!(@type $kind) =
            ::std::sync::LazyLock::new(|| $crate::metrics::$kind($metric, $help, &[$($label),*]));)+

        $(#[$doc])*
        $visibility fn $begin() {
            $($crate::metrics_catalogue!(@begin $kind $name, &[$($values),*]);)+
        }
    };
    (@type counters) => { $crate::metrics::Counters };
    (@type gauges) => { $crate::metrics::Gauges };
    (@type known_gauges) => { $crate::metrics::Gauges };
    (@type $histograms:ident) => { $crate::metrics::Histograms };
    // Without a value until one is known, also where it has no labels.
    (@begin known_gauges $name:ident, $values:expr) => { ::std::sync::LazyLock::force(&$name) };
    (@begin $kind:ident $name:ident, $values:expr) => { $crate::metrics::begin(&$name, $values) };
}

/// Has every series told from now on that these values of the labels make; none where a label is open.
pub fn begin<B: MetricVecBuilder>(family: &LazyLock<Option<MetricVec<B>>>, values: &[&[&str]]) {
    let Some(family) = family.as_ref() else { return };
    let mut series: Vec<Vec<&str>> = vec![Vec::new()];
    for values in values {
        let known = std::mem::take(&mut series);
        let longer = |it: &[_]| values.iter().map(|value| [it, &[*value]].concat()).collect::<Vec<_>>();
        series = known.iter().flat_map(|it| longer(it)).collect();
    }
    for labels in series {
        // An error means that the number of labels is another one: the line that counts says so.
        family.get_metric_with_label_values(&labels).ok();
    }
}

pub fn counters(name: &str, help: &str, labels: &[&str]) -> Option<IntCounterVec> {
    registered(IntCounterVec::new(Opts::new(name, help), labels))
}

pub fn gauges(name: &str, help: &str, labels: &[&str]) -> Option<IntGaugeVec> {
    registered(IntGaugeVec::new(Opts::new(name, help), labels))
}

/// A gauge that is told only while its value is known.
pub fn known_gauges(name: &str, help: &str, labels: &[&str]) -> Option<IntGaugeVec> {
    gauges(name, help, labels)
}

/// A histogram of seconds.
pub fn histograms(name: &str, help: &str, labels: &[&str]) -> Option<HistogramVec> {
    registered(HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels))
}

/// A histogram of seconds, minutes and hours.
pub fn long_histograms(name: &str, help: &str, labels: &[&str]) -> Option<HistogramVec> {
    registered(HistogramVec::new(HistogramOpts::new(name, help).buckets(LONG.to_vec()), labels))
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

/// Counts so many.
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

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::catalogue;

    catalogue! {
        fn begin_all;
        CLOSED: counters("test_closed", "Both known", "a": &["1", "2"], "b": &["x", "y"]);
        SERVED: counters("test_open", "One open", "a": &["1"], "b": super::OPEN);
        PLAIN: histograms("test_plain", "No label");
        UNKNOWN: known_gauges("test_unknown", "Not known yet");
    }

    #[test]
    fn what_has_not_happened_is_told_as_0_where_its_labels_are_known() {
        begin_all();
        let told = || TextEncoder::new().encode_to_string(&prometheus::gather()).unwrap();
        let count = |name: &str| told().lines().filter(|line| line.starts_with(name)).count();
        assert_eq!(
            (count("test_closed{"), count("test_open"), count("test_unknown")),
            (4, 0, 0),
            "{}",
            told()
        );
        assert_eq!(count("test_plain_count"), 1);
        super::count(&CLOSED, &["1", "y"]);
        super::count(&SERVED, &["1", "z"]);
        super::set(&UNKNOWN, &[], 3);
        super::observe(&PLAIN, &[], std::time::Duration::from_secs(1));
        assert!(told().contains("test_closed{a=\"1\",b=\"y\"} 1\n"), "{}", told());
        assert_eq!((count("test_closed{"), count("test_open{"), count("test_unknown 3")), (4, 1, 1));
    }
}
