//! What can still be read of a damaged file goes into the new one. Best effort: from each table's first
//! entry up to the damage, and from its last entry down to it. The damaged file is only read.
//!
//! This reaches files that were closed well and damaged since; one that a crash left behind as well may have no
//! whole commit, and redb does not open it at all: then there are just its bytes to look at. What is worth saving
//! each kind of file knows.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::{
    Key, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, Value,
    WriteTransaction,
};

use super::Kind;

pub(crate) struct Salvage<'a> {
    /// The damaged file.
    pub path: &'a Path,
    /// None where redb can't open it.
    from: Option<&'a ReadTransaction>,
    /// The new file.
    pub to: &'a WriteTransaction,
}

/// Returns how many entries were saved; an error is the new file's.
pub(super) fn salvage(damaged: &Path, new: &redb::Database, kind: Kind) -> Result<u64, redb::Error> {
    let from = tried(|| ReadOnlyDatabase::open(damaged).ok()?.begin_read().ok());
    let to = new.begin_write()?;
    let saved = (kind.salvage)(&Salvage { path: damaged, from: from.as_ref(), to: &to })?;
    to.commit()?;
    Ok(saved)
}

impl Salvage<'_> {
    /// Copies what can be read of `table` and has a sound key; tells how many entries that was.
    pub(crate) fn table<K, V>(
        &self,
        table: TableDefinition<'_, K, V>,
        is_sound: impl Fn(K::SelfType<'_>) -> bool,
    ) -> Result<u64, redb::Error>
    where
        K: Key + 'static,
        V: Value + 'static,
    {
        let Some(from) = self.from.and_then(|from| tried(|| from.open_table(table).ok())) else {
            return Ok(0);
        };
        let mut to = self.to.open_table(table)?;
        let mut saved = 0;
        for is_forward in [true, false] {
            let Some(mut entries) = tried(|| from.iter().ok()) else {
                break;
            };
            let mut step = || {
                if is_forward { entries.next()?.ok() } else { entries.next_back()?.ok() }
            };
            let mut last: Option<Vec<u8>> = None;
            while let Some((key, value)) = tried(&mut step) {
                let bytes = K::as_bytes(&key.value()).as_ref().to_vec();
                // Pages that point in a circle would have no end: keys only ever go one way.
                let goes_on = last.as_ref().is_none_or(|last| K::compare(last, &bytes).is_lt() == is_forward);
                // The way back ends where the way there came to.
                if !goes_on || !is_sound(key.value()) || to.get(key.value())?.is_some() {
                    break;
                }
                to.insert(key.value(), value.value())?;
                last = Some(bytes);
                saved += 1;
            }
        }
        Ok(saved)
    }
}

/// redb reports a damaged page as an error, or panics on it.
fn tried<T>(step: impl FnOnce() -> Option<T>) -> Option<T> {
    catch_unwind(AssertUnwindSafe(step)).ok().flatten()
}
