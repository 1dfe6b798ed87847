//! A lease is held by whoever consumes its partition, and by nobody else: over RabbitMQ, where it outlives a channel.

use std::time::Instant;

use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use shared::queue::ClaimError;

use crate::backend::{LONG, PARTITIONS, Place, Queue, claim};

const PARTITION: u16 = 1;

async fn channel(url: &str) -> Channel {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    connection.create_channel().await.unwrap()
}

/// In the place of a partition's queue stands one that can't be consumed as it should be, as if its node were gone.
async fn spoil(channel: &Channel, name: &str) {
    channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.unwrap();
    channel.queue_declare(name.into(), QueueDeclareOptions::default(), FieldTable::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_can_not_consume_a_partition_keeps_no_lease_of_it() {
    let Some(queue) = Queue::rabbitmq().await else { return };
    let Place::RabbitMq { settings, url } = &queue.place else { panic!("it is RabbitMQ's") };
    let other = queue.another_consumer();
    claim(&other, (PARTITION + 1) % PARTITIONS, 1).await.release().await;

    let (channel, name) = (channel(url).await, format!("{}.p.{PARTITION}", settings.prefix));
    spoil(&channel, &name).await;
    assert!(matches!(other.claim(PARTITION, 1).await, Err(ClaimError::Away)));
    channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.unwrap();

    let deadline = Instant::now() + LONG;
    loop {
        match queue.consumer.claim(PARTITION, 1).await {
            Ok(claim) => break claim.release().await,
            Err(error) => assert!(Instant::now() < deadline, "the lease is still the other's: {error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
