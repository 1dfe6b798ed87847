//! What is told, as a page for a person.

use super::view::{Spool, View};
use crate::output::{ago, numbers, size, table};

pub fn page(view: &View) -> Vec<String> {
    let mut lines = head(view);
    lines.extend(section(
        &["WORKER", "STATE", "OUT/S", "IN HAND", "OLDEST", "PARKED", "UP", "PARTITIONS"],
        workers(view),
    ));
    lines.extend(section(&["INGRESS", "STATE", "IN/S", "SPOOLED", "BYTES", "OLDEST", "UP"], ingresses(view)));
    lines.extend(section(&["SERVICE", "BREAKER", "CALLS/S", "FAILED/S", "TAKES"], services(view)));
    lines.extend(section(&["PARTITION", "READY", "IN HAND", "OWNER"], partitions(view)));
    lines
}

fn head(view: &View) -> Vec<String> {
    let View { flow, lag, spool, .. } = view;
    let line = |name: &str, what: String| format!("{name:<10}{what}");
    let lag = match (lag.mean_seconds, lag.p99_seconds) {
        (Some(mean), Some(p99)) => format!("{mean} s on average, 99% within {p99} s"),
        (Some(mean), None) => format!("{mean} s on average"),
        _ => "no update had its turn".to_owned(),
    };
    let ready = view.ready.map_or("an unknown number".to_owned(), |ready| ready.to_string());
    let oldest = view.oldest_seconds.filter(|age| *age > 0).map(|age| format!("; the oldest {}", ago(age)));
    let letters = match (view.dead_letters, view.dead_letters_held) {
        (_, true) => "in the hand of another tool".to_owned(),
        (Some(many), false) => many.to_string(),
        (None, false) => "not known".to_owned(),
    };
    vec![
        line(
            "flow",
            format!(
                "in {}/s, out {}/s (dead {}/s), calls of Telegram {}/s",
                flow.in_per_second, flow.out_per_second, flow.dead_per_second, flow.calls_per_second
            ),
        ),
        line("lag", lag),
        line("waiting", format!("{ready} ready, {} in hand{}", view.in_hand, oldest.unwrap_or_default())),
        line(
            "bulk",
            format!("{} notifications, {} broadcasts wait", view.bulk.notifications, view.bulk.broadcasts),
        ),
        line("spools", spooled(spool)),
        line("dead", letters),
        line("parked", format!("{} chats", view.parked_chats)),
    ]
}

fn spooled(spool: &Spool) -> String {
    if spool.updates + spool.letters == 0 {
        return "empty".to_owned();
    }
    let (updates, letters) = (spool.updates, spool.letters);
    format!(
        "{updates} updates, {letters} letters, {}; the oldest {}",
        size(spool.bytes),
        ago(spool.oldest_seconds)
    )
}

fn section(heads: &[&str], rows: Vec<Vec<String>>) -> Vec<String> {
    if rows.is_empty() { Vec::new() } else { [vec![String::new()], table(heads, &rows)].concat() }
}

fn state(ready: bool, trouble: &[String]) -> String {
    let word = if ready { "ready" } else { "NOT READY" };
    if trouble.is_empty() { word.to_owned() } else { format!("{word}: {}", trouble.join(", ")) }
}

fn workers(view: &View) -> Vec<Vec<String>> {
    let row = |it: &super::view::Worker| {
        vec![
            it.name.clone(),
            state(it.ready, &it.trouble),
            it.out_per_second.to_string(),
            it.in_hand.to_string(),
            ago(it.oldest_seconds),
            it.parked_chats.to_string(),
            ago(it.up_seconds),
            numbers(&it.partitions),
        ]
    };
    view.workers.iter().map(row).collect()
}

fn ingresses(view: &View) -> Vec<Vec<String>> {
    let row = |it: &super::view::Ingress| {
        vec![
            it.name.clone(),
            state(it.ready, &it.trouble),
            it.in_per_second.to_string(),
            (it.spool.updates + it.spool.letters).to_string(),
            size(it.spool.bytes),
            ago(it.spool.oldest_seconds),
            ago(it.up_seconds),
        ]
    };
    view.ingresses.iter().map(row).collect()
}

fn services(view: &View) -> Vec<Vec<String>> {
    let row = |it: &super::view::Service| {
        let breaker = match it.breakers_open {
            0 => "closed".to_owned(),
            many => format!("OPEN in {many}"),
        };
        vec![
            it.service.clone(),
            breaker,
            it.calls_per_second.to_string(),
            it.failed_per_second.to_string(),
            it.mean_seconds.map_or("-".to_owned(), |seconds| format!("{seconds} s")),
        ]
    };
    view.services.iter().map(row).collect()
}

fn partitions(view: &View) -> Vec<Vec<String>> {
    let or_dash = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    let row = |it: &super::view::Partition| {
        let owner = match (&it.owner, it.is_owned) {
            (Some(owner), _) => owner.clone(),
            (None, Some(false)) => "NONE".to_owned(),
            (None, _) => "one that did not answer".to_owned(),
        };
        vec![it.partition.to_string(), or_dash(it.ready), or_dash(it.in_hand), owner]
    };
    view.partitions.iter().map(row).collect()
}
