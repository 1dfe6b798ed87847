//! The dead letters of an embedded queue: in the file, or at the running process that has it open.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shared::data_dir;
use shared::one_file::{self, Database};
use shared::program::Failure;
use shared::queue::{Letter, embedded, rabbitmq};
use shared::readiness::Readiness;
use shared::settings::{Problems, Values};
use shared::store::{self, Store};
use shared::window::{Shown, TOOL, Window};

use super::board::Purpose;
use super::carried::Carried;
use super::entry::{Entry, Place};
use super::keeper::{Keeper, Queue};
use super::looker::{Looked, Looker};
use super::socket::{Client, Reply, Request, Unasked};
use super::source::WAITS;
use crate::output::note;

/// Letters that are read at once: each may be twice the megabyte that an update may be.
const PAGE: usize = 32;

/// How often a file that somebody else has open is tried again, with `--wait`.
const AGAIN: Duration = Duration::from_millis(500);

pub enum Embedded {
    /// The file is ours; others can look into it by the window.
    Here { database: Database, keeper: Keeper, _window: Option<Window> },
    /// It is that of a running process, which does what is asked for.
    There(Client),
    /// It is only looked at, whoever has it.
    Looking(Box<Looker>),
}

impl Embedded {
    pub fn is_in(folder: &Path) -> bool {
        folder.join(one_file::FILE.name).exists()
    }

    pub async fn open(values: &Values, folder: &Path, wait: bool, purpose: Purpose) -> Result<Self, Failure> {
        if purpose == Purpose::Look
            && !wait
            && let Some(looker) = Looker::open(folder).await?
        {
            return Ok(Self::Looking(Box::new(looker)));
        }
        let mut told = false;
        loop {
            let held = match Client::connect(folder).await {
                Ok(client) => return Ok(Self::There(client)),
                Err(Unasked::Failed(words)) => return Err(Failure::Failed(words)),
                Err(Unasked::Held) => {
                    "another tool has the dead letters in hand: try again when it has ended, or say --wait"
                        .to_owned()
                }
                Err(Unasked::NotRunning) => match data_dir::open(values, one_file::FILE) {
                    Err(Failure::Refused(words)) => words,
                    opened => return Self::here(values, folder, opened?).await,
                },
            };
            if !wait {
                return Err(Failure::Failed(held));
            }
            if !told {
                told = true;
                note(WAITS);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn here(values: &Values, folder: &Path, database: Database) -> Result<Self, Failure> {
        let partitions = rabbitmq::read_partitions(values).map_err(Problems::from)?;
        let opened = embedded::open(&database, partitions).await;
        let (publisher, consumer) = opened.map_err(|error| Failure::Refused(error.to_string()))?;
        let is_redis = ["REDIS_URL", "REDIS_HOST", "REDIS_PORT"].iter().any(|name| values.is_given(name));
        let store = if is_redis {
            let settings = store::redis::Settings::read(values).map_err(Problems::from)?;
            let store = store::redis::Store::open(settings, Readiness::default());
            Store::Redis(store.map_err(|error| Failure::Refused(format!("Redis can't be used: {error}")))?)
        } else {
            Store::Embedded(store::embedded::Store::open(&database))
        };
        let queue = Some(Queue { letters: consumer.letters(), publisher });
        let keeper = Keeper { queue, store };
        let shown = Shown { queue: Some(consumer), ..Shown::default() };
        let window = Window::open_as(folder, TOOL, shown);
        Ok(Self::Here { keeper, database, _window: window })
    }

    /// None where somebody has written the file meanwhile, or who was asked has ended: to be opened again.
    pub async fn read(&mut self) -> Result<Option<Vec<Arc<Entry>>>, Failure> {
        if let Self::Looking(looker) = self {
            return match looker.read().await {
                Looked::All(entries) => Ok(Some(merged(entries))),
                Looked::Again => Ok(None),
                Looked::Failed(words) => Err(Failure::Failed(words)),
            };
        }
        let (mut entries, mut after) = (Vec::new(), None);
        loop {
            let page = self.page(after, PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(Some(merged(entries))) };
            after = Some(*last);
            entries.extend(page.into_iter().map(|(place, letter)| {
                Entry::new(embedded::id_of(place, &letter), letter, Place::Embedded(place))
            }));
        }
    }

    async fn page(&mut self, after: Option<u64>, limit: usize) -> Result<Vec<(u64, Letter)>, Failure> {
        match self {
            Self::Here { keeper, .. } => keeper.page(after, limit).await.map_err(Failure::Failed),
            Self::There(client) => {
                let reply = client.ask(&Request::Page { after, limit }).await.map_err(Failure::Failed)?;
                let Reply::Page(page) = reply else { return Err(nonsense()) };
                let letter = |(place, carried): (u64, Carried)| Some((place, carried.letter().ok()?));
                page.into_iter().map(|found| letter(found).ok_or_else(nonsense)).collect()
            }
            Self::Looking(_) => Err(looking()),
        }
    }

    /// None where it is gone meanwhile.
    pub async fn letter(&mut self, entry: &Entry) -> Result<Option<Letter>, Failure> {
        let Some(place) = places(entry).next() else { return Ok(Some(entry.letter.clone())) };
        if let Self::Looking(looker) = self {
            return looker.letter(place).await.map_err(Failure::Failed);
        }
        let page = self.page(place.checked_sub(1), 1).await?;
        Ok(page.into_iter().find(|(found, _)| *found == place).map(|(_, letter)| letter))
    }

    pub async fn prepare_replay(&mut self) -> Result<(), Failure> {
        let can = match self {
            Self::Here { keeper, .. } => keeper.can_replay().await,
            Self::There(client) => client.ask(&Request::CanReplay).await.map(drop),
            Self::Looking(_) => return Err(looking()),
        };
        can.map_err(Failure::Failed)
    }

    /// How many from the front on are back in their queues, and what stopped the next one.
    pub async fn replay(
        &mut self,
        batch: &[Arc<Entry>],
        by: &str,
    ) -> Result<(usize, Option<String>), Failure> {
        let first: Vec<u64> = batch.iter().filter_map(|entry| places(entry).next()).collect();
        let by = by.to_owned();
        let replayed = match self {
            Self::Here { keeper, .. } => keeper.replay(first, by).await.map(drop),
            Self::There(client) => client.ask(&Request::Replay { places: first, by }).await.map(drop),
            Self::Looking(_) => return Err(looking()),
        };
        if let Err(words) = replayed {
            return Ok((0, Some(words)));
        }
        let copies: Vec<u64> = batch.iter().flat_map(|entry| places(entry).skip(1)).collect();
        if !copies.is_empty() {
            self.remove_places(copies).await?;
        }
        Ok((batch.len(), None))
    }

    pub async fn remove(&mut self, entries: &[Arc<Entry>]) -> Result<(), Failure> {
        self.remove_places(entries.iter().flat_map(|entry| places(entry)).collect()).await
    }

    async fn remove_places(&mut self, places: Vec<u64>) -> Result<(), Failure> {
        let removed = match self {
            Self::Here { keeper, .. } => keeper.remove(places).await.map(drop),
            Self::There(client) => client.ask(&Request::Remove { places }).await.map(drop),
            Self::Looking(_) => return Err(looking()),
        };
        removed.map_err(Failure::Failed)
    }

    pub async fn bury(&mut self, letter: Letter) -> Result<(), Failure> {
        let buried = match self {
            Self::Here { keeper, .. } => keeper.bury(&letter).await,
            Self::There(client) => client.ask(&Request::Bury(Box::new(Carried::of(letter)))).await.map(drop),
            Self::Looking(_) => return Err(looking()),
        };
        buried.map_err(Failure::Failed)
    }

    /// The file is closed with all that was written.
    pub async fn give_back(&mut self) -> Result<(), Failure> {
        if let Self::Here { database, .. } = self {
            database.close().await;
        }
        Ok(())
    }
}

/// Copies of one letter, which a crash can leave behind, are one entry.
fn merged(entries: impl IntoIterator<Item = Entry>) -> Vec<Arc<Entry>> {
    let mut merged = HashMap::<String, Entry>::new();
    for entry in entries {
        match merged.get_mut(&entry.id) {
            Some(known) => known.places.extend(entry.places),
            None => drop(merged.insert(entry.id.clone(), entry)),
        }
    }
    merged.into_values().map(Arc::new).collect()
}

fn places(entry: &Entry) -> impl Iterator<Item = u64> + '_ {
    entry.places.iter().filter_map(|place| match place {
        Place::Embedded(place) => Some(*place),
        Place::RabbitMq(_) | Place::Elsewhere => None,
    })
}

fn looking() -> Failure {
    Failure::Failed("the letters are only looked at".to_owned())
}

fn nonsense() -> Failure {
    Failure::Failed("the running gateway answers what nobody asked: is it of another version?".to_owned())
}
