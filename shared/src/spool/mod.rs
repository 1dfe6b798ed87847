//! The spool: what the broker can't take waits on the ingress's own disk, fsynced before the 200, and goes to
//! the broker in order when it can (design 4). It is kept by the same database as the embedded queue, in the
//! same format.
//!
//! Its records lie in buckets, a hash of the lane of which there are 1024 whatever `PARTITIONS` says: order is
//! kept per chat, and a bucket is the smallest part of that which costs nothing to keep in mind. While a bucket
//! holds a record, here or in another ingress's spool, newer updates go behind it; all others go their way.
//!
//! `table` is what one transaction does, `index` what is known in memory, `inner` keeps both in step, `drain`
//! brings records to the broker, `peers` and `announce` are about the other ingresses, and `scan` finds what a
//! damaged file still holds.

mod announce;
mod drain;
mod events;
mod index;
mod inner;
pub mod inspect;
mod peers;
mod scan;
mod table;
mod tend;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;

use crate::database::{Database, DatabaseError, Kind};
use crate::queue::{Envelope, Letter, Publishing, record};
use inner::{Inner, Room, unwritable};
use table::Head;

pub use tend::{Tended, tend};

/// Buckets of a spool. Changing this makes every spool on a disk unreadable.
const BUCKETS: u16 = 1024;

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

impl Spool {
    /// Opens the spool in `database`, and reads all of it once. `limit` is `SPOOL_MAX_BYTES`. Must be called on
    /// the runtime that lives as long as the process.
    pub async fn open(database: &Database, limit: u64) -> Result<Self, DatabaseError> {
        let inner = Inner::open(database, limit).await?;
        let spool = Self(Arc::new(inner));
        events::opened(&spool.status(), limit);
        Ok(spool)
    }

    /// Whether this update has to go to the spool, however well the broker is: it would else overtake an older
    /// one, or wait for a confirm as long as the ones before it did.
    pub fn comes_first(&self, envelope: &Envelope) -> bool {
        let it = &self.0;
        it.doubt.load(Ordering::Relaxed)
            || it.awaits.load(Ordering::Relaxed)
            || it.is_unconcluded()
            || self.holds_older(envelope)
    }

    /// Whether an older update of its chat may be spooled, here or in another ingress's spool.
    pub fn holds_older(&self, envelope: &Envelope) -> bool {
        self.0.index.is_behind(envelope.partition(BUCKETS))
    }

    /// The disk did not answer in time.
    pub fn hangs(&self) {
        self.0.hangs();
    }

    /// A publish ended: the broker is known to be well, or known to be away.
    pub fn trust(&self) {
        self.0.trust();
    }

    /// Returns when the update is on disk; one that is there already is. `late` is its publish, where one was
    /// begun and may still be confirmed: if it is, the record goes, and until it is known everybody else comes
    /// here first. Dropping the future takes nothing back.
    pub async fn put(&self, envelope: &Envelope, late: Option<Publishing>) -> Result<(), SpoolError> {
        let record = record::of_update(envelope).map_err(unwritable)?;
        let permit = self.permit()?;
        let room = Room::take(&self.0, table::weight(&record))?;
        let key = (envelope.partition(BUCKETS), envelope.update_id);
        let head = Head { update_id: envelope.update_id, received_ms: envelope.received_ms };
        self.0.index.begin(key.0, late.is_some());
        if late.is_some() {
            self.0.doubt.store(true, Ordering::Relaxed);
        }
        let (answer, stored) = oneshot::channel();
        // With its body, which counts towards what large bodies may have in memory.
        let (inner, body) = (Arc::clone(&self.0), envelope.body.clone());
        self.0.runtime.spawn(async move {
            let outcome = inner.write(key, head, record, room).await;
            inner.index.written(key.0, outcome.is_err());
            drop((permit, body));
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
        let waits = |_| {
            self.0.hangs();
            SpoolError::Disk("as much waits for it as may wait".to_owned())
        };
        Arc::clone(&self.0.writes).try_acquire_owned().map_err(waits)
    }
}

#[cfg(test)]
mod tests;
