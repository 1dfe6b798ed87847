//! A lease is held by whoever consumes its partition, and by nobody else: over RabbitMQ, where it outlives a channel.

use std::time::{Duration, Instant};

use harness::Rabbit;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use shared::queue::{ClaimError, rabbitmq};

use crate::backend::{LONG, PARTITIONS, Place, Queue, claim, connect};

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
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// In a cluster a node that notices late that another one is gone can delete a lease that is younger, by its name.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_the_broker_has_forgotten_is_lost_and_can_be_had_again() {
    let mut rabbit = Rabbit::private().await;
    let settings = rabbitmq::Settings::new(rabbit.url(), "leases", PARTITIONS).unwrap();
    let (owner, other) = (connect(&settings), connect(&settings));
    let (claimed, untouched) = (claim(&owner, PARTITION, 8).await, claim(&owner, PARTITION + 1, 8).await);
    assert!(matches!(other.claim(PARTITION, 8).await, Err(ClaimError::Held)));

    let name = format!("leases.lease.{PARTITION}");
    let forget =
        format!("mnesia:dirty_delete(rabbit_queue, rabbit_misc:r(<<\"/\">>, queue, <<\"{name}\">>)).");
    rabbit.control(&["eval", &forget]);
    tokio::time::timeout(LONG, claimed.lost.cancelled()).await.expect("it does not know of its loss");
    claim(&other, PARTITION, 8).await.release().await;
    assert!(!untouched.lost.is_cancelled());
}
