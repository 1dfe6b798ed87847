//! What only the embedded rooms promise: their file survives the process, and damage never stops a start.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use shared::database::Database;
use shared::queue::embedded::{Consumer, Depth, FILE, OpenError, Publisher, open};
use shared::queue::{ClaimError, Letter, Reason, partition_of};
use shared::store::{Begin, Begun, End, UpdateKey, embedded::Store};
use tempfile::TempDir;

use crate::backend::{PARTITIONS, envelope, id, ids, next, take};
use crate::store::of;

const LANE: i64 = 42;

async fn queue(folder: &Path) -> (Database, Publisher, Consumer) {
    let database = Database::open(folder, FILE).unwrap();
    let (publisher, consumer) = open(&database, PARTITIONS).await.unwrap();
    (database, publisher, consumer)
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
    let (database, _, consumer) = queue(folder.path()).await;
    let foreign = |txn: &redb::WriteTransaction| {
        let table = redb::TableDefinition::<(u16, u64), &[u8]>::new("queue-updates");
        txn.open_table(table)?.insert((1, 0), &b"what is this"[..])?;
        Ok(())
    };
    database.write(foreign).await.unwrap();
    drop(consumer);
    let (_, consumer) = open(&database, PARTITIONS).await.unwrap();
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
