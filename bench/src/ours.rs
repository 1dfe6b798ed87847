//! The gateway as it is measured: the programs that people run, with their default settings but for the limits that a
//! load of benchmarks would run into (a chat's pace, a user's limit), so that every update is answered. And bare ones.

use harness::{Process, ProcessBuilder};

use crate::broker::Queues;
use crate::goals::{BARE, BARE_INGRESS, BARE_WORKER, OURS, RECORDING, RECORDING_WORKER};
use crate::load::Target;
use crate::machine::{listening, start};
use crate::rows::World;
use crate::sink::{TOKEN, WRONG_TOKEN};
use crate::updates::SECRET;

/// How a bare worker works.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bare {
    /// So many updates are on their way at once, at most.
    pub at_once: usize,
    /// Before a message is sent it is kept, and then that it was: a call to Redis each.
    pub keeps_records: bool,
}

impl Bare {
    /// With all that its partitions hand out on the way.
    pub const PLAIN: Self = Self { at_once: 1_000_000, keeps_records: false };
    pub const RECORDING: Self = Self { keeps_records: true, ..Self::PLAIN };

    /// The rows' names of the worker, and of it together with an ingress.
    pub const fn names(self) -> (&'static str, &'static str) {
        if self.keeps_records { (RECORDING_WORKER, RECORDING) } else { (BARE_WORKER, BARE) }
    }
}

/// An ingress and a worker over RabbitMQ and Redis.
pub struct Parts {
    who: &'static str,
    pub queues: Queues,
    pub ingress: Process,
    pub worker: Option<Process>,
}

/// What all have.
fn common(builder: ProcessBuilder, world: &World, token: &str) -> ProcessBuilder {
    builder
        .env("TELEGRAM_WEBHOOK_SECRET", SECRET)
        .env("TELEGRAM_BOT_TOKEN", token)
        .env("TELEGRAM_API_URL", world.sink.telegram())
        .env("CONVERSATION_SERVICE_URL", world.sink.service())
        .env("MATCHING_SERVICE_URL", world.sink.service())
        .env("NOTIFICATION_SERVICE_URL", world.sink.service())
        .env("USER_PROFILE_SERVICE_URL", world.sink.service())
        .env("RATE_LIMIT_REQUESTS", 10_000)
        .env("CHAT_RATE", 1_000_000)
        .env("CHAT_BURST", 1_000_000)
}

fn over_rabbit(builder: ProcessBuilder, world: &World, prefix: &str, partitions: u16) -> ProcessBuilder {
    common(builder, world, TOKEN)
        .env("AMQP_URL", world.rabbit.url())
        .env("AMQP_PREFIX", prefix)
        .env("PARTITIONS", partitions)
        .env("REDIS_URL", world.redis.url())
}

/// Its deadline is as long as the tests': a broker that others keep busy may need more than half a second for once, and
/// what is measured here is no spool.
pub fn ingress(world: &World, prefix: &str, partitions: u16) -> ProcessBuilder {
    over_rabbit(Process::of("tgw-ingress"), world, prefix, partitions).env("ACCEPT_DEADLINE", 5)
}

pub fn worker(world: &World, prefix: &str, partitions: u16) -> ProcessBuilder {
    over_rabbit(Process::of("tgw-worker"), world, prefix, partitions)
}

/// A bare ingress that publishes to the same queues.
pub fn bare_ingress(world: &World, prefix: &str, partitions: u16) -> ProcessBuilder {
    own_program("bare-ingress")
        .env("AMQP_URL", world.rabbit.url())
        .env("AMQP_PREFIX", prefix)
        .env("PARTITIONS", partitions)
}

/// A bare worker on the same queues.
fn bare_worker(world: &World, prefix: &str, partitions: u16, bare: Bare) -> ProcessBuilder {
    own_program("bare-worker")
        .env("AT_ONCE", bare.at_once)
        .env("RECORDS", bare.keeps_records)
        .env("AMQP_URL", world.rabbit.url())
        .env("AMQP_PREFIX", prefix)
        .env("PARTITIONS", partitions)
        .env("REDIS_URL", world.redis.url())
        .env("SERVICE_URL", world.sink.service())
        .env("SEND_URL", format!("{}/bot{TOKEN}/sendMessage", world.sink.telegram()))
}

/// Another of this program's commands.
pub fn own_program(command: &str) -> ProcessBuilder {
    let own = std::env::current_exe().expect("it runs");
    Process::of(own.to_str().expect("a path of letters")).arg(command)
}

/// `tgw run` on its embedded queue and store.
pub fn embedded(world: &World) -> ProcessBuilder {
    common(Process::of("tgw").arg("run"), world, TOKEN)
}

/// The same, whose bot Telegram does not know: its worker takes nothing, so that the queue is measured alone.
pub fn embedded_queue_alone(world: &World) -> ProcessBuilder {
    common(Process::of("tgw").arg("run"), world, WRONG_TOKEN)
}

impl Parts {
    pub async fn ingress_alone(world: &World, prefix: &str, partitions: u16) -> Self {
        let (ingress, _) = start(ingress(world, prefix, partitions)).await;
        let queues = Queues::new(world.rabbit.url(), prefix, partitions);
        Self { who: OURS, queues, ingress, worker: None }
    }

    /// An ingress and a worker that do no more than they must.
    pub async fn bare(world: &World, prefix: &str, partitions: u16, bare: Bare) -> Self {
        // Ours declares the queues.
        let Self { queues, .. } = Self::ingress_alone(world, prefix, partitions).await;
        queues.purge().await;
        let (name, who) = bare.names();
        let ingress = listening(BARE_INGRESS, bare_ingress(world, prefix, partitions)).await;
        let worker = listening(name, bare_worker(world, prefix, partitions, bare)).await;
        Self { who, queues, ingress, worker: Some(worker) }
    }

    pub async fn both(world: &World, prefix: &str, partitions: u16) -> Self {
        let mut parts = Self::ingress_alone(world, prefix, partitions).await;
        parts.queues.purge().await;
        parts.start_worker(world, prefix).await;
        parts
    }

    pub async fn start_worker(&mut self, world: &World, prefix: &str) {
        let (worker, _) = start(worker(world, prefix, self.queues.partitions)).await;
        worker_holds(&worker, self.queues.partitions).await;
        self.worker = Some(worker);
    }

    /// It ends what it has begun, and what it has not goes back into the queue.
    pub async fn stop_worker(&mut self) {
        if let Some(mut worker) = self.worker.take() {
            worker.term();
            worker.wait_exit().await;
        }
    }

    pub fn target(&self) -> Target {
        Target::new(self.who, &self.ingress.address())
    }

    /// CPU seconds until now: ingress, worker.
    pub fn cpu(&self) -> (f64, f64) {
        (self.ingress.cpu_seconds(), self.worker.as_ref().map_or(0.0, Process::cpu_seconds))
    }
}

/// A worker that is ready takes its partitions one by one.
pub async fn worker_holds(worker: &Process, partitions: u16) {
    harness::wait_for("the worker has its partitions", harness::LONG, || async {
        let held = worker.metrics().await.sum("tgw_partitions_held", &[]);
        (held >= f64::from(partitions)).then_some(())
    })
    .await;
}

/// How many updates an ingress or a gateway took, into its queue.
pub async fn accepted(process: &Process) -> u64 {
    process.metrics().await.sum("tgw_ingress_requests_total", &[("outcome", "accepted")]) as u64
}
