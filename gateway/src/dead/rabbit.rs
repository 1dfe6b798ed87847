//! The dead letters on RabbitMQ.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::program::Failure;
use shared::queue::rabbitmq::{self, DeadLetters, Desk};
use shared::queue::{Letter, Publisher, Publishing};
use shared::readiness::Readiness;
use shared::settings::Values;

use super::beside::Beside;
use super::board::{Board, Purpose};
use super::entry::{Entry, Place};
use super::serving::Serving;
use super::spill::Spill;
use super::store::Rests;
use super::taking::{self, Taken, failed};

/// How long letters stay in hand at most before they are given back and taken anew: a third of the time after which
/// the broker takes them away (facts R14).
const ROUND: Duration = Duration::from_secs(600);

/// How long the broker may take to let us publish.
const CONNECT: Duration = Duration::from_secs(10);

/// How often what was given back is looked through for what had been removed.
const TRIES: usize = 5;

/// Letters that are published before the first one's confirm is waited for.
const IN_FLIGHT: usize = 512;

pub struct Rabbit {
    /// None when all were given back.
    dead: Option<DeadLetters>,
    settings: rabbitmq::Settings,
    spill: Spill,
    taken: Instant,
    /// What was removed: the broker may give it back all the same.
    removed: HashSet<String>,
    /// What a replay needs beside the letters.
    replay: Option<Replay>,
    purpose: Purpose,
    /// What others see of it, and who shows them.
    board: Board,
    serving: Option<Serving>,
}

/// Where the letters can be had.
pub enum Opened {
    /// In our hands.
    Here(Box<Rabbit>),
    /// In another tool's, which shows them.
    Beside(Box<Beside>),
    /// The deployment has no queue of dead letters yet.
    Nothing,
}

struct Replay {
    publisher: Publisher,
    rests: Rests,
}

impl Rabbit {
    /// Takes the lock. With `wait` until it is free, however long that is; without, a tool that only looks is waited for,
    /// and one that shows what it has is looked at.
    pub async fn open(values: &Values, wait: bool, purpose: Purpose) -> Result<Opened, Failure> {
        let settings = rabbitmq::Settings::read(values)?;
        Ok(match taking::take(&settings, wait, purpose).await? {
            Taken::Ours(dead, desk) => {
                Opened::Here(Box::new(Self::holding(*dead, *desk, settings, purpose)?))
            }
            Taken::Beside(beside) => Opened::Beside(beside),
            Taken::Missing => Opened::Nothing,
        })
    }

    fn holding(
        dead: DeadLetters,
        desk: Desk,
        settings: rabbitmq::Settings,
        purpose: Purpose,
    ) -> Result<Self, Failure> {
        let (board, spill) = (Board::new(purpose), Spill::new()?);
        let serving = Some(Serving::begin(settings.clone(), board.clone(), desk));
        let (dead, taken) = (Some(dead), Instant::now());
        let removed = HashSet::new();
        Ok(Self { dead, settings, spill, taken, removed, replay: None, purpose, board, serving })
    }

    fn dead(&mut self) -> Result<&mut DeadLetters, Failure> {
        self.dead.as_mut().ok_or_else(|| Failure::Failed("the letters were given back".to_owned()))
    }

    /// Reads all; keeps the bytes of those that `keep` wants. Who changes something shows others what he has, so the rest
    /// is kept too while there is room.
    pub async fn read(&mut self, keep: impl Fn(&Entry) -> bool) -> Result<Vec<Arc<Entry>>, Failure> {
        let (mut entries, mut trouble) = (HashMap::<String, Arc<Entry>>::new(), None);
        let shows = self.purpose != Purpose::Look;
        let Self { dead, spill, .. } = self;
        let Some(dead) = dead else { return Ok(Vec::new()) };
        let reading = dead.read(|place, id, letter| {
            let place = Place::RabbitMq(place);
            if let Some(entry) = entries.get_mut(&id) {
                // Nobody else has it yet.
                Arc::get_mut(entry).into_iter().for_each(|entry| entry.places.push(place));
                return;
            }
            let mut entry = Entry::new(id.clone(), letter.clone(), place);
            if keep(&entry) {
                match spill.keep(&letter) {
                    Ok(kept) => entry.kept = Some(kept),
                    Err(failure) => trouble = Some(failure),
                }
            } else if shows {
                entry.kept = spill.keep_spare(&letter);
            }
            entries.insert(id, Arc::new(entry));
        });
        reading.await.map_err(failed)?;
        self.spill.flush()?;
        if let Some(failure) = trouble {
            return Err(failure);
        }
        let entries: Vec<Arc<Entry>> = entries.into_values().collect();
        if shows {
            self.board.show(entries.clone(), self.spill.reader()?);
        }
        Ok(entries)
    }

    pub fn letter(&self, entry: &Entry) -> Result<Letter, Failure> {
        self.spill.letter(entry)
    }

    /// Whether they were in hand for so long that the broker may soon take them away.
    pub fn is_old(&self) -> bool {
        self.taken.elapsed() >= ROUND
    }

    /// Gives back what is left, and takes it anew.
    pub async fn read_again(&mut self, keep: impl Fn(&Entry) -> bool) -> Result<Vec<Arc<Entry>>, Failure> {
        self.board.hide();
        self.put_back().await?;
        self.spill.clear()?;
        self.taken = Instant::now();
        self.read(keep).await
    }

    /// Finds out whether a replay can be done: the partitions agree, the store answers, the broker takes something.
    pub async fn prepare_replay(&mut self, values: &Values) -> Result<(), Failure> {
        self.dead()?.check_partitions().await.map_err(failed)?;
        let rests = Rests::open(values, &self.settings).await?;
        self.replay = Some(Replay { publisher: self.publisher(Readiness::default()).await?, rests });
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
    pub async fn replay(
        &mut self,
        batch: &[Arc<Entry>],
        by: &str,
    ) -> Result<(usize, Option<String>), Failure> {
        let Some(mut replay) = self.replay.take() else {
            return Err(Failure::Failed("the replay was not prepared".to_owned()));
        };
        let replayed = self.replay_with(&mut replay, batch, by).await;
        self.replay = Some(replay);
        replayed
    }

    async fn replay_with(
        &mut self,
        Replay { publisher, rests }: &mut Replay,
        batch: &[Arc<Entry>],
        by: &str,
    ) -> Result<(usize, Option<String>), Failure> {
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
            if let Err(error) = rests.keep(&letter, &envelope).await {
                stopped = Some(error);
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
        flying: &mut VecDeque<(&Arc<Entry>, Publishing)>,
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
                Place::Embedded(_) | Place::Elsewhere => None,
            })
            .collect();
        self.dead()?.remove(&places).await.map_err(failed)?;
        self.removed.insert(entry.id.clone());
        entry.goes();
        Ok(())
    }

    /// Buries letters that were exported.
    pub async fn importer(&self) -> Result<Publisher, Failure> {
        self.publisher(Readiness::default()).await
    }

    /// What the broker gives back although it was removed is removed again.
    async fn put_back(&mut self) -> Result<(), Failure> {
        let Self { dead: Some(dead), removed, .. } = self else { return Ok(()) };
        for _ in 0..TRIES {
            if dead.put_back().await.map_err(failed)? == 0 || removed.is_empty() {
                return Ok(());
            }
            let mut again = Vec::new();
            let look = |place, id: String, _| again.extend(removed.contains(&id).then_some(place));
            dead.read(look).await.map_err(failed)?;
            if again.is_empty() {
                break;
            }
            dead.remove(&again).await.map_err(failed)?;
        }
        dead.put_back().await.map(drop).map_err(failed)
    }

    /// Gives all back that was not removed. The bytes that were kept can still be read.
    pub async fn give_back(&mut self) -> Result<(), Failure> {
        self.board.hide();
        let returned = self.put_back().await;
        let Some(dead) = self.dead.take() else { return returned };
        let closed = dead.close().await.map_err(failed);
        // Behind the lock: who asks meanwhile is told that it won't be long.
        if let Some(serving) = self.serving.take() {
            serving.end().await;
        }
        returned.and(closed)
    }
}
