//! The rooms, each opened for one test alone, and what every test needs of them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use shared::one_file::{Database, FILE};
use shared::queue::{Claim, ClaimError, Consumer, Delivery, Envelope, Publisher, embedded, rabbitmq};
use shared::readiness::Readiness;
use shared::settings::Values;
use shared::store::{Store, redis};
use tempfile::TempDir;

pub const PARTITIONS: u16 = 4;

/// Longer than anything takes that is to happen at all.
pub const LONG: Duration = Duration::from_secs(20);

/// Makes two tests of each `async fn name(room)`: one with the embedded room, one with the other.
#[macro_export]
macro_rules! over_both {
    ($room:ident, $other:ident: $($name:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() { super::$name(super::$room::embedded().await).await })+
        }
        mod $other {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                if let Some(room) = super::$room::$other().await { super::$name(room).await }
            })+
        }
    };
}

/// And a third of each, with the store on a Redis Cluster.
#[macro_export]
macro_rules! over_stores {
    ($($name:ident),+ $(,)?) => {
        $crate::over_both!(Stored, redis: $($name),+);
        mod cluster {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                if let Some(stored) = super::Stored::cluster().await { super::$name(stored).await }
            })+
        }
    };
}

/// An address that `tests/run` gives, or a line that says what is skipped without it.
fn address(name: &str) -> Option<String> {
    let address = std::env::var(name).ok();
    if address.is_none() {
        eprintln!("skipped: {name} is not set; tests/run sets it");
    }
    address
}

/// A queue that nobody else uses.
pub struct Queue {
    pub publisher: Publisher,
    pub consumer: Consumer,
    pub place: Place,
}

pub enum Place {
    Embedded { letters: embedded::Letters, _folder: TempDir },
    RabbitMq { settings: rabbitmq::Settings, url: String },
}

impl Queue {
    pub async fn embedded() -> Self {
        let folder = TempDir::new().unwrap();
        let database = Database::open(folder.path(), FILE).unwrap();
        let (publisher, consumer) = embedded::open(&database, PARTITIONS).await.unwrap();
        let place = Place::Embedded { letters: consumer.letters(), _folder: folder };
        Self { publisher: Publisher::Embedded(publisher), consumer: Consumer::Embedded(consumer), place }
    }

    pub async fn rabbitmq() -> Option<Self> {
        let url = address("TGW_TEST_AMQP_URL")?;
        let prefix = format!("doors-{}", uuid::Uuid::new_v4());
        let settings = rabbitmq::Settings::new(&url, &prefix, PARTITIONS).unwrap();
        let publisher = rabbitmq::publisher(settings.clone(), Readiness::default(), "publisher");
        let queue = Self {
            publisher: Publisher::RabbitMq(publisher),
            consumer: connect(&settings),
            place: Place::RabbitMq { settings, url },
        };
        let warm = envelope(0, 0);
        let deadline = Instant::now() + LONG;
        while queue.publisher.publish(&warm).await.is_err() {
            assert!(Instant::now() < deadline, "the broker takes nothing");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut claim = queue.claim(warm.partition(PARTITIONS), 1).await;
        next(&mut claim).await.receipt.ack().await.unwrap();
        claim.release().await;
        // A claim looks at the queue, by which the first update loses its place among those that are handed out. It
        // does not after a claim of one.
        for partition in 0..PARTITIONS {
            queue.claim(partition, 1).await.release().await;
        }
        Some(queue)
    }

    /// The consumer as another worker has it: on a connection of its own, where there are any.
    pub fn another_consumer(&self) -> Consumer {
        match &self.place {
            Place::Embedded { .. } => self.consumer.clone(),
            Place::RabbitMq { settings, .. } => connect(settings),
        }
    }

    pub async fn claim(&self, partition: u16, prefetch: u16) -> Claim {
        claim(&self.consumer, partition, prefetch).await
    }

    /// Publishes, one after the other.
    pub async fn publish(&self, updates: impl IntoIterator<Item = Envelope>) {
        for update in updates {
            self.publisher.publish(&update).await.unwrap();
        }
    }
}

pub fn connect(settings: &rabbitmq::Settings) -> Consumer {
    Consumer::RabbitMq(rabbitmq::consumer(settings.clone(), Readiness::default(), "consumer"))
}

/// Claims as soon as the partition is free. Away is what a claim says too whose connection is being rebuilt: two
/// that declare the same queues for the first time at once can get an INTERNAL_ERROR from the broker.
pub async fn claim(consumer: &Consumer, partition: u16, prefetch: u16) -> Claim {
    let deadline = Instant::now() + LONG;
    loop {
        match consumer.claim(partition, prefetch).await {
            Ok(claim) => return claim,
            Err(ClaimError::Held | ClaimError::Away) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => panic!("partition {partition}: {error}"),
        }
    }
}

/// Many at once: one after the other each waits for its own confirm.
pub async fn publish(publisher: &Publisher, ids: std::ops::Range<u64>, lane: i64) {
    let ids: Vec<u64> = ids.collect();
    // As many as the publisher has room for.
    for some in ids.chunks(1000) {
        let begun: Vec<_> = some.iter().map(|id| publisher.begin(&envelope(*id, lane))).collect();
        for publishing in begun {
            publishing.await.unwrap();
        }
    }
}

pub fn envelope(update_id: u64, lane: i64) -> Envelope {
    let body = Bytes::from(format!(r#"{{"update_id":{update_id},"message":{{"chat":{{"id":{lane}}}}}}}"#));
    Envelope {
        update_id,
        bot: Some(4321),
        kind: "message".to_owned(),
        lane: Some(lane),
        received_ms: 1_790_000_000_000 + update_id,
        replay: 0,
        replayed: None,
        traceparent: None,
        body,
    }
}

pub async fn next(claim: &mut Claim) -> Delivery {
    let delivery = tokio::time::timeout(LONG, claim.updates.deliveries.recv()).await.expect("nothing came");
    delivery.expect("the claim was lost")
}

pub async fn take(claim: &mut Claim, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    for _ in 0..count {
        taken.push(next(claim).await);
    }
    taken
}

pub fn id(delivery: &Delivery) -> u64 {
    delivery.content.as_ref().unwrap().update_id
}

pub fn ids(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().map(id).collect()
}

/// A store, and a bot that nobody else uses.
pub struct Stored {
    pub store: Store,
    pub bot: u64,
    _folder: Option<TempDir>,
}

impl Stored {
    pub async fn embedded() -> Self {
        let folder = TempDir::new().unwrap();
        let database = Database::open(folder.path(), FILE).unwrap();
        let store = Store::Embedded(shared::store::embedded::Store::open(&database));
        Self { store, bot: a_bot(), _folder: Some(folder) }
    }

    pub async fn redis() -> Option<Self> {
        Some(Self::at(address("TGW_TEST_REDIS_URL")?).await)
    }

    pub async fn cluster() -> Option<Self> {
        Some(Self::at(address("TGW_TEST_REDIS_CLUSTER_URL")?).await)
    }

    async fn at(url: String) -> Self {
        let settings = redis::Settings::read(&Values::of([("REDIS_URL", url)])).unwrap();
        let store = Store::Redis(redis::Store::open(settings, Readiness::default()).unwrap());
        let deadline = Instant::now() + LONG;
        while store.ping().await.is_err() {
            assert!(Instant::now() < deadline, "Redis does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { store, bot: a_bot(), _folder: None }
    }
}

fn a_bot() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0 >> 1
}
