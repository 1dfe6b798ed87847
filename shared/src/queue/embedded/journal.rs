//! Where updates lie in the file: those of all partitions together, in the order in which they came.

use redb::{ReadableTable as _, TableDefinition};

use crate::database::DatabaseError;
use crate::one_file::Database;
use crate::queue::Bulk;

/// (journal, sequence) → an update's record. A sequence is never used twice while the file is open, and its lowest bits are
/// the number of its partition, but for bulk messages of an earlier version.
pub(super) const UPDATES: TableDefinition<'static, (u16, u64), &'static [u8]> =
    TableDefinition::new("queue-updates");

/// The journal of the updates of all partitions, in the order in which they came: so a commit writes pages at one place of
/// the file. With a journal for each of 32 partitions it wrote at 32 places, three times the bytes
/// (docs/performance-changes.md). On people's disks: never changed.
const TOGETHER: u16 = 1003;

/// The bits of a sequence that have the partition's number, at most 1,002.
const PARTITION_BITS: u32 = 10;

/// The most bytes, but for one record, and the most records of an earlier version's that are moved at a time.
const MOVED_BYTES: usize = 4 * 1024 * 1024;
const MOVED: usize = 4096;

/// Bulk messages, which may wait for hours, have journals of their own, so that nobody has to look past them.
pub(super) fn journal(partition: u16) -> u16 {
    if Bulk::of(partition).is_some() { partition } else { TOGETHER }
}

/// Whose an update is, by its key. An earlier version had a journal for each partition.
pub(super) fn partition_of((journal, sequence): (u16, u64)) -> u16 {
    if journal == TOGETHER { (sequence & ((1 << PARTITION_BITS) - 1)) as u16 } else { journal }
}

pub(super) fn sequence(number: u64, partition: u16) -> u64 {
    number << PARTITION_BITS | u64::from(partition)
}

/// The first number whose sequences are all above this one.
pub(super) fn number_above(sequence: u64) -> u64 {
    (sequence >> PARTITION_BITS) + 1
}

/// Moves what an earlier version left in a journal for each partition. What is moved already, should a crash come in between,
/// is older than what is left, and stays in front of it.
pub(super) async fn move_together(database: &Database) -> Result<(), DatabaseError> {
    loop {
        let moving = database.write(|tables| {
            let updates = tables.queue.updates.open()?;
            let last = updates.range((TOGETHER, 0)..=(TOGETHER, u64::MAX))?.next_back().transpose()?;
            let mut next = last.map_or(0, |(key, _)| number_above(key.value().1));
            let (mut apart, mut bytes) = (Vec::new(), 0);
            for entry in updates.range(..(Bulk::Notifications.partition(), 0))?.take(MOVED) {
                let (key, record) = entry?;
                bytes += record.value().len();
                apart.push((key.value(), record.value().to_vec()));
                if bytes >= MOVED_BYTES {
                    break;
                }
            }
            for (key, record) in &apart {
                updates.insert((TOGETHER, sequence(next, partition_of(*key))), &record[..])?;
                updates.remove(*key)?;
                next += 1;
            }
            Ok(apart.len())
        });
        if moving.await? == 0 {
            return Ok(());
        }
    }
}
