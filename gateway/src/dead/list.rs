//! The list of letters: a table for people, an array for machines.

use std::io::Write as _;
use std::sync::Arc;

use serde::Serializer as _;
use shared::clock;
use shared::program::Failure;

use super::entry::Entry;
use crate::output::{Output, ago, say};

const HEADS: [&str; 9] = ["ID", "REASON", "KIND", "CHAT", "ROUTE", "SERVICE", "TRIES", "REPLAYS", "DIED"];

pub fn print(entries: &[Arc<Entry>], output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        return array(entries).map_err(|error| Failure::Failed(format!("nobody reads this: {error}")));
    }
    if entries.is_empty() {
        return say("no dead letters");
    }
    table(entries, clock::now_ms()).iter().try_for_each(|line| say(line))
}

/// One after the other, since a hundred thousand of them need not lie in memory twice.
fn array(entries: &[Arc<Entry>]) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    serde_json::Serializer::new(&mut out).collect_seq(entries.iter().map(|entry| entry.view()))?;
    writeln!(out)?;
    out.flush()
}

fn table(entries: &[Arc<Entry>], now_ms: u64) -> Vec<String> {
    let rows: Vec<[String; 9]> = entries.iter().map(|entry| row(entry, now_ms)).collect();
    let widths: Vec<usize> = (0..HEADS.len())
        .map(|column| {
            rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(HEADS[column].len())
        })
        .collect();
    let line = |cells: &[String; 9], error: &str| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}  "));
        format!("{}{error}", cells.collect::<String>())
    };
    let head = line(&HEADS.map(str::to_owned), "ERROR");
    let lines = rows.iter().zip(entries).map(|(row, entry)| line(row, &entry.letter.error));
    std::iter::once(head).chain(lines).collect()
}

fn row(entry: &Entry, now_ms: u64) -> [String; 9] {
    let letter = &entry.letter;
    let or_dash =
        |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned());
    [
        entry.id.clone(),
        letter.reason.to_string(),
        or_dash(Some(letter.kind.clone())),
        or_dash(letter.chat_id.map(|id| id.to_string())),
        or_dash(letter.route.clone()),
        or_dash(letter.service.clone()),
        letter.attempts.to_string(),
        letter.replays.to_string(),
        format!("{} ago", ago(now_ms.saturating_sub(letter.last_failed_ms) / 1000)),
    ]
}
