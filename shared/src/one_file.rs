//! The one file of `tgw run`, which the embedded queue and the embedded store share, and so its commits.

use redb::WriteTransaction;

use crate::database::{self, Kind, Tables};
use crate::queue::embedded as queue;
use crate::store::embedded as store;

/// The file. The store is not saved from a damaged one: it may lose its memory, as Redis may (contract 3.8). With a cache
/// of 32 MiB it took no more updates a second (docs/performance-changes.md).
pub const FILE: Kind = Kind { name: "tgw.redb", cache: 8 * 1024 * 1024, salvage: queue::salvage };

/// The open file.
pub type Database = database::Database<OneFile>;

/// Which tables it has.
#[derive(Debug)]
pub struct OneFile;

/// The tables, within a transaction.
pub struct Open<'txn> {
    pub(crate) queue: queue::Tables<'txn>,
    pub(crate) store: store::Tables<'txn>,
}

impl Tables for OneFile {
    type Open<'txn> = Open<'txn>;

    fn within(txn: &WriteTransaction) -> Open<'_> {
        Open { queue: queue::Tables::within(txn), store: store::Tables::within(txn) }
    }
}
