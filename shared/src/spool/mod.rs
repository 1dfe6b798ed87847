//! The spool: what the broker can't take waits on the ingress's own disk, fsynced before the 200, and goes to
//! the broker in order when it can (design 4). It is kept by the same database as the embedded queue, in the
//! same format.
//!
//! Its records lie in buckets, a hash of the lane of which there are 1024 whatever `PARTITIONS` says: order is
//! kept per chat, and a bucket is the smallest part of that which costs nothing to keep in mind. While a bucket
//! holds a record, here or in another ingress's spool, newer updates go behind it; all others go their way.
//!
//! `table` is what one transaction does, `index` what is known in memory, `drain` brings records to the broker,
//! `peers` and `announce` are about the other ingresses.

mod announce;
mod drain;
mod events;
mod index;
mod peers;
mod table;
mod tend;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, oneshot, watch};

use crate::database::{Database, DatabaseError, Kind};
use crate::queue::rabbitmq::Generation;
use crate::queue::{Envelope, Letter, Publishing, record};
use index::Index;
use table::Head;

pub use tend::{Tended, tend};

/// Buckets of a spool. Changing this makes every spool on a disk unreadable.
const BUCKETS: u16 = 1024;

/// Writes at once. With the disk well a handful is enough; with a disk that hangs this is the bound (I5).
const WRITES: usize = 2048;

/// The file of a spool.
pub const FILE: Kind = Kind { name: "spool.redb", cache: 4 * 1024 * 1024, salvage: table::salvage };

/// Why the spool did not take something. Telegram has to keep it.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// `SPOOL_MAX_BYTES` is reached.
    #[error("the spool is full")]
    Full,
    #[error("the spool can't be written: {0}")]
    Disk(String),
}

/// What a spool holds at the moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub updates: u64,
    pub letters: u64,
    /// As `SPOOL_MAX_BYTES` counts them.
    pub bytes: u64,
    /// When its oldest update was received, milliseconds since the epoch.
    pub oldest_ms: Option<u64>,
}

/// An open spool. Cheap to clone.
#[derive(Clone)]
pub struct Spool(Arc<Inner>);

struct Inner {
    database: Database,
    index: Index,
    limit: u64,
    bytes: AtomicU64,
    updates: AtomicU64,
    letters: AtomicU64,
    next_letter: AtomicU64,
    writes: Arc<Semaphore>,
    /// The last write failed.
    failing: AtomicBool,
    /// The last record had no room, and nothing was removed since.
    full: AtomicBool,
    /// A confirm is overdue: whoever comes now need not wait for another one.
    doubt: AtomicBool,
    /// Another ingress is not back yet, and may hold something older.
    awaits: AtomicBool,
    /// All that others hold is known: draining may begin.
    settled: AtomicBool,
    /// The connection on which others are heard, and the one that was drawn conclusions from.
    generation: OnceLock<watch::Receiver<Generation>>,
    concluded: AtomicU64,
    /// Something changed that the drain or the announcer may have waited for.
    changed: Notify,
    announce: Notify,
    /// Writes outlive the request that asked for them, so they don't run where the request does.
    runtime: Handle,
}

impl Spool {
    /// Opens the spool in `database`, and reads all of it once. `limit` is `SPOOL_MAX_BYTES`. Must be called on
    /// the runtime that lives as long as the process.
    pub async fn open(database: &Database, limit: u64) -> Result<Self, DatabaseError> {
        database.write(table::create).await?;
        let found = database.read(table::contents).await?;
        let inner = Inner {
            database: database.clone(),
            index: Index::new(&found.heads),
            limit,
            bytes: AtomicU64::new(found.bytes),
            updates: AtomicU64::new(found.updates),
            letters: AtomicU64::new(found.letters),
            next_letter: AtomicU64::new(found.next_letter),
            writes: Arc::new(Semaphore::new(WRITES)),
            failing: AtomicBool::new(false),
            full: AtomicBool::new(false),
            doubt: AtomicBool::new(false),
            awaits: AtomicBool::new(false),
            settled: AtomicBool::new(true),
            generation: OnceLock::new(),
            concluded: AtomicU64::new(0),
            changed: Notify::new(),
            announce: Notify::new(),
            runtime: Handle::current(),
        };
        let spool = Self(Arc::new(inner));
        events::opened(&spool.status());
        Ok(spool)
    }

    /// Whether this update has to go to the spool, however well the broker is: it would else overtake an older
    /// one, or wait for a confirm as long as the ones before it did.
    pub fn comes_first(&self, envelope: &Envelope) -> bool {
        let it = &self.0;
        it.doubt.load(Ordering::Relaxed)
            || it.awaits.load(Ordering::Relaxed)
            || it.is_unconcluded()
            || it.index.is_behind(envelope.partition(BUCKETS))
    }

    /// A confirm is overdue.
    pub fn doubt(&self) {
        self.0.doubt.store(true, Ordering::Relaxed);
    }

    /// A publish ended: the broker is known to be well, or known to be away.
    pub fn trust(&self) {
        if self.0.doubt.load(Ordering::Relaxed) {
            self.0.doubt.store(false, Ordering::Relaxed);
        }
    }

    /// Returns when the update is on disk; one that is there already is. `late` is its publish, where one was
    /// begun and may still be confirmed: if it is, the record goes. Dropping the future takes nothing back.
    pub async fn put(&self, envelope: &Envelope, late: Option<Publishing>) -> Result<(), SpoolError> {
        let record = record::of_update(envelope).map_err(unwritable)?;
        let permit = self.permit()?;
        let room = Room::take(&self.0, table::weight(&record))?;
        let key = (envelope.partition(BUCKETS), envelope.update_id);
        let head = Head { update_id: envelope.update_id, received_ms: envelope.received_ms };
        self.0.index.begin(key.0, late.is_some());
        let (answer, stored) = oneshot::channel();
        let inner = Arc::clone(&self.0);
        self.0.runtime.spawn(async move {
            let outcome = inner.write(key, head, record, room).await;
            inner.index.written(key.0, outcome.is_err());
            drop(permit);
            inner.note(&outcome);
            // Whoever asked may have given up.
            answer.send(outcome).ok();
            if let Some(late) = late {
                inner.resolve(key, late).await;
            }
        });
        stored.await.unwrap_or_else(|_| Err(SpoolError::Disk("the process ends".to_owned())))
    }

    /// The same for the letter of a body that is no update.
    pub async fn put_letter(&self, letter: &Letter) -> Result<(), SpoolError> {
        let record = record::of_letter(letter).map_err(unwritable)?;
        let permit = self.permit()?;
        let room = Room::take(&self.0, table::weight(&record))?;
        let (answer, stored) = oneshot::channel();
        let inner = Arc::clone(&self.0);
        self.0.runtime.spawn(async move {
            let outcome = inner.write_letter(record, room).await;
            drop(permit);
            inner.note(&outcome);
            answer.send(outcome).ok();
        });
        stored.await.unwrap_or_else(|_| Err(SpoolError::Disk("the process ends".to_owned())))
    }

    pub fn status(&self) -> Status {
        let it = &self.0;
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let oldest =
            it.index.heads().into_iter().map(|(_, head)| head.received_ms).filter(|ms| *ms > 0).min();
        Status {
            updates: count(&it.updates),
            letters: count(&it.letters),
            bytes: count(&it.bytes),
            oldest_ms: oldest,
        }
    }

    fn permit(&self) -> Result<tokio::sync::OwnedSemaphorePermit, SpoolError> {
        let waits = |_| SpoolError::Disk("as much waits for it as may wait".to_owned());
        Arc::clone(&self.0.writes).try_acquire_owned().map_err(waits)
    }
}

impl Inner {
    async fn write(
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

    async fn write_letter(self: &Arc<Self>, record: Vec<u8>, room: Room) -> Result<(), SpoolError> {
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
    async fn resolve(self: &Arc<Self>, key: (u16, u64), late: Publishing) {
        let confirmed = late.await.is_ok();
        self.doubt.store(false, Ordering::Relaxed);
        // If the record can't be removed it is drained once more, and found to have been seen.
        if confirmed && self.remove(key.0, vec![key.1]).await.is_ok() {
            events::drained(1);
        }
        self.index.resolved(key.0);
        self.changed.notify_one();
    }

    /// Takes records out, and learns what is the bucket's lowest now.
    async fn remove(self: &Arc<Self>, bucket: u16, ids: Vec<u64>) -> Result<(), DatabaseError> {
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

    async fn remove_letters(self: &Arc<Self>, sequences: Vec<u64>) -> Result<(), DatabaseError> {
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
    fn is_unconcluded(&self) -> bool {
        let concluded = self.concluded.load(Ordering::Acquire);
        self.generation.get().is_some_and(|generation| generation.borrow().0 != concluded)
    }

    fn freed(&self, bytes: u64) {
        subtract(&self.bytes, bytes);
        if bytes > 0 {
            self.full.store(false, Ordering::Relaxed);
        }
    }

    fn note(&self, outcome: &Result<(), SpoolError>) {
        if let Err(error) = outcome {
            events::failed(error);
        }
        self.failing.store(outcome.is_err(), Ordering::Relaxed);
    }
}

/// Bytes that are reserved for a record, and given back unless it is stored.
struct Room {
    inner: Arc<Inner>,
    bytes: u64,
}

impl Room {
    fn take(inner: &Arc<Inner>, bytes: u64) -> Result<Self, SpoolError> {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= inner.limit);
        match inner.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(Self { inner: Arc::clone(inner), bytes }),
            Err(_) => {
                inner.full.store(true, Ordering::Relaxed);
                events::full();
                Err(SpoolError::Full)
            }
        }
    }

    fn keep(mut self) {
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

fn unwritable(error: impl std::fmt::Display) -> SpoolError {
    SpoolError::Disk(error.to_string())
}

#[cfg(test)]
mod tests;
