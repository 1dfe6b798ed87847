//! Each publisher is told of its own message, and of no other's: over RabbitMQ, where confirms come by number and
//! lapin mixes them up between tasks that share a channel (facts L1).

use std::collections::HashSet;

use futures_util::{StreamExt as _, stream};
use lapin::options::{BasicGetOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, Connection, ConnectionProperties};
use shared::queue::PublishError;

use crate::backend::{PARTITIONS, Place, Queue, envelope};

/// A queue that has so many refuses the next.
const ROOM: i32 = 500;
const UPDATES: u64 = 40_000;
const AT_ONCE: usize = 2000;

/// In the place of a partition's queue stands one of little room.
async fn narrow(channel: &Channel, prefix: &str, partition: u16) -> String {
    let name = format!("{prefix}.p.{partition}");
    channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), ROOM.into());
    arguments.insert("x-overflow".into(), AMQPValue::LongString(LongString::from("reject-publish")));
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(name.as_str().into(), durable, arguments).await.unwrap();
    let (exchange, key) = (format!("{prefix}.updates"), partition.to_string());
    let bound = channel.queue_bind(
        name.as_str().into(),
        exchange.into(),
        key.into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await.unwrap();
    name
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_called_safe_among_many_that_are_refused_is_in_its_queue() {
    let Some(queue) = Queue::rabbitmq().await else { return };
    let Place::RabbitMq { settings, url } = &queue.place else { panic!("it is RabbitMQ's") };
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let name = narrow(&channel, &settings.prefix, 1).await;

    // Some of them to a queue that takes all, so that what is confirmed and what is refused come between each other.
    let updates = (1..=UPDATES)
        .map(|id| envelope(id, i64::try_from(id).unwrap()))
        .filter(|update| update.partition(PARTITIONS) < 2);
    let told: Vec<_> = stream::iter(updates)
        .map(|update| {
            let publisher = queue.publisher.clone();
            async move {
                // Each by a task of its own, so that they come from all threads at once.
                let publishing = async move {
                    (update.partition(PARTITIONS), update.update_id, publisher.publish(&update).await)
                };
                tokio::spawn(publishing).await.unwrap()
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let (mut safe, mut refused) = (HashSet::new(), HashSet::new());
    for (partition, id, told) in told {
        match told {
            Ok(()) if partition == 1 => drop(safe.insert(id)),
            // As much waited as may wait; or a channel that heard nothing but refusals for 10 s was changed for another
            // one. Nobody knows of those.
            Ok(()) | Err(PublishError::Blocked | PublishError::Away) => {}
            Err(PublishError::Refused) if partition == 1 => drop(refused.insert(id)),
            other => panic!("update {id} of partition {partition}: {other:?}"),
        }
    }
    assert!(
        safe.len() >= ROOM as usize && refused.len() > 1000,
        "{} safe, {} refused",
        safe.len(),
        refused.len()
    );

    let mut kept = HashSet::new();
    let acked = BasicGetOptions { no_ack: true };
    while let Some(message) = channel.basic_get(name.as_str().into(), acked).await.unwrap() {
        let update: serde_json::Value = serde_json::from_slice(&message.delivery.data).unwrap();
        kept.insert(update["update_id"].as_u64().unwrap());
    }
    assert_eq!(safe.difference(&kept).count(), 0, "called safe, and not there");
    assert_eq!(kept.intersection(&refused).count(), 0, "there, and called refused");
}
