//! Words between processes of one kind: a fanout exchange, and a queue of each process's own that lives as long
//! as its connection. Nothing is kept and nothing is confirmed: what is said is said again soon.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ExchangeKind};
use tokio::sync::{Mutex, mpsc, watch};

/// Words that may wait on either way; what is too many is dropped (I5).
const WAITING: usize = 256;

/// What nobody took for so long is no news any more.
const LIFE: Duration = Duration::from_secs(2);

/// Counts the connections and their losses: odd while there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation(pub u64);

impl Generation {
    pub fn is_connected(self) -> bool {
        !self.0.is_multiple_of(2)
    }
}

/// What is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A connection was made, or lost, or both.
    Change(Generation),
    /// Somebody's words, or one's own.
    Words(Bytes),
}

/// One process's end.
pub struct Fanout {
    say: mpsc::Sender<Bytes>,
    words: mpsc::Receiver<Bytes>,
    generation: watch::Receiver<Generation>,
}

impl Fanout {
    /// Says something, if there is a connection with room for it.
    pub fn say(&self, words: Bytes) {
        // What does not go out is said again.
        self.say.try_send(words).ok();
    }

    /// Which connection there is now, as soon as it is there: what is heard comes later.
    pub fn generation(&self) -> watch::Receiver<Generation> {
        self.generation.clone()
    }

    /// The next thing that is heard. May be dropped and asked again.
    pub async fn heard(&mut self) -> Heard {
        tokio::select! {
            biased;
            Ok(()) = self.generation.changed() => Heard::Change(*self.generation.borrow_and_update()),
            Some(words) = self.words.recv() => Heard::Words(words),
            // The supervisor has ended, and with it everything that could be heard.
            else => std::future::pending().await,
        }
    }
}

/// The supervisor's end: serves one connection after the other.
#[derive(Clone)]
pub(super) struct Relay {
    exchange: String,
    say: Arc<Mutex<mpsc::Receiver<Bytes>>>,
    words: mpsc::Sender<Bytes>,
    generation: watch::Sender<Generation>,
}

pub(super) fn pair(exchange: String) -> (Fanout, Relay) {
    let (say, said) = mpsc::channel(WAITING);
    let (words_in, words) = mpsc::channel(WAITING);
    let (generation_in, generation) = watch::channel(Generation::default());
    let relay =
        Relay { exchange, say: Arc::new(Mutex::new(said)), words: words_in, generation: generation_in };
    (Fanout { say, words, generation }, relay)
}

impl Relay {
    /// Relays until the channel fails; returns why it ended.
    pub async fn serve(&self, connection: &Connection) -> String {
        let _lost = Lost(&self.generation);
        match self.relay(connection).await {
            Ok(()) => "nobody announces any more".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    async fn relay(&self, connection: &Connection) -> Result<(), lapin::Error> {
        // Uncontended: the connection before this one has ended.
        let mut say = self.say.lock().await;
        let channel = connection.create_channel().await?;
        let mut heard = self.subscribe(&channel).await?;
        while say.try_recv().is_ok() {}
        self.generation.send_modify(|generation| generation.0 += 1);
        loop {
            tokio::select! {
                delivery = heard.next() => match delivery.transpose()? {
                    Some(delivery) => {
                        // What finds no room is said again.
                        self.words.try_send(Bytes::from(delivery.data)).ok();
                        delivery.acker.ack(BasicAckOptions::default()).await?;
                    }
                    None => return Ok(()),
                },
                words = say.recv() => match words {
                    Some(words) => self.publish(&channel, &words).await?,
                    None => std::future::pending().await,
                },
            }
        }
    }

    /// A queue that the broker names, bounded and gone with the connection (facts R14: exclusive, or 4.3 refuses
    /// a queue that is not durable). Acked and with a qos, since lapin's own queue has no bound (facts L6).
    async fn subscribe(&self, channel: &Channel) -> Result<lapin::Consumer, lapin::Error> {
        let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let exchange: ShortString = self.exchange.as_str().into();
        channel
            .exchange_declare(exchange.clone(), ExchangeKind::Fanout, durable, FieldTable::default())
            .await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(WAITING as i32));
        arguments.insert("x-message-ttl".into(), AMQPValue::LongInt(LIFE.as_millis() as i32));
        let exclusive = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
        let queue = channel.queue_declare("".into(), exclusive, arguments).await?;
        let name = queue.name().clone();
        let (bind, none) = (QueueBindOptions::default(), FieldTable::default());
        channel.queue_bind(name.clone(), exchange, "".into(), bind, none.clone()).await?;
        channel.basic_qos(64, BasicQosOptions { global: false }).await?;
        channel.basic_consume(name, "".into(), BasicConsumeOptions::default(), none).await
    }

    async fn publish(&self, channel: &Channel, words: &[u8]) -> Result<(), lapin::Error> {
        let exchange: ShortString = self.exchange.as_str().into();
        let options = BasicPublishOptions::default();
        // The channel is in no confirm mode: there is nothing to wait for.
        channel.basic_publish(exchange, "".into(), options, words, BasicProperties::default()).await.map(drop)
    }
}

/// Tells of the loss, however the connection's time ends.
struct Lost<'a>(&'a watch::Sender<Generation>);

impl Drop for Lost<'_> {
    fn drop(&mut self) {
        self.0.send_if_modified(|generation| {
            let was_connected = generation.is_connected();
            generation.0 += u64::from(was_connected);
            was_connected
        });
    }
}
