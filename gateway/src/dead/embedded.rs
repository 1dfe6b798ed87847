//! The dead letters in the embedded queue's file, which no other process has open.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use shared::data_dir;
use shared::database::{Database, DatabaseError};
use shared::program::Failure;
use shared::queue::embedded::{self, Buried, Letters};
use shared::queue::{Letter, Publisher, rabbitmq};
use shared::readiness::Readiness;
use shared::settings::{Problems, Values};
use shared::store::{self, Store, StoreError, UpdateKey};

use super::entry::{Entry, Place};

/// Letters that are read at once: each may be twice the megabyte that an update may be.
const PAGE: usize = 32;

/// How often a file that somebody else has open is tried again, with `--wait`.
const AGAIN: Duration = Duration::from_millis(500);

/// The claim's owner for what a replay writes before any worker has it.
const WRITER: &str = "tgw dead";

pub struct Embedded {
    database: Database,
    publisher: embedded::Publisher,
    letters: Letters,
    store: Option<Store>,
}

impl Embedded {
    pub fn is_in(folder: &Path) -> bool {
        folder.join(embedded::FILE.name).exists()
    }

    pub async fn open(values: &Values, wait: bool) -> Result<Self, Failure> {
        let database = loop {
            match data_dir::open(values, embedded::FILE) {
                Err(Failure::Refused(_)) if wait => tokio::time::sleep(AGAIN).await,
                Err(Failure::Refused(words)) => return Err(Failure::Failed(words)),
                opened => break opened?,
            }
        };
        let partitions = rabbitmq::read_partitions(values).map_err(Problems::from)?;
        let opened = embedded::open(&database, partitions).await;
        let (publisher, consumer) = opened.map_err(|error| Failure::Refused(error.to_string()))?;
        Ok(Self { database, publisher, letters: consumer.letters(), store: None })
    }

    pub async fn read(&self) -> Result<Vec<Entry>, Failure> {
        let (mut entries, mut after) = (HashMap::<String, Entry>::new(), None);
        loop {
            let page = self.letters.page(after, PAGE).await.map_err(failed)?;
            let Some(last) = page.last() else { return Ok(entries.into_values().collect()) };
            after = Some(last.place);
            for entry in page.into_iter().map(entry) {
                match entries.get_mut(&entry.id) {
                    Some(known) => known.places.extend(entry.places),
                    None => drop(entries.insert(entry.id.clone(), entry)),
                }
            }
        }
    }

    pub async fn letter(&self, entry: &Entry) -> Result<Letter, Failure> {
        let Some(place) = places(entry).next() else { return Ok(entry.letter.clone()) };
        let page = self.letters.page(place.checked_sub(1), 1).await.map_err(failed)?;
        let found = page.into_iter().find(|buried| buried.place == place);
        Ok(found.and_then(|buried| buried.letter.ok()).unwrap_or_else(|| entry.letter.clone()))
    }

    pub async fn prepare_replay(&mut self, values: &Values) -> Result<(), Failure> {
        let is_redis = ["REDIS_URL", "REDIS_HOST", "REDIS_PORT"].iter().any(|name| values.is_given(name));
        let store = if is_redis {
            let settings = store::redis::Settings::read(values).map_err(Problems::from)?;
            let store = store::redis::Store::open(settings, Readiness::default());
            Store::Redis(store.map_err(|error| Failure::Refused(format!("Redis can't be used: {error}")))?)
        } else {
            Store::Embedded(store::embedded::Store::open(&self.database))
        };
        if store.ping().await.is_err() {
            return Err(Failure::Failed(
                "the store is away: nobody could tell what was replayed before, so nothing is".to_owned(),
            ));
        }
        self.store = Some(store);
        Ok(())
    }

    /// Each is published and removed at once, in one transaction, so that no letter is ever in both places.
    pub async fn replay(&self, batch: &[Entry], by: &str) -> Result<(usize, Option<String>), Failure> {
        for entry in batch.iter().filter(|entry| entry.has_rest) {
            if let Err(StoreError::Away) = self.keep_rest(&self.letter(entry).await?, by).await {
                return Ok((0, Some("the store is away".to_owned())));
            }
        }
        let first: Vec<u64> = batch.iter().filter_map(|entry| places(entry).next()).collect();
        if let Err(error) = self.letters.replay(first, by.to_owned()).await {
            return Ok((0, Some(error.to_string())));
        }
        let copies: Vec<u64> = batch.iter().flat_map(|entry| places(entry).skip(1)).collect();
        if !copies.is_empty() {
            self.letters.remove(copies).await.map_err(failed)?;
        }
        Ok((batch.len(), None))
    }

    async fn keep_rest(&self, letter: &Letter, by: &str) -> Result<(), StoreError> {
        let (Some(store), Some(rest), Some(again)) = (&self.store, &letter.rest, letter.again(by)) else {
            return Ok(());
        };
        let owner = letter.user_id.or(letter.chat_id).unwrap_or(0);
        let bot = again.bot.unwrap_or_default();
        let key = UpdateKey { bot, update_id: again.update_id, replay: again.replay, owner };
        store.plan(&key, WRITER, rest, None).await
    }

    pub async fn remove(&self, entries: &[Entry]) -> Result<(), Failure> {
        let places = entries.iter().flat_map(places).collect();
        self.letters.remove(places).await.map(|_| ()).map_err(failed)
    }

    pub fn importer(&self) -> Publisher {
        Publisher::Embedded(self.publisher.clone())
    }

    pub async fn close(self) -> Result<(), Failure> {
        self.database.close().await;
        Ok(())
    }
}

fn entry(buried: Buried) -> Entry {
    let no_letter = |bytes| Letter::malformed("damaged on the disk".to_owned(), None, None, bytes);
    let letter = buried.letter.unwrap_or_else(no_letter);
    // The id of one whose body was not kept is another one at each asking.
    let id = match (letter.update_id, letter.body.is_empty()) {
        (None, true) => format!("malformed-{}", buried.place),
        _ => letter.id(),
    };
    Entry::new(id, letter, Place::Embedded(buried.place))
}

fn places(entry: &Entry) -> impl Iterator<Item = u64> + '_ {
    entry.places.iter().filter_map(|place| match place {
        Place::Embedded(place) => Some(*place),
        Place::RabbitMq(_) => None,
    })
}

fn failed(error: DatabaseError) -> Failure {
    Failure::Failed(error.to_string())
}
