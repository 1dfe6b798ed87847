//! The dead letters in one tool's hands: all are read unacked, the chosen ones are acked, the rest goes back.
//!
//! A queue can't be filtered, and getting and putting back wears a letter out at its delivery limit (facts R8), so
//! everything is taken on channels of a known capacity (facts R8a) and given back by closing these. A lock keeps a
//! second tool from finding the queue empty meanwhile: an exclusive queue, which the broker frees if we die.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::SelectAll;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicQosOptions};
use lapin::{Channel, Consumer};

use super::connection::{Connection, open_as, open_channel};
use super::consuming::ConsumerChannel;
use super::lease::Lease;
use super::stat::{self, Stat};
use super::topology::{self, TopologyError, closing_code};
use super::{Settings, wire};
use crate::queue::{ClaimError, Letter};

/// Letters that one channel has in hand: some thousand below the least at which a broker was seen to stop (facts R8a).
const CHANNEL: u16 = 20_000;

/// Acks that may wait to be written: one for each of the letters that a replay has on its way, or twice that.
const ACKS: usize = 1024;

/// The broker's answer to anything but the letters themselves. A quorum queue that elects a leader takes seconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often the broker is asked whether letters have come back.
const LOOK: Duration = Duration::from_millis(50);

/// What another reader had in hand comes back when the broker knows that he is gone, as late as two heartbeats; and a
/// hundred thousand that are given back take 1.4 to 3.5 s (facts R8a).
const RETURN: Duration = Duration::from_secs(30);

/// The broker's code for a queue that is not there.
const NOT_FOUND: u16 = 404;

/// Why the dead letters can't be had.
#[derive(Debug, thiserror::Error)]
pub enum DeadError {
    /// Another tool has them.
    #[error("another tool has the dead letters in hand")]
    Held,
    /// No ingress and no worker has ever run with this prefix.
    #[error("there is no queue {0}")]
    Missing(String),
    /// The queues were made with another number of partitions, or nobody can tell (a question mark).
    #[error("the queues were made for {0} partitions")]
    Partitions(String),
    /// Somebody who does not know the lock consumes from the queue and gives nothing back.
    #[error("somebody else has dead letters in hand and does not give them back")]
    Shared,
    #[error("the broker can't be asked: {0}")]
    Away(String),
}

impl From<lapin::Error> for DeadError {
    fn from(error: lapin::Error) -> Self {
        Self::Away(error.to_string())
    }
}

/// One copy of a letter, in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    channel: usize,
    tag: u64,
}

/// The dead letters of one deployment, which nobody else has in hand. Dropping it gives all back that is not removed,
/// at once or when the broker has noticed; [`Self::close`] waits until they lie there again.
pub struct DeadLetters {
    connection: Connection,
    lock: Lease,
    settings: Settings,
    channels: Vec<ConsumerChannel>,
    deliveries: Deliveries,
    /// Begun, oldest first. lapin writes them in this order.
    acks: VecDeque<BoxFuture<'static, Result<(), lapin::Error>>>,
    /// Asked how the queue is. No deliveries come on it.
    asking: Channel,
    taken: u64,
    removed: u64,
}

impl DeadLetters {
    /// Takes the lock. Declares nothing that is not there.
    pub async fn hold(settings: &Settings) -> Result<Self, DeadError> {
        within(async {
            let connection = open_as(settings, "tgw dead").await?;
            let asking = open_channel(&connection).await?;
            ask(&asking, settings).await?;
            let lock = Lease::take(&connection, settings.dead_lock()).await.map_err(|error| match error {
                ClaimError::Held => DeadError::Held,
                other => DeadError::Away(other.to_string()),
            })?;
            let settings = settings.clone();
            let (channels, deliveries, acks) = (Vec::new(), SelectAll::new(), VecDeque::new());
            Ok(Self { connection, lock, settings, channels, deliveries, acks, asking, taken: 0, removed: 0 })
        })
        .await
    }

    /// Whether what is published goes where the workers look for it: their number of partitions is ours.
    pub async fn check_partitions(&self) -> Result<(), DeadError> {
        within(async {
            let channel = open_channel(&self.connection).await?;
            match topology::declare_marker(&channel, &self.settings).await {
                Ok(()) => Ok(channel.close(200, "checked".into()).await?),
                Err(TopologyError::Partitions { broker }) => Err(DeadError::Partitions(broker)),
                Err(TopologyError::Broker(error)) => Err(error.into()),
            }
        })
        .await
    }

    /// Takes every letter into hand and shows each to `look`, with its id, in no order. One that comes while this goes on
    /// may be among them. Once, or again after [`Self::put_back`].
    pub async fn read(&mut self, mut look: impl FnMut(Place, String, Letter)) -> Result<(), DeadError> {
        let expected = self.count().await?;
        while self.taken < expected {
            // One channel after the other, so that no more than one's letters wait in memory.
            if self.taken >= self.channels.len() as u64 * u64::from(CHANNEL) {
                self.consume().await?;
            }
            // The broker counts a letter as taken long before it comes, so only the count tells that it was the last one.
            let coming = tokio::time::timeout(RETURN, self.deliveries.next()).await;
            let (channel, delivery) = coming.map_err(|_| DeadError::Shared)?.ok_or_else(cancelled)?;
            let (place, id, letter) = letter(channel, delivery?);
            self.taken += 1;
            look(place, id, letter);
        }
        Ok(())
    }

    /// How many there are, when nobody has any in hand: a tool that was killed has them until the broker knows.
    async fn count(&self) -> Result<u64, DeadError> {
        let alone = async {
            loop {
                let stat = within(ask(&self.asking, &self.settings)).await?;
                if stat.consumers == 0 && (stat.ready > 0 || within(self.is_empty()).await?) {
                    return Ok(u64::from(stat.ready));
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(RETURN, alone).await.unwrap_or(Err(DeadError::Shared))
    }

    /// Whether there is none, by the queue itself: where it has no leader at all, the broker says at once that nothing is
    /// in it. What is got for that goes back with its channel.
    async fn is_empty(&self) -> Result<bool, DeadError> {
        let channel = open_channel(&self.connection).await?;
        let queue = self.settings.dead_queue();
        let got = channel.basic_get(queue.into(), BasicGetOptions::default()).await?;
        channel.close(200, "looked".into()).await?;
        Ok(got.is_none())
    }

    /// One more channel's worth. It goes on until the letters are put back, so that the next tool can tell from a count of
    /// consumers whether anybody has letters in hand; a channel takes no more than its prefetch.
    async fn consume(&mut self) -> Result<(), DeadError> {
        within(async {
            let mut channel = ConsumerChannel::new(open_channel(&self.connection).await?);
            channel.basic_qos(CHANNEL, BasicQosOptions::default()).await?;
            let number = self.channels.len();
            let tag = format!("tgw-dead-{number}").into();
            let queue = self.settings.dead_queue();
            let consumer = channel.consume(queue.into(), tag).await?;
            self.deliveries.push(Numbered { number, consumer }.into_stream());
            self.channels.push(channel);
            Ok(())
        })
        .await
    }

    /// Takes these out of the queue for ever. What the broker did not hear of comes back. Does not wait until their acks
    /// are written, which costs a round trip to lapin's thread each; an error may be of one before.
    pub async fn remove(&mut self, places: &[Place]) -> Result<(), DeadError> {
        for place in places {
            let Some(channel) = self.channels.get(place.channel) else { continue };
            let (channel, tag) = (Channel::clone(channel), place.tag);
            let mut ack = async move { channel.basic_ack(tag, BasicAckOptions::default()).await }.boxed();
            // The first poll puts it where lapin writes from (4.12.3, read in its source).
            match (&mut ack).now_or_never() {
                Some(written) => written?,
                None => self.acks.push_back(ack),
            }
            self.removed += 1;
            while self.acks.len() > ACKS {
                self.oldest_ack().await?;
            }
        }
        Ok(())
    }

    async fn oldest_ack(&mut self) -> Result<(), DeadError> {
        match self.acks.pop_front() {
            Some(ack) => within(async { Ok(ack.await?) }).await,
            None => Ok(()),
        }
    }

    /// Gives back what is not removed, when all of it lies in the queue again: whoever looks next shall not find less
    /// than there is. The lock stays. Tells how many more there are then: new ones, or some whose ack the broker had heard
    /// and not carried out when the channel was closed (a busy quorum queue lets a channel's acks wait).
    pub async fn put_back(&mut self) -> Result<u64, DeadError> {
        if self.channels.is_empty() {
            return Ok(0);
        }
        while !self.acks.is_empty() {
            self.oldest_ack().await?;
        }
        for channel in self.channels.drain(..) {
            // The answer to this comes behind the acks: they have been heard, which is not yet carried out.
            within(async { Ok(channel.close(200, "looked".into()).await?) }).await?;
        }
        self.deliveries.clear();
        let left = std::mem::take(&mut self.taken).saturating_sub(std::mem::take(&mut self.removed));
        let returned = async {
            loop {
                let stat = within(ask(&self.asking, &self.settings)).await?;
                if stat.consumers == 0 && u64::from(stat.ready) >= left {
                    return Ok(u64::from(stat.ready) - left);
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(RETURN, returned).await.unwrap_or(Ok(0))
    }

    /// [`Self::put_back`], and gives the lock back.
    pub async fn close(mut self) -> Result<(), DeadError> {
        let returned = self.put_back().await;
        within(async { Ok(self.lock.give_back().await?) }).await?;
        within(async { Ok(self.connection.close(200, "done".into()).await?) }).await?;
        returned.map(drop)
    }
}

type Deliveries =
    SelectAll<futures_util::stream::BoxStream<'static, (usize, Result<Delivery, lapin::Error>)>>;

/// A consumer, and the number of its channel.
struct Numbered {
    number: usize,
    consumer: Consumer,
}

impl Numbered {
    fn into_stream(
        self,
    ) -> futures_util::stream::BoxStream<'static, (usize, Result<Delivery, lapin::Error>)> {
        let number = self.number;
        self.consumer.map(move |delivery| (number, delivery)).boxed()
    }
}

/// A letter's id is its message's, since that of one whose body was not kept can't be told from its content.
fn letter(channel: usize, delivery: Delivery) -> (Place, String, Letter) {
    let Delivery { delivery_tag: tag, properties, data, .. } = delivery;
    let letter = wire::read_letter(&properties, data.into());
    let id = properties.message_id().as_ref().map(|id| id.as_str().to_owned());
    let id = id.filter(|id| !id.is_empty() && properties.headers().is_some()).unwrap_or_else(|| letter.id());
    (Place { channel, tag }, id, letter)
}

fn cancelled() -> DeadError {
    DeadError::Away("it ended the consumer".to_owned())
}

/// How the queue is, by its own word: a replay that took a silent one for an empty one would say that all is done.
async fn ask(channel: &Channel, settings: &Settings) -> Result<Stat, DeadError> {
    let queue = settings.dead_queue();
    stat::ask_again(channel, &queue, LOOK).await.map_err(|error| match closing_code(&error) {
        Some((NOT_FOUND, _)) => DeadError::Missing(queue),
        _ => error.into(),
    })
}

async fn within<T>(asking: impl Future<Output = Result<T, DeadError>>) -> Result<T, DeadError> {
    let late = || DeadError::Away(format!("no answer within {PATIENCE:?}"));
    tokio::time::timeout(PATIENCE, asking).await.map_err(|_| late())?
}
