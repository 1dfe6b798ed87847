//! Consuming partitions: a lease, a channel and a forwarder (`forwarder.rs`) per claim.
//!
//! The lease is an exclusive queue on the connection that also consumes (facts R2), so a worker that loses
//! its connection loses leases and consumers at once; `exclusive` on a consumer is no lock on a quorum
//! queue (facts R1).

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::connection::{Teller, supervise};
use super::depth;
use super::forwarder::{self, Holding};
use super::lease::{Held, Lease, Place};
use super::pulse::{self, Pulse};
use super::topology::{PATIENCE, declare_partition};
use super::{Link, Need, Settings};
use crate::events;
use crate::queue::{Claim, ClaimError};
use crate::readiness::Readiness;

/// How long an earlier consumer is waited for to be gone, and how often it is looked (facts R6a: its count is a
/// help and no barrier).
const OLD_CONSUMER: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(50);

/// Hands out partitions on a connection of its own. Cheap to clone.
#[derive(Clone)]
pub struct Consumer {
    connection: watch::Receiver<Option<Arc<Connection>>>,
    link: watch::Receiver<Link>,
    pulse: Pulse,
    settings: Arc<Settings>,
    held: Held,
    letters: watch::Receiver<Option<u32>>,
}

pub(super) fn start(settings: Settings, readiness: Readiness, role: &'static str) -> Consumer {
    let (link_in, link) = watch::channel(Link::Away);
    let (connection_in, connection) = watch::channel(None);
    let teller = Teller { role, link: link_in, readiness, need: Need::Must };
    teller.tell(Link::Away);
    let (beat, pulse) = pulse::pair();
    let (held, shared_settings) = (Held::default(), Arc::new(settings.clone()));
    let (letters_in, letters) = watch::channel(None);
    let consumer =
        Consumer { connection, link, pulse, settings: shared_settings.clone(), held: held.clone(), letters };
    let serve = move |connection: Arc<Connection>| {
        let offered = offer(connection.clone(), connection_in.clone());
        let beating = pulse::beat(connection.clone(), beat.clone());
        let asking = depth::ask(connection, shared_settings.clone(), held.clone(), letters_in.clone());
        async move {
            tokio::select! {
                end = offered => end,
                error = beating => error,
                never = asking => match never {},
            }
        }
    };
    tokio::spawn(supervise(settings, teller, serve));
    consumer
}

/// Lets claims use the connection for as long as the supervisor keeps this future.
fn offer(
    connection: Arc<Connection>,
    to: watch::Sender<Option<Arc<Connection>>>,
) -> impl Future<Output = String> {
    struct Withdraw(watch::Sender<Option<Arc<Connection>>>);
    impl Drop for Withdraw {
        fn drop(&mut self) {
            self.0.send_replace(None);
        }
    }
    to.send_replace(Some(connection));
    let withdraw = Withdraw(to);
    async move {
        let _withdraw = withdraw;
        std::future::pending().await
    }
}

/// Gives up a partition that could not be consumed. Its lease would else last as long as the connection, and keep out
/// the worker whose share it has become meanwhile. Nobody waits for it, since a broker that is silent about the queue
/// can be silent about the lease too; until it has answered this process does not claim the partition again, so
/// that a late deletion never takes a lease that is in use.
async fn hand_back(lease: Lease, place: Place) {
    if let Err(error) = lease.give_back().await {
        tracing::debug!(%error, "a lease was gone already");
    }
    drop(place);
}

/// A channel that consumes a partition.
pub(super) struct Subscription {
    pub channel: Channel,
    pub consumer: lapin::Consumer,
    /// Updates that were in the queue when nobody consumed it any more and this did not yet.
    pub ready: u32,
    /// Cancelled when the channel is closed to be followed by another: its acks don't matter any more.
    pub over: CancellationToken,
}

impl Consumer {
    /// What the link is, and each change of it.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    /// When the broker was last heard.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// How many updates were ready in a partition's queue when the broker was last asked, seconds ago; nothing where
    /// it is not ours or the broker does not answer.
    pub fn ready(&self, partition: u16) -> Option<u32> {
        self.held.ready(partition)
    }

    /// How many dead letters were ready when the broker was last asked, seconds ago; nothing where it did not answer.
    pub fn letters_waiting(&self) -> Option<u32> {
        *self.letters.borrow()
    }

    /// A caller that does not wait for the end of it leaves nothing behind: what is claimed then is given back.
    pub async fn claim(&self, partition: u16, prefetch: u16) -> Result<Claim, ClaimError> {
        let this = self.clone();
        let claiming = tokio::spawn(async move { this.claim_to_the_end(partition, prefetch).await });
        claiming.await.unwrap_or(Err(ClaimError::Away))
    }

    async fn claim_to_the_end(&self, partition: u16, prefetch: u16) -> Result<Claim, ClaimError> {
        let place = self.held.take(partition).ok_or(ClaimError::Held)?;
        let mut connections = self.connection.clone();
        let connected = connections.wait_for(Option::is_some).await.map_err(|_| ClaimError::Away)?.clone();
        let connection = connected.ok_or(ClaimError::Away)?;
        let lease = Lease::take(&connection, self.settings.lease_queue(partition)).await?;
        let subscription = match self.subscribe(&connection, partition, prefetch).await {
            Ok(subscription) => subscription,
            Err(error) => {
                tokio::spawn(hand_back(lease, place));
                return Err(error);
            }
        };
        let holding = Holding { consumer: self.clone(), connection, partition, lease, place };
        Ok(forwarder::start(holding, subscription, prefetch))
    }

    /// Begins to consume a partition whose lease is ours.
    pub(super) async fn subscribe(
        &self,
        connection: &Connection,
        partition: u16,
        prefetch: u16,
    ) -> Result<Subscription, ClaimError> {
        let prepared = tokio::time::timeout(PATIENCE, self.prepare(connection, partition, prefetch)).await;
        let silent = |_| {
            events::partition_silent(partition);
            ClaimError::Away
        };
        let refused = |error: lapin::Error| {
            tracing::debug!(partition, %error, "a partition can't be consumed");
            ClaimError::Away
        };
        let (channel, ready) = prepared.map_err(silent)?.map_err(refused)?;
        let consumer = self.consume(&channel, partition).await.map_err(refused)?;
        Ok(Subscription { channel, consumer, ready, over: CancellationToken::new() })
    }

    /// A channel that may have so many in hand, and how many updates are in the queue.
    async fn prepare(
        &self,
        connection: &Connection,
        partition: u16,
        prefetch: u16,
    ) -> Result<(Channel, u32), lapin::Error> {
        let channel = connection.create_channel().await?;
        declare_partition(&channel, &self.settings, partition).await?;
        let ready = self.outlast_old_consumer(&channel, partition).await?;
        // Per consumer: 4.3 refuses a global qos (facts R14), and without one lapin's inner queue is unbounded (facts L6).
        channel.basic_qos(prefetch, BasicQosOptions { global: false }).await?;
        Ok((channel, ready))
    }

    /// Waits for the broker's answer, however late. While the queue's leader is frozen the broker puts the question to
    /// it for up to 30 s, and then to the next node; once it is asked it can't be taken back. lapin keeps the channel of
    /// an unanswered `basic.consume` open, though nobody has it any more: given up, it becomes a consumer beside
    /// whoever consumes the partition then, and takes updates that nobody reads.
    async fn consume(&self, channel: &Channel, partition: u16) -> Result<lapin::Consumer, lapin::Error> {
        let queue = self.settings.partition_queue(partition);
        let options = BasicConsumeOptions::default();
        let mut consuming =
            pin!(channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()));
        match tokio::time::timeout(PATIENCE, &mut consuming).await {
            Ok(consumer) => consumer,
            Err(_) => {
                events::partition_silent(partition);
                consuming.await
            }
        }
    }

    /// Waits until no consumer is left on the queue; how many updates are in it then. A node that has just started
    /// still knows consumers of before it died, and would hand out fresh updates before the ones that they had
    /// in hand. Right after a start its count can also be a false 0, so it has to be 0 twice.
    async fn outlast_old_consumer(&self, channel: &Channel, partition: u16) -> Result<u32, lapin::Error> {
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let queue = self.settings.partition_queue(partition);
        let (mut zeros, mut ready) = (0, 0);
        for _ in 0..OLD_CONSUMER.as_millis() / LOOK.as_millis() {
            let declared =
                channel.queue_declare(queue.as_str().into(), passive, FieldTable::default()).await?;
            ready = declared.message_count();
            zeros = if declared.consumer_count() == 0 { zeros + 1 } else { 0 };
            if zeros == 2 {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(ready)
    }
}
