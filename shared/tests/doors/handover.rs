//! What a partition's next owner is handed first, whoever had it before: all that was handed out, before all that
//! was not (facts R4), so that sorting the first of it restores the order.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use shared::queue::{Claim, Delivery, partition_of};

use crate::backend::{PARTITIONS, Place, Queue, claim, id, ids, publish, take};

crate::over_both!(Queue, rabbitmq:
    the_next_owner_is_handed_the_lowest_first,
    a_renewed_claim_is_handed_the_lowest_first,
    what_was_handed_out_before_a_renewal_can_still_be_acked,
    a_paused_claim_is_handed_nothing_more,
    a_renewal_is_no_return,
    a_forgotten_consumer_is_handed_nothing,
);

const LANE: i64 = 7;

fn partition() -> u16 {
    partition_of(LANE, PARTITIONS)
}

async fn first(claim: &mut Claim, count: usize) -> BTreeSet<u64> {
    take(claim, count).await.iter().map(id).collect()
}

/// Acks the lowest of them, as many as that.
async fn ack_lowest(mut taken: Vec<Delivery>, count: usize, left: &mut BTreeSet<u64>) {
    taken.sort_by_key(id);
    for delivery in taken.into_iter().take(count) {
        left.remove(&id(&delivery));
        delivery.receipt.ack().await.unwrap();
    }
}

async fn the_next_owner_is_handed_the_lowest_first(queue: Queue) {
    const IN_HAND: usize = 200;
    publish(&queue.publisher, 0..1000, LANE).await;
    let mut left: BTreeSet<u64> = (0..1000).collect();
    for trial in 0..6 {
        let other = queue.another_consumer();
        let mut before = claim(&other, partition(), IN_HAND as u16).await;
        // Some are on the wire, some are in hand, and some of those are ended while the claim is closed.
        let taken = take(&mut before, IN_HAND / 2).await;
        before.close().await;
        ack_lowest(taken, 30, &mut left).await;
        before.release().await;
        let mut next = queue.claim(partition(), IN_HAND as u16).await;
        let lowest: BTreeSet<u64> = left.iter().copied().take(IN_HAND).collect();
        assert_eq!(first(&mut next, IN_HAND).await, lowest, "trial {trial}");
        next.release().await;
    }
}

async fn a_renewed_claim_is_handed_the_lowest_first(queue: Queue) {
    const IN_HAND: usize = 60;
    publish(&queue.publisher, 0..500, LANE).await;
    let mut left: BTreeSet<u64> = (0..500).collect();
    let mut claim = queue.claim(partition(), IN_HAND as u16).await;
    if !claim.has_to_be_renewed() {
        return;
    }
    for trial in 0..8 {
        let taken = take(&mut claim, IN_HAND / 2).await;
        ack_lowest(taken, 20, &mut left).await;
        claim.renew(IN_HAND as u16).await.unwrap();
        assert_eq!(claim.updates.returned, Some(left.len() as u32), "the broker knows how many there are");
        let lowest: BTreeSet<u64> = left.iter().copied().take(IN_HAND).collect();
        assert_eq!(first(&mut claim, IN_HAND).await, lowest, "trial {trial}");
        claim.renew(IN_HAND as u16).await.unwrap();
    }
}

async fn what_was_handed_out_before_a_renewal_can_still_be_acked(queue: Queue) {
    publish(&queue.publisher, 0..3, LANE).await;
    let mut claim = queue.claim(partition(), 10).await;
    let before = take(&mut claim, 2).await;
    claim.renew(10).await.unwrap();
    for delivery in before {
        delivery.receipt.ack().await.unwrap();
    }
    // On RabbitMQ too late: they come again.
    let again = if claim.has_to_be_renewed() { 0..3 } else { 2..3 };
    assert_eq!(first(&mut claim, again.clone().count()).await, again.collect());
    assert!(!claim.lost.is_cancelled());
}

async fn a_paused_claim_is_handed_nothing_more(queue: Queue) {
    let mut claim = queue.claim(partition(), 10).await;
    if !claim.has_to_be_renewed() {
        return;
    }
    claim.pause().await;
    publish(&queue.publisher, 0..3, LANE).await;
    assert!(claim.updates.deliveries.try_recv().is_err());
    claim.renew(10).await.unwrap();
    assert_eq!(first(&mut claim, 3).await, (0..3).collect());
}

/// Returns are all that tells poison where no store can be asked (facts R7).
async fn a_renewal_is_no_return(queue: Queue) {
    const RENEWALS: u32 = 5;
    publish(&queue.publisher, 0..2, LANE).await;
    let mut claim = queue.claim(partition(), 10).await;
    if !claim.has_to_be_renewed() {
        return;
    }
    let returns = |taken: Vec<Delivery>| taken.iter().map(|delivery| delivery.returns).collect::<Vec<u32>>();
    let looks = returns(take(&mut claim, 2).await);
    for renewal in 0..RENEWALS {
        claim.renew(10).await.unwrap();
        assert_eq!(returns(take(&mut claim, 2).await), looks, "renewal {renewal}");
    }
    claim.release().await;
    // The next owner can't tell them from what a death leaves.
    let mut next = queue.claim(partition(), 10).await;
    let counted = returns(take(&mut next, 2).await);
    assert!(counted.iter().all(|&count| count > RENEWALS), "{counted:?}");
}

/// A node that was frozen and goes on brings its dead connections' consumers back, for as long as it takes to notice that
/// they are dead.
async fn a_forgotten_consumer_is_handed_nothing(queue: Queue) {
    const IN_HAND: usize = 50;
    let Place::RabbitMq { settings, url } = &queue.place else { return };
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.basic_qos(IN_HAND as u16, BasicQosOptions::default()).await.unwrap();
    let (name, options) = (format!("{}.p.{}", settings.prefix, partition()), BasicConsumeOptions::default());
    let mut forgotten =
        channel.basic_consume(name.into(), "".into(), options, FieldTable::default()).await.unwrap();
    let mut claim = queue.claim(partition(), IN_HAND as u16).await;
    publish(&queue.publisher, 0..IN_HAND as u64, LANE).await;
    assert_eq!(ids(&take(&mut claim, IN_HAND).await), (0..IN_HAND as u64).collect::<Vec<_>>());
    // What is more than the owner may have in hand is handed to whoever there is.
    publish(&queue.publisher, IN_HAND as u64..IN_HAND as u64 + 1, LANE).await;
    assert!(forgotten.next().await.unwrap().is_ok());
}
