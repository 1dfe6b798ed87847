//! Letters as lines of JSON: to keep them, to look at them with other tools, to bury them again.

use std::fs::File;
use std::future::Future;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Seek as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use shared::program::Failure;
use shared::queue::{Letter, Publisher};
use tokio::io::{AsyncWrite, AsyncWriteExt as _, BufWriter};
use tokio_util::sync::CancellationToken;

use super::carried::Carried;
use super::entry::Entry;
use super::source::Source;
use crate::output::note;

/// Letters on their way to the queue.
const AT_ONCE: usize = 256;

/// Bytes that are written at once.
const CHUNK: usize = 1 << 16;

/// What is being written when it is told to stop has so long, so that no line is cut but where nobody reads it.
const GRACE: Duration = Duration::from_millis(500);

#[derive(Serialize, Deserialize)]
struct Line {
    id: String,
    #[serde(flatten)]
    carried: Carried,
}

/// What became of an export.
#[derive(Debug, PartialEq, Eq)]
pub struct Exported {
    pub written: usize,
    /// It was stopped before these.
    pub left: usize,
}

/// A new file, or stdout.
pub fn create(name: Option<&str>) -> Result<tokio::fs::File, Failure> {
    let Some(name) = name else {
        let stdout = std::io::stdout().as_fd().try_clone_to_owned();
        let stdout = stdout.map_err(|error| Failure::Failed(format!("stdout can't be used: {error}")))?;
        return Ok(tokio::fs::File::from_std(stdout.into()));
    };
    let created = File::options().write(true).create_new(true).mode(0o600).open(name);
    let file = created.map_err(|error| Failure::Refused(format!("--out {name:?} can't be made: {error}")))?;
    Ok(tokio::fs::File::from_std(file))
}

/// `done` hears of each letter. What was written when it ends is there to be read, in whole lines unless nobody reads.
pub async fn export(
    source: &mut Source,
    entries: &[Arc<Entry>],
    out: impl AsyncWrite + Unpin,
    stop: &CancellationToken,
    done: impl FnMut(),
) -> Result<Exported, Failure> {
    let mut out = BufWriter::with_capacity(CHUNK, out);
    let exported = write(source, entries, &mut out, stop, done).await;
    let flushed = unless_stuck(stop, out.flush()).await.ok_or_else(unread);
    let exported = exported?;
    flushed?.map_err(unwritten)?;
    Ok(exported)
}

async fn write(
    source: &mut Source,
    entries: &[Arc<Entry>],
    out: &mut (impl AsyncWrite + Unpin),
    stop: &CancellationToken,
    mut done: impl FnMut(),
) -> Result<Exported, Failure> {
    let mut exported = Exported { written: 0, left: entries.len() };
    for entry in entries {
        if stop.is_cancelled() {
            break;
        }
        let Some(letter) = unless_stuck(stop, source.letter(entry)).await else { break };
        exported.left -= 1;
        let Some(letter) = letter? else { continue };
        let line = Line { id: entry.id.clone(), carried: Carried::of(letter) };
        let line = serde_json::to_string(&line).map_err(|error| Failure::Failed(error.to_string()))? + "\n";
        let writing = unless_stuck(stop, out.write_all(line.as_bytes()));
        writing.await.ok_or_else(unread)?.map_err(unwritten)?;
        exported.written += 1;
        done();
    }
    Ok(exported)
}

fn unwritten(error: std::io::Error) -> Failure {
    Failure::Failed(format!("the letters can't be written: {error}"))
}

fn unread() -> Failure {
    Failure::Failed("stopped: told to, and nobody read on what was exported".to_owned())
}

/// None where `work` goes on although it was told to stop.
async fn unless_stuck<T>(stop: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
    let grace = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        done = work => Some(done),
        () = grace => None,
    }
}

/// What export wrote, all of which has been read once: nothing is buried of a file that is wrong somewhere.
pub struct Archive {
    file: File,
    letters: usize,
}

impl Archive {
    /// Reads all of it, unless it is stopped first: whoever writes it may never end.
    pub async fn open(name: &str, stop: &CancellationToken) -> Result<Self, Failure> {
        if name == "-" && std::io::stdin().is_terminal() {
            note("letters are read from the terminal until Ctrl-D");
        }
        let name = name.to_owned();
        let reading = tokio::task::spawn_blocking(move || Self::read(&name));
        match stop.run_until_cancelled(reading).await {
            Some(read) => read.map_err(|error| Failure::Failed(error.to_string()))?,
            None => Err(Failure::Failed("stopped before all was read: none of it is imported".to_owned())),
        }
    }

    fn read(name: &str) -> Result<Self, Failure> {
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
        done: impl FnMut(),
    ) -> Result<(usize, usize), Failure> {
        let Some(publisher) = stop.run_until_cancelled(source.importer()).await else {
            return Ok((0, self.letters));
        };
        match publisher? {
            Some(publisher) => self.import_by(publisher, stop, done).await,
            None => self.import_one_by_one(source, stop, done).await,
        }
    }

    async fn import_by(
        &self,
        publisher: Publisher,
        stop: &CancellationToken,
        mut done: impl FnMut(),
    ) -> Result<(usize, usize), Failure> {
        let burials = futures_util::stream::iter(self.letters()?).map(|letter| {
            let publisher = publisher.clone();
            async move { publisher.bury(&letter?).await.map_err(|error| Failure::Failed(error.to_string())) }
        });
        let mut burials = burials.buffered(AT_ONCE);
        let mut imported = 0;
        while let Some(Some(buried)) = stop.run_until_cancelled(burials.next()).await {
            buried.map_err(|error| self.broken_off(&error, imported))?;
            imported += 1;
            done();
        }
        Ok((imported, self.letters))
    }

    async fn import_one_by_one(
        &self,
        source: &mut Source,
        stop: &CancellationToken,
        mut done: impl FnMut(),
    ) -> Result<(usize, usize), Failure> {
        let mut imported = 0;
        for letter in self.letters()? {
            // One that is on its way may be buried all the same: importing it again makes no second one.
            let Some(buried) = stop.run_until_cancelled(source.bury(letter?)).await else { break };
            buried.map_err(|error| self.broken_off(&error, imported))?;
            imported += 1;
            done();
        }
        Ok((imported, self.letters))
    }

    pub fn letters_in_it(&self) -> usize {
        self.letters
    }

    fn broken_off(&self, error: &Failure, imported: usize) -> Failure {
        let all = self.letters;
        Failure::Failed(format!(
            "{error}; {imported} of {all} are buried, and importing them again makes no second ones"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead::entry::Place;

    fn entries(count: usize) -> Vec<Arc<Entry>> {
        let letter = || Letter::malformed(String::new(), None, None, "x".into());
        (0..count).map(|at| Arc::new(Entry::new(at.to_string(), letter(), Place::Embedded(0)))).collect()
    }

    #[tokio::test]
    async fn a_stopped_export_has_whole_lines_and_tells_how_many_are_left() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("letters").display().to_string();
        let stop = CancellationToken::new();
        let mut seen = 0;
        let done = || {
            seen += 1;
            if seen == 2 {
                stop.cancel();
            }
        };
        let out = create(Some(&name)).unwrap();
        let exported = export(&mut Source::Nothing, &entries(5), out, &stop, done).await.unwrap();
        assert_eq!(exported, Exported { written: 2, left: 3 });
        let archive = Archive::open(&name, &CancellationToken::new()).await.unwrap();
        assert_eq!(archive.letters_in_it(), 2);
    }

    #[tokio::test]
    async fn an_export_that_nobody_reads_can_be_stopped() {
        let (out, _reader) = tokio::io::duplex(8);
        let stop = CancellationToken::new();
        let letters = entries(5);
        let mut source = Source::Nothing;
        let exporting = export(&mut source, &letters, out, &stop, || {});
        let stopping = async { stop.cancel() };
        let (exported, ()) = tokio::join!(exporting, stopping);
        assert!(exported.is_err_and(|error| error.to_string().contains("nobody read on")));
    }
}
