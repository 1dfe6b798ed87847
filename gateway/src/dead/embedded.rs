//! The dead letters of an embedded queue: in the file, or at the running process that has it open.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use shared::data_dir;
use shared::database::Database;
use shared::program::Failure;
use shared::queue::{Letter, embedded, rabbitmq};
use shared::readiness::Readiness;
use shared::settings::{Problems, Values};
use shared::store::{self, Store};

use super::carried::Carried;
use super::entry::{Entry, Place};
use super::keeper::Keeper;
use super::socket::{Client, Reply, Request, Unasked};

/// Letters that are read at once: each may be twice the megabyte that an update may be.
const PAGE: usize = 32;

/// How often a file that somebody else has open is tried again, with `--wait`.
const AGAIN: Duration = Duration::from_millis(500);

pub enum Embedded {
    Here { database: Database, keeper: Keeper },
    There(Client),
}

impl Embedded {
    pub fn is_in(folder: &Path) -> bool {
        folder.join(embedded::FILE.name).exists()
    }

    pub async fn open(values: &Values, folder: &Path, wait: bool) -> Result<Self, Failure> {
        loop {
            let held = match Client::connect(folder).await {
                Ok(client) => return Ok(Self::There(client)),
                Err(Unasked::Failed(words)) => return Err(Failure::Failed(words)),
                Err(Unasked::Held) => {
                    "another tool has the dead letters in hand: try again when it has ended, or say --wait"
                        .to_owned()
                }
                Err(Unasked::NotRunning) => match data_dir::open(values, embedded::FILE) {
                    Err(Failure::Refused(words)) => words,
                    opened => return Self::here(values, opened?).await,
                },
            };
            if !wait {
                return Err(Failure::Failed(held));
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn here(values: &Values, database: Database) -> Result<Self, Failure> {
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
        Ok(Self::Here { keeper: Keeper { letters: consumer.letters(), publisher, store }, database })
    }

    pub async fn read(&mut self) -> Result<Vec<Entry>, Failure> {
        let (mut entries, mut after) = (HashMap::<String, Entry>::new(), None);
        loop {
            let page = self.page(after, PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(entries.into_values().collect()) };
            after = Some(*last);
            for entry in page.into_iter().map(|(place, letter)| entry(place, letter)) {
                match entries.get_mut(&entry.id) {
                    Some(known) => known.places.extend(entry.places),
                    None => drop(entries.insert(entry.id.clone(), entry)),
                }
            }
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
        }
    }

    pub async fn letter(&mut self, entry: &Entry) -> Result<Letter, Failure> {
        let Some(place) = places(entry).next() else { return Ok(entry.letter.clone()) };
        let page = self.page(place.checked_sub(1), 1).await?;
        let found = page.into_iter().find(|(found, _)| *found == place);
        Ok(found.map_or_else(|| entry.letter.clone(), |(_, letter)| letter))
    }

    pub async fn prepare_replay(&mut self) -> Result<(), Failure> {
        let can = match self {
            Self::Here { keeper, .. } => keeper.can_replay().await,
            Self::There(client) => client.ask(&Request::CanReplay).await.map(drop),
        };
        can.map_err(Failure::Failed)
    }

    /// How many from the front on are back in their queues, and what stopped the next one.
    pub async fn replay(&mut self, batch: &[Entry], by: &str) -> Result<(usize, Option<String>), Failure> {
        let first: Vec<u64> = batch.iter().filter_map(|entry| places(entry).next()).collect();
        let by = by.to_owned();
        let replayed = match self {
            Self::Here { keeper, .. } => keeper.replay(first, by).await.map(drop),
            Self::There(client) => client.ask(&Request::Replay { places: first, by }).await.map(drop),
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

    pub async fn remove(&mut self, entries: &[Entry]) -> Result<(), Failure> {
        self.remove_places(entries.iter().flat_map(places).collect()).await
    }

    async fn remove_places(&mut self, places: Vec<u64>) -> Result<(), Failure> {
        let removed = match self {
            Self::Here { keeper, .. } => keeper.remove(places).await.map(drop),
            Self::There(client) => client.ask(&Request::Remove { places }).await.map(drop),
        };
        removed.map_err(Failure::Failed)
    }

    pub async fn bury(&mut self, letter: Letter) -> Result<(), Failure> {
        let buried = match self {
            Self::Here { keeper, .. } => keeper.bury(&letter).await,
            Self::There(client) => client.ask(&Request::Bury(Box::new(Carried::of(letter)))).await.map(drop),
        };
        buried.map_err(Failure::Failed)
    }

    pub async fn close(self) -> Result<(), Failure> {
        if let Self::Here { database, .. } = self {
            database.close().await;
        }
        Ok(())
    }
}

fn entry(place: u64, letter: Letter) -> Entry {
    // The id of one whose body was not kept is another one at each asking.
    let id = match (letter.update_id, letter.body.is_empty()) {
        (None, true) => format!("malformed-{place}"),
        _ => letter.id(),
    };
    Entry::new(id, letter, Place::Embedded(place))
}

fn places(entry: &Entry) -> impl Iterator<Item = u64> + '_ {
    entry.places.iter().filter_map(|place| match place {
        Place::Embedded(place) => Some(*place),
        Place::RabbitMq(_) => None,
    })
}

fn nonsense() -> Failure {
    Failure::Failed("the running gateway answers what nobody asked: is it of another version?".to_owned())
}
