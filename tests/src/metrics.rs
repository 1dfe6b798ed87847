//! Reads the Prometheus text that `/metrics` serves.

/// One reading of `/metrics`.
#[derive(Clone, Debug)]
pub struct Metrics(pub String);

impl Metrics {
    /// The sum of all series of `name` that carry every one of `labels`; 0 where there is none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.series(name, labels).map(|series| series.value).sum()
    }

    /// How many series of `name` carry every one of `labels`.
    #[must_use]
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> usize {
        self.series(name, labels).count()
    }

    fn series(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = Series<'_>> {
        let series = self.0.lines().filter_map(parse_line).filter(move |series| series.name == name);
        series.filter(move |series| {
            labels.iter().all(|(key, value)| series.labels.contains(&format!("{key}=\"{value}\"")))
        })
    }

    /// The names of all families, in the order of the text.
    #[must_use]
    pub fn families(&self) -> Vec<String> {
        let types = self.0.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.filter_map(|rest| rest.split(' ').next().map(str::to_owned)).collect()
    }
}

struct Series<'a> {
    name: &'a str,
    labels: &'a str,
    value: f64,
}

/// `name{key="value",…} 1.5`, or `name 1.5`.
fn parse_line(line: &str) -> Option<Series<'_>> {
    if line.starts_with('#') {
        return None;
    }
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    Some(Series { name, labels, value: value.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_takes_the_series_that_carry_all_labels() {
        let metrics = Metrics("# TYPE a counter\na{x=\"1\",y=\"2\"} 3\na{x=\"1\",y=\"3\"} 4\nab 9\n".into());
        assert!((metrics.sum("a", &[("x", "1")]) - 7.0).abs() < f64::EPSILON);
        assert!((metrics.sum("a", &[("x", "1"), ("y", "3")]) - 4.0).abs() < f64::EPSILON);
        assert!(metrics.sum("b", &[]).abs() < f64::EPSILON);
        assert_eq!(metrics.families(), ["a"]);
    }
}
