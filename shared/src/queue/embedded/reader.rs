//! Reads a claimed partition ahead of its handlers, in order, never further than the prefetch.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::Queue;
use super::claim::Receipt;
use super::journal::{UPDATES, journal, partition_of};
use super::partition::{Ahead, Partition};
use crate::database::DatabaseError;
use crate::queue::{self, Delivery, record};

/// The most updates that one look at the file takes out, and the bytes after which it takes no more.
const PAGE: usize = 64;
const PAGE_BYTES: usize = 512 * 1024;

/// The most updates of all partitions, and their bytes, among which one look at the file looks for its own.
const LOOKED_AT: usize = 4096;
const LOOKED_AT_BYTES: usize = 4 * 1024 * 1024;

/// What all large updates in hand may have together (I5), counted in `UNIT`s.
pub(super) const ROOM: usize = 64 * 1024;
const UNIT: usize = 1024;

/// Up to here an update needs no room: nearly all are smaller, and how many are in hand is bounded anyway.
const SMALL: usize = 16 * 1024;

/// What one look at the file takes out.
#[derive(Default)]
struct Page {
    updates: Vec<(u64, Bytes)>,
    bytes: usize,
    limit: usize,
    /// No update of the partition lies between the last of these and this.
    next: u64,
}

impl Page {
    fn is_full(&self) -> bool {
        self.updates.len() >= self.limit || self.bytes >= PAGE_BYTES
    }

    fn add(&mut self, sequence: u64, record: &[u8]) {
        self.bytes += record.len();
        self.updates.push((sequence, Bytes::copy_from_slice(record)));
    }

    fn going_on_at(self, next: u64) -> Self {
        Self { next, ..self }
    }
}

pub(super) struct Reader {
    queue: Arc<Queue>,
    partition: u16,
    /// The lowest sequence that was not looked at.
    next: u64,
    /// What has a lower sequence may have been begun before this claim.
    begun: u64,
    /// One place for each update that may be in hand.
    places: Arc<Semaphore>,
    deliveries: mpsc::Sender<Delivery>,
    lost: CancellationToken,
}

impl Reader {
    /// `deliveries` has room for `prefetch`.
    pub(super) fn new(
        queue: Arc<Queue>,
        partition: u16,
        prefetch: usize,
        deliveries: mpsc::Sender<Delivery>,
        lost: CancellationToken,
    ) -> Self {
        let (next, begun) =
            queue.partition(partition).map_or((0, 0), |partition| (partition.first(), partition.begun()));
        let places = Arc::new(Semaphore::new(prefetch));
        Self { queue, partition, next, begun, places, deliveries, lost }
    }

    /// Hands out until `stop`, or until the claim is lost.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let lost = self.lost.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = lost.cancelled() => {}
            Err(error) = self.read_ahead() => {
                tracing::error!(%error, partition = self.partition, "the queue can't be read");
                lost.cancel();
            }
            else => {}
        }
    }

    async fn read_ahead(&mut self) -> Result<(), DatabaseError> {
        let queue = Arc::clone(&self.queue);
        let Some(partition) = queue.partition(self.partition) else {
            return Ok(());
        };
        let mut published = partition.watch();
        loop {
            let Ok(mut places) = Arc::clone(&self.places).acquire_owned().await else {
                return Ok(());
            };
            if published.wait_for(|end| *end > self.next).await.is_err() {
                return Ok(());
            }
            let more = self.places.available_permits().min(PAGE - 1) as u32;
            if let Ok(more) = Arc::clone(&self.places).try_acquire_many_owned(more) {
                places.merge(more);
            }
            let Page { updates, next, .. } = self.page(partition, places.num_permits()).await?;
            if !self.hand_out(updates, places).await {
                return Ok(());
            }
            self.next = next;
            partition.passed(next);
        }
    }

    /// The next updates, `limit` at the most. There may be none, and more behind them.
    async fn page(&self, partition: &Partition, limit: usize) -> Result<Page, DatabaseError> {
        let (number, next) = (self.partition, self.next);
        let mut page = Page { limit, ..Page::default() };
        // Whatever lies where this says was written before it was asked.
        match partition.ahead(next, limit) {
            Ahead::At { sequences, then } => {
                let reading = self.queue.database.read(move |txn| {
                    let updates = txn.open_table(UPDATES)?;
                    for sequence in sequences {
                        if page.is_full() {
                            return Ok(page.going_on_at(sequence));
                        }
                        // None where it was acked: an earlier claim had it.
                        if let Some(record) = updates.get((journal(number), sequence))? {
                            page.add(sequence, record.value());
                        }
                    }
                    Ok(page.going_on_at(then))
                });
                reading.await
            }
            Ahead::Below { until } => {
                let reading = self.queue.database.read(move |txn| {
                    let among = (journal(number), next)..(journal(number), until);
                    let mut bytes = 0;
                    for (looked_at, entry) in txn.open_table(UPDATES)?.range(among)?.enumerate() {
                        let (key, record) = entry?;
                        let (_, sequence) = key.value();
                        if page.is_full() || looked_at == LOOKED_AT || bytes >= LOOKED_AT_BYTES {
                            return Ok(page.going_on_at(sequence));
                        }
                        bytes += record.value().len();
                        if partition_of(key.value()) == number {
                            page.add(sequence, record.value());
                        }
                    }
                    Ok(page.going_on_at(until))
                });
                reading.await
            }
        }
    }

    /// False if nobody takes any more. Waits only for room for large ones.
    async fn hand_out(&self, updates: Vec<(u64, Bytes)>, mut places: OwnedSemaphorePermit) -> bool {
        for (sequence, bytes) in updates {
            let room = match bytes.len() {
                ..=SMALL => None,
                length => {
                    let units = length.div_ceil(UNIT).min(ROOM) as u32;
                    Arc::clone(&self.queue.room).acquire_many_owned(units).await.ok()
                }
            };
            if let Some(partition) = self.queue.partition(self.partition) {
                partition.begin(sequence);
            }
            let receipt = Receipt {
                queue: Arc::clone(&self.queue),
                partition: self.partition,
                sequence,
                lost: self.lost.clone(),
                place: places.split(1),
                _room: room,
            };
            let delivery = Delivery {
                content: record::to_update(bytes),
                redelivered: sequence < self.begun,
                returns: 0,
                receipt: queue::Receipt::Embedded(receipt),
            };
            if self.deliveries.try_send(delivery).is_err() {
                return false;
            }
        }
        true
    }
}
