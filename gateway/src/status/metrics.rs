//! Reads the metrics that a process tells: lines `name{label="value",…} 1.5`. Labels are from closed sets, so nothing in
//! them is escaped.

use std::collections::BTreeMap;

struct Series<'a> {
    labels: &'a str,
    value: f64,
}

fn series<'a>(metrics: &'a str, name: &'a str) -> impl Iterator<Item = Series<'a>> {
    metrics.lines().filter_map(move |line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (found, labels) = series.split_once('{').unwrap_or((series, ""));
        (found == name).then_some(Series { labels, value: value.parse().ok()? })
    })
}

fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let labels = labels.trim_end_matches('}');
    let mut pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value.trim_matches('"'))
}

/// The sum over all series of `name` that have these labels; 0 where there is none.
pub fn sum(metrics: &str, name: &str, wanted: &[(&str, &str)]) -> f64 {
    let fits = |it: &Series<'_>| wanted.iter().all(|(name, value)| label(it.labels, name) == Some(value));
    series(metrics, name).filter(fits).map(|it| it.value).sum()
}

pub fn has(metrics: &str, name: &str) -> bool {
    series(metrics, name).next().is_some()
}

/// The sums of those, by another label.
pub fn by(metrics: &str, name: &str, key: &str, wanted: &[(&str, &str)]) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for it in series(metrics, name) {
        let fits = wanted.iter().all(|(name, value)| label(it.labels, name) == Some(value));
        if let (true, Some(value)) = (fits, label(it.labels, key)) {
            *sums.entry(value.to_owned()).or_default() += it.value;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_chosen_by_their_labels() {
        let text = "a{x=\"1\",y=\"2\"} 3\na{x=\"1\",y=\"3\"} 4\nab 9\nb 0.5";
        assert_eq!(
            (sum(text, "a", &[("x", "1")]), sum(text, "a", &[("y", "3")]), sum(text, "c", &[])),
            (7.0, 4.0, 0.0)
        );
        assert_eq!((sum(text, "b", &[]), has(text, "ab"), has(text, "c")), (0.5, true, false));
        assert_eq!(by(text, "a", "y", &[]), BTreeMap::from([("2".to_owned(), 3.0), ("3".to_owned(), 4.0)]));
    }
}
