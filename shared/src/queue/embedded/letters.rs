//! Reading and removing the dead letters, for the operators' commands. Burying is the publisher's.

use std::ops::Bound;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use redb::{ReadTransaction, ReadableTable as _, TableError};
use serde::{Deserialize, Serialize};

use super::journal::journal;
use super::{LETTERS, Letter, Queue, Tables};
use crate::database::{DatabaseError, Look, Unreadable};
use crate::queue::record;

/// What a page that somebody looks at holds at most, beside its last letter.
const PAGE_BYTES: usize = 1024 * 1024;

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

impl Buried {
    /// What is damaged on the disk is a malformed letter.
    pub fn whole(self) -> (u64, Letter) {
        let no_letter = |bytes| Letter::malformed("damaged on the disk".to_owned(), None, None, bytes);
        (self.place, self.letter.unwrap_or_else(no_letter))
    }
}

/// A letter's id in the file: that of one whose body was not kept can't be told from its content.
pub fn id_of(place: u64, letter: &Letter) -> String {
    match (letter.update_id, letter.body.is_empty()) {
        (None, true) => format!("malformed-{place}"),
        _ => letter.id(),
    }
}

/// Which letters somebody wants to look at.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Wanted {
    /// Behind this place; none for the first.
    pub after: Option<u64>,
    pub limit: usize,
    /// With the update's bytes, and what is still to be sent.
    pub bodies: bool,
}

/// A letter as somebody sees it who only looks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seen {
    pub place: u64,
    pub id: String,
    letter: Letter,
    pub update_bytes: usize,
    pub rest_bytes: Option<usize>,
    /// The update and right behind it the rest, where they were asked for.
    bytes: Bytes,
}

impl Seen {
    fn of(buried: Buried, bodies: bool) -> Self {
        let (place, letter) = buried.whole();
        let mut bytes = BytesMut::new();
        if bodies {
            bytes.extend_from_slice(&letter.body);
            bytes.extend_from_slice(letter.rest.as_deref().unwrap_or_default());
        }
        Self {
            place,
            id: id_of(place, &letter),
            update_bytes: letter.body.len(),
            rest_bytes: letter.rest.as_ref().map(Bytes::len),
            bytes: bytes.freeze(),
            letter,
        }
    }

    /// With its bytes, where they were asked for.
    pub fn letter(self) -> Letter {
        let Self { mut bytes, update_bytes, rest_bytes, letter, .. } = self;
        let body = bytes.split_to(update_bytes.min(bytes.len()));
        Letter { body, rest: rest_bytes.map(|_| bytes), ..letter }
    }
}

/// The next letters of a file that no process has open. Empty behind the last. Blocks.
pub fn letters_of(file: &Look, wanted: Wanted) -> Result<Vec<Seen>, Unreadable> {
    file.read(|txn| seen(txn, wanted))
}

fn seen(txn: &ReadTransaction, wanted: Wanted) -> Result<Vec<Seen>, redb::Error> {
    let page = page(txn, wanted.after, wanted.limit, PAGE_BYTES)?;
    Ok(page.into_iter().map(|buried| Seen::of(buried, wanted.bodies)).collect())
}

/// The next ones behind `after`, until they have `most` bytes, and one at least.
fn page(
    txn: &ReadTransaction,
    after: Option<u64>,
    limit: usize,
    most: usize,
) -> Result<Vec<Buried>, redb::Error> {
    let letters = match txn.open_table(LETTERS) {
        Ok(letters) => letters,
        // A store's file, of a gateway whose queue is elsewhere.
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let (mut page, mut bytes) = (Vec::new(), 0);
    for entry in letters.range::<u64>((from, Bound::Unbounded))?.take(limit) {
        let (place, record) = entry?;
        let record = Bytes::copy_from_slice(record.value());
        bytes += record.len();
        page.push(Buried { place: place.value(), letter: record::to_letter(record.clone()).ok_or(record) });
        if bytes >= most {
            break;
        }
    }
    Ok(page)
}

impl Letters {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self(queue)
    }

    /// The next `limit` after `place`, or the first ones. Looking changes nothing.
    pub async fn page(&self, after: Option<u64>, limit: usize) -> Result<Vec<Buried>, DatabaseError> {
        self.0.database.read(move |txn| page(txn, after, limit, usize::MAX)).await
    }

    /// The next ones as who only looks sees them, in pages of bounded size.
    pub async fn look(&self, wanted: Wanted) -> Result<Vec<Seen>, DatabaseError> {
        self.0.database.read(move |txn| seen(txn, wanted)).await
    }

    /// Puts these back into their partitions, under the next replay's number, and removes them, in one transaction.
    /// Tells how many there were; what holds no update stays.
    pub async fn replay(&self, places: Vec<u64>, by: String) -> Result<u64, DatabaseError> {
        let (queue, after) = (Arc::clone(&self.0), Arc::clone(&self.0));
        let replaying = self.0.database.write_then(
            move |tables| {
                let Tables { letters, updates, .. } = &mut tables.queue;
                let (letters, updates) = (letters.open()?, updates.open()?);
                let mut published = Vec::new();
                for place in &places {
                    let record = letters.get(place)?.map(|record| Bytes::copy_from_slice(record.value()));
                    let again = record.and_then(record::to_letter).and_then(|letter| letter.again(&by));
                    let Some(envelope) = again else { continue };
                    let number = envelope.partition(queue.count());
                    let sequence = queue.take_sequence(number);
                    let record = record::of_update(&envelope)
                        .map_err(|error| redb::Error::Corrupted(error.to_string()))?;
                    updates.insert((journal(number), sequence), record.as_slice())?;
                    letters.remove(place)?;
                    published.push((number, sequence));
                }
                Ok(published)
            },
            move |published| {
                for (number, sequence) in published {
                    after.published(*number, *sequence);
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
            move |tables| {
                let letters = tables.queue.letters.open()?;
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
