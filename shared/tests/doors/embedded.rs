//! What only the embedded rooms promise: their file survives the process, and damage never stops a start.

use std::fs;
use std::path::Path;
use std::task::Poll;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::poll;
use shared::database::{self, Plain};
use shared::one_file::{Database, FILE};
use shared::queue::embedded::{Consumer, Depth, OpenError, Publisher, open};
use shared::queue::{Bulk, ClaimError, Envelope, Letter, Reason, partition_of};
use shared::store::{Begin, Begun, End, UpdateKey, embedded::Store};
use tempfile::TempDir;
use tokio::task::unconstrained;

use crate::backend::{PARTITIONS, envelope, id, ids, next, take};
use crate::store::of;

const LANE: i64 = 42;

async fn queue(folder: &Path) -> (Database, Publisher, Consumer) {
    let database = Database::open(folder, FILE).unwrap();
    let (publisher, consumer) = open(&database, PARTITIONS).await.unwrap();
    (database, publisher, consumer)
}

/// In their order, many to a commit.
async fn publish_all(publisher: &Publisher, envelopes: &[Envelope]) {
    for some in envelopes.chunks(500) {
        let mut waiting = Vec::new();
        for envelope in some {
            // Its first poll takes its place, unless tokio has the task pause.
            let mut publishing = Box::pin(unconstrained(publisher.publish(envelope)));
            match poll!(&mut publishing) {
                Poll::Ready(published) => published.unwrap(),
                Poll::Pending => waiting.push(publishing),
            }
        }
        assert!(join_all(waiting).await.iter().all(Result::is_ok));
    }
}

fn letter(update_id: u64) -> Letter {
    Letter {
        reason: Reason::Poison,
        error: "it killed its worker".to_owned(),
        update_id: Some(update_id),
        bot: None,
        kind: "message".to_owned(),
        lane: None,
        chat_id: None,
        user_id: None,
        route: None,
        service: None,
        attempts: 5,
        received_ms: 1,
        first_failed_ms: 2,
        last_failed_ms: 3,
        replays: 0,
        replayed: None,
        traceparent: None,
        body: Bytes::from_static(b"{}"),
        rest: None,
    }
}

#[tokio::test]
async fn the_queue_survives_its_process() {
    let folder = TempDir::new().unwrap();
    let (database, publisher, consumer) = queue(folder.path()).await;
    for update_id in 1..=10 {
        publisher.publish(&envelope(update_id, LANE)).await.unwrap();
    }
    publisher.bury(&letter(1)).await.unwrap();
    publisher.bury(&letter(2)).await.unwrap();
    let partition = partition_of(LANE, PARTITIONS);
    let mut claim = consumer.claim(partition, 5).await.unwrap();
    for delivery in take(&mut claim, 3).await {
        delivery.receipt.ack().await.unwrap();
    }
    drop(claim);
    let depth = consumer.depth();
    database.close().await;

    let (_database, publisher, consumer) = queue(folder.path()).await;
    assert_eq!(consumer.depth(), depth);
    assert_eq!((depth.waiting[usize::from(partition)], depth.letters), (7, 2));
    publisher.publish(&envelope(11, LANE)).await.unwrap();
    let mut claim = consumer.claim(partition, 20).await.unwrap();
    let again = take(&mut claim, 8).await;
    assert_eq!(ids(&again), (4..=11).collect::<Vec<_>>());
    assert!(again[..7].iter().all(|delivery| delivery.redelivered), "any of them may have been begun");
    assert!(!again[7].redelivered);
}

/// Of more than a look at the file looks at, and more than are known in memory: a backlog among that of another partition.
#[tokio::test]
async fn what_lies_among_many_others_comes_in_its_order() {
    let folder = TempDir::new().unwrap();
    let (database, publisher, consumer) = queue(folder.path()).await;
    let other = (0..).find(|lane| partition_of(*lane, PARTITIONS) != partition_of(LANE, PARTITIONS)).unwrap();
    let publisher = &publisher;
    // Of the one many in front of the other's, then by turns.
    let mut lanes = vec![other; 10_000];
    lanes.extend((0..29_999).map(|n| if n % 2 == 0 { other } else { LANE }));
    lanes.push(LANE);
    let publish = async |lanes: &[i64], from: u64| {
        let all: Vec<_> = (from..).zip(lanes).map(|(id, lane)| envelope(id, *lane)).collect();
        publish_all(publisher, &all).await;
    };
    let expected = |lane: i64| {
        let ids = (0..).zip(&lanes).filter(move |(_, of)| **of == lane).map(|(id, _)| id);
        ids.collect::<Vec<u64>>()
    };
    publish(&lanes, 0).await;
    let (mut ours, mut theirs) = (expected(LANE), expected(other));
    for (lane, ids) in [(LANE, &mut ours), (other, &mut theirs)] {
        let mut claim = consumer.claim(partition_of(lane, PARTITIONS), 5000).await.unwrap();
        // What comes while the backlog is read is behind it.
        let late = 1_000_000 * (lane as u64 + 1);
        publish(&[lane; 3], late).await;
        ids.extend(late..late + 3);
        for some in ids.chunks(500) {
            let mut taken = take(&mut claim, some.len()).await;
            assert_eq!(self::ids(&taken), some, "lane {lane}");
            // Every seventh stays in hand, for the next process.
            taken.retain(|delivery| !self::id(delivery).is_multiple_of(7));
            let acked = join_all(taken.into_iter().map(|delivery| delivery.receipt.ack_soon())).await;
            assert!(acked.iter().all(Result::is_ok));
        }
    }
    database.close().await;
    let (_database, _, consumer) = queue(folder.path()).await;
    for (lane, mut ids) in [(LANE, ours), (other, theirs)] {
        ids.retain(|id| id.is_multiple_of(7));
        assert!(ids.len() > 2000);
        let mut claim = consumer.claim(partition_of(lane, PARTITIONS), 5000).await.unwrap();
        assert_eq!(self::ids(&take(&mut claim, ids.len()).await), ids, "lane {lane}");
    }
}

/// An earlier version had the updates of each partition by themselves.
#[tokio::test]
async fn a_file_of_an_earlier_version_is_read_in_its_order() {
    let table = redb::TableDefinition::<(u16, u64), &[u8]>::new("queue-updates");
    let folder = TempDir::new().unwrap();
    let (database, publisher, consumer) = queue(folder.path()).await;
    let lanes: Vec<i64> = (0..PARTITIONS)
        .map(|partition| (0..).find(|lane| partition_of(*lane, PARTITIONS) == partition).unwrap())
        .collect();
    let ids = |partition: u16| (0..2000).map(move |n| u64::from(partition) * 10_000 + n);
    for partition in 0..PARTITIONS {
        let all: Vec<_> = ids(partition).map(|id| envelope(id, lanes[usize::from(partition)])).collect();
        publish_all(&publisher, &all).await;
    }
    publisher.publish_bulk(&envelope(7, 5), Bulk::Broadcasts).await.unwrap();
    drop((publisher, consumer));
    // As it lay then: by partition. There is one count here, where each had its own.
    let as_it_was = move |txn: &mut &redb::WriteTransaction| {
        let mut updates = txn.open_table(table)?;
        let all: Vec<_> = updates
            .extract_from_if((1003, 0)..=(1003, u64::MAX), |_, _| true)?
            .map(|entry| entry.map(|(key, record)| (key.value().1, record.value().to_vec())))
            .collect::<Result<_, _>>()?;
        for (n, (sequence, record)) in all.iter().enumerate() {
            updates.insert(((sequence % 1024) as u16, 70 + n as u64), record.as_slice())?;
        }
        // Bulk messages stay where they are, and their sequences are no numbers of ours.
        let (_, bulk) =
            updates.pop_last()?.map(|(key, record)| (key.value(), record.value().to_vec())).unwrap();
        updates.insert((1002, 900_000_000), bulk.as_slice())?;
        Ok(all.len())
    };
    database.close().await;
    let by_hand = database::Database::<Plain>::open(folder.path(), FILE).unwrap();
    assert_eq!(by_hand.write(as_it_was).await, Ok(2000 * usize::from(PARTITIONS)));
    by_hand.close().await;

    let (database, publisher, consumer) = queue(folder.path()).await;
    assert_eq!(consumer.depth().waiting, vec![2000; PARTITIONS.into()]);
    for (partition, lane) in (0..).zip(&lanes) {
        publisher.publish(&envelope(9_999_999, *lane)).await.unwrap();
        let mut claim = consumer.claim(partition, 5000).await.unwrap();
        let all = take(&mut claim, 2001).await;
        assert_eq!(self::ids(&all), ids(partition).chain([9_999_999]).collect::<Vec<_>>());
        assert!(all[..2000].iter().all(|delivery| delivery.redelivered) && !all[2000].redelivered);
    }
    publisher.publish_bulk(&envelope(8, 5), Bulk::Broadcasts).await.unwrap();
    let mut claim = consumer.claim(Bulk::Broadcasts.partition(), 5).await.unwrap();
    assert_eq!(self::ids(&take(&mut claim, 2).await), [7, 8]);
    let apart = database.read(move |txn| Ok(txn.open_table(table)?.range(..(1001, 0))?.count()));
    assert_eq!(apart.await, Ok(0));
}

#[tokio::test]
async fn the_store_survives_its_process() {
    let folder = TempDir::new().unwrap();
    let keys = [1, 2].map(|update_id| UpdateKey { bot: 1, update_id, replay: 0, owner: 5 });
    let database = Database::open(folder.path(), FILE).unwrap();
    let store = Store::open(&database);
    store.begin(&of(&keys[0], "w1")).await.unwrap();
    store.begin(&of(&keys[1], "w1")).await.unwrap();
    store.finish(&keys[1], "w1", End::Done, &[]).await.unwrap();
    database.close().await;
    let database = Database::open(folder.path(), FILE).unwrap();
    let store = Store::open(&database);
    let begin = Begin { suspect: false, ..of(&keys[0], "w2") };
    assert_eq!(store.begin(&begin).await.unwrap(), Begun::Suspect(1));
    assert_eq!(store.begin(&of(&keys[1], "w2")).await.unwrap(), Begun::Ended);
}

#[tokio::test]
async fn the_first_to_open_a_file_fixes_its_partitions() {
    let folder = TempDir::new().unwrap();
    let (database, ..) = queue(folder.path()).await;
    let Err(error) = open(&database, 7).await else { panic!("7 of {PARTITIONS}") };
    assert!(matches!(error, OpenError::Partitions { file: PARTITIONS, settings: 7 }));
    assert!(error.to_string().contains("PARTITIONS says 7"), "{error}");
    assert!(open(&database, PARTITIONS).await.is_ok());
}

#[tokio::test]
async fn a_partition_that_there_is_not_is_no_claim() {
    let folder = TempDir::new().unwrap();
    let (database, _, consumer) = queue(folder.path()).await;
    assert!(matches!(consumer.claim(PARTITIONS, 1).await, Err(ClaimError::Disk(_))));
    database.close().await;
    assert!(consumer.claim(0, 1).await.is_err());
}

#[tokio::test]
async fn a_dropped_partition_is_free_at_once() {
    let folder = TempDir::new().unwrap();
    let (_database, publisher, consumer) = queue(folder.path()).await;
    publisher.publish(&envelope(1, LANE)).await.unwrap();
    for n in 0..50 {
        let mut claim = consumer.claim(partition_of(LANE, PARTITIONS), 1).await.unwrap();
        let delivery = next(&mut claim).await;
        assert_eq!((id(&delivery), delivery.redelivered), (1, n > 0));
    }
}

#[tokio::test]
async fn what_is_no_update_is_handed_out_as_its_bytes() {
    let folder = TempDir::new().unwrap();
    queue(folder.path()).await.0.close().await;
    let by_hand = database::Database::<Plain>::open(folder.path(), FILE).unwrap();
    let foreign = |txn: &mut &redb::WriteTransaction| {
        let table = redb::TableDefinition::<(u16, u64), &[u8]>::new("queue-updates");
        txn.open_table(table)?.insert((1, 0), &b"what is this"[..])?;
        Ok(())
    };
    by_hand.write(foreign).await.unwrap();
    by_hand.close().await;
    let (_database, _, consumer) = queue(folder.path()).await;
    let delivery = next(&mut consumer.claim(1, 1).await.unwrap()).await;
    assert_eq!(delivery.content, Err(Bytes::from_static(b"what is this")));
    delivery.receipt.ack().await.unwrap();
    assert_eq!(consumer.depth(), Depth { waiting: vec![0; 4], ..Depth::default() });
}

#[tokio::test]
async fn letters_are_listed_in_pages_and_removed() {
    let folder = TempDir::new().unwrap();
    let (_database, publisher, consumer) = queue(folder.path()).await;
    for update_id in 1..=5 {
        publisher.bury(&letter(update_id)).await.unwrap();
    }
    let letters = consumer.letters();
    let first = letters.page(None, 2).await.unwrap();
    let rest = letters.page(first.last().map(|buried| buried.place), 100).await.unwrap();
    let all: Vec<_> = first.iter().chain(&rest).map(|buried| buried.letter.clone().unwrap()).collect();
    assert_eq!(all, (1..=5).map(letter).collect::<Vec<_>>());
    let places = vec![first[0].place, rest[0].place, 999];
    assert_eq!(letters.remove(places.clone()).await, Ok(2));
    assert_eq!(letters.remove(places).await, Ok(0));
    assert_eq!(consumer.depth().letters, 3);
    assert_eq!(letters.page(None, 100).await.unwrap().len(), 3);
}

#[tokio::test]
async fn what_can_be_read_of_a_damaged_file_is_saved() {
    let folder = TempDir::new().unwrap();
    let (database, publisher, consumer) = queue(folder.path()).await;
    for update_id in 0..300 {
        publisher.publish(&envelope(update_id, LANE)).await.unwrap();
    }
    publisher.bury(&letter(1)).await.unwrap();
    let partition = partition_of(LANE, PARTITIONS);
    let mut claim = consumer.claim(partition, 10).await.unwrap();
    for delivery in take(&mut claim, 10).await {
        delivery.receipt.ack().await.unwrap();
    }
    drop(claim);
    database.close().await;
    // One update's bytes change, as they do on a dying disk.
    let path = folder.path().join(FILE.name);
    let mut file = fs::read(&path).unwrap();
    let needle = br#"{"update_id":150,"#;
    let hits: Vec<usize> = (0..file.len() - 20).filter(|at| file[*at..].starts_with(needle)).collect();
    assert!(!hits.is_empty());
    hits.iter().for_each(|at| file[*at..at + 10].fill(0xee));
    fs::write(&path, &file).unwrap();

    let (database, publisher, consumer) = queue(folder.path()).await;
    assert!(database.set_aside().is_some());
    let Depth { waiting, letters, .. } = consumer.depth();
    let waiting = waiting[usize::from(partition)];
    assert!(waiting >= 200 && letters == 1, "{waiting} updates and {letters} letters were saved");
    publisher.publish(&envelope(1000, LANE)).await.unwrap();
    let mut claim = consumer.claim(partition, 500).await.unwrap();
    let all = take(&mut claim, waiting as usize + 1).await;
    let saved: Vec<u64> =
        all.iter().filter_map(|delivery| Some(delivery.content.as_ref().ok()?.update_id)).collect();
    assert!(
        saved.is_sorted() && !saved.contains(&150) && saved[0] == 10 && saved.last() == Some(&1000),
        "{saved:?}"
    );
}

#[tokio::test]
async fn a_damaged_queue_is_no_reason_not_to_start() {
    let folder = TempDir::new().unwrap();
    let (database, publisher, _) = queue(folder.path()).await;
    for update_id in 0..200 {
        publisher.publish(&envelope(update_id, update_id as i64)).await.unwrap();
    }
    database.close().await;
    let path = folder.path().join(FILE.name);
    let whole = fs::read(&path).unwrap();
    for round in 0..20 {
        let mut file = whole.clone();
        let from = rand::random_range(0..file.len());
        let until = file.len().min(from + rand::random_range(1..60_000));
        match round % 3 {
            0 => file.truncate(from),
            1 => file[from..until].fill_with(rand::random),
            _ => file[from..until].fill(0),
        }
        fs::write(&path, &file).unwrap();
        let (database, publisher, consumer) = queue(folder.path()).await;
        publisher.publish(&envelope(1000, LANE)).await.unwrap();
        let partition = partition_of(LANE, PARTITIONS);
        let waiting = consumer.depth().waiting[usize::from(partition)];
        let mut claim = consumer.claim(partition, 500).await.unwrap();
        assert_eq!(take(&mut claim, waiting as usize).await.last().map(id), Some(1000));
        drop(claim);
        database.close().await;
    }
}
