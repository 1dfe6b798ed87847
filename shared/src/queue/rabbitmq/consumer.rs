//! Consuming partitions: a lease, a channel and a forwarder per claim.
//!
//! The lease is an exclusive queue on the connection that also consumes (facts R2), so a worker that loses
//! its connection loses leases and consumers at once; `exclusive` on a consumer is no lock on a quorum
//! queue (facts R1).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use lapin::Acker;
use lapin::message::Delivery as AmqpDelivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::connection::{Teller, supervise};
use super::lease::{Held, Lease, Place};
use super::topology::{PATIENCE, declare_partition};
use super::{Link, Need, Settings, wire};
use crate::events;
use crate::queue::{self, Claim, ClaimError, Delivery, PublishError};
use crate::readiness::Readiness;

/// How long an earlier consumer is waited for to be gone, and how often it is looked (facts R6a: its count is a
/// help and no barrier).
const OLD_CONSUMER: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(50);

/// An ack is written within milliseconds, and confirmed by nobody.
const ACK: Duration = Duration::from_secs(5);

/// Giving a partition back waits at most this long for the broker's word.
const GOODBYE: Duration = Duration::from_secs(2);

/// Hands out partitions on a connection of its own. Cheap to clone.
#[derive(Clone)]
pub struct Consumer {
    connection: watch::Receiver<Option<Arc<Connection>>>,
    link: watch::Receiver<Link>,
    settings: Arc<Settings>,
    held: Held,
}

pub(super) fn start(settings: Settings, readiness: Readiness, role: &'static str) -> Consumer {
    let (link_in, link) = watch::channel(Link::Away);
    let (connection_in, connection) = watch::channel(None);
    let teller = Teller { role, link: link_in, readiness, need: Need::Must };
    teller.tell(Link::Away);
    let serve = move |connection: Arc<Connection>| {
        let connection_in = connection_in.clone();
        offer(connection, connection_in)
    };
    tokio::spawn(supervise(settings.clone(), teller, serve));
    Consumer { connection, link, settings: Arc::new(settings), held: Held::default() }
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

impl Consumer {
    /// What the link is, and each change of it.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    pub async fn claim(&self, partition: u16, prefetch: u16) -> Result<Claim, ClaimError> {
        let place = self.held.take(partition).ok_or(ClaimError::Held)?;
        let mut connections = self.connection.clone();
        let connected = connections.wait_for(Option::is_some).await.map_err(|_| ClaimError::Away)?.clone();
        let connection = connected.ok_or(ClaimError::Away)?;
        let lease = Lease::take(&connection, self.settings.lease_queue(partition)).await?;
        let consuming = tokio::time::timeout(PATIENCE, self.consume(&connection, partition, prefetch)).await;
        let silent = |_| {
            events::partition_silent(partition);
            ClaimError::Away
        };
        let (channel, consumer) = consuming.map_err(silent)?.map_err(|error| {
            tracing::debug!(partition, %error, "a partition can't be consumed");
            ClaimError::Away
        })?;
        Ok(forward(partition, prefetch, Holding { channel, lease, consumer, place }))
    }

    async fn consume(
        &self,
        connection: &Connection,
        partition: u16,
        prefetch: u16,
    ) -> Result<(Channel, lapin::Consumer), lapin::Error> {
        let channel = connection.create_channel().await?;
        declare_partition(&channel, &self.settings, partition).await?;
        self.outlast_old_consumer(&channel, partition).await?;
        // Per consumer: 4.3 refuses a global qos (facts R14), and without one lapin's inner queue is unbounded (facts L6).
        channel.basic_qos(prefetch, BasicQosOptions { global: false }).await?;
        let queue = self.settings.partition_queue(partition);
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?;
        Ok((channel, consumer))
    }
}

impl Consumer {
    /// Waits until no consumer is left on the queue. A node that has just started still knows those of before it
    /// died, and would hand out fresh updates before the ones that they had in hand. Right after a start its
    /// count can also be a false 0, so it has to be 0 twice.
    async fn outlast_old_consumer(&self, channel: &Channel, partition: u16) -> Result<(), lapin::Error> {
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let queue = self.settings.partition_queue(partition);
        let mut zeros = 0;
        for _ in 0..OLD_CONSUMER.as_millis() / LOOK.as_millis() {
            let declared =
                channel.queue_declare(queue.as_str().into(), passive, FieldTable::default()).await?;
            zeros = if declared.consumer_count() == 0 { zeros + 1 } else { 0 };
            if zeros == 2 {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

struct Holding {
    channel: Channel,
    lease: Lease,
    consumer: lapin::Consumer,
    place: Place,
}

/// What `Claim` holds of this room. Dropping it gives the partition back.
pub struct Hold {
    closing: CancellationToken,
    releasing: CancellationToken,
    forwarder: Option<JoinHandle<()>>,
}

impl Hold {
    pub(in crate::queue) async fn close(&mut self) {
        self.closing.cancel();
    }

    pub(in crate::queue) async fn release(mut self) {
        self.releasing.cancel();
        if let Some(forwarder) = self.forwarder.take()
            && tokio::time::timeout(GOODBYE, forwarder).await.is_err()
        {
            tracing::debug!("the broker did not confirm that a partition was given back");
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.releasing.cancel();
    }
}

fn forward(partition: u16, prefetch: u16, holding: Holding) -> Claim {
    let (deliveries_in, deliveries) = mpsc::channel(usize::from(prefetch.max(1)));
    let lost = CancellationToken::new();
    let (closing, releasing) = (CancellationToken::new(), CancellationToken::new());
    let forwarder = Forwarder {
        holding,
        deliveries: deliveries_in,
        lost: lost.clone(),
        closing: closing.clone(),
        releasing: releasing.clone(),
    };
    let forwarder = Some(tokio::spawn(forwarder.run()));
    let hold = queue::Hold::RabbitMq(Hold { closing, releasing, forwarder });
    Claim { partition, deliveries, lost, hold }
}

/// Passes deliveries on until the partition is lost or given back.
struct Forwarder {
    holding: Holding,
    deliveries: mpsc::Sender<Delivery>,
    lost: CancellationToken,
    closing: CancellationToken,
    releasing: CancellationToken,
}

impl Forwarder {
    async fn run(mut self) {
        loop {
            tokio::select! {
                biased;
                () = self.releasing.cancelled() => break,
                delivery = self.holding.consumer.next() => match delivery {
                    // Not cancelled, so that the broker counts this consumer until all that it had is back in the
                    // queue: with a cancel the next one is given what was on the wire before what was in hand
                    // (in 39 of 40 trials on 3.10.8). The prefetch bounds what comes and is not handed out.
                    Some(Ok(_)) if self.closing.is_cancelled() => {}
                    Some(Ok(delivery)) => {
                        // Refused only after `close`, or with the claim dropped: it goes back with the rest.
                        let _ = self.deliveries.send(read(delivery)).await;
                    }
                    // An end without our asking is a loss: the queue was deleted, the channel closed (facts L3).
                    Some(Err(_)) | None => break,
                },
            }
        }
        // Whoever still handles an update of this partition has to stop, except that `close` let them end.
        self.lost.cancel();
        self.give_back().await;
    }

    /// Closing the channel returns what is unacked.
    async fn give_back(self) {
        let Holding { channel, lease, consumer, place } = self.holding;
        drop(consumer);
        let closed = channel.close(200, "given back".into()).await;
        if let Err(error) = closed.and(lease.give_back().await) {
            tracing::debug!(%error, "a partition was gone already");
        }
        // Only now may this process claim it again.
        drop(place);
    }
}

fn read(delivery: AmqpDelivery) -> Delivery {
    let content = wire::read_envelope(&delivery.properties, Bytes::from(delivery.data));
    if content.is_err() {
        events::foreign_message("partition");
    }
    Delivery {
        content,
        redelivered: delivery.redelivered,
        returns: wire::returns(&delivery.properties),
        receipt: queue::Receipt::RabbitMq(Receipt(delivery.acker)),
    }
}

/// Acks one delivery, on the channel that it came by.
pub struct Receipt(Acker);

impl Receipt {
    pub(in crate::queue) async fn ack(self) -> Result<(), PublishError> {
        // On a connection that hangs an ack may never return; then the update comes back, as after a loss.
        match tokio::time::timeout(ACK, self.0.ack(BasicAckOptions::default())).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false) | Err(_)) | Err(_) => Err(PublishError::Away),
        }
    }
}
