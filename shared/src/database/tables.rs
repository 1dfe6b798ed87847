//! What a write works on. To open a table costs a third of what it costs to put a record into it
//! (docs/performance-changes.md), so all writes of a transaction share those that one of them has opened.

use redb::{Key, Table, TableDefinition, Value, WriteTransaction};

/// The tables of a kind of file.
pub trait Tables: 'static {
    /// They themselves, within a transaction.
    type Open<'txn>;

    /// Opens none yet.
    fn within(txn: &WriteTransaction) -> Self::Open<'_>;
}

/// Where each write opens its tables for itself.
#[derive(Debug)]
pub struct Plain;

impl Tables for Plain {
    type Open<'txn> = &'txn WriteTransaction;

    fn within(txn: &WriteTransaction) -> Self::Open<'_> {
        txn
    }
}

/// A table that is opened, and made if it is missing, when the first asks for it; and closed with the transaction.
pub(crate) struct Lazy<'txn, K: Key + 'static, V: Value + 'static> {
    txn: &'txn WriteTransaction,
    definition: TableDefinition<'static, K, V>,
    table: Option<Table<'txn, K, V>>,
}

impl<'txn, K: Key + 'static, V: Value + 'static> Lazy<'txn, K, V> {
    pub fn new(txn: &'txn WriteTransaction, definition: TableDefinition<'static, K, V>) -> Self {
        Self { txn, definition, table: None }
    }

    pub fn open(&mut self) -> Result<&mut Table<'txn, K, V>, redb::Error> {
        let table = match self.table.take() {
            Some(table) => table,
            None => self.txn.open_table(self.definition)?,
        };
        Ok(self.table.insert(table))
    }
}
