//! Reading and removing the dead letters, for the operators' commands. Burying is the publisher's.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::{LETTERS, Letter, Queue};
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
                let down = |n: u64| Some(n.saturating_sub(*removed));
                queue.letters.fetch_update(Ordering::Relaxed, Ordering::Relaxed, down).ok();
            },
        );
        removing.await
    }
}
