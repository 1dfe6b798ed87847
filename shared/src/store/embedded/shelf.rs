//! Values that expire, as Redis has them: a table of values, and an index of when to look at which.
//!
//! Each value has exactly one entry in the index. Renewing a value leaves its entry where it is; whoever
//! finds the entry too early moves it. So a session that is renewed a thousand times a day costs one move.

use std::ops::RangeTo;

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use crate::database::Lazy;

/// key → (expires, the time of its entry in the index, value). Times are ms since the epoch.
const VALUES: TableDefinition<'static, &'static [u8], (u64, u64, &'static [u8])> =
    TableDefinition::new("store-values");
/// (when to look, key)
const INDEX: TableDefinition<'static, (u64, &'static [u8]), ()> = TableDefinition::new("store-index");

/// The most entries that one purge looks at: more than one write can add, so the purge keeps up.
const PURGE: usize = 64;

/// The tables that are written.
pub(crate) struct Tables<'txn> {
    values: Lazy<'txn, &'static [u8], (u64, u64, &'static [u8])>,
    index: Lazy<'txn, (u64, &'static [u8]), ()>,
}

impl<'txn> Tables<'txn> {
    pub(crate) fn within(txn: &'txn WriteTransaction) -> Self {
        Self { values: Lazy::new(txn, VALUES), index: Lazy::new(txn, INDEX) }
    }

    /// Both, at one moment.
    pub(super) fn shelf(&mut self, now_ms: u64) -> Result<Shelf<'_, 'txn>, redb::Error> {
        Ok(Shelf { values: self.values.open()?, index: self.index.open()?, now_ms })
    }
}

/// The store's tables within one write, at one moment.
pub(super) struct Shelf<'tables, 'txn> {
    values: &'tables mut Table<'txn, &'static [u8], (u64, u64, &'static [u8])>,
    index: &'tables mut Table<'txn, (u64, &'static [u8]), ()>,
    now_ms: u64,
}

impl Shelf<'_, '_> {
    /// The value, if it is there and has not expired.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, redb::Error> {
        let entry = self.values.get(key)?;
        let entry = entry.as_ref().map(|entry| entry.value()).filter(|(expires, ..)| *expires > self.now_ms);
        Ok(entry.map(|(_, _, value)| value.to_vec()))
    }

    /// Puts a value that expires after `ttl_ms` from now.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8], ttl_ms: u64) -> Result<(), redb::Error> {
        let expires = self.now_ms.saturating_add(ttl_ms);
        let indexed = self.values.get(key)?.map(|entry| entry.value().1);
        let look = indexed.filter(|indexed| *indexed <= expires).unwrap_or(expires);
        if indexed != Some(look) {
            self.move_entry(key, indexed, Some(look))?;
        }
        self.values.insert(key, (expires, look, value))?;
        Ok(())
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Result<(), redb::Error> {
        let indexed = self.values.remove(key)?.map(|entry| entry.value().1);
        self.move_entry(key, indexed, None)
    }

    /// Removes what has expired, a bounded number at a time, so that no single write takes long.
    pub(super) fn purge(&mut self) -> Result<(), redb::Error> {
        for (indexed, key) in self.due()? {
            let entry = self.values.get(key.as_slice())?.map(|entry| {
                let (expires, _, value) = entry.value();
                (expires, value.to_vec())
            });
            match entry {
                Some((expires, value)) if expires > self.now_ms => {
                    self.move_entry(&key, Some(indexed), Some(expires))?;
                    self.values.insert(key.as_slice(), (expires, expires, value.as_slice()))?;
                }
                _ => {
                    self.values.remove(key.as_slice())?;
                    self.move_entry(&key, Some(indexed), None)?;
                }
            }
        }
        Ok(())
    }

    fn due(&self) -> Result<Vec<(u64, Vec<u8>)>, redb::Error> {
        let until: RangeTo<(u64, &[u8])> = ..(self.now_ms, &[]);
        let mut due = Vec::new();
        for entry in self.index.range(until)?.take(PURGE) {
            let (entry, ()) = (entry?.0, ());
            let (indexed, key) = entry.value();
            due.push((indexed, key.to_vec()));
        }
        Ok(due)
    }

    fn move_entry(&mut self, key: &[u8], from: Option<u64>, to: Option<u64>) -> Result<(), redb::Error> {
        if let Some(from) = from {
            self.index.remove((from, key))?;
        }
        if let Some(to) = to {
            self.index.insert((to, key), ())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
