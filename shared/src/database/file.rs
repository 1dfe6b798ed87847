//! The open redb file, which the writer may close and open anew beneath its readers: after an I/O error
//! redb refuses everything until it is opened again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{PoisonError, RwLock};

use redb::{ReadTransaction, ReadableDatabase};

use super::DatabaseError;

/// None while it is closed, for good or between two openings.
pub(super) struct File(RwLock<Option<redb::Database>>);

impl File {
    pub(super) fn new(database: redb::Database) -> Self {
        Self(RwLock::new(Some(database)))
    }

    /// Runs `work` on the open file, which stays open for so long.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&redb::Database) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let file = self.0.read().unwrap_or_else(PoisonError::into_inner);
        file.as_ref().map_or_else(|| Err(DatabaseError::Disk("the file is not open".to_owned())), work)
    }

    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, DatabaseError> {
        self.with(|database| {
            let txn = database.begin_read().map_err(disk)?;
            work(&txn).map_err(told_apart)
        })
    }

    /// Closes what is open, after the last reader, and then puts `database` in its place.
    pub(super) fn replace(
        &self,
        open: impl FnOnce() -> Result<redb::Database, DatabaseError>,
    ) -> Result<(), DatabaseError> {
        let mut file = self.0.write().unwrap_or_else(PoisonError::into_inner);
        end(file.take());
        *file = Some(open()?);
        Ok(())
    }

    pub(super) fn close(&self) {
        end(self.0.write().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// What redb panics over once it panics over when it is closed too; the file is closed all the same.
fn end(database: Option<redb::Database>) {
    if catch_unwind(AssertUnwindSafe(|| drop(database))).is_err() {
        tracing::debug!("closing the file panicked");
    }
}

/// An error of beginning, aborting or committing: never the work's own fault.
pub(super) fn disk(error: impl Into<redb::Error>) -> DatabaseError {
    DatabaseError::Disk(error.into().to_string())
}

/// An error that came up within a work: the file's fault or the work's own.
pub(super) fn told_apart(error: redb::Error) -> DatabaseError {
    use redb::Error::{Backend, Corrupted, DatabaseClosed, Io, LockPoisoned, PreviousIo};
    match error {
        Backend(_) | Corrupted(_) | DatabaseClosed | Io(_) | LockPoisoned(_) | PreviousIo => disk(error),
        refused => DatabaseError::Refused(refused.to_string()),
    }
}
