//! A look at what a spool holds, for the operators' commands: page by page, in one order, and nothing is changed by
//! it. A running ingress answers from its own open file; where none runs the file is read as it is.

mod file;

use std::ops::Bound;

use bytes::Bytes;
use redb::{ReadTransaction, TableError};
use serde::{Deserialize, Serialize};

use super::table::{LETTERS, UPDATES};
use super::{BUCKETS, Spool};
use crate::database::DatabaseError;
use crate::queue::{Envelope, Letter, record};

pub use file::{Scanned, find, page_of, scan_file};

/// What a page holds at most, beside its last record.
const PAGE_BYTES: usize = 1024 * 1024;

/// Where a record lies. All updates come before all letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    Update { bucket: u16, update_id: u64 },
    Letter { sequence: u64 },
}

/// A record of a spool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    pub place: Place,
    /// On the disk, with its head.
    pub length: u64,
    pub content: Content,
    /// The update's own bytes, where they were asked for.
    pub body: Option<Bytes>,
}

/// What a record holds, without the body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    Update(Envelope),
    Letter(Box<Letter>),
    /// Its checksum or its place is wrong; all of its bytes.
    Damaged(Bytes),
}

/// Which records.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Wanted {
    /// Behind this one; none for the first.
    pub after: Option<Place>,
    pub limit: usize,
    pub bodies: bool,
}

impl Spool {
    /// The next records, of what is on disk now. Empty behind the last.
    pub async fn page(&self, wanted: Wanted) -> Result<Vec<Stored>, DatabaseError> {
        self.0.database.read(move |txn| page(txn, wanted)).await
    }
}

fn page(txn: &ReadTransaction, wanted: Wanted) -> Result<Vec<Stored>, redb::Error> {
    let mut page = Page { wanted, found: Vec::new(), bytes: 0 };
    let updates = match wanted.after {
        None => Some(Bound::Unbounded),
        Some(Place::Update { bucket, update_id }) => Some(Bound::Excluded((bucket, update_id))),
        Some(Place::Letter { .. }) => None,
    };
    if let (Some(from), Some(table)) = (updates, there(txn.open_table(UPDATES))?) {
        for entry in table.range::<(u16, u64)>((from, Bound::Unbounded))? {
            let (key, record) = entry?;
            let (bucket, update_id) = key.value();
            if !page.takes(Place::Update { bucket, update_id }, record.value()) {
                return Ok(page.found);
            }
        }
    }
    let from = match wanted.after {
        Some(Place::Letter { sequence }) => Bound::Excluded(sequence),
        _ => Bound::Unbounded,
    };
    if let Some(table) = there(txn.open_table(LETTERS))? {
        for entry in table.range::<u64>((from, Bound::Unbounded))? {
            let (sequence, record) = entry?;
            if !page.takes(Place::Letter { sequence: sequence.value() }, record.value()) {
                break;
            }
        }
    }
    Ok(page.found)
}

/// A file that nothing was ever put into has no tables.
fn there<T>(opened: Result<T, TableError>) -> Result<Option<T>, redb::Error> {
    match opened {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

struct Page {
    wanted: Wanted,
    found: Vec<Stored>,
    bytes: usize,
}

impl Page {
    /// False where the page is full, without this record.
    fn takes(&mut self, place: Place, record: &[u8]) -> bool {
        if self.found.len() >= self.wanted.limit || self.bytes >= PAGE_BYTES {
            return false;
        }
        let stored = stored(place, record, self.wanted.bodies);
        self.bytes += if self.wanted.bodies { record.len() } else { 256 };
        self.found.push(stored);
        true
    }
}

fn stored(place: Place, record: &[u8], bodies: bool) -> Stored {
    let (length, bytes) = (record.len() as u64, Bytes::copy_from_slice(record));
    let content = match place {
        Place::Update { bucket, update_id } => record::to_update(bytes.clone())
            .ok()
            .filter(|it| it.update_id == update_id && it.partition(BUCKETS) == bucket)
            .map(|it| (it.body.clone(), Content::Update(it))),
        Place::Letter { .. } => {
            record::to_letter(bytes.clone()).map(|it| (it.body.clone(), Content::Letter(Box::new(it))))
        }
    };
    match content {
        Some((body, content)) => Stored { place, length, content, body: bodies.then_some(body) },
        None => Stored { place, length, content: Content::Damaged(bytes), body: None },
    }
}
