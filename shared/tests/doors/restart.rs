//! What a broker that was killed hands out first: what was in hand. Right after its start a queue answers who asks for
//! its state before it has carried out again all that it confirmed, as if there had been no last claim (facts R6a).

use futures_util::future::join_all;
use harness::Rabbit;
use shared::queue::{Claim, Consumer, Publisher, partition_of, rabbitmq};
use shared::readiness::Readiness;

use crate::backend::{PARTITIONS, claim, connect, ids, publish, take};

/// Of each partition. What is carried out again is what came after the queue last wrote down how far it
/// was, every 5 s: the more that is, the longer the moment.
const UPDATES: u64 = 2000;

const IN_HAND: u16 = 256;

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_was_killed_hands_out_first_what_was_in_hand() {
    let mut rabbit = Rabbit::private().await;
    let settings = rabbitmq::Settings::new(rabbit.url(), "restart", PARTITIONS).unwrap();
    let publisher =
        Publisher::RabbitMq(rabbitmq::publisher(settings.clone(), Readiness::default(), "publisher"));
    let lanes: Vec<i64> = (0..PARTITIONS)
        .map(|partition| (0..).find(|lane| partition_of(*lane, PARTITIONS) == partition).unwrap())
        .collect();
    let queues: Vec<String> = (0..PARTITIONS).map(|partition| format!("restart.p.{partition}")).collect();
    // Makes the queues.
    drop(claim_all(&connect(&settings), 1).await);
    rabbit.wait_durable(&queues).await;
    for lane in &lanes {
        publish(&publisher, 0..UPDATES, *lane).await;
    }
    let mut claims = claim_all(&connect(&settings), IN_HAND).await;
    for claim in &mut claims {
        take(claim, IN_HAND.into()).await;
    }
    rabbit.kill();
    rabbit.start().await;
    for mut claim in claim_all(&connect(&settings), IN_HAND).await {
        let mut taken = ids(&take(&mut claim, IN_HAND.into()).await);
        taken.sort_unstable();
        assert!(taken.iter().copied().eq(0..IN_HAND.into()), "of {}: {taken:?}", claim.partition);
    }
}

async fn claim_all(consumer: &Consumer, prefetch: u16) -> Vec<Claim> {
    join_all((0..PARTITIONS).map(|partition| claim(consumer, partition, prefetch))).await
}
