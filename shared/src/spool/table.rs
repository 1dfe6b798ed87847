//! The spool's tables: what one transaction does to them, and what can be read of them. Knows nothing of
//! time, of the broker or of other ingresses.

use bytes::Bytes;
use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::BUCKETS;
use super::scan::{Found, scan};
use crate::database::Salvage;
use crate::queue::record;

/// (bucket, update_id) → an update's record. By update_id and not by arrival, so that an update which Telegram
/// sends again has the same place, and so that several spools can be drained as one.
pub(super) const UPDATES: TableDefinition<'_, (u16, u64), &[u8]> = TableDefinition::new("spool-updates");
/// sequence → a letter's record: of bodies that are no update. They have no order to keep.
pub(super) const LETTERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("spool-letters");

/// What is fixed for the whole file.
const FIXED: TableDefinition<'_, &str, &str> = TableDefinition::new("spool-fixed");
const NAME: &str = "name";

/// What a record costs beside its own bytes: its key, and its share of the tree above it.
const OVERHEAD: u64 = 64;

/// What a record of this length counts for towards `SPOOL_MAX_BYTES`.
pub(super) fn weight(record: &[u8]) -> u64 {
    record.len() as u64 + OVERHEAD
}

/// The lowest update of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub update_id: u64,
    /// When the ingress received it, milliseconds since the epoch; 0 where the record can't be read.
    pub received_ms: u64,
}

impl Head {
    fn of(update_id: u64, record: &[u8]) -> Self {
        let envelope = record::to_update(Bytes::copy_from_slice(record));
        Self { update_id, received_ms: envelope.map_or(0, |envelope| envelope.received_ms) }
    }
}

/// What a file holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub heads: Vec<(u16, Head)>,
    pub updates: u64,
    pub letters: u64,
    /// By `weight`.
    pub bytes: u64,
    pub next_letter: u64,
}

/// What was taken out of a bucket, and what is its lowest now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Removed {
    pub records: u64,
    pub bytes: u64,
    pub head: Option<Head>,
}

/// A bucket's lowest updates, in order.
pub(super) struct Page {
    pub bucket: u16,
    pub records: Vec<(u64, Bytes)>,
    pub bytes: usize,
}

/// Makes what is missing; the spool's name, which is `name` if it had none.
pub(super) fn create(txn: &WriteTransaction, name: &str) -> Result<String, redb::Error> {
    txn.open_table(UPDATES)?;
    txn.open_table(LETTERS)?;
    let mut fixed = txn.open_table(FIXED)?;
    let known = fixed.get(NAME)?.map(|known| known.value().to_owned());
    if known.is_none() {
        fixed.insert(NAME, name)?;
    }
    Ok(known.unwrap_or_else(|| name.to_owned()))
}

/// Reads all of it once.
pub(super) fn contents(txn: &ReadTransaction) -> Result<Contents, redb::Error> {
    let mut contents = Contents::default();
    for entry in txn.open_table(UPDATES)?.range::<(u16, u64)>(..)? {
        let (key, record) = entry?;
        let (bucket, update_id) = key.value();
        contents.updates += 1;
        contents.bytes += weight(record.value());
        if contents.heads.last().is_none_or(|(last, _)| *last != bucket) {
            contents.heads.push((bucket, Head::of(update_id, record.value())));
        }
    }
    for entry in txn.open_table(LETTERS)?.range::<u64>(..)? {
        let (sequence, record) = entry?;
        contents.letters += 1;
        contents.bytes += weight(record.value());
        contents.next_letter = sequence.value().saturating_add(1);
    }
    Ok(contents)
}

/// False if the update was there already: the first copy stays.
pub(super) fn insert(txn: &WriteTransaction, key: (u16, u64), record: &[u8]) -> Result<bool, redb::Error> {
    let mut updates = txn.open_table(UPDATES)?;
    if updates.get(key)?.is_some() {
        return Ok(false);
    }
    updates.insert(key, record)?;
    Ok(true)
}

pub(super) fn insert_letter(txn: &WriteTransaction, sequence: u64, record: &[u8]) -> Result<(), redb::Error> {
    txn.open_table(LETTERS)?.insert(sequence, record)?;
    Ok(())
}

pub(super) fn remove(txn: &WriteTransaction, bucket: u16, ids: &[u64]) -> Result<Removed, redb::Error> {
    let mut updates = txn.open_table(UPDATES)?;
    let mut removed = Removed::default();
    for id in ids {
        if let Some(record) = updates.remove((bucket, *id))? {
            removed.records += 1;
            removed.bytes += weight(record.value());
        }
    }
    removed.head = head(&updates, bucket)?;
    Ok(removed)
}

fn head(updates: &Table<'_, (u16, u64), &[u8]>, bucket: u16) -> Result<Option<Head>, redb::Error> {
    let lowest = updates.range((bucket, 0)..=(bucket, u64::MAX))?.next().transpose()?;
    Ok(lowest.map(|(key, record)| Head::of(key.value().1, record.value())))
}

/// Tells how many bytes were removed, by `weight`.
pub(super) fn remove_letters(txn: &WriteTransaction, sequences: &[u64]) -> Result<Removed, redb::Error> {
    let mut letters = txn.open_table(LETTERS)?;
    let mut removed = Removed::default();
    for sequence in sequences {
        if let Some(record) = letters.remove(sequence)? {
            removed.records += 1;
            removed.bytes += weight(record.value());
        }
    }
    Ok(removed)
}

/// The lowest updates of each bucket in `wanted`, up to and with the update_id beside it: at most `records` of
/// each, and no more of one once it has `page_bytes`. The last buckets have no page where `bytes` are read.
pub(super) fn pages(
    txn: &ReadTransaction,
    wanted: &[(u16, u64)],
    records: usize,
    page_bytes: usize,
    bytes: usize,
) -> Result<Vec<Page>, redb::Error> {
    let updates = txn.open_table(UPDATES)?;
    let mut pages = Vec::with_capacity(wanted.len());
    let mut read = 0;
    for (bucket, last) in wanted {
        if read >= bytes {
            break;
        }
        let mut page = Page { bucket: *bucket, records: Vec::new(), bytes: 0 };
        for entry in updates.range((*bucket, 0)..=(*bucket, *last))?.take(records) {
            let (key, record) = entry?;
            page.bytes += record.value().len();
            page.records.push((key.value().1, Bytes::copy_from_slice(record.value())));
            if page.bytes >= page_bytes {
                break;
            }
        }
        read += page.bytes;
        pages.push(page);
    }
    Ok(pages)
}

/// The letters after `after`, in their order.
pub(super) fn letters(
    txn: &ReadTransaction,
    after: Option<u64>,
    most: usize,
) -> Result<Vec<(u64, Bytes)>, redb::Error> {
    let from = after.map_or(0, |after| after.saturating_add(1));
    let entries = txn.open_table(LETTERS)?.range(from..)?.take(most);
    entries
        .map(|entry| {
            let (sequence, record) = entry?;
            Ok((sequence.value(), Bytes::copy_from_slice(record.value())))
        })
        .collect()
}

/// Saves what can be read of a damaged file: what its tables hold, and then every sound update that its bytes
/// hold. Keys that no file of ours has are damage themselves; what a record holds is judged by its checksum when
/// it is drained.
pub(super) fn salvage(damaged: &Salvage<'_>) -> Result<u64, redb::Error> {
    const FAR: u64 = 1 << 63;
    let mut saved = damaged.table(UPDATES, |(bucket, update_id)| bucket < BUCKETS && update_id < FAR)?;
    let letters = damaged.table(LETTERS, |sequence| sequence < FAR)?;
    saved += letters;
    // Letters have nothing that two copies could be told by: all are from the table, or all from the bytes.
    let mut next_letter = 0;
    scan(damaged.path, |found, record| {
        match found {
            Found::Update(envelope) => {
                let key = (envelope.partition(BUCKETS), envelope.update_id);
                saved += u64::from(insert(damaged.to, key, record)?);
            }
            Found::Letter if letters == 0 => {
                insert_letter(damaged.to, next_letter, record)?;
                (next_letter, saved) = (next_letter + 1, saved + 1);
            }
            Found::Letter | Found::Bad(_) => {}
        }
        Ok::<_, redb::Error>(())
    })?;
    Ok(saved)
}
