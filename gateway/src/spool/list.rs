//! `tgw spool list`: a table for people, an array for machines.

use clap::ArgMatches;
use serde::Serialize;
use shared::clock;
use shared::program::{Failure, Stopped};
use shared::spool::inspect::{Content, Place, Stored};

use super::source::{Record, Source};
use crate::output::{Output, ago, note, say, table};

/// What is kept of a record.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Of a letter none is known: its body is no update.
    update_id: Option<u64>,
    /// `update`, `letter`, or `damaged`.
    what: &'static str,
    kind: String,
    lane: Option<i64>,
    bot: Option<u64>,
    received: Option<String>,
    #[serde(skip)]
    received_ms: Option<u64>,
    bytes: u64,
    /// Of a letter.
    reason: Option<&'static str>,
    error: Option<String>,
}

impl Row {
    fn of(stored: Stored) -> Self {
        let bytes = stored.length;
        match stored.content {
            Content::Update(it) => Self {
                update_id: Some(it.update_id),
                what: "update",
                kind: it.kind,
                lane: it.lane,
                bot: it.bot,
                received: Some(clock::rfc3339(it.received_ms)),
                received_ms: Some(it.received_ms),
                bytes,
                reason: None,
                error: None,
            },
            Content::Letter(it) => Self {
                update_id: it.update_id,
                what: "letter",
                kind: it.kind,
                lane: it.lane,
                bot: it.bot,
                received: Some(clock::rfc3339(it.received_ms)),
                received_ms: Some(it.received_ms),
                bytes,
                reason: Some(it.reason.as_str()),
                error: Some(it.error),
            },
            Content::Damaged(_) => {
                let update_id = match stored.place {
                    Place::Update { update_id, .. } => Some(update_id),
                    Place::Letter { .. } => None,
                };
                let (kind, lane, bot, received, received_ms) = Default::default();
                let (reason, error) = (None, None);
                Self {
                    update_id,
                    what: "damaged",
                    kind,
                    lane,
                    bot,
                    received,
                    received_ms,
                    bytes,
                    reason,
                    error,
                }
            }
        }
    }

    fn cells(&self, now_ms: u64) -> Vec<String> {
        let or_dash = |text: Option<String>| text.filter(|it| !it.is_empty()).unwrap_or("-".to_owned());
        vec![
            or_dash(self.update_id.map(|id| id.to_string())),
            self.what.to_owned(),
            or_dash(Some(self.kind.clone())),
            or_dash(self.lane.map(|lane| lane.to_string())),
            or_dash(self.received_ms.map(|at| format!("{} ago", ago(now_ms.saturating_sub(at) / 1000)))),
            self.bytes.to_string(),
            or_dash(self.error.clone()),
        ]
    }
}

pub async fn list(source: &mut Source, flags: &ArgMatches) -> Result<Stopped, Failure> {
    let mut rows: Vec<Row> = Vec::new();
    let keep = |rows: &mut Vec<Row>, record: Record| {
        rows.push(Row::of(record.stored));
        Ok(())
    };
    let read = source.read(false, &mut rows, keep, Vec::clear).await?;
    rows.sort_by_key(|row| (row.update_id.unwrap_or(u64::MAX), row.received_ms));
    let all = rows.len();
    let limit = flags.get_one::<u64>("limit").map_or(usize::MAX, |limit| *limit as usize);
    rows.truncate(limit);
    match Output::of(flags) {
        Output::Json => {
            say(&serde_json::to_string(&rows).map_err(|error| Failure::Failed(error.to_string()))?)?;
        }
        Output::Words => words(source, &rows, all)?,
    }
    if let Some(why) = read.damaged {
        note(&format!(
            "the file is damaged ({why}): these are the records that its bytes hold; some may have gone to the broker"
        ));
        return Ok(Stopped::Partly);
    }
    Ok(Stopped::Clean)
}

fn words(source: &Source, rows: &[Row], all: usize) -> Result<(), Failure> {
    if !source.is_there() {
        note(&format!("there is no spool at {}: no ingress has run here yet", source.path.display()));
    }
    if rows.is_empty() {
        return say("nothing waits in the spool");
    }
    let now = clock::now_ms();
    let heads = ["UPDATE", "WHAT", "KIND", "CHAT", "RECEIVED", "BYTES", "ERROR"];
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.cells(now)).collect();
    table(&heads, &rows).iter().try_for_each(|line| say(line))?;
    if rows.len() < all {
        note(&format!("{} of {all}", rows.len()));
    }
    Ok(())
}
