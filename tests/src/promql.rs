//! The metrics that a PromQL expression asks for, with the values of labels that it picks. Just enough of the language
//! for our own rules and panels; whether an expression is right is promtool's to say.

use std::collections::BTreeSet;

/// A metric in an expression, and the labels that its braces name with the values that they compare with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selected {
    pub metric: String,
    pub labels: Vec<(String, String)>,
}

const WORDS: [&str; 13] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "and",
    "or",
    "unless",
    "bool",
    "offset",
    "inf",
    "nan",
];

/// All metrics that `expression` selects. Names that `by (…)` and its like list are labels: they are left out.
#[must_use]
pub fn selected(expression: &str) -> BTreeSet<Selected> {
    let mut found = BTreeSet::new();
    let mut rest = expression;
    while let Some(start) =
        rest.find(|it: char| it.is_ascii_alphabetic() || it == '_' || it == '[' || it == '"')
    {
        rest = &rest[start..];
        if let Some(end) = skipped(rest) {
            rest = &rest[end..];
            continue;
        }
        let end = rest
            .find(|it: char| !(it.is_ascii_alphanumeric() || it == '_' || it == ':'))
            .unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let after = after.trim_start();
        rest = after;
        if ["by", "without", "on", "ignoring"].contains(&word) {
            rest = after.split_once(')').map_or("", |(_, after)| after);
        } else if !WORDS.contains(&word) && !is_called(after) {
            let labels = after.strip_prefix('{').and_then(|text| text.split_once('}'));
            rest = labels.map_or(after, |(_, after)| after);
            let labels = labels.map(|(labels, _)| read_labels(labels)).unwrap_or_default();
            found.insert(Selected { metric: word.to_owned(), labels });
        }
    }
    found
}

/// What follows a function's or an aggregation's name.
fn is_called(after: &str) -> bool {
    let word = after.split(|it: char| !it.is_ascii_alphabetic()).next().unwrap_or_default();
    after.starts_with('(') || ["by", "without"].contains(&word)
}

/// A range or a text, whole.
fn skipped(rest: &str) -> Option<usize> {
    let close = match rest.as_bytes().first()? {
        b'[' => ']',
        b'"' => '"',
        _ => return None,
    };
    Some(rest[1..].find(close).map_or(rest.len(), |end| end + 2))
}

/// Of `a="x",b=~"y|z"` each value.
fn read_labels(text: &str) -> Vec<(String, String)> {
    let pairs = text.split("\",").filter_map(|pair| pair.split_once('='));
    let values = pairs.flat_map(|(name, value)| {
        let (_, value) = value.split_once('"').unwrap_or(("", value));
        let name = name.trim().trim_end_matches('!').to_owned();
        value.trim_end_matches('"').split('|').map(|it| (name.clone(), it.to_owned())).collect::<Vec<_>>()
    });
    values.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_found_with_the_labels_that_they_are_picked_by() {
        let expression = "histogram_quantile(0.9, sum by (le, a) (rate(x_bucket{a=~\"1|2\",b!=\"3\"}[5m]))) > 30 \
             and deriv((sum by (d) (y))[10m:30s]) > 0 or 0 * max(z)";
        let found: Vec<_> = selected(expression).into_iter().collect();
        let names: Vec<_> = found.iter().map(|it| it.metric.as_str()).collect();
        assert_eq!(names, ["x_bucket", "y", "z"]);
        let labels =
            [("a", "1"), ("a", "2"), ("b", "3")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(found[0].labels, labels);
    }
}
