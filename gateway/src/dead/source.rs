//! Where the dead letters lie: the one door to RabbitMQ's and to the embedded queue's.

use std::path::Path;
use std::sync::Arc;

use shared::program::Failure;
use shared::queue::{Letter, Publisher};
use shared::settings::Values;

use super::beside::Beside;
use super::board::Purpose;
use super::embedded::Embedded;
use super::entry::Entry;
use super::rabbit::{Opened, Rabbit};
use crate::output::note;

/// What is said once, with `--wait`, where there is something to wait for.
pub(super) const WAITS: &str = "waits for another tool, which has the dead letters in hand";

pub enum Source {
    RabbitMq(Box<Rabbit>),
    /// RabbitMQ's, in another tool's hand.
    Beside(Box<Beside>),
    Embedded(Embedded),
    /// Nothing ever ran here, so nothing died.
    Nothing,
}

impl Source {
    /// RabbitMQ's if `AMQP_URL` is set; else the embedded queue's, if there is one in `DATA_DIR`.
    pub async fn open(values: &Values, wait: bool, purpose: Purpose) -> Result<Self, Failure> {
        let folder = Path::new(values.text("DATA_DIR").unwrap_or_default());
        if !values.is_given("AMQP_URL") && Embedded::is_in(folder) {
            return Embedded::open(values, folder, wait, purpose).await.map(Self::Embedded);
        }
        Ok(match Rabbit::open(values, wait, purpose).await? {
            Opened::Here(rabbit) => Self::RabbitMq(rabbit),
            Opened::Beside(beside) => Self::Beside(beside),
            Opened::Nothing => {
                note("there is no queue of dead letters: nothing has run with this AMQP_PREFIX yet");
                Self::Nothing
            }
        })
    }

    /// The heads of all letters, and for those that `keep` wants the bytes too. None where who was asked for them has
    /// ended meanwhile: to be opened again.
    pub async fn read(&mut self, keep: impl Fn(&Entry) -> bool) -> Result<Option<Vec<Arc<Entry>>>, Failure> {
        match self {
            Self::RabbitMq(rabbit) => rabbit.read(keep).await.map(Some),
            Self::Beside(beside) => beside.read(keep).await,
            Self::Embedded(file) => file.read().await,
            Self::Nothing => Ok(Some(Vec::new())),
        }
    }

    /// The letter with its bytes; none where it is gone meanwhile.
    pub async fn letter(&mut self, entry: &Entry) -> Result<Option<Letter>, Failure> {
        match self {
            Self::RabbitMq(rabbit) => rabbit.letter(entry).map(Some),
            Self::Beside(beside) => beside.letter(entry).map(Some),
            Self::Embedded(file) => file.letter(entry).await,
            Self::Nothing => Ok(Some(entry.letter.clone())),
        }
    }

    pub fn is_old(&self) -> bool {
        matches!(self, Self::RabbitMq(rabbit) if rabbit.is_old())
    }

    pub async fn read_again(&mut self, keep: impl Fn(&Entry) -> bool) -> Result<Vec<Arc<Entry>>, Failure> {
        match self {
            Self::RabbitMq(rabbit) => rabbit.read_again(keep).await,
            Self::Beside(_) => Err(looking()),
            Self::Embedded(file) => file.read().await.map(Option::unwrap_or_default),
            Self::Nothing => Ok(Vec::new()),
        }
    }

    pub async fn prepare_replay(&mut self, values: &Values) -> Result<(), Failure> {
        match self {
            Self::RabbitMq(rabbit) => rabbit.prepare_replay(values).await,
            Self::Beside(_) => Err(looking()),
            Self::Embedded(file) => file.prepare_replay().await,
            Self::Nothing => Ok(()),
        }
    }

    /// These, in this order, back into their queues: how many are, and what stopped the next one.
    pub async fn replay(
        &mut self,
        batch: &[Arc<Entry>],
        by: &str,
    ) -> Result<(usize, Option<String>), Failure> {
        match self {
            Self::RabbitMq(rabbit) => rabbit.replay(batch, by).await,
            Self::Beside(_) => Err(looking()),
            Self::Embedded(file) => file.replay(batch, by).await,
            Self::Nothing => Ok((0, None)),
        }
    }

    pub async fn remove(&mut self, entries: &[Arc<Entry>]) -> Result<(), Failure> {
        match self {
            Self::RabbitMq(rabbit) => {
                for entry in entries {
                    rabbit.remove(entry).await?;
                }
                Ok(())
            }
            Self::Beside(_) => Err(looking()),
            Self::Embedded(file) => file.remove(entries).await,
            Self::Nothing => Ok(()),
        }
    }

    /// What buries letters many at a time, where that can be done.
    pub async fn importer(&self) -> Result<Option<Publisher>, Failure> {
        match self {
            Self::RabbitMq(rabbit) => rabbit.importer().await.map(Some),
            Self::Embedded(_) => Ok(None),
            Self::Beside(_) => Err(looking()),
            Self::Nothing => Err(Failure::Failed("there is no queue to bury them in".to_owned())),
        }
    }

    /// Buries one.
    pub async fn bury(&mut self, letter: Letter) -> Result<(), Failure> {
        match self {
            Self::Embedded(file) => file.bury(letter).await,
            Self::RabbitMq(_) | Self::Beside(_) | Self::Nothing => {
                Err(Failure::Failed("one by one is not the way here".to_owned()))
            }
        }
    }

    /// Gives all back that was not removed, and lets others have it. The bytes that were kept can still be read.
    pub async fn give_back(&mut self) -> Result<(), Failure> {
        match self {
            Self::RabbitMq(rabbit) => rabbit.give_back().await,
            Self::Embedded(file) => file.give_back().await,
            Self::Beside(_) | Self::Nothing => Ok(()),
        }
    }
}

fn looking() -> Failure {
    Failure::Failed("the letters are only looked at".to_owned())
}
