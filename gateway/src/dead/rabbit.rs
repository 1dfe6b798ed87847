//! The dead letters on RabbitMQ.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use shared::program::Failure;
use shared::queue::rabbitmq::{self, DeadError, DeadLetters};
use shared::queue::{Letter, Publisher, Publishing};
use shared::readiness::Readiness;
use shared::settings::{Problems, Values};
use shared::store::{Store, redis};

use super::entry::{Entry, Place};
use super::keeper::keep_rest;
use super::spill::Spill;

/// How long letters stay in hand at most before they are given back and taken anew: a third of the time after which
/// the broker takes them away (facts R14).
const ROUND: Duration = Duration::from_secs(600);

/// How long the broker may take to let us publish.
const CONNECT: Duration = Duration::from_secs(10);

/// How often a lock that somebody else has is tried again, with `--wait`.
const AGAIN: Duration = Duration::from_millis(500);

/// Letters that are published before the first one's confirm is waited for.
const IN_FLIGHT: usize = 512;

pub struct Rabbit {
    dead: DeadLetters,
    settings: rabbitmq::Settings,
    spill: Spill,
    taken: Instant,
    /// What a replay needs beside the letters.
    replay: Option<Replay>,
}

struct Replay {
    publisher: Publisher,
    store: Store,
}

impl Rabbit {
    /// None where the deployment has no queue of dead letters yet.
    pub async fn open(values: &Values, wait: bool) -> Result<Option<Self>, Failure> {
        let settings = rabbitmq::Settings::read(values).map_err(Problems::from)?;
        loop {
            let dead = match DeadLetters::hold(&settings).await {
                Err(DeadError::Held) if wait => {
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
                Err(DeadError::Missing(_)) => return Ok(None),
                held => held.map_err(failed)?,
            };
            let spill = Spill::new()?;
            return Ok(Some(Self { dead, settings, spill, taken: Instant::now(), replay: None }));
        }
    }

    /// Reads all; keeps the bytes of those that `keep` wants.
    pub async fn read(&mut self, keep: impl Fn(&Entry) -> bool) -> Result<Vec<Entry>, Failure> {
        let (mut entries, mut trouble) = (HashMap::<String, Entry>::new(), None);
        let Self { dead, spill, .. } = self;
        let reading = dead.read(|place, id, letter| {
            let place = Place::RabbitMq(place);
            if let Some(entry) = entries.get_mut(&id) {
                entry.places.push(place);
                return;
            }
            let mut entry = Entry::new(id.clone(), letter.clone(), place);
            if keep(&entry) {
                match spill.keep(&letter) {
                    Ok(kept) => entry.kept = Some(kept),
                    Err(failure) => trouble = Some(failure),
                }
            }
            entries.insert(id, entry);
        });
        reading.await.map_err(failed)?;
        self.spill.flush()?;
        match trouble {
            Some(failure) => Err(failure),
            None => Ok(entries.into_values().collect()),
        }
    }

    pub fn letter(&self, entry: &Entry) -> Result<Letter, Failure> {
        self.spill.letter(entry)
    }

    /// Whether they were in hand for so long that the broker may soon take them away.
    pub fn is_old(&self) -> bool {
        self.taken.elapsed() >= ROUND
    }

    /// Gives back what is left, and takes it anew.
    pub async fn read_again(&mut self, keep: impl Fn(&Entry) -> bool) -> Result<Vec<Entry>, Failure> {
        self.dead.put_back().await.map_err(failed)?;
        self.spill.clear()?;
        self.taken = Instant::now();
        self.read(keep).await
    }

    /// Finds out whether a replay can be done: the partitions agree, Redis answers, the broker takes something.
    pub async fn prepare_replay(&mut self, values: &Values) -> Result<(), Failure> {
        self.dead.check_partitions().await.map_err(failed)?;
        let readiness = Readiness::default();
        let settings = redis::Settings::read(values).map_err(Problems::from)?;
        let store = redis::Store::open(settings, readiness.clone());
        let store =
            Store::Redis(store.map_err(|error| Failure::Refused(format!("Redis can't be used: {error}")))?);
        if store.ping().await.is_err() {
            return Err(Failure::Failed(
                "Redis is away: nobody could tell what was replayed before, so nothing is".to_owned(),
            ));
        }
        self.replay = Some(Replay { publisher: self.publisher(readiness).await?, store });
        Ok(())
    }

    async fn publisher(&self, readiness: Readiness) -> Result<Publisher, Failure> {
        let publisher = rabbitmq::publisher(self.settings.clone(), readiness, "dead");
        let mut link = publisher.link();
        let up = link.wait_for(|link| *link == rabbitmq::Link::Up);
        match tokio::time::timeout(CONNECT, up).await {
            Ok(Ok(_)) => Ok(Publisher::RabbitMq(publisher.clone())),
            _ => Err(Failure::Failed(format!("the broker takes nothing within {CONNECT:?}"))),
        }
    }

    /// Publishes these once more, in order, and removes those whose publish was confirmed. Tells how many from the
    /// front on are back in their queues, and what stopped the next one.
    pub async fn replay(&mut self, batch: &[Entry], by: &str) -> Result<(usize, Option<String>), Failure> {
        let Some(Replay { publisher, store }) = &self.replay else {
            return Err(Failure::Failed("the replay was not prepared".to_owned()));
        };
        let (publisher, store) = (publisher.clone(), store.clone());
        let (mut flying, mut replayed) = (VecDeque::with_capacity(IN_FLIGHT), 0);
        let mut stopped = None;
        for entry in batch {
            if flying.len() >= IN_FLIGHT {
                replayed += self.land(&mut flying, &mut stopped).await?;
            }
            if stopped.is_some() {
                break;
            }
            let letter = self.spill.letter(entry)?;
            let Some(envelope) = letter.again(by) else { continue };
            if let Err(error) = keep_rest(&store, &letter, &envelope).await {
                stopped = Some(error.to_string());
                break;
            }
            flying.push_back((entry, publisher.begin(&envelope)));
        }
        while !flying.is_empty() {
            replayed += self.land(&mut flying, &mut stopped).await?;
        }
        Ok((replayed, stopped))
    }

    /// Waits for the oldest's confirm and removes its letter; how many that were, none or one. What comes behind one that
    /// failed may have been published too: its letter stays, and runs once.
    async fn land(
        &mut self,
        flying: &mut VecDeque<(&Entry, Publishing)>,
        stopped: &mut Option<String>,
    ) -> Result<usize, Failure> {
        let Some((entry, publishing)) = flying.pop_front() else { return Ok(0) };
        match publishing.await {
            Ok(()) if stopped.is_none() => self.remove(entry).await.map(|()| 1),
            Ok(()) => Ok(0),
            Err(error) => {
                stopped.get_or_insert(error.to_string());
                Ok(0)
            }
        }
    }

    pub async fn remove(&mut self, entry: &Entry) -> Result<(), Failure> {
        let places: Vec<_> = entry
            .places
            .iter()
            .filter_map(|place| match place {
                Place::RabbitMq(place) => Some(*place),
                Place::Embedded(_) => None,
            })
            .collect();
        self.dead.remove(&places).await.map_err(failed)
    }

    /// Buries letters that were exported.
    pub async fn importer(&self) -> Result<Publisher, Failure> {
        self.publisher(Readiness::default()).await
    }

    pub async fn close(self) -> Result<(), Failure> {
        self.dead.close().await.map_err(failed)
    }
}

fn failed(error: DeadError) -> Failure {
    match error {
        DeadError::Held => Failure::Failed(format!("{error}: try again when it has ended, or say --wait")),
        DeadError::Partitions(number) => Failure::Refused(format!(
            "the broker's queues were made for {number} partitions: set PARTITIONS to that"
        )),
        DeadError::Missing(queue) => {
            Failure::Failed(format!("there is no queue {queue}: is AMQP_PREFIX right?"))
        }
        other => Failure::Failed(other.to_string()),
    }
}
