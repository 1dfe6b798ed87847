//! The embedded queue: updates in order per partition, and the dead letters, in tables of the redb file
//! that `database` keeps (design 4). One process, so a claim is a flag in memory, and nobody can be lost
//! to the network; everything else is as on RabbitMQ.
//!
//! `journal` says where updates lie, `reader` hands out, `claim` holds and acks, `letters` reads the dead; `queue::record` is the format on disk.

mod claim;
mod journal;
mod letters;
mod partition;
mod reader;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::{Bulk, ClaimError, Envelope, Letter, PublishError, record};
use crate::database::{DatabaseError, Lazy, Look, Salvage, Unreadable};
use crate::events;
use crate::one_file::Database;
use journal::{UPDATES, journal, move_together, number_above, partition_of, sequence};
use partition::{Found, Partition};

pub use claim::{Hold, Receipt};
pub use letters::{Buried, Letters, Seen, Wanted, id_of, letters_of};

/// The sequences that are kept in memory of the latest updates: so many of all partitions together, and of each bulk queue as
/// many as of a partition. 8 to 16 bytes each.
const KEPT: usize = 32 * 1024;

/// sequence → a letter's record.
const LETTERS: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("queue-letters");
/// What is fixed for the whole file.
const FIXED: TableDefinition<'static, &'static str, u64> = TableDefinition::new("queue-fixed");
const PARTITIONS: &str = "partitions";

/// The tables that are written.
pub(crate) struct Tables<'txn> {
    updates: Lazy<'txn, (u16, u64), &'static [u8]>,
    letters: Lazy<'txn, u64, &'static [u8]>,
    fixed: Lazy<'txn, &'static str, u64>,
}

impl<'txn> Tables<'txn> {
    pub(crate) fn within(txn: &'txn WriteTransaction) -> Self {
        Self {
            updates: Lazy::new(txn, UPDATES),
            letters: Lazy::new(txn, LETTERS),
            fixed: Lazy::new(txn, FIXED),
        }
    }
}

/// Why the queue could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file was begun with another number: set `PARTITIONS` to that.
    #[error("the queue's file has {file} partitions, PARTITIONS says {settings}")]
    Partitions { file: u16, settings: u16 },
    #[error("the queue's file can't be opened: {0}")]
    Disk(#[from] DatabaseError),
}

/// How much waits, for the metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Depth {
    /// By partition: updates that are not acked, in hand or not.
    pub waiting: Vec<u64>,
    pub letters: u64,
    /// When the oldest of the updates was received; told only of a file that no process has open.
    #[serde(default)]
    pub oldest_ms: Option<u64>,
}

/// Puts updates and dead letters into the file. Cheap to clone.
#[derive(Clone)]
pub struct Publisher(Arc<Queue>);

/// Hands out partitions. Cheap to clone.
#[derive(Clone)]
pub struct Consumer(Arc<Queue>);

/// What is known in memory: counters and where the latest updates are, never the updates themselves (I5).
struct Queue {
    database: Database,
    partitions: Vec<Partition>,
    bulk: [Partition; 2],
    /// The next update's number.
    next: AtomicU64,
    letters: AtomicU64,
    next_letter: AtomicU64,
    /// The memory that large updates in hand may have.
    room: Arc<Semaphore>,
}

/// Opens the queue in `database`. The first to open a file fixes the number of its partitions. Reads all
/// of what waits once, to count it.
pub async fn open(database: &Database, partitions: u16) -> Result<(Publisher, Consumer), OpenError> {
    let partitions = partitions.max(1);
    let file = fixed_partitions(database, partitions).await?;
    if file != partitions {
        return Err(OpenError::Partitions { file, settings: partitions });
    }
    move_together(database).await?;
    let queue = Arc::new(count(database.clone(), partitions).await?);
    events::queue_begun(partitions);
    Ok((Publisher(Arc::clone(&queue)), Consumer(queue)))
}

/// Saves what can be read of a damaged file. Keys that no file of ours has are damage themselves; what a
/// record holds is judged by its checksum when it is handed out.
pub(crate) fn salvage(damaged: &Salvage<'_>) -> Result<u64, redb::Error> {
    const FAR: u64 = 1 << 62;
    let is_somebodys = |key| partition_of(key) < Bulk::Notifications.partition() || Bulk::of(key.0).is_some();
    let updates = damaged.table(UPDATES, |key: (u16, u64)| is_somebodys(key) && key.1 < FAR)?;
    Ok(updates + damaged.table(LETTERS, |sequence| sequence < FAR)?)
}

/// How much waits in the file that no process has open. Blocks.
pub fn depth_of(file: &Look) -> Result<Depth, Unreadable> {
    file.read(|txn| {
        let Ok(fixed) = txn.open_table(FIXED) else { return Ok(Depth::default()) };
        let partitions = fixed.get(PARTITIONS)?.map_or(0, |partitions| partitions.value().min(1024));
        let (mut waiting, mut oldest_ms) = (vec![0; partitions as usize], None);
        for entry in txn.open_table(UPDATES)?.range::<(u16, u64)>(..)? {
            let (key, record) = entry?;
            let Some(count) = waiting.get_mut(usize::from(partition_of(key.value()))) else { continue };
            if *count == 0 {
                let first = record::head_of_an_update(record.value()).map(|first| first.received_ms);
                oldest_ms = oldest_ms.into_iter().chain(first).min();
            }
            *count += 1;
        }
        Ok(Depth { waiting, letters: txn.open_table(LETTERS)?.len()?, oldest_ms })
    })
}

async fn fixed_partitions(database: &Database, settings: u16) -> Result<u16, DatabaseError> {
    let fix = database.write(move |tables| {
        let Tables { updates, letters, fixed } = &mut tables.queue;
        updates.open()?;
        letters.open()?;
        let fixed = fixed.open()?;
        let known = fixed.get(PARTITIONS)?.map(|known| known.value());
        if known.is_none() {
            fixed.insert(PARTITIONS, u64::from(settings))?;
        }
        Ok(known.unwrap_or(u64::from(settings)))
    });
    Ok(u16::try_from(fix.await?).unwrap_or(u16::MAX))
}

async fn count(database: Database, partitions: u16) -> Result<Queue, DatabaseError> {
    let counting = database.read(move |txn| {
        let mut found = vec![Found::default(); usize::from(partitions)];
        let mut bulk = [Found::default(); 2];
        let mut next = 0;
        for record in txn.open_table(UPDATES)?.range::<(u16, u64)>(..)? {
            let key = record?.0.value();
            let (partition, sequence) = (partition_of(key), key.1);
            next = number_above(sequence).max(next);
            let counted = match Bulk::of(partition) {
                Some(of) => bulk.get_mut(of as usize),
                None => found.get_mut(usize::from(partition)),
            };
            if let Some(Found { waiting, first, end }) = counted {
                if *waiting == 0 {
                    *first = sequence;
                }
                (*waiting, *end) = (*waiting + 1, sequence.saturating_add(1));
            }
        }
        let letters = txn.open_table(LETTERS)?;
        let next_letter = letters.last()?.map_or(0, |(sequence, _)| sequence.value().saturating_add(1));
        Ok((found, bulk, next, letters.len()?, next_letter))
    });
    let (found, bulk, next, letters, next_letter) = counting.await?;
    let kept = KEPT / usize::from(partitions);
    let partition = |found: &Found| match found.waiting {
        // Nothing is below what comes next.
        0 => Partition::new(Found { waiting: 0, first: sequence(next, 0), end: sequence(next, 0) }, kept),
        _ => Partition::new(*found, kept),
    };
    let (partitions, bulk) = (found.iter().map(partition).collect(), bulk.each_ref().map(partition));
    let (next, letters, next_letter) =
        (AtomicU64::new(next), AtomicU64::new(letters), AtomicU64::new(next_letter));
    let room = Arc::new(Semaphore::new(reader::ROOM));
    Ok(Queue { database, partitions, bulk, next, letters, next_letter, room })
}

impl Publisher {
    pub async fn publish(&self, envelope: &Envelope) -> Result<(), PublishError> {
        self.publish_in(envelope.partition(self.0.count()), envelope).await
    }

    pub async fn publish_bulk(&self, envelope: &Envelope, bulk: Bulk) -> Result<(), PublishError> {
        self.publish_in(bulk.partition(), envelope).await
    }

    async fn publish_in(&self, number: u16, envelope: &Envelope) -> Result<(), PublishError> {
        let record = record::of_update(envelope)?;
        let (writing, written) = (Arc::clone(&self.0), Arc::clone(&self.0));
        // The sequence is taken by the one writer, so that what commits later never has a lower one: a
        // reader goes on from the highest that it saw.
        let publish = self.0.database.write_then(
            move |tables| {
                let sequence = writing.take_sequence(number);
                tables.queue.updates.open()?.insert((journal(number), sequence), record.as_slice())?;
                Ok(sequence)
            },
            move |sequence| written.published(number, *sequence),
        );
        publish.await.map_err(unpublished)?;
        Ok(())
    }

    pub async fn bury(&self, letter: &Letter) -> Result<(), PublishError> {
        let record = record::of_letter(letter)?;
        let (writing, written) = (Arc::clone(&self.0), Arc::clone(&self.0));
        let bury = self.0.database.write_then(
            move |tables| {
                let sequence = writing.next_letter.fetch_add(1, Ordering::Relaxed);
                tables.queue.letters.open()?.insert(sequence, record.as_slice())?;
                Ok(())
            },
            move |()| {
                written.letters.fetch_add(1, Ordering::Relaxed);
            },
        );
        bury.await.map_err(unpublished)
    }
}

impl Consumer {
    pub async fn claim(&self, partition: u16, prefetch: u16) -> Result<super::Claim, ClaimError> {
        claim::claim(&self.0, partition, prefetch).await
    }

    /// The updates of a partition that are not acked, in hand or not. Nothing where there is no such partition.
    pub fn waiting(&self, partition: u16) -> Option<u64> {
        self.0.partition(partition).map(Partition::waiting)
    }

    /// How much waits at the moment. Costs nothing.
    pub fn depth(&self) -> Depth {
        let waiting = self.0.partitions.iter().map(Partition::waiting).collect();
        Depth { waiting, letters: self.0.letters.load(Ordering::Relaxed), oldest_ms: None }
    }

    /// The dead letters.
    pub fn letters(&self) -> Letters {
        Letters::new(Arc::clone(&self.0))
    }
}

impl Queue {
    fn count(&self) -> u16 {
        self.partitions.len() as u16
    }

    /// Never the same one twice: an ack that comes late must not hit another update.
    fn take_sequence(&self, partition: u16) -> u64 {
        sequence(self.next.fetch_add(1, Ordering::Relaxed), partition)
    }

    /// The update with this sequence is on disk. Called by the thread that writes, in the order of the writes.
    fn published(&self, partition: u16, sequence: u64) {
        if let Some(partition) = self.partition(partition) {
            partition.published(sequence, self.database.failures());
        }
    }

    fn fewer_letters(&self, removed: u64) {
        let down = |letters: u64| Some(letters.saturating_sub(removed));
        self.letters.fetch_update(Ordering::Relaxed, Ordering::Relaxed, down).ok();
    }

    fn partition(&self, number: u16) -> Option<&Partition> {
        match Bulk::of(number) {
            Some(bulk) => self.bulk.get(bulk as usize),
            None => self.partitions.get(usize::from(number)),
        }
    }
}

fn unpublished(error: DatabaseError) -> PublishError {
    match error {
        DatabaseError::Closed => PublishError::Away,
        DatabaseError::Refused(error) | DatabaseError::Disk(error) => PublishError::Disk(error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::database::tests::Disk;
    use crate::update::Peek;

    /// Its publisher was told that it is not stored: Telegram sends it again, and the copy that is there has to be found
    /// before that, or it would be handled long after.
    #[tokio::test]
    async fn what_a_failed_write_left_is_handed_out_in_its_place() {
        let disk = Disk::default();
        let database = disk.database();
        let (publisher, consumer) = open(&database, 4).await.unwrap();
        let update = |update_id| {
            let peek = Peek { update_id, kind: "message".to_owned(), lane: Some(1) };
            Envelope::received(peek, None, None, "{}".into())
        };
        let mut claim = consumer.claim(update(1).partition(4), 9).await.unwrap();
        let mut taken = async || {
            let taken = tokio::time::timeout(Duration::from_secs(20), claim.updates.deliveries.recv());
            taken.await.unwrap().unwrap().content.unwrap().update_id
        };
        publisher.publish(&update(1)).await.unwrap();
        assert_eq!(taken().await, 1);
        disk.denies.store(true, Ordering::SeqCst);
        assert!(publisher.publish(&update(2)).await.is_err());
        disk.denies.store(false, Ordering::SeqCst);
        while publisher.publish(&update(3)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!([taken().await, taken().await], [2, 3]);
    }
}
