//! lapin alone, on the queues of a gateway: what its publishes with confirms, and its consuming with acks, cost at
//! least. One task owns each channel, since a shared one gives confirms to the wrong publisher (facts L1).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream::FuturesUnordered;
use futures_util::{Future, StreamExt as _};
use harness::goodbye;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::load::{Latencies, Schedule};
use crate::updates::{MANY, Updates};

/// As many as the gateway has.
const CHANNELS: u64 = 4;

const WARM_UP: Duration = Duration::from_millis(400);

/// A message on its way.
type Confirm<'c, T> = Pin<Box<dyn Future<Output = T> + Send + 'c>>;

/// A gateway's queues, by its prefix.
#[derive(Clone, Debug)]
pub struct Queues {
    url: String,
    prefix: String,
    pub partitions: u16,
}

impl Queues {
    pub fn new(url: &str, prefix: &str, partitions: u16) -> Self {
        Self { url: url.to_owned(), prefix: prefix.to_owned(), partitions }
    }

    async fn connect(&self) -> Connection {
        Connection::connect(&self.url, ConnectionProperties::default()).await.expect("the broker runs")
    }

    fn name(&self, partition: u16) -> String {
        format!("{}.p.{partition}", self.prefix)
    }

    /// Empties them; how many messages there were.
    pub async fn purge(&self) -> u64 {
        let connection = self.connect().await;
        let channel = connection.create_channel().await.expect("a channel");
        let mut sum = 0;
        for partition in 0..self.partitions {
            let purged = channel.queue_purge(self.name(partition).into(), QueuePurgeOptions::default()).await;
            sum += u64::from(purged.expect("the queue is there"));
        }
        goodbye(&connection).await.ok();
        sum
    }

    /// How many messages wait in them.
    pub async fn ready(&self) -> u64 {
        let connection = self.connect().await;
        let channel = connection.create_channel().await.expect("a channel");
        let mut sum = 0;
        for partition in 0..self.partitions {
            let passive = QueueDeclareOptions { passive: true, ..Default::default() };
            let queue =
                channel.queue_declare(self.name(partition).into(), passive, FieldTable::default()).await;
            sum += u64::from(queue.expect("the queue is there").message_count());
        }
        goodbye(&connection).await.ok();
        sum
    }

    /// Confirmed publishes a second, with so many in flight. With `waits` each channel's owner waits until lapin has
    /// written a message before it takes the next, as one writes it first; without, it writes what has gathered.
    pub async fn publish(&self, in_flight: u64, time: Duration, waits: bool) -> f64 {
        let connection = self.connect().await;
        let updates = Arc::new(Updates::new(MANY, 1000));
        let (next, confirmed, stop): (Arc<AtomicU64>, Arc<AtomicU64>, Arc<AtomicBool>) = Default::default();
        let mut owners = JoinSet::new();
        for owner in 0..CHANNELS {
            let channel = confirming(&connection).await;
            let (queues, updates, next) = (self.clone(), updates.clone(), next.clone());
            let (confirmed, stop) = (confirmed.clone(), stop.clone());
            let share = in_flight / CHANNELS + u64::from(owner < in_flight % CHANNELS);
            owners.spawn(async move {
                let mut confirms: FuturesUnordered<Confirm<'_, ()>> = FuturesUnordered::new();
                while !stop.load(Ordering::Relaxed) {
                    while (confirms.len() as u64) < share {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let publishing = queues.publish_one(&channel, &updates, number);
                        if waits {
                            let written = publishing.await;
                            confirms.push(Box::pin(written));
                        } else {
                            confirms.push(Box::pin(async { publishing.await.await }));
                        }
                    }
                    if confirms.next().await.is_some() {
                        confirmed.fetch_add(1, Ordering::Relaxed);
                    }
                }
                while confirms.next().await.is_some() {}
            });
        }
        sleep(WARM_UP).await;
        let (begun, before) = (Instant::now(), confirmed.load(Ordering::Relaxed));
        sleep(time).await;
        let rate = (confirmed.load(Ordering::Relaxed) - before) as f64 / begun.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        ended(owners).await;
        goodbye(&connection).await.ok();
        rate
    }

    /// Latencies of confirmed publishes, at so many a second.
    pub async fn latencies(&self, rate: f64, time: Duration, in_flight: u64) -> Latencies {
        let connection = self.connect().await;
        let schedule = Schedule::new(rate, time);
        let updates = Arc::new(Updates::new(schedule.count, 1000));
        // Whoever has a request under way waits for its confirm, as a webhook's connections do.
        let mut inboxes = Vec::new();
        let mut owners = JoinSet::new();
        for _ in 0..CHANNELS {
            let channel = confirming(&connection).await;
            let (inbox, jobs) = mpsc::channel::<(u64, Instant, mpsc::Sender<()>)>(1024);
            inboxes.push(inbox);
            owners.spawn(self.clone().own(channel, updates.clone(), jobs));
        }
        let mut askers = JoinSet::new();
        for asker in 0..in_flight {
            let (schedule, inbox) = (schedule.clone(), inboxes[(asker % CHANNELS) as usize].clone());
            askers.spawn(async move {
                let (reply, mut confirmed) = mpsc::channel(1);
                let mut latencies = Vec::new();
                while let Some((number, due)) = schedule.next().await {
                    inbox.send((number, due, reply.clone())).await.expect("the owner lives");
                    confirmed.recv().await.expect("the owner lives");
                    latencies.push(due.elapsed());
                }
                latencies
            });
        }
        drop(inboxes);
        let mut latencies = Vec::new();
        while let Some(some) = askers.join_next().await {
            latencies.extend(some.expect("no asker panics"));
        }
        ended(owners).await;
        goodbye(&connection).await.ok();
        Latencies::of(latencies)
    }

    async fn own(
        self,
        channel: Channel,
        updates: Arc<Updates>,
        mut jobs: mpsc::Receiver<(u64, Instant, mpsc::Sender<()>)>,
    ) {
        let mut confirms: FuturesUnordered<Confirm<'_, mpsc::Sender<()>>> = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(reply) = confirms.next() => { reply.try_send(()).ok(); }
                job = jobs.recv() => {
                    let Some((number, _, reply)) = job else { break };
                    let confirm = self.publish_one(&channel, &updates, number).await;
                    confirms.push(Box::pin(async move {
                        confirm.await;
                        reply
                    }));
                }
            }
        }
        while confirms.next().await.is_some() {}
    }

    /// Ends when it is confirmed. Persistent, and with nothing that a bare publisher could leave out.
    async fn publish_one(
        &self,
        channel: &Channel,
        updates: &Updates,
        number: u64,
    ) -> impl Future<Output = ()> + Send + use<> {
        let key = (updates.chat(number) % u64::from(self.partitions)).to_string();
        let properties = BasicProperties::default().with_delivery_mode(2);
        let body = updates.body(number);
        let options = BasicPublishOptions::default();
        let exchange = format!("{}.updates", self.prefix);
        let confirm =
            channel.basic_publish(exchange.into(), key.into(), options, body.as_bytes(), properties);
        let confirm = confirm.await.expect("the broker takes it");
        async move {
            let confirmed = confirm.await;
            assert!(matches!(confirmed, Ok(Confirmation::Ack(None))), "not confirmed: {confirmed:?}");
        }
    }

    /// Messages consumed and acked a second, until the queues are empty; there are `count` in them.
    pub async fn consume(&self, count: u64) -> f64 {
        let connection = self.connect().await;
        let acked = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        let begun = Instant::now();
        for partition in 0..self.partitions {
            let channel = connection.create_channel().await.expect("a channel");
            channel.basic_qos(256, BasicQosOptions::default()).await.expect("a prefetch");
            let (name, options) = (self.name(partition), BasicConsumeOptions::default());
            let consuming = channel.basic_consume(name.into(), "".into(), options, FieldTable::default());
            let mut consumer = consuming.await.expect("nobody else has it");
            let acked = acked.clone();
            tasks.spawn(async move {
                while let Some(Ok(delivery)) = consumer.next().await {
                    delivery.acker.ack(BasicAckOptions::default()).await.expect("it is written");
                    acked.fetch_add(1, Ordering::Relaxed);
                }
                drop(channel);
            });
        }
        while acked.load(Ordering::Relaxed) < count {
            assert!(begun.elapsed() < Duration::from_secs(120), "the queues do not get empty");
            sleep(Duration::from_millis(1)).await;
        }
        let rate = count as f64 / begun.elapsed().as_secs_f64();
        goodbye(&connection).await.ok();
        while tasks.join_next().await.is_some() {}
        rate
    }
}

/// Those whose task panicked did not measure anything.
async fn ended(mut tasks: JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no task panics");
    }
}

/// A channel whose publishes are confirmed.
pub async fn confirming(connection: &Connection) -> Channel {
    let channel = connection.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    channel
}
