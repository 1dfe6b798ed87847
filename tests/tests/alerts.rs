//! The alert rules and the dashboard speak of metrics that exist, each rule has its line in the runbook and its test, and
//! both are PromQL. That rules fire when they should is tested by promtool (.ci/run), and by `story`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::process::Command;

use harness::catalogue::{DocumentedMetric, documented_metrics, project_text};
use harness::{promql, say_skipped};
use serde_json::Value;

const RULES: &str = "deploy/prometheus/alerts.yml";

#[derive(Debug, Default)]
struct Rule {
    name: String,
    expression: String,
    runbook: String,
    summary: String,
}

/// Our own file, in its own style: a key a line, and an expression of several lines as a block.
fn rules() -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut in_block = false;
    for line in project_text(RULES).lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        let value = |text: &str| text.trim_matches('\'').replace("''", "'");
        if let Some(name) = text.strip_prefix("- alert: ") {
            rules.push(Rule { name: name.to_owned(), ..Rule::default() });
        }
        let Some(rule) = rules.last_mut() else { continue };
        in_block = in_block && indent > 8;
        if in_block {
            rule.expression += &format!("{text} ");
        } else if let Some(expression) = text.strip_prefix("expr: ") {
            in_block = expression == "|";
            rule.expression = if in_block { String::new() } else { value(expression) };
        } else if let Some(runbook) = text.strip_prefix("runbook: ") {
            rule.runbook = runbook.to_owned();
        } else if let Some(summary) = text.strip_prefix("summary: ") {
            rule.summary = value(summary);
        }
    }
    assert!(rules.len() > 20, "{} rules: the file was not read", rules.len());
    rules
}

/// The dashboard's expressions, each with its panel's title.
fn queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&project_text("deploy/grafana/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries = panels.iter().flat_map(|panel| {
        let title = panel["title"].as_str().unwrap().to_owned();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets.into_iter().map(move |it| (title.clone(), it["expr"].as_str().unwrap().to_owned()))
    });
    let queries: Vec<_> = queries.collect();
    assert!(queries.len() > 40, "{} queries: the dashboard was not read", queries.len());
    queries
}

/// What is wrong with an expression's names; the metrics that it names.
fn assert_known(place: &str, expression: &str, known: &[DocumentedMetric]) -> BTreeSet<String> {
    let selected = promql::selected(expression);
    assert!(!selected.is_empty(), "{place}: no metric in {expression}");
    let mut names = BTreeSet::new();
    for it in selected {
        if it.metric == "up" {
            continue;
        }
        let is_it = |row: &&DocumentedMetric| {
            let ends: &[&str] = if row.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            ends.iter().any(|end| it.metric == format!("{}{end}", row.name))
        };
        let row = known.iter().find(is_it).unwrap_or_else(|| panic!("{place}: there is no {}", it.metric));
        names.insert(row.name.clone());
        for (label, value) in &it.labels {
            if ["deployment", "instance"].contains(&label.as_str()) {
                continue;
            }
            let values =
                row.labels.get(label).unwrap_or_else(|| panic!("{place}: {} has no {label}", row.name));
            let can_be = values.as_ref().is_none_or(|values| values.contains(value));
            assert!(can_be, "{place}: {label} of {} is never {value}", row.name);
        }
    }
    names
}

#[test]
fn every_rule_asks_for_metrics_and_labels_that_exist() {
    let known = documented_metrics();
    for rule in rules() {
        assert_known(&rule.name, &rule.expression, &known);
        assert!(!rule.summary.is_empty(), "{} has no summary", rule.name);
    }
}

#[test]
fn every_rule_has_its_section_in_the_runbook_and_every_section_its_rule() {
    let runbook = project_text("docs/runbook.md");
    let sections: BTreeSet<&str> = runbook.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let rules = rules();
    for rule in &rules {
        let anchor = format!("docs/runbook.md#{}", rule.name.to_lowercase());
        assert_eq!(rule.runbook, anchor, "{}", rule.name);
        assert!(sections.contains(rule.name.as_str()), "{} has no section in the runbook", rule.name);
    }
    let named: BTreeSet<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(named, sections, "rules and sections");
    // What a section refers to is there too.
    for link in runbook.split("](#").skip(1) {
        let anchor = link.split(')').next().unwrap();
        assert!(sections.iter().any(|name| name.to_lowercase() == anchor), "#{anchor} leads nowhere");
    }
}

#[test]
fn every_rule_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() {
    let tests = project_text("deploy/prometheus/alerts_test.yml");
    for rule in rules() {
        let cases: Vec<_> = tests.split(&format!("alertname: {}\n", rule.name)).skip(1).collect();
        let silent = |case: &&str| case.trim_start().starts_with("exp_alerts: []");
        let (quiet, firing): (Vec<&str>, Vec<&str>) = cases.iter().partition(|case| silent(case));
        // One that is about several deployments may be firing for one of them in both.
        assert!(!firing.is_empty() && quiet.len() + firing.len() > 1, "{} is not tested", rule.name);
    }
}

#[test]
fn every_panel_asks_for_metrics_that_exist_and_every_metric_has_a_panel() {
    let known = documented_metrics();
    let mut shown = BTreeSet::new();
    for (title, expression) in queries() {
        shown.extend(assert_known(&title, &expression, &known));
    }
    let all: BTreeSet<String> = known.into_iter().map(|row| row.name).collect();
    assert_eq!(all.difference(&shown).collect::<Vec<_>>(), Vec::<&String>::new(), "on no panel");
}

#[test]
fn every_query_of_the_dashboard_is_promql() {
    let rules: Vec<String> = queries()
        .iter()
        .enumerate()
        .map(|(n, (_, expression))| {
            let expression = expression.replace("$__rate_interval", "1m").replace("$deployment", ".*");
            // A text in JSON is a text in YAML.
            format!("  - record: panel:{n}\n    expr: {}\n", Value::from(expression))
        })
        .collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("groups:\n- name: panels\n  rules:\n{}", rules.concat())).unwrap();
    let Ok(checked) = Command::new("promtool").args(["check", "rules"]).arg(file.path()).output() else {
        return say_skipped("the dashboard's queries are not checked: there is no promtool here");
    };
    let told =
        format!("{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
    assert!(checked.status.success(), "{told}");
    assert!(told.contains(&format!("{} rules found", rules.len())), "{told}");
}
