//! What a test does on a broker by itself, over AMQP: rabbitmqctl can't, or a process of ours would do it so.

use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use tokio::time::timeout;

use crate::rabbit::Rabbit;

impl Rabbit {
    /// Deletes an exchange: rabbitmqctl can't.
    pub async fn delete_exchange(&self, name: &str) {
        let (connection, channel) = channel(self.url()).await;
        channel.exchange_delete(name.into(), ExchangeDeleteOptions::default()).await.expect("it was there");
        goodbye(&connection).await.expect("it ends");
    }

    /// Deletes a queue, with what is in it.
    pub async fn delete_queue(&self, name: &str) {
        let (connection, channel) = channel(self.url()).await;
        channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.expect("it was there");
        goodbye(&connection).await.expect("it ends");
    }

    /// Makes a classic queue that lasts: none of ours is one.
    pub async fn declare_classic(&self, name: &str) {
        let (connection, channel) = channel(self.url()).await;
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(name.into(), durable, FieldTable::default()).await.expect("nobody has it");
        goodbye(&connection).await.expect("it ends");
    }

    /// Holds an exclusive queue until the connection that is returned is closed: a lock, as a process has it.
    pub async fn lock(&self, queue: &str) -> Connection {
        let (connection, channel) = channel(self.url()).await;
        let exclusive = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
        channel.queue_declare(queue.into(), exclusive, FieldTable::default()).await.expect("nobody has it");
        connection
    }

    /// Takes what is in a queue, as somebody who knows no lock, until what is returned is dropped.
    pub async fn consume(&self, queue: &str) -> (Connection, Consumer, Channel) {
        let (connection, channel) = channel(self.url()).await;
        let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
        let consumer = channel.basic_consume(queue.into(), "".into(), options, none).await;
        (connection, consumer.expect("it is there"), channel)
    }

    /// Whether somebody has this exclusive queue.
    pub async fn is_held(&self, queue: &str) -> bool {
        let (connection, channel) = channel(self.url()).await;
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let looked = channel.queue_declare(queue.into(), passive, FieldTable::default()).await;
        goodbye(&connection).await.expect("it ends");
        looked.is_err_and(|error| error.to_string().contains("RESOURCE_LOCKED"))
    }

    /// What is said on a fanout exchange from now on.
    pub async fn hear(&self, exchange: &str) -> Hearing {
        let (connection, channel) = channel(self.url()).await;
        let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
        let declared = channel.queue_declare("".into(), exclusive, FieldTable::default()).await;
        let queue = declared.expect("a name of its own").name().clone();
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        let bound = channel.queue_bind(queue.clone(), exchange.into(), "".into(), options, none).await;
        bound.expect("the exchange is there");
        let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let consumer = channel.basic_consume(queue, "".into(), options, FieldTable::default()).await;
        Hearing { _connection: connection, consumer: consumer.expect("it is ours"), _channel: channel }
    }

    /// Says something on an exchange, as a process does that wants an answer.
    pub async fn ask(&self, exchange: &str, kind: &str, reply_to: &str) {
        let (connection, channel) = channel(self.url()).await;
        let properties = BasicProperties::default().with_type(kind.into()).with_reply_to(reply_to.into());
        let options = BasicPublishOptions::default();
        let said = channel.basic_publish(exchange.into(), "".into(), options, b"{}", properties).await;
        said.expect("the exchange is there");
        goodbye(&connection).await.expect("it ends");
    }
}

/// An ear at an exchange, as long as it is kept.
pub struct Hearing {
    _connection: Connection,
    consumer: Consumer,
    // Dropped before its consumer it can cost lapin a lock (shared/src/queue/rabbitmq/consuming.rs).
    _channel: Channel,
}

impl Hearing {
    /// Until so many messages of this kind were said.
    pub async fn wait_for(&mut self, kind: &str, count: usize) {
        let mut heard = 0;
        while heard < count {
            let message = self.consumer.next().await.expect("the broker runs").expect("it goes on");
            heard += usize::from(message.properties.kind().as_ref().is_some_and(|it| it.as_str() == kind));
        }
    }
}

/// A channel, on a connection of its own.
pub(crate) async fn channel(url: &str) -> (Connection, Channel) {
    let connection =
        Connection::connect(url, ConnectionProperties::default()).await.expect("the broker runs");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

/// Closes a connection, whose channels have nothing under way, and takes it for closed after 5 s: lapin (4.12.3) was seen,
/// once, to wait for ever for the end of a connection that the broker had seen end.
///
/// # Errors
///
/// It was lost before.
pub async fn goodbye(connection: &Connection) -> Result<(), lapin::Error> {
    timeout(Duration::from_secs(5), connection.close(200, "done".into())).await.unwrap_or(Ok(()))
}
