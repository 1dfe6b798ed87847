//! A file that no process has open, as it is: for the operators' commands, which must neither write it nor stand in the
//! way of a process that starts meanwhile. So nothing is locked; who has read all says whether it stayed as it was.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use redb::{ReadTransaction, ReadableDatabase as _};

use super::overlay::Overlay;

/// The most bytes of it that redb keeps in memory.
const CACHE: usize = 4 * 1024 * 1024;

/// Why a file can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is not there, or may not be read.
    #[error("{0}")]
    NotRead(std::io::Error),
    /// It is damaged beyond what a crash does to it.
    #[error("{0}")]
    Damaged(String),
}

/// A file that is read and never written.
pub struct Look {
    path: PathBuf,
    state: (u64, SystemTime),
    /// The transaction ends first. None only when this is dropped.
    open: Option<(ReadTransaction, redb::Database)>,
}

impl Drop for Look {
    /// redb writes when it closes a file, and panics over pages that somebody has written meanwhile.
    fn drop(&mut self) {
        let open = self.open.take();
        if !self.is_as_it_was() {
            return std::mem::forget(open);
        }
        let close = || {
            drop(open);
            Ok(())
        };
        if let Err(error) = tried(close) {
            tracing::debug!(%error, "a file that was looked at was not closed");
        }
    }
}

impl Look {
    /// Opens it as it is; what a crash left undone is mended in memory. Blocks.
    pub fn open(path: &Path) -> Result<Self, Unreadable> {
        let file = std::fs::File::open(path).map_err(Unreadable::NotRead)?;
        let state = state(&file).map_err(Unreadable::NotRead)?;
        let overlay = Overlay::new(file).map_err(Unreadable::NotRead)?;
        let open = || {
            let database = redb::Builder::new().set_cache_size(CACHE).create_with_backend(overlay);
            let database = database.map_err(|error| error.to_string())?;
            let txn = database.begin_read().map_err(|error| error.to_string())?;
            Ok::<_, String>((txn, database))
        };
        let open = Some(tried(open)?);
        Ok(Self { path: path.to_path_buf(), state, open })
    }

    /// Runs `work` on what is in it. Blocks.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, Unreadable> {
        let Some((txn, _)) = &self.open else { return Err(Unreadable::Damaged("it is closed".to_owned())) };
        tried(|| work(txn).map_err(|error| error.to_string()))
    }

    /// Whether nobody has written it since it was opened: else what was read may be torn.
    pub fn is_as_it_was(&self) -> bool {
        std::fs::File::open(&self.path).and_then(|file| state(&file)).is_ok_and(|state| state == self.state)
    }
}

fn state(file: &std::fs::File) -> std::io::Result<(u64, SystemTime)> {
    let metadata = file.metadata()?;
    Ok((metadata.len(), metadata.modified()?))
}

/// redb reports a damaged page as an error, or panics on it.
fn tried<T>(step: impl FnOnce() -> Result<T, String>) -> Result<T, Unreadable> {
    let panicked = |_| Unreadable::Damaged("its pages contradict each other".to_owned());
    catch_unwind(AssertUnwindSafe(step)).map_err(panicked)?.map_err(Unreadable::Damaged)
}
