//! What stands on the broker: an exchange, the partitions' queues and the bulk ones, the dead letters, the marker.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ErrorKind, ExchangeKind};

use super::Settings;
use super::connection::{Connection, open_channel};
use crate::events;
use crate::queue::Bulk;

/// A quorum queue's leader answers in milliseconds, on a busy machine in tenths of a second.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub(super) enum TopologyError {
    /// `broker` is the number that the queues were made with, or a question mark.
    #[error("the queues were made for {broker} partitions")]
    Partitions { broker: String },
    #[error(transparent)]
    Broker(#[from] lapin::Error),
}

impl Settings {
    pub(super) fn exchange(&self) -> String {
        format!("{}.updates", self.prefix)
    }

    pub(super) fn spools_exchange(&self) -> String {
        format!("{}.spools", self.prefix)
    }

    pub(super) fn workers_exchange(&self) -> String {
        format!("{}.workers", self.prefix)
    }

    /// Where processes answer who asks how they are.
    pub(super) fn status_exchange(&self) -> String {
        format!("{}.status", self.prefix)
    }

    pub(super) fn partition_queue(&self, partition: u16) -> String {
        match Bulk::of(partition) {
            Some(bulk) => format!("{}.bulk.{}", self.prefix, bulk.as_str()),
            None => format!("{}.p.{partition}", self.prefix),
        }
    }

    pub(super) fn dead_queue(&self) -> String {
        format!("{}.dead", self.prefix)
    }

    pub(super) fn lease_queue(&self, partition: u16) -> String {
        format!("{}.lease.{partition}", self.prefix)
    }

    /// Whoever holds it has the dead letters to himself.
    pub(super) fn dead_lock(&self) -> String {
        format!("{}.dead.lock", self.prefix)
    }

    /// Where that one is asked, by who wants to look.
    pub(super) fn dead_desk(&self) -> String {
        format!("{}.dead.desk", self.prefix)
    }

    /// What the queues of those who ask begin with.
    pub(super) fn dead_visitors(&self) -> String {
        format!("{}.dead.visitor.", self.prefix)
    }

    pub(super) fn marker(&self) -> String {
        format!("{}.partitions", self.prefix)
    }
}

/// Declares everything; what is there already stays as it is.
pub(super) async fn declare(connection: &Connection, settings: &Settings) -> Result<(), TopologyError> {
    let channel = open_channel(connection).await?;
    declare_marker(&channel, settings).await?;
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let exchange = settings.exchange();
    channel.exchange_declare(exchange.into(), ExchangeKind::Direct, durable, FieldTable::default()).await?;
    declare_quorum(&channel, settings.dead_queue()).await?;
    declare_partitions(connection, channel, settings).await
}

/// Declares each partition's queue, and the bulk queues. One that does not answer costs its own partition, not the others: its
/// node may be down, or its log lost.
async fn declare_partitions(
    connection: &Connection,
    mut channel: Channel,
    settings: &Settings,
) -> Result<(), TopologyError> {
    for partition in (0..settings.partitions).chain(Bulk::ALL.map(Bulk::partition)) {
        match tokio::time::timeout(PATIENCE, declare_partition(&channel, settings, partition)).await {
            Ok(declared) => declared?,
            Err(_) => {
                events::partition_silent(partition);
                // What waits for that queue's answer would hold up whatever comes behind it on the channel.
                channel = open_channel(connection).await?;
            }
        }
    }
    channel.close(200, "declared".into()).await?;
    Ok(())
}

/// Declares one partition's queue and binds it: again before each consume, since somebody may have
/// deleted it meanwhile.
pub(super) async fn declare_partition(
    channel: &Channel,
    settings: &Settings,
    partition: u16,
) -> Result<(), lapin::Error> {
    let queue = settings.partition_queue(partition);
    declare_quorum(channel, queue.clone()).await?;
    let key = partition.to_string();
    let exchange = settings.exchange();
    let options = QueueBindOptions::default();
    channel.queue_bind(queue.into(), exchange.into(), key.into(), options, FieldTable::default()).await
}

/// Quorum, also on one node: faster and safer than classic (facts R11). The delivery limit is neither
/// absent nor -1, which means 20 on one version and 0 on another (facts R7).
pub(super) async fn declare_quorum(channel: &Channel, queue: String) -> Result<(), lapin::Error> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(1_000_000));
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(queue.into(), durable, arguments).await.map(|_| ())
}

/// An exchange that nobody publishes to, whose alternate names the number: whoever declares it with another one is
/// refused, and that is how a part whose PARTITIONS disagrees finds out. No queue, since in a cluster each node has
/// the exchanges, and a queue may have to wait for a node that is down, and everybody with it (facts R15).
pub(super) async fn declare_marker(channel: &Channel, settings: &Settings) -> Result<(), TopologyError> {
    let mut arguments = FieldTable::default();
    let alternate = format!("{}.{}", settings.marker(), settings.partitions);
    arguments.insert("alternate-exchange".into(), AMQPValue::LongString(alternate.into()));
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let marker = settings.marker();
    match channel.exchange_declare(marker.into(), ExchangeKind::Fanout, durable, arguments).await {
        Ok(()) => Ok(()),
        Err(error) => Err(match closing_code(&error) {
            Some((406, text)) => TopologyError::Partitions { broker: number_in(&text) },
            _ => TopologyError::Broker(error),
        }),
    }
}

/// The code and text with which the broker closed a channel.
pub(super) fn closing_code(error: &lapin::Error) -> Option<(u16, String)> {
    match error.kind() {
        ErrorKind::ProtocolError(closed) => Some((closed.get_id(), closed.get_message().to_string())),
        _ => None,
    }
}

/// The number in `… received 'tgw.partitions.16' but current is 'tgw.partitions.32'`.
fn number_in(text: &str) -> String {
    let current = text.split("current is").nth(1).unwrap_or_default();
    let last = current.rsplit('.').next().unwrap_or_default();
    let digits: String = last.chars().take_while(char::is_ascii_digit).collect();
    if digits.is_empty() { "?".to_owned() } else { digits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brokers_number_is_read_from_its_refusal() {
        let text = "PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange 't.1.partitions' in vhost '/': received 't.1.partitions.16' but current is 't.1.partitions.32'";
        assert_eq!(number_in(text), "32");
        assert_eq!(number_in("something else"), "?");
    }
}
