//! The door to a broker: publish an update, claim a partition, bury a dead letter.
//!
//! Two rooms lie behind it, RabbitMQ and the embedded queue, and whoever comes in by this door can't tell
//! which. What they carry is the same, and what they promise is the same: a publish that returned `Ok` is
//! on disk, and an update is handed out again and again until it is acked.

mod bulk;
pub mod embedded;
mod envelope;
mod letter;
pub mod rabbitmq;
pub(crate) mod record;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::events;
pub use bulk::Bulk;
pub use envelope::{Envelope, Replayed, partition_of};
pub use letter::{Letter, Reason};

/// Why something could not be published. In every case it may be tried again, and may have been stored.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// No connection, or it was lost before the confirm came.
    #[error("the broker is away")]
    Away,
    /// Connected, but the broker takes nothing (a memory or disk alarm), or as much waits as may wait.
    #[error("the broker takes nothing at the moment")]
    Blocked,
    /// The broker said no to this one: a nack.
    #[error("the broker refused the message")]
    Refused,
    /// There is no queue where this belongs (facts R10); the topology is being declared again.
    #[error("the broker has no queue for the message")]
    Unroutable,
    /// The embedded queue could not write.
    #[error("the queue's file can't be written: {0}")]
    Disk(String),
}

/// Puts updates and dead letters into a queue. Cheap to clone.
#[derive(Clone)]
pub enum Publisher {
    RabbitMq(rabbitmq::Publisher),
    Embedded(embedded::Publisher),
}

/// A publish under way: ends when the update is on disk at the broker, or is known not to be. Dropping it takes
/// the update back only if it is not on its way yet.
pub enum Publishing {
    RabbitMq(rabbitmq::Publishing),
    Embedded(Pin<Box<dyn Future<Output = Result<(), PublishError>> + Send>>),
}

impl Future for Publishing {
    type Output = Result<(), PublishError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::RabbitMq(publishing) => Pin::new(publishing).poll(context),
            Self::Embedded(publishing) => publishing.as_mut().poll(context),
        }
    }
}

impl Publisher {
    /// One for the tasks of the runtime that calls this, such as a thread of a server's: over RabbitMQ it publishes on a
    /// channel of its own, whose owner runs there: beside lapin's no thread is woken for an update. Called once for each.
    pub fn seated_here(&self) -> Self {
        match self {
            Self::RabbitMq(queue) => Self::RabbitMq(queue.seated_here()),
            Self::Embedded(queue) => Self::Embedded(queue.clone()),
        }
    }

    /// Whether it is worth trying: false while it is known that the broker takes nothing.
    pub fn takes(&self) -> bool {
        match self {
            Self::RabbitMq(queue) => queue.takes(),
            Self::Embedded(_) => true,
        }
    }

    /// Begins to publish an update.
    pub fn begin(&self, envelope: &Envelope) -> Publishing {
        match self {
            Self::RabbitMq(queue) => Publishing::RabbitMq(queue.begin(envelope)),
            Self::Embedded(queue) => {
                let (queue, envelope) = (queue.clone(), envelope.clone());
                Publishing::Embedded(Box::pin(async move { queue.publish(&envelope).await }))
            }
        }
    }

    /// Returns when the update is on disk at the broker. Dropping the future does not take it back.
    pub async fn publish(&self, envelope: &Envelope) -> Result<(), PublishError> {
        match self {
            Self::RabbitMq(queue) => queue.publish(envelope).await,
            Self::Embedded(queue) => queue.publish(envelope).await,
        }
    }

    /// Returns when the message is on disk in a queue beside the partitions, to wait for its turn.
    pub async fn publish_bulk(&self, envelope: &Envelope, bulk: Bulk) -> Result<(), PublishError> {
        match self {
            Self::RabbitMq(queue) => queue.publish_bulk(envelope, bulk).await,
            Self::Embedded(queue) => queue.publish_bulk(envelope, bulk).await,
        }
    }

    /// Returns when the dead letter is on disk at the broker.
    pub async fn bury(&self, letter: &Letter) -> Result<(), PublishError> {
        let buried = match self {
            Self::RabbitMq(queue) => queue.bury(letter).await,
            Self::Embedded(queue) => queue.bury(letter).await,
        };
        buried.inspect(|()| events::buried(letter.reason))
    }
}

/// Of a claim with that prefetch, how many updates that have ended may still count as in hand, since their acks wait to be
/// said ([`Receipt::ack_soon`]).
pub const fn late_acks(prefetch: usize) -> usize {
    (prefetch / 8).saturating_sub(1)
}

/// Why a partition could not be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another worker has it.
    #[error("the partition is another worker's")]
    Held,
    #[error("the broker is away")]
    Away,
    #[error("the queue's file can't be read: {0}")]
    Disk(String),
}

/// Hands out partitions. Cheap to clone.
#[derive(Clone)]
pub enum Consumer {
    RabbitMq(rabbitmq::Consumer),
    Embedded(embedded::Consumer),
}

impl Consumer {
    /// Takes one partition, or a bulk queue by its number, with at most `prefetch` updates in hand at a time. No two claims of a
    /// partition exist at once. On RabbitMQ this waits for the connection.
    pub async fn claim(&self, partition: u16, prefetch: u16) -> Result<Claim, ClaimError> {
        match self {
            Self::RabbitMq(queue) => queue.claim(partition, prefetch).await,
            Self::Embedded(queue) => queue.claim(partition, prefetch).await,
        }
    }

    /// How many updates of a partition that the caller holds wait for somebody's hand, where `in_hand` are in the
    /// caller's. On RabbitMQ a number of some seconds ago, and nothing while the broker does not answer.
    pub fn ready(&self, partition: u16, in_hand: u64) -> Option<u64> {
        match self {
            Self::RabbitMq(queue) => queue.ready(partition).map(u64::from),
            Self::Embedded(queue) => queue.waiting(partition).map(|waiting| waiting.saturating_sub(in_hand)),
        }
    }

    /// How many dead letters there are. On RabbitMQ a number of some seconds ago, without those that a command has in
    /// hand, and nothing while the broker does not answer.
    pub fn letters_waiting(&self) -> Option<u64> {
        match self {
            Self::RabbitMq(queue) => queue.letters_waiting().map(u64::from),
            Self::Embedded(queue) => Some(queue.depth().letters),
        }
    }
}

/// A partition in hand. Dropping it gives the partition back at once, with all that is not acked.
pub struct Claim {
    pub partition: u16,
    pub updates: Updates,
    /// Cancelled when the partition is no longer ours: handlers must stop before it is claimed again.
    pub lost: CancellationToken,
    hold: Hold,
}

/// What a claim hands out.
pub struct Updates {
    /// Ends when the partition is lost or `close` was called.
    pub deliveries: mpsc::Receiver<Delivery>,
    /// `Some` where updates that were handed out before come first, but in any order (facts R4): how many updates
    /// there were in the queue when it was claimed, with those among them. `None` where all come in order.
    pub returned: Option<u32>,
}

enum Hold {
    RabbitMq(rabbitmq::Hold),
    Embedded(embedded::Hold),
}

impl Claim {
    /// Hands out no more updates; what was handed out can still be acked.
    pub async fn close(&mut self) {
        match &mut self.hold {
            Hold::RabbitMq(hold) => hold.close().await,
            Hold::Embedded(hold) => hold.close().await,
        }
        self.updates.deliveries.close();
    }

    /// Takes no more updates from the queue until [`Self::renew`]; what was taken is still handed out. Nothing
    /// happens where a claim never has to be renewed.
    pub async fn pause(&self) {
        match &self.hold {
            Hold::RabbitMq(hold) => hold.pause().await,
            Hold::Embedded(_) => {}
        }
    }

    /// Whether the queue takes a partition away from who has an update in hand for too long (facts R14): then the
    /// claim has to be renewed.
    pub fn has_to_be_renewed(&self) -> bool {
        match &self.hold {
            Hold::RabbitMq(_) => true,
            Hold::Embedded(_) => false,
        }
    }

    /// Keeps the partition, and has all that is in hand handed out again, as if it had just been claimed. Acks of
    /// what was handed out before do no harm, and may come too late: that update is handed out again too. An
    /// error means that the partition is lost.
    pub async fn renew(&mut self, prefetch: u16) -> Result<(), ClaimError> {
        match &self.hold {
            Hold::RabbitMq(hold) => {
                self.updates = hold.renew(prefetch).await?;
                Ok(())
            }
            Hold::Embedded(_) => Ok(()),
        }
    }

    /// Gives the partition back: what is not acked goes to its next owner.
    pub async fn release(self) {
        match self.hold {
            Hold::RabbitMq(hold) => hold.release().await,
            Hold::Embedded(hold) => hold.release().await,
        }
    }
}

/// One update, handed out until it is acked.
pub struct Delivery {
    /// The update, or the bytes of something in our queue that is none.
    pub content: Result<Envelope, bytes::Bytes>,
    /// It was handed out before, perhaps to a process that died of it.
    pub redelivered: bool,
    /// How often the broker saw it come back (facts R7), without this claim's renewals; 0 where it does not count. Less by
    /// a few for one that came back before and was first handed out after a renewal: nobody knows which it saw.
    pub returns: u32,
    pub receipt: Receipt,
}

/// The right to ack one delivery.
pub enum Receipt {
    RabbitMq(rabbitmq::Receipt),
    Embedded(embedded::Receipt),
}

impl Receipt {
    /// The update has ended; it is not handed out again, unless its claim was renewed meanwhile. An error means that
    /// the partition was lost, and that the update comes back to whoever has it next.
    pub async fn ack(self) -> Result<(), PublishError> {
        match self {
            Self::RabbitMq(receipt) => receipt.ack(),
            Self::Embedded(receipt) => receipt.ack().await,
        }
    }

    /// [`Self::ack`], where it is kept elsewhere that the update has ended: on RabbitMQ it may be said up to 40 ms later, so
    /// that many acks can be one. What gives the partition back says it before.
    pub async fn ack_soon(self) -> Result<(), PublishError> {
        match self {
            Self::RabbitMq(receipt) => receipt.ack_soon(),
            Self::Embedded(receipt) => receipt.ack().await,
        }
    }
}
