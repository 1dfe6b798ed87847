//! The spool against a simple model, on a disk that loses what was not synced and tears what was being written.

mod disk;
mod model;

use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::drain::Drain;
use super::*;
use crate::queue::{Publisher, embedded};

fn update(lane: i64, update_id: u64) -> Envelope {
    Envelope {
        update_id,
        bot: None,
        kind: "message".to_owned(),
        lane: Some(lane),
        received_ms: 1_790_000_000_000 + update_id,
        replay: 0,
        replayed: None,
        traceparent: None,
        body: Bytes::from(format!("{{\"update_id\":{update_id}}}")),
    }
}

async fn open(folder: &TempDir, limit: u64) -> Spool {
    let database = Database::open(folder.path(), FILE).unwrap();
    Spool::open(&database, limit).await.unwrap()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not within 10 s: {what}");
}

/// A broker that is a file.
async fn broker(folder: &TempDir) -> (Publisher, embedded::Consumer) {
    let database = Database::open(folder.path(), crate::one_file::FILE).unwrap();
    let (publisher, consumer) = embedded::open(&database, 1).await.unwrap();
    (Publisher::Embedded(publisher), consumer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_is_drained_in_update_id_order_whatever_order_it_came_in() {
    let (folder, broker_folder) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let spool = open(&folder, 1 << 30).await;
    for id in [5, 2, 9, 1, 7, 100, 50, 2] {
        spool.put(&update(4, id), None).await.unwrap();
    }
    assert!(spool.comes_first(&update(4, 101)));
    assert_eq!(spool.status().updates, 7, "the same update twice is one record");
    assert_eq!(spool.status().oldest_ms, Some(1_790_000_000_001));
    let (publisher, consumer) = broker(&broker_folder).await;
    let stop = CancellationToken::new();
    let drain = Drain { inner: Arc::clone(&spool.0), publisher };
    let draining = tokio::spawn(drain.run(stop.clone()));
    until("it is empty", || !spool.comes_first(&update(4, 101))).await;
    assert_eq!(spool.status(), Status::default());
    stop.cancel();
    draining.await.unwrap();
    let mut claim = consumer.claim(0, 100).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(claim.updates.deliveries.recv().await.unwrap().content.unwrap().update_id);
    }
    assert_eq!(ids, [1, 2, 5, 7, 9, 50, 100]);
}

#[tokio::test]
async fn a_late_confirm_takes_the_record_away_and_a_late_failure_leaves_it() {
    let folder = TempDir::new().unwrap();
    let spool = open(&folder, 1 << 30).await;
    let (confirm, late) = tokio::sync::oneshot::channel();
    let publishing =
        |late: oneshot::Receiver<_>| Publishing::Embedded(Box::pin(async { late.await.unwrap() }));
    spool.put(&update(1, 1), Some(publishing(late))).await.unwrap();
    assert!(spool.comes_first(&update(2, 2)), "everybody goes there while a confirm is overdue");
    assert!(
        spool.0.index.take_ready(9, std::time::Instant::now()).is_empty(),
        "its own publish may still come"
    );
    confirm.send(Ok(())).unwrap();
    until("it is gone", || spool.status().updates == 0 && !spool.comes_first(&update(1, 2))).await;
    assert!(!spool.comes_first(&update(2, 2)));

    let (confirm, late) = tokio::sync::oneshot::channel();
    spool.put(&update(1, 3), Some(publishing(late))).await.unwrap();
    confirm.send(Err(crate::queue::PublishError::Away)).unwrap();
    until("it may be drained", || !spool.0.index.take_ready(9, std::time::Instant::now()).is_empty()).await;
    assert_eq!(spool.status().updates, 1);
}

#[tokio::test]
async fn a_full_spool_takes_nothing_until_something_is_gone() {
    let folder = TempDir::new().unwrap();
    let spool = open(&folder, 1000).await;
    let mut taken = 0;
    while spool.put(&update(1, taken), None).await.is_ok() {
        taken += 1;
    }
    assert!((3..10).contains(&taken), "{taken} fit in 1000 bytes");
    assert!(matches!(spool.put(&update(2, 1000), None).await, Err(SpoolError::Full)));
    assert!(spool.status().bytes <= 1000);
    let bucket = update(1, 0).partition(BUCKETS);
    spool.0.remove(bucket, vec![0]).await.unwrap();
    spool.put(&update(1, taken), None).await.unwrap();
    assert!(matches!(spool.put(&update(1, taken + 1), None).await, Err(SpoolError::Full)));
}

#[tokio::test]
async fn a_late_confirm_leaves_no_doubt_where_the_spool_is_full() {
    let folder = TempDir::new().unwrap();
    let spool = open(&folder, 0).await;
    let publishing = Publishing::Embedded(Box::pin(std::future::pending()));
    assert!(matches!(spool.put(&update(1, 1), Some(publishing)).await, Err(SpoolError::Full)));
    assert!(!spool.comes_first(&update(1, 2)), "nothing is there that could take the doubt away again");
}

#[tokio::test]
async fn letters_and_what_they_weigh_are_there_after_opening_again() {
    let folder = TempDir::new().unwrap();
    let spool = open(&folder, 1 << 30).await;
    for body in ["a", "b"] {
        spool.put_letter(&Letter::malformed("x".to_owned(), None, None, body.into())).await.unwrap();
    }
    spool.put(&update(1, 1), None).await.unwrap();
    let before = spool.status();
    spool.0.database.close().await;
    drop(spool);
    let spool = open(&folder, 1 << 30).await;
    assert_eq!((spool.status(), before.letters, before.updates), (before.clone(), 2, 1));
    spool.put_letter(&Letter::malformed("x".to_owned(), None, None, "c".into())).await.unwrap();
    assert_eq!(spool.status().letters, 3, "none was written over");
}

/// As a power cut and a bad disk together leave it: never closed, and without its first pages.
#[tokio::test]
async fn what_a_damaged_file_of_a_crash_holds_is_found_all_the_same() {
    let (folder, after) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let spool = open(&folder, 1 << 30).await;
    let young = |id| Envelope { received_ms: crate::clock::now_ms(), ..update(id as i64, id) };
    for id in 0..50 {
        spool.put(&young(id), None).await.unwrap();
    }
    spool.put_letter(&Letter::malformed("x".to_owned(), None, None, "not json".into())).await.unwrap();
    let mut file = std::fs::read(folder.path().join(FILE.name)).unwrap();
    file[..4096].fill(0xa5);
    std::fs::write(after.path().join(FILE.name), &file).unwrap();
    let spool = open(&after, 1 << 30).await;
    assert_eq!((spool.status().updates, spool.status().letters), (50, 1));
    assert!(spool.comes_first(&update(7, 1000)), "their chats wait for them");
}
