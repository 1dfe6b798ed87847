//! A redb file: that of the embedded queue and store, or a spool. One process has it, and one thread of that
//! process writes it, many writes to a commit (facts D1, D4).
//!
//! What the records mean is not known here: a room that keeps something brings its own tables.

mod file;
mod health;
mod job;
mod look;
mod open;
mod overlay;
mod salvage;
mod tables;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use redb::ReadTransaction;
use tokio::sync::{Semaphore, mpsc, oneshot};

pub use look::{Look, Unreadable};
pub use open::OpenError;
pub(crate) use salvage::Salvage;
pub(crate) use tables::Lazy;
pub use tables::{Plain, Tables};

use file::File;
use health::Health;
use job::Task;
use open::Lock;
use writer::{Message, Writer};

/// A kind of file, named by the room that it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its name in its folder.
    pub name: &'static str,
    /// The most bytes of it that redb keeps in memory. Its own default is 1 GiB (I5).
    pub cache: usize,
    /// Saves what can be read of a damaged file; tells how many entries that was.
    pub(crate) salvage: fn(&Salvage<'_>) -> Result<u64, redb::Error>,
}

/// Writes that wait for the writer. Whoever comes when it is full waits too, so memory stays bounded (I5).
const WAITING: usize = 1024;

/// Reads that are under way at once, each on a thread. Where each of 32 partitions had one, `tgw run` had 55 threads of the
/// runtime's under load and took no more updates a second (docs/performance-changes.md).
const READS: usize = 4;

/// How long a probe is waited for.
const PROBE: Duration = Duration::from_secs(1);

/// Why something could not be written or read. Every write is all or nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// This one work failed or panicked, and will again: the file and everyone else's work are well.
    #[error("refused: {0}")]
    Refused(String),
    /// The disk or the file failed. It may be tried again: the file is opened anew as soon as that works.
    /// A write may have been stored all the same.
    #[error("the disk failed: {0}")]
    Disk(String),
    /// `close` was called.
    #[error("the database is closed")]
    Closed,
}

/// An open file, and what its writes work on. Cheap to clone; the file is closed when the last clone is gone and all is
/// written.
pub struct Database<T: Tables = Plain> {
    file: Arc<File>,
    jobs: mpsc::Sender<Message<T>>,
    health: Arc<Health>,
    set_aside: Option<Arc<Path>>,
    reads: Arc<Semaphore>,
}

/// Not derived, which would ask that the tables can be cloned.
impl<T: Tables> Clone for Database<T> {
    fn clone(&self) -> Self {
        let Self { file, jobs, health, set_aside, reads } = self;
        Self {
            file: Arc::clone(file),
            jobs: jobs.clone(),
            health: Arc::clone(health),
            set_aside: set_aside.clone(),
            reads: Arc::clone(reads),
        }
    }
}

impl<T: Tables> Database<T> {
    /// Opens the file in `folder`, both made if missing, and checks all of it: that reads the whole file
    /// once. A damaged file is renamed and a new one begun with what can be read of it, so that a start
    /// needs no hand. Blocks.
    pub fn open(folder: &Path, kind: Kind) -> Result<Self, OpenError> {
        let opened = open::open(folder, kind)?;
        let path = folder.join(kind.name);
        let reopen = Box::new(move || open::again(&path, kind));
        let mut database = Self::start(opened.database, opened.lock, reopen)
            .map_err(|error| OpenError::Disk { path: folder.join(kind.name), error: error.to_string() })?;
        database.set_aside = opened.set_aside.map(Arc::from);
        Ok(database)
    }

    /// Starts the writer; `lock` is held until the file is closed.
    pub(crate) fn start(
        database: redb::Database,
        lock: Option<Arc<Lock>>,
        reopen: Reopen,
    ) -> std::io::Result<Self> {
        let file = Arc::new(File::new(database));
        let (jobs, waiting) = mpsc::channel(WAITING);
        let health = Arc::new(Health::default());
        let writer = Writer::new(Arc::clone(&file), Arc::clone(&health), reopen, waiting);
        let run = move || writer.run(lock);
        std::thread::Builder::new().name("tgw-database".to_owned()).spawn(run)?;
        Ok(Self { file, jobs, health, set_aside: None, reads: Arc::new(Semaphore::new(READS)) })
    }

    /// Whether the last write failed by the disk, or one hangs. Only a write finds out that it is well again.
    pub fn is_failing(&self) -> bool {
        self.health.is_failing()
    }

    /// How many times a commit failed so far, or could not begin since the file was not opened again yet. What it was to
    /// write may be there all the same: whoever asks in the `then` of a write knows by the number whether there was such a
    /// one since the last time.
    pub fn failures(&self) -> u64 {
        self.health.failures()
    }

    /// Writes nothing, to see whether a disk that failed takes something again; for up to a second.
    pub async fn probe(&self) -> bool {
        tokio::time::timeout(PROBE, self.write(|_| Ok(()))).await.is_ok_and(|written| written.is_ok())
    }

    /// Where `open` put a file that it found damaged.
    pub fn set_aside(&self) -> Option<PathBuf> {
        self.set_aside.as_deref().map(Path::to_path_buf)
    }

    /// Runs `work` on the tables of a write transaction, together with what else waits, and returns when it is on disk.
    ///
    /// `work` may run twice, the first time in a transaction that is thrown away, so whatever it changes
    /// outside the file must bear that. Dropping the future does not take the write back.
    pub async fn write<R, W>(&self, work: W) -> Result<R, DatabaseError>
    where
        R: Send + 'static,
        W: Fn(&mut T::Open<'_>) -> Result<R, redb::Error> + Send + 'static,
    {
        self.write_then(work, |_| ()).await
    }

    /// `write`, and then `then` with its outcome, on the writer's thread and in the order of the writes:
    /// once, after the commit, and also when nobody waits for it any more. `then` must not block.
    pub async fn write_then<R, W, A>(&self, work: W, then: A) -> Result<R, DatabaseError>
    where
        R: Send + 'static,
        W: Fn(&mut T::Open<'_>) -> Result<R, redb::Error> + Send + 'static,
        A: FnOnce(&R) + Send + 'static,
    {
        let (answer, outcome) = oneshot::channel();
        let task = Message::Write(Box::new(Task::new(work, then, answer)));
        self.jobs.send(task).await.map_err(|_| DatabaseError::Closed)?;
        outcome.await.unwrap_or(Err(DatabaseError::Closed))
    }

    /// Runs `work` on what is on disk now.
    ///
    /// On a blocking thread: redb keeps a bounded cache of its own, and what is not in there is a read of
    /// the disk, which a backlog larger than the machine's memory makes a slow one. Waits while others read.
    pub async fn read<R, W>(&self, work: W) -> Result<R, DatabaseError>
    where
        R: Send + 'static,
        W: FnOnce(&ReadTransaction) -> Result<R, redb::Error> + Send + 'static,
    {
        let file = Arc::clone(&self.file);
        // Never closed; without a place there would just be no bound.
        let place = Arc::clone(&self.reads).acquire_owned().await;
        let reading = move || {
            // Until the thread is done, also when nobody waits for it any more.
            let _place = place;
            file.read(work)
        };
        match tokio::task::spawn_blocking(reading).await {
            Ok(outcome) => {
                if let Err(DatabaseError::Disk(_)) = outcome {
                    // No room means that writes are coming, which meet the failure themselves.
                    self.jobs.try_send(Message::Mend).ok();
                }
                outcome
            }
            Err(error) if error.is_panic() => Err(DatabaseError::Refused("the reading panicked".to_owned())),
            Err(_) => Err(DatabaseError::Closed),
        }
    }

    /// Returns when all that was asked for is written and the file may be opened by another. Every clone
    /// is closed by this.
    pub async fn close(&self) {
        let (answer, closed) = oneshot::channel();
        match self.jobs.send(Message::Close(answer)).await {
            // An error is the writer's end, which is what is waited for.
            Ok(()) => closed.await.unwrap_or_default(),
            // Another `close` came first.
            Err(_) => self.jobs.closed().await,
        }
    }
}

/// Opens the file anew after the disk failed.
pub(crate) type Reopen = Box<dyn Fn() -> Result<redb::Database, DatabaseError> + Send>;

#[cfg(test)]
pub(crate) mod tests;
