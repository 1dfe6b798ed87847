//! RabbitMQ: the only room that knows lapin.
//!
//! Two connections, one that publishes and one that consumes, since under an alarm acks on a publishing
//! connection hang (facts R12). Each is kept by a supervisor of ours that builds everything anew after any
//! loss, for ever; lapin's own recovery gives up and lets confirms hang (facts L3).

mod acks;
mod catch_up;
mod census;
mod connection;
mod consumer;
mod consuming;
mod dead;
mod depth;
mod desk;
mod fanout;
mod forwarder;
mod lease;
mod look;
mod owner;
mod publisher;
mod pulse;
mod scout;
mod stat;
mod supervisor;
mod topology;
pub(crate) mod wire;

use std::sync::Arc;

pub use census::Census;
pub use consumer::Consumer;
pub use dead::{DeadError, DeadLetters, Place};
pub use desk::{Desk, NoAnswer, Question, Visitor};
pub use fanout::{Fanout, Generation, Heard, Hearing};
pub use forwarder::{Hold, Receipt};
pub use look::{Depths, Look, Made, Seen};
pub use publisher::{Publisher, Publishing};
pub use pulse::Pulse;

use crate::proof::Accepted;
use crate::readiness::Readiness;
use crate::settings::{Problems, SettingError, Values, whole};

/// Where the broker is and what its queues are called.
#[derive(Clone)]
pub struct Settings {
    uri: lapin::uri::AMQPUri,
    pub prefix: String,
    /// 1 to 1024.
    pub partitions: u16,
}

/// A heartbeat bounds how long a frozen worker keeps its partitions: 5 s at 2 s (facts R2).
const HEARTBEAT_SECONDS: u16 = 2;

/// In bytes. lapin keeps two buffers of 32 frames for each connection, so the broker's 128 KiB would cost 8 MiB;
/// an update is one frame or two.
const FRAME: u32 = 32 * 1024;

impl Settings {
    pub fn new(url: &str, prefix: &str, partitions: u16) -> Option<Self> {
        Some(Self { uri: uri(url)?, prefix: prefix.to_owned(), partitions })
    }

    /// Where the broker is, without who asks.
    pub fn place(&self) -> String {
        format!("{}:{}", self.uri.authority.host, self.uri.authority.port)
    }

    pub fn read(values: &Values) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let partitions = problems.take(read_partitions(values));
        let prefix = problems.take(values.parse("AMQP_PREFIX", "1 to 64 of A-Za-z0-9._-", |text| {
            let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
            (plain && (1..=64).contains(&text.len())).then(|| text.to_owned())
        }));
        let expected = "an AMQP address, such as amqp://user:password@host:5672/%2f";
        let uri = problems.take(values.parse("AMQP_URL", expected, uri));
        match (uri, prefix, partitions) {
            (Some(uri), Some(prefix), Some(partitions)) => Ok(Self { uri, prefix, partitions }),
            _ => Err(problems),
        }
    }
}

fn uri(url: &str) -> Option<lapin::uri::AMQPUri> {
    let mut uri: lapin::uri::AMQPUri = url.parse().ok()?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    uri.query.frame_max.get_or_insert(FRAME);
    Some(uri)
}

/// `PARTITIONS`: each is a quorum queue, and takes two of the 2047 channels that a connection has.
pub fn read_partitions(values: &Values) -> Result<u16, SettingError> {
    whole(values, "PARTITIONS", 1..=1000).map(|number| number as u16)
}

/// What a link to the broker is at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// Not connected; the supervisor is at it.
    Away,
    Up,
    /// Connected, and the broker takes nothing: a memory or disk alarm.
    Blocked,
    /// The broker's queues were made with another number of partitions.
    Disagrees(Arc<str>),
}

/// Whether a process can do its work while a link is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Must,
    /// It has a spool.
    May,
}

/// Begins to publish; the supervisor ends when the last clone is dropped. `role` is the connection's name
/// on the broker, in `/ready` and in the metrics.
pub fn publisher(settings: Settings, readiness: Readiness, role: &'static str) -> Publisher {
    publisher::start(settings, publisher::Role { name: role, readiness, need: Need::Must }, None)
}

/// The same for an ingress with a spool: ready without the broker, and in touch with the other ingresses. It takes the
/// `accepted` secrets.
pub fn spooled_publisher(
    settings: Settings,
    readiness: Readiness,
    accepted: Accepted,
    role: &'static str,
) -> (Publisher, Fanout) {
    let (fanout, relay) = fanout::pair(settings.spools_exchange(), readiness.clone(), accepted);
    let role = publisher::Role { name: role, readiness, need: Need::May };
    (publisher::start(settings, role, Some(relay)), fanout)
}

/// The same for a worker: it publishes dead letters, and is in touch with the other workers.
pub fn workers_publisher(
    settings: Settings,
    readiness: Readiness,
    role: &'static str,
) -> (Publisher, Fanout) {
    let (fanout, relay) = fanout::pair(settings.workers_exchange(), readiness.clone(), Accepted::default());
    let role = publisher::Role { name: role, readiness, need: Need::Must };
    (publisher::start(settings, role, Some(relay)), fanout)
}

/// Begins to consume; the supervisor ends when the last clone is dropped.
pub fn consumer(settings: Settings, readiness: Readiness, role: &'static str) -> Consumer {
    consumer::start(settings, readiness, role)
}
