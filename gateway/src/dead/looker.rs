//! The embedded queue's letters as seen by who only looks: the running process is asked, or the command that has the file
//! open in its place, or the file is read as it is. Any number may look at once, also beside a replay.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use shared::database::{Look, Unreadable};
use shared::one_file;
use shared::program::Failure;
use shared::queue::Letter;
use shared::queue::embedded::{self, Wanted, letters_of};
use shared::window::{Answer, Client, Question, TOOL, Unasked};
use tokio::time::Instant;

use super::entry::{Entry, Place};

/// Heads that are asked for at once; a page is bounded by bytes too.
const PAGE: usize = 1024;

/// So long a file is tried again that looks damaged, since somebody is writing it.
const PATIENCE: Duration = Duration::from_secs(2);

const AGAIN: Duration = Duration::from_millis(100);

/// How the answer of an earlier version begins.
const NOT_UNDERSTOOD: &str = "not understood";

pub enum Looker {
    Asking(Client),
    Reading(Arc<Look>),
}

/// What reading came to.
pub enum Looked {
    All(Vec<Entry>),
    /// What was read may be torn, or is not all.
    Again,
    Failed(String),
}

impl Looker {
    /// None where it can't be done so: a process of an earlier version has the file, or it is damaged.
    pub async fn open(folder: &Path) -> Result<Option<Self>, Failure> {
        let begun = Instant::now();
        loop {
            for asked in [Client::connect(folder).await, Client::connect_to(&folder.join(TOOL)).await] {
                match asked {
                    Ok(mut client) => match client.ask(&Question::Letters(wanted(None, 0, false))).await {
                        Ok(_) => return Ok(Some(Self::Asking(client))),
                        Err(words) if words.starts_with(NOT_UNDERSTOOD) => return Ok(None),
                        // It has just ended, or is an ingress beside a file that is another's.
                        Err(_) => {}
                    },
                    Err(Unasked::NotRunning) => {}
                    Err(Unasked::Failed(words)) => return Err(Failure::Failed(words)),
                }
            }
            match opened(folder.join(one_file::FILE.name)).await {
                Ok(file) => return Ok(Some(Self::Reading(Arc::new(file)))),
                // A file that is being written looks damaged.
                Err(Unreadable::Damaged(_)) if begun.elapsed() < PATIENCE => tokio::time::sleep(AGAIN).await,
                Err(Unreadable::Damaged(_)) => return Ok(None),
                Err(Unreadable::NotRead(error)) => {
                    return Err(Failure::Failed(format!("the queue's file can't be read: {error}")));
                }
            }
        }
    }

    /// All heads.
    pub async fn read(&mut self) -> Looked {
        let (mut entries, mut after) = (Vec::new(), None);
        loop {
            let page = match self.page(wanted(after, PAGE, false)).await {
                Ok(page) => page,
                Err(looked) => return looked,
            };
            let Some(last) = page.last() else { break };
            after = Some(last.place);
            entries.extend(page.into_iter().map(entry));
        }
        match self {
            Self::Reading(file) if !file.is_as_it_was() => Looked::Again,
            _ => Looked::All(entries),
        }
    }

    /// None where it is gone meanwhile.
    pub async fn letter(&mut self, place: u64) -> Result<Option<Letter>, String> {
        let page = match self.page(wanted(place.checked_sub(1), 1, true)).await {
            Ok(page) => page,
            Err(Looked::Failed(words)) => return Err(words),
            Err(_) => return Err("somebody has changed the letters meanwhile: ask again".to_owned()),
        };
        Ok(page.into_iter().find(|seen| seen.place == place).map(embedded::Seen::letter))
    }

    async fn page(&mut self, wanted: Wanted) -> Result<Vec<embedded::Seen>, Looked> {
        match self {
            Self::Asking(client) => match client.ask(&Question::Letters(wanted)).await {
                Ok(Answer::Letters(page)) => Ok(page),
                Ok(_) => Err(Looked::Failed("the running process answers what nobody asked".to_owned())),
                // It has ended, most likely: whoever has the file now is asked.
                Err(_) => Err(Looked::Again),
            },
            Self::Reading(file) => {
                let (file, reading) = (Arc::clone(file), Arc::clone(file));
                let page = tokio::task::spawn_blocking(move || letters_of(&reading, wanted)).await;
                match page.map_err(|error| Looked::Failed(error.to_string()))? {
                    Ok(page) => Ok(page),
                    Err(_) if !file.is_as_it_was() => Err(Looked::Again),
                    Err(error) => Err(Looked::Failed(format!("the queue's file can't be read: {error}"))),
                }
            }
        }
    }
}

fn wanted(after: Option<u64>, limit: usize, bodies: bool) -> Wanted {
    Wanted { after, limit, bodies }
}

fn entry(seen: embedded::Seen) -> Entry {
    let (id, place) = (seen.id.clone(), Place::Embedded(seen.place));
    let (update_bytes, has_rest) = (seen.update_bytes, seen.rest_bytes.is_some());
    let mut entry = Entry::new(id, seen.letter(), place);
    (entry.update_bytes, entry.has_rest) = (update_bytes, has_rest);
    entry
}

async fn opened(path: PathBuf) -> Result<Look, Unreadable> {
    let opening = tokio::task::spawn_blocking(move || Look::open(&path)).await;
    opening.unwrap_or_else(|error| Err(Unreadable::Damaged(error.to_string())))
}
