//! Letters as lines of JSON: to keep them, to look at them with other tools, to bury them again.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;

use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use shared::program::Failure;
use shared::queue::Letter;
use tokio_util::sync::CancellationToken;

use super::carried::Carried;
use super::entry::Entry;
use super::source::Source;

/// Letters on their way to the queue.
const AT_ONCE: usize = 256;

#[derive(Serialize, Deserialize)]
struct Line {
    id: String,
    #[serde(flatten)]
    carried: Carried,
}

pub async fn export(
    source: &mut Source,
    entries: &[Arc<Entry>],
    out: Option<&str>,
) -> Result<usize, Failure> {
    let failed = |error: std::io::Error| Failure::Failed(format!("the letters can't be written: {error}"));
    let mut out: Box<dyn Write> = match out {
        None => Box::new(std::io::stdout()),
        Some(name) => {
            let created = File::options().write(true).create_new(true).mode(0o600).open(name);
            Box::new(
                created
                    .map_err(|error| Failure::Refused(format!("--out {name:?} can't be made: {error}")))?,
            )
        }
    };
    let mut exported = 0;
    for entry in entries {
        let Some(letter) = source.letter(entry).await? else { continue };
        let carried = Carried::of(letter);
        let line = Line { id: entry.id.clone(), carried };
        let line = serde_json::to_string(&line).map_err(|error| Failure::Failed(error.to_string()))?;
        writeln!(out, "{line}").map_err(failed)?;
        exported += 1;
    }
    out.flush().map_err(failed)?;
    Ok(exported)
}

/// What export wrote, all of which has been read once: nothing is buried of a file that is wrong somewhere.
pub struct Archive {
    file: File,
    letters: usize,
}

impl Archive {
    pub fn open(name: &str) -> Result<Self, Failure> {
        let unreadable = |error: std::io::Error| Failure::Refused(format!("{name} can't be read: {error}"));
        let mut file = if name == "-" {
            let mut copy = tempfile::tempfile().map_err(unreadable)?;
            std::io::copy(&mut std::io::stdin().lock(), &mut copy).map_err(unreadable)?;
            copy
        } else {
            File::open(name).map_err(unreadable)?
        };
        file.rewind().map_err(unreadable)?;
        let mut archive = Self { file, letters: 0 };
        let count = archive.letters()?.try_fold(0, |count, letter| letter.map(|_| count + 1))?;
        archive.letters = count;
        Ok(archive)
    }

    fn letters(&self) -> Result<impl Iterator<Item = Result<Letter, Failure>> + use<>, Failure> {
        let unreadable = |error: std::io::Error| Failure::Failed(format!("the file can't be read: {error}"));
        let mut file = self.file.try_clone().map_err(unreadable)?;
        file.rewind().map_err(unreadable)?;
        let lines = BufReader::new(file).lines().enumerate();
        let lines = lines.filter(|(_, line)| !line.as_ref().is_ok_and(|line| line.trim().is_empty()));
        Ok(lines.map(move |(at, line)| {
            let wrong = |error: String| Failure::Refused(format!("line {} is no letter: {error}", at + 1));
            let line: Line =
                serde_json::from_str(&line.map_err(unreadable)?).map_err(|error| wrong(error.to_string()))?;
            line.carried.letter().map_err(|error| wrong(error.to_string()))
        }))
    }

    /// How many are buried, of how many.
    pub async fn import(
        &self,
        source: &mut Source,
        stop: &CancellationToken,
    ) -> Result<(usize, usize), Failure> {
        let Some(publisher) = source.importer().await? else {
            return self.import_one_by_one(source, stop).await;
        };
        let burials = futures_util::stream::iter(self.letters()?).map(|letter| {
            let publisher = publisher.clone();
            async move { publisher.bury(&letter?).await.map_err(|error| Failure::Failed(error.to_string())) }
        });
        let mut burials = burials.buffered(AT_ONCE);
        let mut imported = 0;
        while let Some(Some(buried)) = stop.run_until_cancelled(burials.next()).await {
            buried.map_err(|error| self.broken_off(&error, imported))?;
            imported += 1;
        }
        Ok((imported, self.letters))
    }

    async fn import_one_by_one(
        &self,
        source: &mut Source,
        stop: &CancellationToken,
    ) -> Result<(usize, usize), Failure> {
        let mut imported = 0;
        for letter in self.letters()? {
            if stop.is_cancelled() {
                break;
            }
            source.bury(letter?).await.map_err(|error| self.broken_off(&error, imported))?;
            imported += 1;
        }
        Ok((imported, self.letters))
    }

    fn broken_off(&self, error: &Failure, imported: usize) -> Failure {
        let all = self.letters;
        Failure::Failed(format!(
            "{error}; {imported} of {all} are buried, and importing them again makes no second ones"
        ))
    }
}
