//! Reads a claimed partition ahead of its handlers, in order, never further than the prefetch.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::claim::Receipt;
use super::partition::Partition;
use super::{Queue, UPDATES};
use crate::database::DatabaseError;
use crate::queue::{self, Delivery, record};

/// The most updates that one look at the file takes out, and the bytes after which it takes no more.
const PAGE: usize = 64;
const PAGE_BYTES: usize = 512 * 1024;

/// What all large updates in hand may have together (I5), counted in `UNIT`s.
pub(super) const ROOM: usize = 64 * 1024;
const UNIT: usize = 1024;

/// Up to here an update needs no room: nearly all are smaller, and how many are in hand is bounded anyway.
const SMALL: usize = 16 * 1024;

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
        let begun = queue.partition(partition).map_or(0, Partition::begun);
        let places = Arc::new(Semaphore::new(prefetch));
        Self { queue, partition, next: 0, begun, places, deliveries, lost }
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
        let Some(partition) = self.queue.partition(self.partition) else {
            return Ok(());
        };
        let mut published = partition.watch();
        loop {
            let Ok(mut places) = Arc::clone(&self.places).acquire_owned().await else {
                return Ok(());
            };
            let Ok(end) = published.wait_for(|end| *end > self.next).await.map(|end| *end) else {
                return Ok(());
            };
            let more = self.places.available_permits().min(PAGE - 1) as u32;
            if let Ok(more) = Arc::clone(&self.places).try_acquire_many_owned(more) {
                places.merge(more);
            }
            let (page, was_cut) = self.page(places.num_permits()).await?;
            // A page that is not full has everything that was published up to then, `end` included.
            let was_all = !was_cut && page.len() < places.num_permits();
            if !self.hand_out(page, places).await {
                return Ok(());
            }
            if was_all {
                self.next = self.next.max(end);
            }
        }
    }

    /// The next updates, and whether there may be more although it is not full.
    async fn page(&self, limit: usize) -> Result<(Vec<(u64, Bytes)>, bool), DatabaseError> {
        let range = (self.partition, self.next)..=(self.partition, u64::MAX);
        let reading = self.queue.database.read(move |txn| {
            let mut page = Vec::with_capacity(limit);
            let mut bytes = 0;
            for entry in txn.open_table(UPDATES)?.range(range)?.take(limit) {
                let (key, record) = entry?;
                bytes += record.value().len();
                page.push((key.value().1, Bytes::copy_from_slice(record.value())));
                if bytes >= PAGE_BYTES {
                    return Ok((page, true));
                }
            }
            Ok((page, false))
        });
        reading.await
    }

    /// False if nobody takes any more. Waits only for room for large ones.
    async fn hand_out(&mut self, page: Vec<(u64, Bytes)>, mut places: OwnedSemaphorePermit) -> bool {
        for (sequence, bytes) in page {
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
            self.next = sequence.saturating_add(1);
        }
        true
    }
}
