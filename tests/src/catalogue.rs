//! What the project's documents promise to be seen from outside: the tables of docs/observability.md.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::metrics::Metrics;

/// A file of the project.
#[must_use]
pub fn project_file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Its text.
#[must_use]
pub fn project_text(path: &str) -> String {
    std::fs::read_to_string(project_file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A metric, as the table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentedMetric {
    pub name: String,
    pub kind: String,
    /// By label all that it can be; nothing where that is described in words.
    pub labels: BTreeMap<String, Option<BTreeSet<String>>>,
    pub unit: String,
    /// `ingress`, `worker`, `run`.
    pub by: BTreeSet<String>,
    pub help: String,
}

/// A line of the log, as the table has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogEvent {
    pub message: String,
    pub level: String,
    pub name: String,
    pub fields: BTreeSet<String>,
}

/// The metrics' table.
#[must_use]
pub fn documented_metrics() -> Vec<DocumentedMetric> {
    let rows = rows("metric");
    let metrics = rows.into_iter().map(|row| {
        let [name, kind, labels, unit, by, help] =
            row.try_into().unwrap_or_else(|row| panic!("six cells: {row:?}"));
        DocumentedMetric {
            name: plain(&name),
            kind,
            labels: labels.split("; ").filter(|label| !label.is_empty()).map(label).collect(),
            unit,
            by: by.split(", ").map(str::to_owned).collect(),
            help,
        }
    });
    metrics.collect()
}

/// The tables of the log's lines.
#[must_use]
pub fn documented_events() -> Vec<LogEvent> {
    let events = rows("message").into_iter().map(|row| {
        let [message, level, name, fields, when] =
            row.try_into().unwrap_or_else(|row| panic!("five cells: {row:?}"));
        assert!(!when.is_empty(), "{message:?} says not when it comes");
        let fields = fields.split_whitespace().map(plain).collect();
        LogEvent { message, level, name: plain(&name), fields }
    });
    events.collect()
}

/// The rows of all tables whose first column has that head.
fn rows(head: &str) -> Vec<Vec<String>> {
    let (mut rows, mut inside) = (Vec::new(), false);
    for line in project_text("docs/observability.md").lines() {
        let Some(cells) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
            inside = false;
            continue;
        };
        let cells: Vec<_> = cells.split('|').map(|cell| cell.trim().to_owned()).collect();
        if inside && !cells[0].starts_with("--") {
            rows.push(cells);
        } else if cells[0] == head {
            inside = true;
        }
    }
    rows
}

fn plain(cell: &str) -> String {
    cell.trim_matches('`').to_owned()
}

/// `outcome` = `ok` `failed`, or words.
fn label(text: &str) -> (String, Option<BTreeSet<String>>) {
    let (name, values) = text.split_once(" = ").unwrap_or_else(|| panic!("a label and its values: {text}"));
    let known: Vec<_> = values.split(' ').collect();
    let closed = known.iter().all(|value| value.starts_with('`') && value.ends_with('`'));
    (plain(name), closed.then(|| known.into_iter().map(plain).collect()))
}

/// A family of a reading of `/metrics`.
#[derive(Clone, Debug, Default)]
pub struct Family {
    pub kind: String,
    pub help: String,
    /// The labels of each of its series, without a histogram's `le`.
    pub series: BTreeSet<BTreeMap<String, String>>,
}

/// All families of a reading, by name.
#[must_use]
pub fn families(metrics: &Metrics) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for line in metrics.0.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            families.entry(name.to_owned()).or_default().help = help.to_owned();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            families.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else if let Some((series, _)) = line.rsplit_once(' ') {
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.trim_end_matches('}').split("\",").filter_map(|pair| pair.split_once("=\""));
            let labels =
                labels.map(|(name, value)| (name.to_owned(), value.trim_end_matches('"').to_owned()));
            let labels = labels.filter(|(name, _)| name != "le").collect();
            families.entry(family_of(name, &families).to_owned()).or_default().series.insert(labels);
        }
    }
    families
}

/// A histogram tells three kinds of series.
fn family_of<'a>(series: &'a str, known: &BTreeMap<String, Family>) -> &'a str {
    let histograms = ["_bucket", "_sum", "_count"].iter().filter_map(|end| series.strip_suffix(end));
    let is_histogram = |name: &&str| known.get(*name).is_some_and(|family| family.kind == "histogram");
    histograms.into_iter().find(is_histogram).unwrap_or(series)
}
