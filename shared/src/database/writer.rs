//! The thread that writes: it takes what has gathered, puts it into one transaction, and answers everyone
//! when that is on disk. While one commit waits for the disk the next batch gathers, so the busier it is
//! the fewer fsyncs a write costs (facts D1).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::file::{File, disk};
use super::health::Health;
use super::job::Job;
use super::open::Lock;
use super::{DatabaseError, Reopen, Tables};

/// The most writes to a commit: 131,000 records a second at 2 ms each (facts D1).
const BATCH: usize = 256;

/// The shortest time between two tries to open the file anew. Each reads all of it.
const REST: Duration = Duration::from_secs(1);

pub(super) enum Message<T: Tables> {
    Write(Box<dyn Job<T>>),
    /// A reader met a failure of the disk, and there may be no write to meet it too.
    Mend,
    /// Answered when the file is closed.
    Close(oneshot::Sender<()>),
}

pub(super) struct Writer<T: Tables> {
    file: Arc<File>,
    health: Arc<Health>,
    reopen: Reopen,
    waiting: mpsc::Receiver<Message<T>>,
    closers: Vec<oneshot::Sender<()>>,
    /// redb refuses everything once its I/O has failed; opening the file anew may help.
    broken: bool,
    opened: Option<Instant>,
}

impl<T: Tables> Writer<T> {
    pub(super) fn new(
        file: Arc<File>,
        health: Arc<Health>,
        reopen: Reopen,
        waiting: mpsc::Receiver<Message<T>>,
    ) -> Self {
        Self { file, health, reopen, waiting, closers: Vec::new(), broken: false, opened: None }
    }

    /// Writes until nobody can ask any more, then closes the file and lets go of `lock`.
    pub(super) fn run(mut self, lock: Option<Arc<Lock>>) {
        let mut batch = Vec::with_capacity(BATCH);
        while let Some(message) = self.waiting.blocking_recv() {
            self.gather(message, &mut batch);
            while batch.len() < BATCH
                && let Ok(message) = self.waiting.try_recv()
            {
                self.gather(message, &mut batch);
            }
            self.write(std::mem::take(&mut batch));
        }
        self.file.close();
        drop(lock);
        for closer in self.closers {
            closer.send(()).ok();
        }
    }

    fn gather(&mut self, message: Message<T>, batch: &mut Vec<Box<dyn Job<T>>>) {
        match message {
            Message::Write(job) => batch.push(job),
            Message::Mend => self.broken = true,
            // What was sent before is still received; the loop ends after that.
            Message::Close(closer) => {
                self.waiting.close();
                self.closers.push(closer);
            }
        }
    }

    /// Writes all of `batch` in one transaction. If one job spoils it, each gets a transaction of its own,
    /// in the same order, so that the bad one fails alone.
    fn write(&mut self, mut batch: Vec<Box<dyn Job<T>>>) {
        self.health.begin();
        let fate = self.commit(&mut batch);
        self.health.end(matches!(fate, Err(DatabaseError::Disk(_))));
        match fate {
            Err(DatabaseError::Refused(_)) if batch.len() > 1 => {
                batch.into_iter().for_each(|job| self.write(vec![job]));
            }
            fate => batch.into_iter().for_each(|job| job.end(fate.clone())),
        }
    }

    fn commit(&mut self, batch: &mut [Box<dyn Job<T>>]) -> Result<(), DatabaseError> {
        self.mend()?;
        if batch.is_empty() {
            return Ok(());
        }
        // redb may panic over a page that has changed on disk: then the file is opened anew like after any other failure.
        let fate = self.file.with(|database| {
            let done = catch_unwind(AssertUnwindSafe(|| transact(database, batch)));
            done.unwrap_or_else(|_| Err(DatabaseError::Disk("writing panicked".to_owned())))
        });
        if let Err(DatabaseError::Disk(error)) = &fate {
            tracing::error!(error, "the database could not write; its file is opened anew");
            self.broken = true;
        }
        fate
    }

    /// Opens the file anew if it needs that.
    fn mend(&mut self) -> Result<(), DatabaseError> {
        if !self.broken {
            return Ok(());
        }
        if self.opened.is_some_and(|then| then.elapsed() < REST) {
            return Err(DatabaseError::Disk("the file failed a moment ago".to_owned()));
        }
        let outcome = self.file.replace(&self.reopen);
        self.opened = Some(Instant::now());
        self.broken = outcome.is_err();
        outcome
    }
}

/// One transaction with all of `batch`, committed with fsync (redb's `Durability::Immediate`, its default).
fn transact<T: Tables>(
    database: &redb::Database,
    batch: &mut [Box<dyn Job<T>>],
) -> Result<(), DatabaseError> {
    let txn = database.begin_write().map_err(disk)?;
    let mut tables = T::within(&txn);
    let ran = batch.iter_mut().try_for_each(|job| job.run(&mut tables));
    drop(tables);
    if let Err(error) = ran {
        txn.abort().map_err(disk)?;
        return Err(error);
    }
    txn.commit().map_err(disk)
}
