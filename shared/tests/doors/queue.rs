//! What the door of the queue promises, whichever room is behind it.

use std::time::Duration;

use bytes::Bytes;
use shared::queue::{Bulk, ClaimError, Envelope, partition_of};

use crate::backend::{PARTITIONS, Queue, claim, envelope, id, ids, next, take};

crate::over_both!(Queue, rabbitmq:
    updates_come_in_order_within_their_partition,
    a_claim_is_woken_by_what_is_published_later,
    what_was_not_acked_comes_again_before_what_is_new,
    what_was_acked_does_not_come_again,
    what_was_to_be_acked_soon_does_not_come_again,
    acks_that_may_be_late_make_room_above_one_that_is_held,
    a_partition_has_one_claim_at_a_time,
    a_refused_claim_costs_nothing_that_is_held,
    a_partition_dropped_and_claimed_again_is_held,
    a_closed_claim_lets_its_updates_end_and_leaves_the_rest,
    no_more_than_the_prefetch_is_in_hand,
    a_claim_that_ends_says_so_to_its_handlers,
    an_ack_that_comes_after_its_claim_hits_no_other_update,
    an_envelope_and_its_bytes_arrive_unchanged,
    a_bulk_queue_is_claimed_like_a_partition_and_beside_them,
);

const LANE: i64 = 42;

fn partition() -> u16 {
    partition_of(LANE, PARTITIONS)
}

fn in_lane(updates: impl IntoIterator<Item = u64>) -> impl Iterator<Item = Envelope> {
    updates.into_iter().map(|update_id| envelope(update_id, LANE))
}

async fn updates_come_in_order_within_their_partition(queue: Queue) {
    let all: Vec<Envelope> = (0..200).map(|n| envelope(n, n as i64 % 17)).collect();
    // A claim may look at what is there, which comes again then: so nothing is there yet.
    let mut claims = Vec::new();
    for partition in 0..PARTITIONS {
        claims.push((partition, queue.claim(partition, 16).await));
    }
    queue.publish(all.clone()).await;
    for (partition, claim) in &mut claims {
        for update in all.iter().filter(|update| update.partition(PARTITIONS) == *partition) {
            let delivery = next(claim).await;
            assert_eq!(delivery.content.as_ref(), Ok(update));
            assert!(!delivery.redelivered);
            delivery.receipt.ack().await.unwrap();
        }
    }
}

async fn a_claim_is_woken_by_what_is_published_later(queue: Queue) {
    let mut claim = queue.claim(partition(), 2).await;
    for update_id in 1..=20 {
        queue.publish(in_lane([update_id])).await;
        let delivery = next(&mut claim).await;
        assert_eq!(id(&delivery), update_id);
        delivery.receipt.ack().await.unwrap();
    }
}

async fn what_was_not_acked_comes_again_before_what_is_new(queue: Queue) {
    queue.publish(in_lane(1..=20)).await;
    let mut first = queue.claim(partition(), 8).await;
    let begun: Vec<u64> = ids(&take(&mut first, 5).await);
    assert_eq!(begun, [1, 2, 3, 4, 5]);
    drop(first);
    let mut second = queue.claim(partition(), 32).await;
    let again = take(&mut second, 20).await;
    let (mut old, new): (Vec<_>, Vec<_>) = again.iter().partition(|delivery| delivery.redelivered);
    assert!(old.len() >= 5 && old.len() <= 8, "{} of them were handed out before", old.len());
    assert!(again[..old.len()].iter().all(|delivery| delivery.redelivered), "the old ones come first");
    // On RabbitMQ they may have lost their order among themselves (facts R4).
    if matches!(queue.place, crate::backend::Place::RabbitMq { .. }) {
        old.sort_by_key(|delivery| id(delivery));
    }
    let in_order: Vec<u64> = old.into_iter().chain(new).map(id).collect();
    assert_eq!(in_order, (1..=20).collect::<Vec<_>>());
}

async fn what_was_acked_does_not_come_again(queue: Queue) {
    queue.publish(in_lane(1..=6)).await;
    let mut first = queue.claim(partition(), 6).await;
    for delivery in take(&mut first, 6).await {
        if id(&delivery).is_multiple_of(2) {
            delivery.receipt.ack().await.unwrap();
        }
    }
    first.release().await;
    let mut second = queue.claim(partition(), 6).await;
    let mut again = ids(&take(&mut second, 3).await);
    again.sort_unstable();
    assert_eq!(again, [1, 3, 5]);
    queue.publish(in_lane([7])).await;
    assert_eq!(id(&next(&mut second).await), 7, "nothing lies between them");
}

async fn what_was_to_be_acked_soon_does_not_come_again(queue: Queue) {
    queue.publish(in_lane(1..=25)).await;
    let mut first = queue.claim(partition(), 100).await;
    for delivery in take(&mut first, 25).await {
        if id(&delivery) != 7 && id(&delivery) != 20 {
            delivery.receipt.ack_soon().await.unwrap();
        }
    }
    // Sooner than acks are gathered.
    first.release().await;
    let mut second = queue.claim(partition(), 100).await;
    let mut again = ids(&take(&mut second, 2).await);
    again.sort_unstable();
    assert_eq!(again, [7, 20]);
    queue.publish(in_lane([26])).await;
    assert_eq!(id(&next(&mut second).await), 26, "nothing lies between them");
}

async fn acks_that_may_be_late_make_room_above_one_that_is_held(queue: Queue) {
    queue.publish(in_lane(1..=60)).await;
    for prefetch in [2, 40] {
        let mut claim = queue.claim(partition(), prefetch).await;
        let held = next(&mut claim).await;
        for _ in 0..10 {
            // No more than this are gathered while others come, so there is always room for the next.
            next(&mut claim).await.receipt.ack_soon().await.unwrap();
        }
        assert!(held.receipt.ack().await.is_ok());
        claim.release().await;
    }
    let mut claim = queue.claim(partition(), 2).await;
    let (held, last) = (next(&mut claim).await, next(&mut claim).await);
    last.receipt.ack_soon().await.unwrap();
    next(&mut claim).await.receipt.ack_soon().await.unwrap();
    next(&mut claim).await;
    drop(held);
    claim.release().await;
    let mut claim = queue.claim(partition(), 64).await;
    let left = 60 - 22 - 2;
    take(&mut claim, left).await;
    queue.publish(in_lane([61])).await;
    assert_eq!(id(&next(&mut claim).await), 61, "all that was acked stays so");
}

async fn a_partition_has_one_claim_at_a_time(queue: Queue) {
    let other = queue.another_consumer();
    let first = queue.claim(partition(), 1).await;
    assert!(matches!(other.claim(partition(), 1).await, Err(ClaimError::Held)));
    let neighbour = claim(&other, (partition() + 1) % PARTITIONS, 1).await;
    first.release().await;
    let second =
        other.claim(partition(), 1).await.unwrap_or_else(|error| panic!("after the release: {error}"));
    assert!(matches!(queue.consumer.claim(partition(), 1).await, Err(ClaimError::Held)));
    drop((neighbour, second));
    drop(queue.claim(partition(), 1).await);
}

async fn a_refused_claim_costs_nothing_that_is_held(queue: Queue) {
    let other = queue.another_consumer();
    let mut held = claim(&other, partition(), 4).await;
    let neighbour = (partition() + 1) % PARTITIONS;
    let _taken = queue.claim(neighbour, 1).await;
    for update_id in 1..=10 {
        assert!(matches!(other.claim(neighbour, 1).await, Err(ClaimError::Held)));
        queue.publish(in_lane([update_id])).await;
        let delivery = next(&mut held).await;
        assert_eq!((id(&delivery), delivery.redelivered), (update_id, false));
        delivery.receipt.ack().await.unwrap();
    }
    assert!(!held.lost.is_cancelled());
}

async fn a_partition_dropped_and_claimed_again_is_held(queue: Queue) {
    let other = queue.another_consumer();
    for update_id in 1..=5 {
        drop(queue.claim(partition(), 1).await);
        let mut claim = queue.claim(partition(), 1).await;
        // Whatever is left to do for the one that was dropped is done when an update has come through.
        queue.publish(in_lane([update_id])).await;
        next(&mut claim).await.receipt.ack().await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(matches!(other.claim(partition(), 1).await, Err(ClaimError::Held)));
        claim.release().await;
    }
}

async fn a_closed_claim_lets_its_updates_end_and_leaves_the_rest(queue: Queue) {
    queue.publish(in_lane(1..=6)).await;
    let mut first = queue.claim(partition(), 3).await;
    let begun = take(&mut first, 3).await;
    first.close().await;
    for delivery in begun {
        delivery.receipt.ack().await.unwrap();
    }
    assert!(!first.lost.is_cancelled(), "what was begun may end");
    assert!(first.updates.deliveries.recv().await.is_none(), "nothing more is handed out");
    first.release().await;
    let mut second = queue.claim(partition(), 3).await;
    let mut rest = ids(&take(&mut second, 3).await);
    // RabbitMQ may hand out what comes back in any order (facts R4), and a claim looks at one of it.
    rest.sort_unstable();
    assert_eq!(rest, [4, 5, 6]);
}

async fn no_more_than_the_prefetch_is_in_hand(queue: Queue) {
    queue.publish(in_lane(1..=10)).await;
    let mut claim = queue.claim(partition(), 4).await;
    let mut in_hand = take(&mut claim, 4).await;
    let silence = Duration::from_millis(200);
    for update_id in 5..=10 {
        assert!(
            tokio::time::timeout(silence, claim.updates.deliveries.recv()).await.is_err(),
            "a fifth came"
        );
        in_hand.remove(0).receipt.ack().await.unwrap();
        in_hand.push(next(&mut claim).await);
        assert_eq!(in_hand.last().map(id), Some(update_id));
    }
    // Forgetting one without an ack makes no room: it may come again only after this claim.
    drop(in_hand.remove(0));
    assert!(tokio::time::timeout(silence, claim.updates.deliveries.recv()).await.is_err());
}

async fn a_claim_that_ends_says_so_to_its_handlers(queue: Queue) {
    let dropped = queue.claim(partition(), 1).await;
    let lost = dropped.lost.clone();
    assert!(!lost.is_cancelled());
    drop(dropped);
    tokio::time::timeout(crate::backend::LONG, lost.cancelled()).await.unwrap();
    let released = queue.claim(partition(), 1).await;
    let lost = released.lost.clone();
    released.release().await;
    tokio::time::timeout(crate::backend::LONG, lost.cancelled()).await.unwrap();
}

async fn an_ack_that_comes_after_its_claim_hits_no_other_update(queue: Queue) {
    queue.publish(in_lane([1])).await;
    let mut first = queue.claim(partition(), 1).await;
    let late = next(&mut first).await;
    first.release().await;
    // It may be refused or not; an update whose ack is refused comes again.
    let mut second = queue.claim(partition(), 8).await;
    let was_taken = late.receipt.ack().await.is_ok();
    queue.publish(in_lane(2..=4)).await;
    let again = next(&mut second).await;
    if id(&again) == 1 {
        again.receipt.ack().await.unwrap();
        assert_eq!(ids(&take(&mut second, 3).await), [2, 3, 4]);
    } else {
        assert!(was_taken);
        assert_eq!(id(&again), 2);
        assert_eq!(ids(&take(&mut second, 2).await), [3, 4]);
    }
}

async fn an_envelope_and_its_bytes_arrive_unchanged(queue: Queue) {
    let noise = |length: usize| Bytes::from((0..length).map(|_| rand::random()).collect::<Vec<u8>>());
    let bodies = [
        Bytes::new(),
        Bytes::from_static(b"\0"),
        Bytes::from_static(b"{\"update_id\":1,\"a\":\"\\ud83d\"}\n"),
        noise(1),
        noise(5000),
        noise(300_000),
        noise(1024 * 1024),
    ];
    let mut claim = queue.claim(partition(), 16).await;
    for (n, body) in bodies.into_iter().enumerate() {
        let update = Envelope {
            update_id: if n == 0 { i64::MAX as u64 } else { n as u64 },
            bot: (n % 2 == 0).then_some(n as u64),
            kind: if n == 1 { String::new() } else { "my_chat_member".to_owned() },
            replay: n as u32 * 7,
            replayed: None,
            traceparent: (n % 3 == 0).then(|| format!("00-{}-01", uuid::Uuid::new_v4().simple())),
            body,
            ..envelope(0, LANE)
        };
        queue.publish([update.clone()]).await;
        let delivery = next(&mut claim).await;
        assert!(delivery.content == Ok(update), "update {n} changed on its way");
        delivery.receipt.ack().await.unwrap();
    }
    let unordered = Envelope { lane: None, ..envelope(8, LANE) };
    queue.publish([unordered.clone()]).await;
    let mut claim = if unordered.partition(PARTITIONS) == partition() {
        claim
    } else {
        queue.claim(unordered.partition(PARTITIONS), 1).await
    };
    assert_eq!(next(&mut claim).await.content, Ok(unordered));
}

async fn a_bulk_queue_is_claimed_like_a_partition_and_beside_them(queue: Queue) {
    for update_id in 1..=3 {
        queue.publisher.publish_bulk(&envelope(update_id, LANE), Bulk::Notifications).await.unwrap();
    }
    queue.publisher.publish_bulk(&envelope(4, LANE), Bulk::Broadcasts).await.unwrap();
    queue.publish(in_lane([5])).await;
    let mut partition = queue.claim(partition(), 8).await;
    let mut notifications = queue.claim(Bulk::Notifications.partition(), 8).await;
    let mut broadcasts = queue.claim(Bulk::Broadcasts.partition(), 8).await;
    assert_eq!(ids(&take(&mut notifications, 3).await), [1, 2, 3]);
    assert_eq!((id(&next(&mut broadcasts).await), id(&next(&mut partition).await)), (4, 5));
    let other = queue.another_consumer();
    let held = other.claim(Bulk::Notifications.partition(), 8).await;
    assert!(matches!(held, Err(ClaimError::Held)), "one has it at a time");
    notifications.release().await;
    let mut again = claim(&other, Bulk::Notifications.partition(), 8).await;
    let returned = take(&mut again, 3).await;
    assert!(returned.iter().all(|delivery| delivery.redelivered));
    for delivery in returned {
        delivery.receipt.ack().await.unwrap();
    }
}
