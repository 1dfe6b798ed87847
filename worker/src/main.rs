//! `tgw-worker`: handles updates, over RabbitMQ and Redis.

use std::process::ExitCode;

use shared::admin;
use shared::program::{self, Failure, Stopped};
use shared::queue::{Consumer, Publisher, rabbitmq};
use shared::readiness::Readiness;
use shared::settings::{Problems, Values};
use shared::store::{Store, redis};
use shared::traces::{self, Traces};
use tokio_util::sync::CancellationToken;
use worker::{Parts, Settings};

/// What it is for, and what was measured: ARCHITECTURE.md, Choices.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match program::arguments(worker::command()) {
        Ok(flags) => program::run(&flags, read, run),
        Err(code) => code,
    }
}

type Read = (Settings, rabbitmq::Settings, redis::Settings, traces::Settings);

fn read(values: &Values) -> Result<Read, Problems> {
    let mut problems = Problems::default();
    let settings = problems.take_all(Settings::read(values));
    let broker = problems.take_all(rabbitmq::Settings::read(values));
    let redis = problems.take(redis::Settings::read(values));
    let traces = problems.take_all(traces::Settings::read(values, "tgw-worker"));
    match (settings, broker, redis, traces) {
        (Some(settings), Some(broker), Some(redis), Some(traces)) => Ok((settings, broker, redis, traces)),
        _ => Err(problems),
    }
}

async fn run(
    _: Values,
    (settings, broker, redis, traces): Read,
    stop: CancellationToken,
) -> Result<Stopped, Failure> {
    let listener = admin::bind(settings.listen)?;
    let traces = Traces::start(traces)?;
    let readiness = Readiness::default();
    let store = redis::Store::open(redis, readiness.clone());
    let store = store.map_err(|error| Failure::Refused(format!("REDIS_URL can't be used: {error}")))?;
    let partitions = broker.partitions;
    let consumer = rabbitmq::consumer(broker.clone(), readiness.clone(), "broker");
    let (letters, workers) = rabbitmq::workers_publisher(broker, readiness.clone(), "broker_publishing");
    let parts = Parts {
        consumer: Consumer::RabbitMq(consumer),
        letters: Publisher::RabbitMq(letters),
        workers: Some(workers),
        store: Store::Redis(store),
        partitions,
        readiness,
    };
    let ended = worker::run_with_admin(settings, listener, parts, stop).await;
    traces.end(&ended).await;
    ended
}
