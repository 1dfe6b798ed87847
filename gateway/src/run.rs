//! `tgw run`: ingress and worker in one process, on one port.

use std::path::Path;
use std::time::Duration;

use shared::admin;
use shared::data_dir;
use shared::one_file::{self, Database};
use shared::program::{Failure, Stopped};
use shared::proof::Accepted;
use shared::queue::{Consumer, Publisher, embedded, rabbitmq};
use shared::readiness::Readiness;
use shared::settings::{Problems, Values};
use shared::spool::Tended;
use shared::store::{self, Store};
use shared::traces::{self, Traces};
use shared::window::{Shown, Window};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::dead::{Keeper, Queue, Socket};

/// How often `/ready` is brought up to date, and a disk that failed tried again.
const LOOK: Duration = Duration::from_millis(200);
const PROBE: Duration = Duration::from_secs(1);

/// How long the end waits for what is being written.
const GOODBYE: Duration = Duration::from_secs(1);

/// What the spans of the whole gateway in one process are called.
pub const SERVICE_NAME: &str = "tgw";

pub async fn run(
    values: Values,
    (settings, traces): (Settings, traces::Settings),
    stop: CancellationToken,
) -> Result<Stopped, Failure> {
    let gateway = Gateway::build(&values, settings).await?;
    // Nothing has been taken yet.
    let traces = Traces::start(traces)?;
    let ended = gateway.run(stop).await;
    traces.end(&ended).await;
    ended
}

/// What the halves and their backends need to know.
pub struct Settings {
    ingress: ingress::Settings,
    worker: worker::Settings,
    outside: Outside,
}

/// Reads all, and those of traces.
pub fn read(values: &Values) -> Result<(Settings, traces::Settings), Problems> {
    let mut problems = Problems::default();
    let ingress = problems.take_all(ingress::Settings::read(values));
    let worker = problems.take_all(worker::Settings::read(values));
    let outside = problems.take_all(Outside::read(values));
    let traces = problems.take_all(traces::Settings::read(values, SERVICE_NAME));
    match (ingress, worker, outside, traces) {
        (Some(ingress), Some(worker), Some(outside), Some(traces)) => {
            Ok((Settings { ingress, worker, outside }, traces))
        }
        _ => Err(problems),
    }
}

/// A gateway that is set up and not yet running.
pub struct Gateway {
    ingress: ingress::Application,
    worker: worker::Application,
    database: Option<Database>,
    /// For the operators' commands, where the queue or the store is this process's own.
    letters: Option<(Socket, Keeper)>,
    _window: Option<Window>,
}

impl Gateway {
    pub async fn build(values: &Values, settings: Settings) -> Result<Self, Failure> {
        let Settings { ingress, worker, outside } = settings;
        let listener = admin::bind(ingress.listen)?;
        let readiness = Readiness::default();
        let backends = Backends::open(values, outside, &ingress, &readiness).await?;
        let letters = backends.keeper(values);
        let window = backends.window(values, &readiness, ingress.secrets.accepted());
        let Backends { publisher, consumer, letters: burying, workers, store, partitions, database, spool } =
            backends;
        let parts = worker::Parts {
            consumer,
            letters: burying,
            workers,
            store,
            partitions,
            readiness: readiness.clone(),
        };
        let messages = worker::messages(&worker, &parts);
        let worker = worker::Application::build(worker, parts).await?;
        let ingress = ingress::Application::build(ingress, listener, publisher, spool, readiness, messages)?;
        Ok(Self { ingress, worker, database, letters, _window: window })
    }

    /// Where it listens.
    pub fn address(&self) -> std::net::SocketAddr {
        self.ingress.address()
    }

    /// Serves and works until `stop`. What comes in while the ingress lingers is handled at the next
    /// start, since the worker takes nothing more: it is durable.
    pub async fn run(self, stop: CancellationToken) -> Result<Stopped, Failure> {
        // Either half's end is the end of both.
        let both = stop.child_token();
        let half = async |stopped: Result<Stopped, Failure>| {
            both.cancel();
            stopped
        };
        let letters = async {
            if let Some((socket, keeper)) = self.letters {
                socket.serve(keeper, both.clone()).await;
            }
        };
        let (ingress, worker, ()) = tokio::join!(
            async { half(self.ingress.run(both.clone()).await).await },
            async { half(self.worker.run(both.clone()).await).await },
            letters
        );
        // A disk that hangs must not keep the process: what is in its file is as safe there.
        if let Some(database) = self.database
            && timeout(GOODBYE, database.close()).await.is_err()
        {
            tracing::warn!("the disk hangs; the file was not closed");
        }
        match (ingress?, worker?) {
            (Stopped::Clean, Stopped::Clean) => Ok(Stopped::Clean),
            _ => Ok(Stopped::TimeRanOut),
        }
    }
}

/// The queue and the store that the settings ask for outside this process, checked; nothing is opened here.
struct Outside {
    broker: Option<rabbitmq::Settings>,
    redis: Option<store::redis::Settings>,
    /// Of the embedded queue too.
    partitions: u16,
}

impl Outside {
    fn read(values: &Values) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let broker = values.is_given("AMQP_URL").then(|| rabbitmq::Settings::read(values));
        let redis = ["REDIS_URL", "REDIS_HOST", "REDIS_PORT"].iter().any(|name| values.is_given(name));
        let redis = redis.then(|| store::redis::Settings::read(values));
        let broker = problems.take_all(broker.transpose());
        let redis = problems.take(redis.transpose());
        match (broker, redis, problems.take(rabbitmq::read_partitions(values))) {
            (Some(broker), Some(redis), Some(partitions)) => Ok(Self { broker, redis, partitions }),
            _ => Err(problems),
        }
    }
}

/// The queue and the store that the settings ask for.
struct Backends {
    publisher: Publisher,
    consumer: Consumer,
    letters: Publisher,
    workers: Option<rabbitmq::Fanout>,
    store: Store,
    partitions: u16,
    /// The embedded file, where either is on it.
    database: Option<Database>,
    /// What RabbitMQ can't take; the embedded queue's own file is as safe as a spool's.
    spool: Option<Tended>,
}

impl Backends {
    /// What is in this process's file, and the socket by which it can be asked for.
    fn keeper(&self, values: &Values) -> Option<(Socket, Keeper)> {
        self.database.as_ref()?;
        let queue = match (&self.consumer, &self.publisher) {
            (Consumer::Embedded(consumer), Publisher::Embedded(publisher)) => {
                Some(Queue { letters: consumer.letters(), publisher: publisher.clone() })
            }
            _ => None,
        };
        let folder = values.text("DATA_DIR").unwrap_or_default();
        let socket = match Socket::bind(Path::new(folder)) {
            Ok(socket) => socket,
            Err(error) => {
                // A path of more than 107 bytes, or a disk that takes no sockets: the bot works without.
                tracing::warn!(error = %error, "no socket for the operators' commands");
                return None;
            }
        };
        Some((socket, Keeper { queue, store: self.store.clone() }))
    }

    /// Where this process has a folder of its own.
    fn window(&self, values: &Values, readiness: &Readiness, accepted: Accepted) -> Option<Window> {
        let folder = values.text("DATA_DIR").unwrap_or_default();
        let queue = match &self.consumer {
            Consumer::Embedded(queue) => Some(queue.clone()),
            Consumer::RabbitMq(_) => None,
        };
        let spool = self.spool.as_ref().map(Tended::spool);
        let shown = Shown { spool, queue, readiness: readiness.clone(), accepted };
        (self.database.is_some() || shown.spool.is_some()).then(|| Window::open(Path::new(folder), shown))?
    }

    async fn open(
        values: &Values,
        outside: Outside,
        ingress: &ingress::Settings,
        readiness: &Readiness,
    ) -> Result<Self, Failure> {
        let Outside { broker, redis, partitions } = outside;
        let database = match (&broker, &redis) {
            (Some(_), Some(_)) => None,
            _ => Some(data_dir::open(values, one_file::FILE)?),
        };
        let (publisher, consumer, letters, workers, spool) = match (broker, &database) {
            (Some(broker), _) => {
                let consumer = rabbitmq::consumer(broker.clone(), readiness.clone(), "broker");
                // Its own connection, as in a worker: what an ingress publishes does not hold up the words of workers.
                let (letters, workers) =
                    rabbitmq::workers_publisher(broker.clone(), readiness.clone(), "broker_letters");
                let (publisher, spool) =
                    ingress::publisher_with_spool(values, ingress, broker, readiness, "broker_publishing")
                        .await?;
                let letters = Publisher::RabbitMq(letters);
                (publisher, Consumer::RabbitMq(consumer), letters, Some(workers), Some(spool))
            }
            (None, Some(database)) => {
                let (publisher, consumer) = embedded_queue(database, partitions, readiness).await?;
                (publisher.clone(), consumer, publisher, None, None)
            }
            (None, None) => return Err(Failure::Failed("no queue".to_owned())),
        };
        let store = match (redis, &database) {
            (Some(redis), _) => {
                let store = store::redis::Store::open(redis, readiness.clone());
                Store::Redis(
                    store.map_err(|error| Failure::Refused(format!("Redis can't be used: {error}")))?,
                )
            }
            (None, Some(database)) => {
                readiness.set("store", "embedded", true);
                Store::Embedded(store::embedded::Store::open(database))
            }
            (None, None) => return Err(Failure::Failed("no store".to_owned())),
        };
        Ok(Self { publisher, consumer, letters, workers, store, partitions, database, spool })
    }
}

async fn embedded_queue(
    database: &Database,
    partitions: u16,
    readiness: &Readiness,
) -> Result<(Publisher, Consumer), Failure> {
    let opened = embedded::open(database, partitions).await;
    let (publisher, consumer) = opened.map_err(|error| Failure::Refused(error.to_string()))?;
    readiness.set("queue", "embedded", true);
    tokio::spawn(tell(database.clone(), readiness.clone()));
    Ok((Publisher::Embedded(publisher), Consumer::Embedded(consumer)))
}

/// Says whether the embedded queue can take an update. A disk that failed is tried again, since nobody else may: a gateway
/// that is not ready gets no requests.
async fn tell(database: Database, readiness: Readiness) {
    let mut probed = Instant::now();
    loop {
        let failing = database.is_failing();
        readiness.set("queue", if failing { "failing" } else { "embedded" }, !failing);
        if failing && probed.elapsed() >= PROBE {
            probed = Instant::now();
            // How it went is seen at the next look.
            let _ = database.probe().await;
        }
        sleep(LOOK).await;
    }
}
