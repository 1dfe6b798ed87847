//! What a broker that was killed hands out first: what was in hand. Right after its start a queue answers who asks for
//! its state before it has carried out again all that it confirmed, as if there had been no last claim (facts R6a).

use std::time::Duration;

use futures_util::future::join_all;
use harness::Rabbit;
use shared::queue::rabbitmq::{self, Link};
use shared::queue::{Claim, Consumer, Delivery, Publisher, partition_of};
use shared::readiness::Readiness;

use crate::backend::{PARTITIONS, claim, connect, id, ids, next, publish, take};

/// Of each partition before each kill. What is carried out again is what came after the queue last wrote down how far it
/// was, every 5 s: the more that is, the longer the moment.
const UPDATES: u64 = 2000;

const IN_HAND: u16 = 256;

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_was_killed_hands_out_first_what_was_in_hand() {
    let mut rabbit = Rabbit::private().await;
    let settings = rabbitmq::Settings::new(rabbit.url(), "restart", PARTITIONS).unwrap();
    let publisher = rabbitmq::publisher(settings.clone(), Readiness::default(), "publisher");
    let mut link = publisher.link();
    let publisher = Publisher::RabbitMq(publisher);
    let lanes: Vec<i64> = (0..PARTITIONS)
        .map(|partition| (0..).find(|lane| partition_of(*lane, PARTITIONS) == partition).unwrap())
        .collect();
    let queues: Vec<String> = (0..PARTITIONS).map(|partition| format!("restart.p.{partition}")).collect();
    let mut consumer = connect(&settings);
    drop(claim_all(&consumer, 1).await);
    rabbit.wait_durable(&queues).await;
    for round in 0..2 {
        let all = round * UPDATES..(round + 1) * UPDATES;
        link.wait_for(|link| *link == Link::Up).await.unwrap();
        for lane in &lanes {
            publish(&publisher, all.clone(), *lane).await;
        }
        let mut claims = claim_all(&consumer, IN_HAND).await;
        for claim in &mut claims {
            take(claim, IN_HAND.into()).await;
        }
        rabbit.kill();
        rabbit.start().await;
        consumer = connect(&settings);
        for mut claim in claim_all(&consumer, IN_HAND).await {
            let mut taken = take(&mut claim, IN_HAND.into()).await;
            taken.sort_by_key(id);
            let lowest = all.clone().take(IN_HAND.into());
            assert!(taken.iter().map(id).eq(lowest), "of {}: {:?}", claim.partition, ids(&taken));
            end_all(&mut claim, taken, UPDATES as usize).await;
            // The broker passes acks on by and by, and forgets those of a channel that is closed meanwhile.
            tokio::time::sleep(Duration::from_secs(1)).await;
            claim.release().await;
        }
    }
}

async fn claim_all(consumer: &Consumer, prefetch: u16) -> Vec<Claim> {
    join_all((0..PARTITIONS).map(|partition| claim(consumer, partition, prefetch))).await
}

/// What was taken, and what follows, as many as that in all.
async fn end_all(claim: &mut Claim, taken: Vec<Delivery>, count: usize) {
    let rest = count - taken.len();
    for delivery in taken {
        delivery.receipt.ack().await.unwrap();
    }
    for _ in 0..rest {
        next(claim).await.receipt.ack().await.unwrap();
    }
}
