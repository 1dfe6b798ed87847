//! The spool's inside: what is written and removed, and what is counted, in step with the disk.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, watch};

use super::index::Index;
use super::table::{self, Head};
use super::{SpoolError, events};
use crate::database::{Database, DatabaseError};
use crate::queue::Publishing;
use crate::queue::rabbitmq::Generation;

/// Writes at once. With the disk well a handful is enough; with a disk that hangs this is the bound (I5).
const WRITES: usize = 2048;

pub(super) struct Inner {
    pub database: Database,
    /// What the other ingresses know it by, also after a restart.
    pub name: String,
    pub index: Index,
    pub limit: u64,
    pub bytes: AtomicU64,
    pub updates: AtomicU64,
    pub letters: AtomicU64,
    pub next_letter: AtomicU64,
    pub writes: Arc<Semaphore>,
    /// The last write failed.
    pub failing: AtomicBool,
    /// The last record had no room, and nothing was removed since; or there is none at all.
    pub full: AtomicBool,
    /// A confirm is overdue: whoever comes now need not wait for another one.
    pub doubt: AtomicBool,
    /// Another ingress is not back yet, and may hold something older.
    pub awaits: AtomicBool,
    /// All that others hold is known: draining may begin.
    pub settled: AtomicBool,
    /// The connection on which others are heard, and the one that was drawn conclusions from.
    pub generation: OnceLock<watch::Receiver<Generation>>,
    pub concluded: AtomicU64,
    /// Something changed that the drain or the announcer may have waited for.
    pub changed: Notify,
    pub announce: Notify,
    /// Writes outlive the request that asked for them, so they don't run where the request does.
    pub runtime: Handle,
}

impl Inner {
    pub async fn open(database: &Database, limit: u64) -> Result<Self, DatabaseError> {
        let fresh = uuid::Uuid::new_v4().to_string();
        let name = database.write(move |txn| table::create(txn, &fresh)).await?;
        let found = database.read(table::contents).await?;
        Ok(Self {
            database: database.clone(),
            name,
            index: Index::new(&found.heads),
            limit,
            bytes: AtomicU64::new(found.bytes),
            updates: AtomicU64::new(found.updates),
            letters: AtomicU64::new(found.letters),
            next_letter: AtomicU64::new(found.next_letter),
            writes: Arc::new(Semaphore::new(WRITES)),
            failing: AtomicBool::new(false),
            full: AtomicBool::new(found.bytes >= limit),
            doubt: AtomicBool::new(false),
            awaits: AtomicBool::new(false),
            settled: AtomicBool::new(true),
            generation: OnceLock::new(),
            concluded: AtomicU64::new(0),
            changed: Notify::new(),
            announce: Notify::new(),
            runtime: Handle::current(),
        })
    }

    pub async fn write(
        self: &Arc<Self>,
        key: (u16, u64),
        head: Head,
        record: Vec<u8>,
        room: Room,
    ) -> Result<(), SpoolError> {
        let inner = Arc::clone(self);
        let write = self.database.write_then(
            move |txn| table::insert(txn, key, &record),
            // On the writer's thread, so that the index changes in the order of the commits.
            move |is_new| {
                if *is_new {
                    room.keep();
                    inner.updates.fetch_add(1, Ordering::Relaxed);
                    inner.index.stored(key.0, head);
                    events::stored();
                }
            },
        );
        let outcome = write.await.map(drop).map_err(unwritable);
        self.changed.notify_one();
        self.announce.notify_one();
        outcome
    }

    pub async fn write_letter(self: &Arc<Self>, record: Vec<u8>, room: Room) -> Result<(), SpoolError> {
        let (writing, written) = (Arc::clone(self), Arc::clone(self));
        let write = self.database.write_then(
            move |txn| {
                let sequence = writing.next_letter.fetch_add(1, Ordering::Relaxed);
                table::insert_letter(txn, sequence, &record)
            },
            move |()| {
                room.keep();
                written.letters.fetch_add(1, Ordering::Relaxed);
                events::stored();
            },
        );
        let outcome = write.await.map_err(unwritable);
        self.changed.notify_one();
        outcome
    }

    /// Waits for a publish that was begun before its update was spooled.
    pub async fn resolve(self: &Arc<Self>, key: (u16, u64), late: Publishing) {
        let confirmed = late.await.is_ok();
        self.trust();
        // If the record can't be removed it is drained once more, and found to have been seen.
        if confirmed && self.remove(key.0, vec![key.1]).await.is_ok() {
            events::drained(1);
        }
        self.index.resolved(key.0);
        self.changed.notify_one();
    }

    /// Takes records out, and learns what is the bucket's lowest now.
    pub async fn remove(self: &Arc<Self>, bucket: u16, ids: Vec<u64>) -> Result<(), DatabaseError> {
        let inner = Arc::clone(self);
        let remove = self.database.write_then(
            move |txn| table::remove(txn, bucket, &ids),
            move |removed| {
                inner.index.removed(bucket, removed);
                subtract(&inner.updates, removed.records);
                inner.freed(removed.bytes);
            },
        );
        let outcome = remove.await.map(drop);
        self.announce.notify_one();
        outcome
    }

    pub async fn remove_letters(self: &Arc<Self>, sequences: Vec<u64>) -> Result<(), DatabaseError> {
        let inner = Arc::clone(self);
        let remove = self.database.write_then(
            move |txn| table::remove_letters(txn, &sequences),
            move |removed| {
                subtract(&inner.letters, removed.records);
                inner.freed(removed.bytes);
            },
        );
        remove.await.map(drop)
    }

    /// The connection is a new one, and nobody has looked yet who has to be waited for.
    pub fn is_unconcluded(&self) -> bool {
        let concluded = self.concluded.load(Ordering::Acquire);
        self.generation.get().is_some_and(|generation| generation.borrow().number != concluded)
    }

    pub fn freed(&self, bytes: u64) {
        subtract(&self.bytes, bytes);
        if bytes > 0 {
            self.full.store(false, Ordering::Relaxed);
        }
    }

    /// A publish ended: the broker is known to be well, or known to be away. Looked at before it is written, since
    /// every update comes by.
    pub fn trust(&self) {
        if self.doubt.load(Ordering::Relaxed) {
            self.doubt.store(false, Ordering::Relaxed);
        }
    }

    /// The disk hangs, or as much waits for it as may.
    pub fn hangs(&self) {
        self.failing.store(true, Ordering::Relaxed);
    }

    pub fn note(&self, outcome: &Result<(), SpoolError>) {
        if let Err(error) = outcome {
            events::failed(error);
        }
        self.failing.store(outcome.is_err(), Ordering::Relaxed);
    }
}

/// Bytes that are reserved for a record, and given back unless it is stored.
pub(super) struct Room {
    inner: Arc<Inner>,
    bytes: u64,
}

impl Room {
    pub fn take(inner: &Arc<Inner>, bytes: u64) -> Result<Self, SpoolError> {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= inner.limit);
        match inner.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => {
                inner.full.store(false, Ordering::Relaxed);
                Ok(Self { inner: Arc::clone(inner), bytes })
            }
            Err(_) => {
                inner.full.store(true, Ordering::Relaxed);
                events::full();
                Err(SpoolError::Full)
            }
        }
    }

    pub fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        subtract(&self.inner.bytes, self.bytes);
    }
}

/// Not below zero: a write that failed may be on disk all the same, and was not counted.
fn subtract(from: &AtomicU64, what: u64) {
    from.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |number| Some(number.saturating_sub(what))).ok();
}

pub(super) fn unwritable(error: impl std::fmt::Display) -> SpoolError {
    SpoolError::Disk(error.to_string())
}
