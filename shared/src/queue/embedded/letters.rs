//! Reading and removing the dead letters, for the operators' commands. Burying is the publisher's.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use redb::ReadableTable as _;

use super::partition::Partition;
use super::{LETTERS, Letter, Queue, UPDATES};
use crate::database::DatabaseError;
use crate::queue::record;

/// The dead letters, in the order in which they were buried.
#[derive(Clone)]
pub struct Letters(Arc<Queue>);

/// A letter in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buried {
    /// Where it lies: what `page` goes on from and `remove` takes.
    pub place: u64,
    /// The letter, or the bytes of something in its place that is none.
    pub letter: Result<Letter, Bytes>,
}

impl Letters {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self(queue)
    }

    /// The next `limit` after `place`, or the first ones. Looking changes nothing.
    pub async fn page(&self, after: Option<u64>, limit: usize) -> Result<Vec<Buried>, DatabaseError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let reading = self.0.database.read(move |txn| {
            let mut page = Vec::new();
            for entry in txn.open_table(LETTERS)?.range::<u64>((from, Bound::Unbounded))?.take(limit) {
                let (place, record) = entry?;
                let record = Bytes::copy_from_slice(record.value());
                page.push(Buried {
                    place: place.value(),
                    letter: record::to_letter(record.clone()).ok_or(record),
                });
            }
            Ok(page)
        });
        reading.await
    }

    /// Puts these back into their partitions, under the next replay's number, and removes them, in one transaction.
    /// Tells how many there were; what holds no update stays.
    pub async fn replay(&self, places: Vec<u64>, by: String) -> Result<u64, DatabaseError> {
        let (queue, after) = (Arc::clone(&self.0), Arc::clone(&self.0));
        let replaying = self.0.database.write_then(
            move |txn| {
                let (mut letters, mut updates) = (txn.open_table(LETTERS)?, txn.open_table(UPDATES)?);
                let mut published = Vec::new();
                for place in &places {
                    let record = letters.get(place)?.map(|record| Bytes::copy_from_slice(record.value()));
                    let again = record.and_then(record::to_letter).and_then(|letter| letter.again(&by));
                    let Some(envelope) = again else { continue };
                    let number = envelope.partition(queue.count());
                    let sequence = queue.partition(number).map_or(0, Partition::take_sequence);
                    let record = record::of_update(&envelope)
                        .map_err(|error| redb::Error::Corrupted(error.to_string()))?;
                    updates.insert((number, sequence), record.as_slice())?;
                    letters.remove(place)?;
                    published.push((number, sequence));
                }
                Ok(published)
            },
            move |published| {
                for (number, sequence) in published {
                    if let Some(partition) = after.partition(*number) {
                        partition.published(*sequence);
                    }
                }
                after.fewer_letters(published.len() as u64);
            },
        );
        Ok(replaying.await?.len() as u64)
    }

    /// Removes these, all at once; tells how many were there.
    pub async fn remove(&self, places: Vec<u64>) -> Result<u64, DatabaseError> {
        let queue = Arc::clone(&self.0);
        let removing = self.0.database.write_then(
            move |txn| {
                let mut letters = txn.open_table(LETTERS)?;
                let mut removed = 0;
                for place in &places {
                    removed += u64::from(letters.remove(place)?.is_some());
                }
                Ok(removed)
            },
            move |removed| {
                queue.fewer_letters(*removed);
            },
        );
        removing.await
    }
}
