//! Words between processes of one kind: a fanout exchange, and a queue of each process's own that lives as long
//! as its connection. Nothing is kept and nothing is confirmed: what is said is said again soon.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicPublishOptions, BasicQosOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, ExchangeKind};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use uuid::Uuid;

use super::census;
use super::connection::{Connection, open_channel};
use super::consuming::ConsumerChannel;
use super::owner::open_confirming;
use super::topology::closing_code;
use crate::events;
use crate::proof::Accepted;
use crate::readiness::Readiness;

/// Words that may wait to be heard; what is too many is dropped (I5).
const WAITING: usize = 256;

/// What nobody took for so long is no news any more.
const LIFE: Duration = Duration::from_secs(2);

/// A broker that allows no fanout is asked again after this: somebody may have changed a permission.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// How often whom is watched is looked for.
const WATCH_EVERY: Duration = Duration::from_millis(200);

/// The broker's code for what its permissions forbid.
const REFUSED: u16 = 403;

/// The broker answers in milliseconds, unless the node is frozen that has the queue.
const PATIENCE: Duration = Duration::from_secs(1);

/// The message type of a look, which says nothing. A process of an earlier version takes it for words that it does not
/// understand.
const LOOK: &str = "tgw.look";

/// Whether words come and go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hearing {
    /// There is no connection.
    #[default]
    Lost,
    Connected,
    /// There is a connection, and the broker allows no fanout on it.
    Deaf,
}

/// What can be heard, and a number that is another one with every change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation {
    pub number: u64,
    pub hearing: Hearing,
}

/// What is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Change(Generation),
    /// Somebody's words, or one's own.
    Words(Bytes),
    /// The one that was watched is not there.
    Gone(Uuid),
}

/// One process's end.
pub struct Fanout {
    name: Uuid,
    say: watch::Sender<Bytes>,
    watched: watch::Sender<Option<Uuid>>,
    heard: mpsc::Receiver<(u64, Heard)>,
    generation: watch::Receiver<Generation>,
}

impl Fanout {
    /// This end's name, by which others may watch it.
    pub fn name(&self) -> Uuid {
        self.name
    }

    /// Watches another end, in place of whom was watched before: [`Heard::Gone`] tells when the broker does not know
    /// it any more, within a quarter of a second where its process died (a frozen one it knows for longer).
    pub fn watch(&self, whom: Option<Uuid>) {
        self.watched.send_if_modified(|watched| std::mem::replace(watched, whom) != whom);
    }

    /// Says something. What could not go out before it is not said any more.
    pub fn say(&self, words: Bytes) {
        self.say.send_replace(words);
    }

    /// Which connection there is now, as soon as it is there: what is heard comes later.
    pub fn generation(&self) -> watch::Receiver<Generation> {
        self.generation.clone()
    }

    /// The next thing that is heard. May be dropped and asked again.
    pub async fn heard(&mut self) -> Heard {
        loop {
            tokio::select! {
                biased;
                Ok(()) = self.generation.changed() => {
                    return Heard::Change(*self.generation.borrow_and_update());
                }
                Some((number, heard)) = self.heard.recv() => {
                    // What was heard on an earlier connection tells nothing of this one.
                    if number == self.generation.borrow().number {
                        return heard;
                    }
                }
                // The supervisor has ended, and with it everything that could be heard.
                else => std::future::pending().await,
            }
        }
    }
}

/// The supervisor's end: serves one connection after the other.
#[derive(Clone)]
pub(super) struct Relay {
    exchange: String,
    name: Uuid,
    say: watch::Receiver<Bytes>,
    watched: watch::Receiver<Option<Uuid>>,
    heard: mpsc::Sender<(u64, Heard)>,
    generation: watch::Sender<Generation>,
    readiness: Readiness,
    accepted: Accepted,
}

/// `readiness` is told to an operator who asks, and which secrets are taken is proved to one who knows them.
pub(super) fn pair(exchange: String, readiness: Readiness, accepted: Accepted) -> (Fanout, Relay) {
    let (say, said) = watch::channel(Bytes::new());
    let (watched_in, watched) = watch::channel(None);
    let (heard_in, heard) = mpsc::channel(WAITING);
    let (generation_in, generation) = watch::channel(Generation::default());
    let name = Uuid::new_v4();
    let relay = Relay {
        exchange,
        name,
        say: said,
        watched,
        heard: heard_in,
        generation: generation_in,
        readiness,
        accepted,
    };
    (Fanout { name, say, watched: watched_in, heard, generation }, relay)
}

impl Relay {
    /// Relays for as long as the connection lasts. A broker that allows none of it costs no more than that.
    pub async fn serve(mut self, connection: &Connection) {
        let generation = self.generation.clone();
        let _lost = Lost(&generation);
        let watching = self.clone();
        loop {
            let ended = tokio::select! {
                ended = self.relay(connection) => ended,
                error = watching.watch(connection) => Err(error),
            };
            if !connection.status().connected() {
                return std::future::pending().await;
            }
            let error = ended.map_or_else(|error| error.to_string(), |()| "its queue is gone".to_owned());
            events::fanout_lost(&self.exchange, &error);
            change(&generation, Hearing::Deaf);
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// Looks for the queue of whom is watched, which is there for as long as its process has a connection.
    async fn watch(&self, connection: &Connection) -> lapin::Error {
        let mut watched = self.watched.clone();
        let mut open: Option<Channel> = None;
        loop {
            tokio::time::sleep(WATCH_EVERY).await;
            // What waits for an alarm's end could be written behind the close of its channel, and cost the connection.
            if connection.status().blocked() {
                continue;
            }
            let Some(whom) = *watched.borrow_and_update() else {
                // An error is the other end's being gone: there is nobody to watch for.
                if watched.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                continue;
            };
            let channel = match open.take() {
                Some(channel) => channel,
                None => match open_confirming(connection).await {
                    Ok(channel) => channel,
                    Err(error) => return error,
                },
            };
            match timeout(PATIENCE, self.is_there(&channel, whom)).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => {
                    let number = self.generation.borrow().number;
                    self.heard.try_send((number, Heard::Gone(whom))).ok();
                }
                // Its permissions allow no message without an exchange: who has gone is missed when he is silent.
                Ok(Err(error)) if closing_code(&error).is_some_and(|(code, _)| code == REFUSED) => {
                    std::future::pending::<()>().await;
                }
                Ok(Err(error)) => return error,
                // A confirm that comes late would be taken for the next one's answer.
                Err(_) => continue,
            }
            open = Some(channel);
        }
    }

    /// Sends a message that nobody keeps: what has no queue comes back before its confirm (facts R10). Asked by a passive
    /// declaration, the broker would close the channel for either answer, five times a second, and write an error to its
    /// log; and a connection has so many channels only (`connection::open_channel`).
    async fn is_there(&self, channel: &Channel, whom: Uuid) -> Result<bool, lapin::Error> {
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let properties = BasicProperties::default().with_type(LOOK.into()).with_expiration("0".into());
        let sent =
            channel.basic_publish("".into(), self.queue(whom).into(), options, &[], properties).await?;
        Ok(!matches!(sent.await?, Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_))))
    }

    fn queue(&self, of: Uuid) -> String {
        format!("{}.{of}", self.exchange)
    }

    async fn relay(&mut self, connection: &Connection) -> Result<(), lapin::Error> {
        let mut channel = ConsumerChannel::new(open_channel(connection).await?);
        let mut heard = self.subscribe(&mut channel).await?;
        self.say.mark_unchanged();
        let number = change(&self.generation, Hearing::Connected);
        loop {
            tokio::select! {
                delivery = heard.next() => match delivery.transpose()? {
                    Some(delivery) if let Some(asked) = census::asked(&delivery, &self.exchange) => {
                        delivery.acker.ack(BasicAckOptions::default()).await?;
                        census::answer(connection, asked, &self.readiness, &self.accepted).await;
                    }
                    Some(delivery) if is_look(&delivery) => {
                        delivery.acker.ack(BasicAckOptions::default()).await?;
                    }
                    Some(delivery) => {
                        // What finds no room is said again.
                        self.heard.try_send((number, Heard::Words(Bytes::from(delivery.data)))).ok();
                        delivery.acker.ack(BasicAckOptions::default()).await?;
                    }
                    None => return Ok(()),
                },
                Ok(()) = self.say.changed() => {
                    let words = self.say.borrow_and_update().clone();
                    self.publish(&channel, &words).await?;
                }
            }
        }
    }

    /// A queue of our prefix, bounded and gone with the connection (facts R14: exclusive, or 4.3 refuses a queue
    /// that is not durable). Acked and with a qos, since lapin's own queue has no bound (facts L6).
    async fn subscribe(&self, channel: &mut ConsumerChannel) -> Result<lapin::Consumer, lapin::Error> {
        let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let exchange: ShortString = self.exchange.as_str().into();
        channel
            .exchange_declare(exchange.clone(), ExchangeKind::Fanout, durable, FieldTable::default())
            .await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(WAITING as i32));
        arguments.insert("x-message-ttl".into(), AMQPValue::LongInt(LIFE.as_millis() as i32));
        let exclusive = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
        let name: ShortString = self.queue(self.name).into();
        channel.queue_declare(name.clone(), exclusive, arguments).await?;
        let (bind, none) = (QueueBindOptions::default(), FieldTable::default());
        channel.queue_bind(name.clone(), exchange, "".into(), bind, none).await?;
        channel.basic_qos(64, BasicQosOptions { global: false }).await?;
        channel.consume(name, "".into()).await
    }

    async fn publish(&self, channel: &Channel, words: &[u8]) -> Result<(), lapin::Error> {
        let exchange: ShortString = self.exchange.as_str().into();
        let options = BasicPublishOptions::default();
        // The channel is in no confirm mode: there is nothing to wait for.
        channel.basic_publish(exchange, "".into(), options, words, BasicProperties::default()).await.map(drop)
    }
}

fn is_look(delivery: &Delivery) -> bool {
    delivery.properties.kind().as_ref().is_some_and(|kind| kind.as_str() == LOOK)
}

fn change(generation: &watch::Sender<Generation>, hearing: Hearing) -> u64 {
    generation.send_modify(|it| *it = Generation { number: it.number + 1, hearing });
    generation.borrow().number
}

/// Tells of the loss, however the connection's time ends.
struct Lost<'a>(&'a watch::Sender<Generation>);

impl Drop for Lost<'_> {
    fn drop(&mut self) {
        change(self.0, Hearing::Lost);
    }
}
