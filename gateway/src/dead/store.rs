//! The store that a replay over RabbitMQ leaves the rest of a letter in, for the worker to find: Redis, or the file of a
//! `tgw run` that has no Redis. That file is its process's, so it is asked; where none runs the file is opened here.

use std::path::Path;
use std::time::Duration;

use shared::data_dir;
use shared::one_file;
use shared::program::Failure;
use shared::queue::rabbitmq::{self, Look};
use shared::queue::{Envelope, Letter};
use shared::readiness::Readiness;
use shared::settings::{Problems, Values};
use shared::snapshot::Snapshot;
use shared::store::{self, Store, redis};
use tokio::time::Instant;

use super::carried::Carried;
use super::keeper::{ask_store, keep_rest};
use super::socket::{Client, Request, Unasked};
use crate::deployment::Deployment;
use crate::output::note;

/// Workers answer in a few milliseconds.
const LISTEN: Duration = Duration::from_millis(500);

pub enum Rests {
    Here(Store),
    There(Client),
}

impl Rests {
    /// Fails where the store does not answer.
    pub async fn open(values: &Values, settings: &rabbitmq::Settings) -> Result<Self, Failure> {
        let mut rests = Self::choose(values, settings).await?;
        let asked = match &mut rests {
            Self::Here(store) => ask_store(store).await,
            Self::There(client) => client.ask(&Request::CanReplay).await.map(drop),
        };
        asked.map_err(Failure::Failed)?;
        Ok(rests)
    }

    async fn choose(values: &Values, settings: &rabbitmq::Settings) -> Result<Self, Failure> {
        if Deployment::of(values).redis {
            return in_redis(values);
        }
        let folder = Path::new(values.text("DATA_DIR").unwrap_or_default());
        match Client::connect(folder).await {
            Ok(client) => return Ok(Self::There(client)),
            Err(Unasked::Failed(words)) => return Err(Failure::Failed(words)),
            Err(Unasked::Held) => {
                return Err(Failure::Failed("another tool has the gateway's store in hand".to_owned()));
            }
            Err(Unasked::NotRunning) => {}
        }
        // A file may have been left by a gateway that had no Redis yet; workers know where they keep theirs.
        if workers_say_redis(settings).await {
            return in_redis(values);
        }
        note(&format!("no REDIS_... is set: the store is {}", folder.join(one_file::FILE.name).display()));
        let database = data_dir::open(values, one_file::FILE)?;
        Ok(Self::Here(Store::Embedded(store::embedded::Store::open(&database))))
    }

    /// What is still to send, before the update comes: else a service would be asked again.
    pub async fn keep(&mut self, letter: &Letter, again: &Envelope) -> Result<(), String> {
        if letter.rest.is_none() {
            return Ok(());
        }
        match self {
            Self::Here(store) => keep_rest(store, letter, again).await.map_err(|error| error.to_string()),
            Self::There(client) => {
                client.ask(&Request::KeepRest(Box::new(Carried::of(letter.clone())))).await.map(drop)
            }
        }
    }
}

fn in_redis(values: &Values) -> Result<Rests, Failure> {
    let settings = redis::Settings::read(values).map_err(Problems::from)?;
    let store = redis::Store::open(settings, Readiness::default());
    let store = store.map_err(|error| Failure::Refused(format!("Redis can't be used: {error}")))?;
    Ok(Rests::Here(Store::Redis(store)))
}

/// Whether any worker of the deployment answers that its store is another than a file.
async fn workers_say_redis(settings: &rabbitmq::Settings) -> bool {
    let Ok(look) = Look::connect(settings, "tgw dead store").await else { return false };
    let Ok(mut census) = look.census().await else { return false };
    let told = look.ask(&mut census, Instant::now() + LISTEN, |told| told.iter().any(is_redis)).await;
    look.close().await;
    told.is_ok_and(|told| told.iter().any(is_redis))
}

fn is_redis(process: &Snapshot) -> bool {
    let state = process.readiness["dependencies"]["store"]["state"].as_str();
    state.is_some_and(|state| state != "embedded")
}
