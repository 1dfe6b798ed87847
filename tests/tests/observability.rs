//! docs/observability.md is the whole of what can be seen from outside: every metric that a process tells and every line
//! that it logs is in its tables as it is, and nothing else is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use harness::catalogue::{
    DocumentedMetric, Family, LogEvent, documented_events, documented_metrics, families,
};
use harness::{
    Answer, LONG, Process, Rabbit, Redis, Update, World, events_in_source, over_both_worlds, wait_for,
};
use serde_json::{Value, json};

over_both_worlds!(what_is_logged_is_in_the_table);

/// The rows that one of these tells.
fn rows(by: &[&str]) -> BTreeMap<String, DocumentedMetric> {
    let told = documented_metrics().into_iter();
    let told = told.filter(|row| by.iter().any(|part| row.by.contains(*part)));
    told.map(|row| (row.name.clone(), row)).collect()
}

/// What is wrong with a process's metrics; empty where they are as the table has them.
fn differences(rows: &BTreeMap<String, DocumentedMetric>, told: &BTreeMap<String, Family>) -> Vec<String> {
    let names =
        |missing: Vec<&String>, what: &str| missing.iter().map(|it| format!("{it}: {what}")).collect();
    let mut wrong: Vec<String> =
        names(rows.keys().filter(|name| !told.contains_key(*name)).collect(), "in the table, and not told");
    for (name, family) in told {
        let Some(row) = rows.get(name) else {
            let (Family { kind, help, .. }, labels) = (family, labels_of(family));
            wrong.push(format!(
                "not in the table for this process: | `{name}` | {kind} | {labels} | … | … | {help} |"
            ));
            continue;
        };
        if (&row.kind, &row.help) != (&family.kind, &family.help) {
            wrong.push(format!("{name}: told as a {} {:?}", family.kind, family.help));
        }
        wrong.extend(labels_that_differ(row, family));
    }
    wrong
}

/// As the table would have them, with the values that were seen.
fn labels_of(family: &Family) -> String {
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in family.series.iter().flatten() {
        labels.entry(name).or_default().insert(value);
    }
    let label = |(name, values): (&str, BTreeSet<&str>)| {
        let values: Vec<_> = values.into_iter().map(|value| format!("`{value}`")).collect();
        format!("`{name}` = {}", values.join(" "))
    };
    labels.into_iter().map(label).collect::<Vec<_>>().join("; ")
}

/// What a closed label can be was told from the start, so all of the table's values are seen and no other.
fn labels_that_differ(row: &DocumentedMetric, family: &Family) -> Option<String> {
    let named: BTreeSet<_> = row.labels.keys().collect();
    if let Some(other) = family.series.iter().find(|labels| labels.keys().collect::<BTreeSet<_>>() != named) {
        return Some(format!("{}: told with {other:?}", row.name));
    }
    row.labels.iter().find_map(|(label, values)| {
        let seen: BTreeSet<String> = family.series.iter().map(|labels| labels[label].clone()).collect();
        let differs = values.as_ref().is_some_and(|values| *values != seen);
        differs.then(|| format!("{}: {label} is told as {seen:?}", row.name))
    })
}

async fn assert_told(process: &Process, by: &[&str]) {
    let rows = rows(by);
    let mut last = Vec::new();
    for _ in 0..200 {
        // What is seldom asked for is told a moment after the start.
        last = differences(&rows, &families(&process.metrics().await));
        if last.is_empty() {
            return;
        }
        harness::pause(std::time::Duration::from_millis(100)).await;
    }
    panic!("the metrics of {by:?} are not as docs/observability.md has them:\n{}", last.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingress_and_a_worker_tell_what_the_table_says() {
    let world = World::distributed().await;
    assert_told(&world.ingress, &["ingress"]).await;
    assert_told(world.worker(), &["worker"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_tells_what_the_table_says_whatever_it_runs_on() {
    let embedded = World::embedded().await;
    assert_told(&embedded.ingress, &["run"]).await;
    let (rabbit, redis) = (Rabbit::shared().await, Redis::shared().await);
    let both = World::embedded().set("AMQP_URL", rabbit.url()).set("REDIS_URL", redis.url()).await;
    assert_told(&both.ingress, &["ingress", "worker"]).await;
}

#[test]
fn each_metric_is_in_the_table_once_with_its_unit() {
    let mut names = BTreeSet::new();
    for row in documented_metrics() {
        let unit = match () {
            () if row.name.contains("timestamp") => "Unix time",
            () if row.name.contains("_seconds") => "s",
            () if row.name.contains("_bytes") => "bytes",
            () if row.help.starts_with("1 while") || row.help.starts_with("1 where") => "0 or 1",
            () => "count",
        };
        assert_eq!(row.unit, unit, "{}", row.name);
        assert_eq!(row.kind == "counter", row.name.ends_with("_total"), "{}", row.name);
        assert!(names.insert(row.name.clone()), "{} is there twice", row.name);
    }
}

#[test]
fn each_line_of_the_log_is_in_the_table_as_the_source_has_it() {
    let documented: BTreeSet<_> = documented_events().into_iter().collect();
    let source: BTreeSet<_> = events_in_source().into_iter().collect();
    let shown = |events: Vec<&LogEvent>| {
        let row = |it: &&LogEvent| {
            let fields: Vec<_> = it.fields.iter().map(|field| format!("`{field}`")).collect();
            format!("| {} | {} | `{}` | {} |", it.message, it.level, it.name, fields.join(" "))
        };
        events.iter().map(row).collect::<Vec<_>>().join("\n")
    };
    let (missing, gone) = (
        source.difference(&documented).collect::<Vec<_>>(),
        documented.difference(&source).collect::<Vec<_>>(),
    );
    assert!(
        missing.is_empty() && gone.is_empty(),
        "not in docs/observability.md:\n{}\nand there, but not in the source:\n{}",
        shown(missing),
        shown(gone)
    );
    assert!(source.len() > 50, "{} lines: the source was not read", source.len());
}

/// What a process writes is what the source was read to say: level, name, and no field that the table leaves out.
fn assert_logged(process: &Process, documented: &[LogEvent]) {
    let ours = ["ingress", "worker", "shared", "tgw"];
    for line in process.logs() {
        let name = line["name"].as_str().unwrap_or_default();
        if !ours.contains(&name.split('.').next().unwrap_or_default()) {
            continue;
        }
        let fits = |it: &&LogEvent| {
            line["message"] == it.message.as_str() && line["level"] == it.level.as_str() && name == it.name
        };
        let row = documented.iter().find(fits).unwrap_or_else(|| panic!("not in the table: {line}"));
        let known =
            |field: &str| ["time", "level", "name", "message"].contains(&field) || row.fields.contains(field);
        let fields = line.as_object().unwrap().keys();
        assert_eq!(fields.filter(|field| !known(field)).collect::<Vec<_>>(), Vec::<&String>::new(), "{line}");
    }
}

async fn what_is_logged_is_in_the_table(world: harness::WorldBuilder) {
    let mut world = world.set("LOG_LEVEL", "trace").await;
    let user = world.user();
    world.accept(&Update::text(user, "well")).await;
    world.accept(&Update::callback(user, "ACCEPT:1")).await;
    world.accept(&Update::edited(user, "nobody's")).await;
    world.telegram.wait_texts(user, 2).await;
    world.conversation.answer(Answer::Status(500, json!({})));
    world.accept(&Update::text(user, "failing")).await;
    world.telegram.wait_texts(user, 3).await;
    world.telegram.fail("sendMessage", 1, 429, "Too Many Requests: retry after 1", json!({"retry_after": 1}));
    world.telegram.fail("sendMessage", 2, 500, "Internal Server Error", Value::Null);
    world.accept(&Update::command(user, "/start")).await;
    world.accept(&Update::text(user, "late").date(harness::now() - 100_000)).await;
    world.post_as(Some("wrong"), b"{}".to_vec()).await;
    world.post_bytes(b"no update".to_vec()).await;
    world.wait_metric("tgw_dead_letters_total", &[], 4.0).await;
    world.worker_mut().hang_up();
    let documented = documented_events();
    wait_for("the routes are read again", LONG, || async {
        world.worker().stdout().contains("the routes were read again").then_some(())
    })
    .await;
    world.worker_mut().term();
    world.worker_mut().wait_exit().await;
    assert!(world.worker().logs().len() > 20, "the level took effect");
    assert_logged(world.worker(), &documented);
    assert_logged(&world.ingress, &documented);
}
