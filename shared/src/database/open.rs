//! Opening the file: alone, checked, and without a hand. A file that can't be read is renamed, never
//! deleted, and never stands in the way of the start (facts D3).

use std::fs::{self, TryLockError};
use std::io::{self, ErrorKind};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use redb::StorageError;

use super::salvage::salvage;
use super::{DatabaseError, Kind};
use crate::clock;

/// In a folder that one process has.
const FOLDERS_LOCK: &str = "tgw.lock";

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the file, or another one in the same folder, and only one may (facts D4): end that one, or
    /// take another folder.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The file is of a redb format that this version does not read: nothing is wrong with it.
    #[error("{} was written by another version: it has file format {format}", path.display())]
    OtherFormat { path: PathBuf, format: u8 },
    /// The folder or the file can't be made, read or written.
    #[error("{} can't be opened: {error}", path.display())]
    Disk { path: PathBuf, error: String },
}

pub(super) struct Opened {
    pub(super) database: redb::Database,
    /// Held for as long as the database is open.
    pub(super) lock: Option<Arc<Lock>>,
    pub(super) set_aside: Option<PathBuf>,
}

enum Trouble {
    Damaged(String),
    Other(OpenError),
}

pub(super) fn open(folder: &Path, kind: Kind) -> Result<Opened, OpenError> {
    let name = kind.name;
    let path = folder.join(name);
    let failed = |error: io::Error| OpenError::Disk { path: path.clone(), error: error.to_string() };
    fs::create_dir_all(folder).map_err(failed)?;
    let lock = Some(hold(folder)?);
    let new = folder.join(format!("{name}.new"));
    if !path.exists() && new.exists() {
        // An earlier start ended between its last two steps.
        fs::rename(&new, &path).map_err(failed)?;
    }
    let (database, set_aside) = match attempt(&path, kind) {
        Ok(database) => (database, None),
        Err(Trouble::Damaged(error)) => {
            let saved = begin_anew(&path, &new, kind)?;
            let aside = folder.join(format!("{name}.damaged-{}", clock::now_ms()));
            fs::rename(&path, &aside).and_then(|()| fs::rename(&new, &path)).map_err(failed)?;
            let kept = aside.display();
            tracing::error!(error, %kept, saved, "the database is damaged; a new one holds what could be read of it");
            (attempt(&path, kind).map_err(|trouble| told(trouble, &path))?, Some(aside))
        }
        Err(Trouble::Other(error)) => return Err(error),
    };
    // A file that is not yet in its folder's own record would be gone after a power cut (facts D3).
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(Opened { database, lock, set_aside })
}

/// Makes a new file beside the damaged one, with what can be read of it; tells how many entries that is. Only when
/// that is on disk do the two change places, so that a start which is killed meanwhile is just begun again.
fn begin_anew(damaged: &Path, new: &Path, kind: Kind) -> Result<u64, OpenError> {
    if let Err(error) = fs::remove_file(new)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(OpenError::Disk { path: new.to_path_buf(), error: error.to_string() });
    }
    let database = attempt(new, kind).map_err(|trouble| told(trouble, new))?;
    Ok(salvage(damaged, &database, kind).unwrap_or_else(|error| {
        tracing::error!(%error, "nothing of the damaged database could be saved");
        0
    }))
}

/// Opens the file once more, after an I/O error. One that turns out damaged is left for the next start:
/// what the rooms know of it in memory would no longer fit a new one.
pub(super) fn again(path: &Path, kind: Kind) -> Result<redb::Database, DatabaseError> {
    attempt(path, kind).map_err(|trouble| DatabaseError::Disk(told(trouble, path).to_string()))
}

/// The lock of a folder, which one process has at a time, whatever files are in it; shared by all that it opens there.
/// Within the process redb's own lock keeps a file from being opened twice.
fn hold(folder: &Path) -> Result<Arc<Lock>, OpenError> {
    static HELD: Mutex<Vec<(PathBuf, Weak<Lock>)>> = Mutex::new(Vec::new());
    let failed = |error: io::Error| OpenError::Disk { path: folder.to_path_buf(), error: error.to_string() };
    let folder = folder.canonicalize().map_err(failed)?;
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    held.retain(|(_, lock)| lock.strong_count() > 0);
    let known = held.iter().find(|(path, _)| *path == folder);
    if let Some(lock) = known.and_then(|(_, lock)| lock.upgrade()) {
        return Ok(lock);
    }
    let lock = Arc::new(Lock::take(&folder.join(FOLDERS_LOCK), &folder)?);
    held.push((folder, Arc::downgrade(&lock)));
    Ok(lock)
}

/// Beside redb's own: that one is let go while a damaged file is renamed, and two processes that start at once must
/// not rename each other's new file.
pub(crate) struct Lock(pub(super) fs::File);

impl Lock {
    /// `path` is what is said to be in use.
    pub(super) fn take(at: &Path, path: &Path) -> Result<Self, OpenError> {
        let failed = |error: io::Error| OpenError::Disk { path: at.to_path_buf(), error: error.to_string() };
        let file =
            fs::OpenOptions::new().create(true).truncate(false).write(true).open(at).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_path_buf())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

impl Drop for Lock {
    /// Closing the file would leave the lock with every copy of its descriptor: a program that this process is
    /// just starting has one until it runs.
    fn drop(&mut self) {
        self.0.unlock().ok();
    }
}

/// Opens and checks the whole file: redb trusts a file that was closed well, and may panic later on a page
/// of it that has changed since. After a crash it would have to read all of it anyway.
fn attempt(path: &Path, kind: Kind) -> Result<redb::Database, Trouble> {
    let opened = catch_unwind(|| {
        redb::Builder::new().set_cache_size(kind.cache).set_check_integrity_on_open(true).create(path)
    });
    match opened {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(error)) => Err(trouble(error, path)),
        Err(_) => Err(Trouble::Damaged("reading it panicked".to_owned())),
    }
}

fn trouble(error: redb::DatabaseError, path: &Path) -> Trouble {
    use redb::DatabaseError::{
        DatabaseAlreadyOpen, LockProtocolMismatch, RepairAborted, Storage, UpgradeRequired,
    };
    let path = path.to_path_buf();
    match error {
        DatabaseAlreadyOpen | LockProtocolMismatch => Trouble::Other(OpenError::InUse(path)),
        UpgradeRequired(format) => Trouble::Other(OpenError::OtherFormat { path, format }),
        // Aborted by redb itself: neither of the two commits that a file holds is whole.
        RepairAborted | Storage(StorageError::Corrupted(_)) => Trouble::Damaged(error.to_string()),
        Storage(StorageError::Io(ref io)) if is_damage(io) => Trouble::Damaged(error.to_string()),
        other => Trouble::Other(OpenError::Disk { path, error: other.to_string() }),
    }
}

/// No redb file, one that ends too early, or a bad sector (EIO).
fn is_damage(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
        || error.raw_os_error() == Some(EIO)
}

fn told(trouble: Trouble, path: &Path) -> OpenError {
    match trouble {
        Trouble::Other(error) => error,
        Trouble::Damaged(error) => OpenError::Disk { path: path.to_path_buf(), error },
    }
}
