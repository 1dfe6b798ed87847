//! `tgw spool export`: what waits, with its bytes, as lines of JSON.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::ArgMatches;
use serde::Serialize;
use shared::program::{Failure, Stopped};
use shared::queue::{Envelope, Letter};
use shared::spool::inspect::Content;

use super::source::{Record, Source};
use crate::output::{Output, note, say};

/// The bytes are base64, since they need not be what JSON can carry.
#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    head: Head,
    update_base64: String,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Head {
    Update(Envelope),
    /// As `tgw dead export` writes one.
    Letter(Box<Letter>),
}

struct Writing {
    out: Box<dyn Write>,
    written: u64,
    damaged: u64,
}

impl Writing {
    fn add(&mut self, record: Record) -> Result<(), Failure> {
        let head = match record.stored.content {
            Content::Update(envelope) => Head::Update(envelope),
            Content::Letter(letter) => Head::Letter(letter),
            Content::Damaged(_) => {
                self.damaged += 1;
                return Ok(());
            }
        };
        let line = Line { head, update_base64: BASE64.encode(record.stored.body.unwrap_or_default()) };
        let line = serde_json::to_string(&line).map_err(|error| Failure::Failed(error.to_string()))?;
        writeln!(self.out, "{line}").map_err(failed)?;
        self.written += 1;
        Ok(())
    }
}

fn failed(error: std::io::Error) -> Failure {
    Failure::Failed(format!("the records can't be written: {error}"))
}

pub async fn export(source: &mut Source, flags: &ArgMatches) -> Result<Stopped, Failure> {
    let name = flags.get_one::<String>("out");
    let out: Box<dyn Write> = match name {
        None => Box::new(std::io::stdout()),
        Some(name) => {
            let created = File::options().write(true).create_new(true).mode(0o600).open(name);
            let refused = |error| Failure::Refused(format!("--out {name:?} can't be made: {error}"));
            Box::new(std::io::BufWriter::new(created.map_err(refused)?))
        }
    };
    let mut writing = Writing { out, written: 0, damaged: 0 };
    // What was written before the file turned out damaged stays: a record that is there twice is one update.
    let read = source.read(true, &mut writing, Writing::add, |_| ()).await?;
    writing.out.flush().map_err(failed)?;
    let Writing { written, damaged, .. } = writing;
    match (Output::of(flags), name) {
        (Output::Json, Some(_)) => {
            say(&serde_json::json!({ "exported": written, "damaged": damaged }).to_string())?;
        }
        _ => note(&format!("exported: {written}")),
    }
    if let Some(why) = &read.damaged {
        note(&format!("the file is damaged ({why}): these are the records that its bytes hold"));
    }
    if damaged > 0 {
        note(&format!("damaged, and left out: {damaged}"));
    }
    Ok(if damaged == 0 && read.damaged.is_none() { Stopped::Clean } else { Stopped::Partly })
}
