//! `tgw spool verify`: whether every record is as it was written.

use clap::ArgMatches;
use serde_json::{Value, json};
use shared::program::{Failure, Stopped};
use shared::spool::inspect::{Content, Place};

use super::source::{Record, Source};
use crate::output::{Output, say};

#[derive(Default)]
struct Counted {
    updates: u64,
    letters: u64,
    bytes: u64,
    damaged: u64,
    first: Option<Record>,
}

impl Counted {
    fn add(&mut self, record: Record) {
        self.bytes += record.stored.length;
        match record.stored.content {
            Content::Update(_) => self.updates += 1,
            Content::Letter(_) => self.letters += 1,
            Content::Damaged(_) => {
                self.damaged += 1;
                self.first.get_or_insert(record);
            }
        }
    }
}

pub async fn verify(source: &mut Source, flags: &ArgMatches) -> Result<Stopped, Failure> {
    let mut counted = Counted::default();
    let count = |counted: &mut Counted, record| {
        counted.add(record);
        Ok(())
    };
    let read = source.read(false, &mut counted, count, |counted| *counted = Counted::default()).await?;
    let first = counted.first.as_ref().map(|record| (place(record), source.offset(record)));
    let sound = first.is_none() && read.damaged.is_none();
    match Output::of(flags) {
        Output::Json => {
            let first = first.as_ref().map(|((what, number), offset)| {
                let mut told = json!({ "offset": offset });
                told[*what] = json!(number);
                told
            });
            let told = json!({
                "sound": sound, "updates": counted.updates, "letters": counted.letters, "bytes": counted.bytes,
                "damaged": counted.damaged, "first_damaged": first.unwrap_or(Value::Null), "file": read.damaged,
            });
            say(&told.to_string())?;
        }
        Output::Words => {
            let Counted { updates, letters, bytes, .. } = counted;
            say(&format!("sound: {updates} updates, {letters} letters; {bytes} bytes in all"))?;
        }
    }
    if sound {
        return Ok(Stopped::Clean);
    }
    let mut wrong = Vec::new();
    if let Some(((what, number), offset)) = first {
        let at = offset.map_or("somewhere in the file".to_owned(), |offset| format!("at byte {offset}"));
        wrong.push(format!("damaged records: {}; the first is {what} {number}, {at}", counted.damaged));
        wrong.push("what is damaged becomes a dead letter `malformed` when the spool is drained".to_owned());
    }
    if let Some(why) = read.damaged {
        wrong.push(format!("the file is damaged: {why}"));
        wrong.push("an ingress that starts here keeps it aside, and saves the sound records".to_owned());
    }
    Err(Failure::Failed(wrong.join("\n")))
}

fn place(record: &Record) -> (&'static str, u64) {
    match record.stored.place {
        Place::Update { update_id, .. } => ("update", update_id),
        Place::Letter { sequence } => ("letter", sequence),
    }
}
