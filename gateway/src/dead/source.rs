//! Where the dead letters lie: the one door to RabbitMQ's and to the embedded queue's.

use std::path::Path;

use shared::program::Failure;
use shared::queue::{Letter, Publisher};
use shared::settings::Values;

use super::embedded::Embedded;
use super::entry::Entry;
use super::rabbit::Rabbit;
use crate::output::note;

pub enum Source {
    RabbitMq(Box<Rabbit>),
    Embedded(Embedded),
    /// Nothing ever ran here, so nothing died.
    Nothing,
}

impl Source {
    /// RabbitMQ's if `AMQP_URL` is set; else the embedded queue's, if there is one in `DATA_DIR`.
    pub async fn open(values: &Values, wait: bool) -> Result<Self, Failure> {
        let folder = values.text("DATA_DIR").unwrap_or_default();
        if !values.is_given("AMQP_URL") && Embedded::is_in(Path::new(folder)) {
            return Embedded::open(values, Path::new(folder), wait).await.map(Self::Embedded);
        }
        match Rabbit::open(values, wait).await? {
            Some(rabbit) => Ok(Self::RabbitMq(Box::new(rabbit))),
            None => {
                note("there is no queue of dead letters: nothing has run with this AMQP_PREFIX yet");
                Ok(Self::Nothing)
            }
        }
    }

    /// The heads of all letters, and for those that `keep` wants the bytes too.
    pub async fn read(&mut self, keep: impl Fn(&Entry) -> bool) -> Result<Vec<Entry>, Failure> {
        match self {
            Self::RabbitMq(rabbit) => rabbit.read(keep).await,
            Self::Embedded(file) => file.read().await,
            Self::Nothing => Ok(Vec::new()),
        }
    }

    /// The letter with its bytes.
    pub async fn letter(&mut self, entry: &Entry) -> Result<Letter, Failure> {
        match self {
            Self::RabbitMq(rabbit) => rabbit.letter(entry),
            Self::Embedded(file) => file.letter(entry).await,
            Self::Nothing => Ok(entry.letter.clone()),
        }
    }

    pub fn is_old(&self) -> bool {
        matches!(self, Self::RabbitMq(rabbit) if rabbit.is_old())
    }

    pub async fn read_again(&mut self, keep: impl Fn(&Entry) -> bool) -> Result<Vec<Entry>, Failure> {
        match self {
            Self::RabbitMq(rabbit) => rabbit.read_again(keep).await,
            Self::Embedded(file) => file.read().await,
            Self::Nothing => Ok(Vec::new()),
        }
    }

    pub async fn prepare_replay(&mut self, values: &Values) -> Result<(), Failure> {
        match self {
            Self::RabbitMq(rabbit) => rabbit.prepare_replay(values).await,
            Self::Embedded(file) => file.prepare_replay().await,
            Self::Nothing => Ok(()),
        }
    }

    /// These, in this order, back into their queues: how many are, and what stopped the next one.
    pub async fn replay(&mut self, batch: &[Entry], by: &str) -> Result<(usize, Option<String>), Failure> {
        match self {
            Self::RabbitMq(rabbit) => rabbit.replay(batch, by).await,
            Self::Embedded(file) => file.replay(batch, by).await,
            Self::Nothing => Ok((0, None)),
        }
    }

    pub async fn remove(&mut self, entries: &[Entry]) -> Result<(), Failure> {
        match self {
            Self::RabbitMq(rabbit) => {
                for entry in entries {
                    rabbit.remove(entry).await?;
                }
                Ok(())
            }
            Self::Embedded(file) => file.remove(entries).await,
            Self::Nothing => Ok(()),
        }
    }

    /// What buries letters many at a time, where that can be done.
    pub async fn importer(&self) -> Result<Option<Publisher>, Failure> {
        match self {
            Self::RabbitMq(rabbit) => rabbit.importer().await.map(Some),
            Self::Embedded(_) => Ok(None),
            Self::Nothing => Err(Failure::Failed("there is no queue to bury them in".to_owned())),
        }
    }

    /// Buries one.
    pub async fn bury(&mut self, letter: Letter) -> Result<(), Failure> {
        match self {
            Self::Embedded(file) => file.bury(letter).await,
            Self::RabbitMq(_) | Self::Nothing => {
                Err(Failure::Failed("one by one is not the way here".to_owned()))
            }
        }
    }

    pub async fn close(self) -> Result<(), Failure> {
        match self {
            Self::RabbitMq(rabbit) => rabbit.close().await,
            Self::Embedded(file) => file.close().await,
            Self::Nothing => Ok(()),
        }
    }
}
