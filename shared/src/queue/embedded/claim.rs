//! A partition in hand: taking it, acking what was handed out, and giving it back.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::journal::{UPDATES, journal};
use super::reader::Reader;
use super::{Queue, unpublished};
use crate::database::DatabaseError;
use crate::queue::{Claim, ClaimError, PublishError, Updates};

pub(super) async fn claim(queue: &Arc<Queue>, partition: u16, prefetch: u16) -> Result<Claim, ClaimError> {
    // A look at the file first: where it can't be read, a claim that is lost at once would be taken again
    // at once, for ever.
    let looking = queue.database.read(|txn| {
        txn.open_table(UPDATES)?;
        Ok(())
    });
    looking.await.map_err(unclaimed)?;
    let absent = || ClaimError::Disk(format!("there is no partition {partition}"));
    if !queue.partition(partition).ok_or_else(absent)?.take() {
        return Err(ClaimError::Held);
    }
    let (stop, lost) = (CancellationToken::new(), CancellationToken::new());
    let prefetch = usize::from(prefetch.max(1));
    let (sender, deliveries) = mpsc::channel(prefetch);
    let reader = Reader::new(Arc::clone(queue), partition, prefetch, sender, lost.clone());
    let reader = Some(tokio::spawn(reader.run(stop.clone())));
    let hold = Hold { queue: Arc::clone(queue), partition, stop, lost: lost.clone(), reader };
    let updates = Updates { deliveries, returned: None };
    Ok(Claim { partition, updates, lost, hold: crate::queue::Hold::Embedded(hold) })
}

fn unclaimed(error: DatabaseError) -> ClaimError {
    match error {
        DatabaseError::Closed => ClaimError::Away,
        DatabaseError::Refused(error) | DatabaseError::Disk(error) => ClaimError::Disk(error),
    }
}

/// The claim on a partition. Dropping it gives the partition back.
pub struct Hold {
    queue: Arc<Queue>,
    partition: u16,
    stop: CancellationToken,
    lost: CancellationToken,
    reader: Option<JoinHandle<()>>,
}

impl Hold {
    /// Returns when nothing more is handed out.
    pub async fn close(&mut self) {
        self.stop.cancel();
        if let Some(reader) = self.reader.take()
            && let Err(error) = reader.await
        {
            tracing::error!(%error, partition = self.partition, "a reader of the queue ended badly");
        }
    }

    pub async fn release(mut self) {
        self.close().await;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.stop.cancel();
        // Before the partition is free, so that handlers stop before it can be claimed again.
        self.lost.cancel();
        if let Some(partition) = self.queue.partition(self.partition) {
            partition.free();
        }
    }
}

/// The right to ack one update. It outlives its claim: an update that ended has ended, whoever has the
/// partition now.
pub struct Receipt {
    pub(super) queue: Arc<Queue>,
    pub(super) partition: u16,
    pub(super) sequence: u64,
    pub(super) lost: CancellationToken,
    /// The update's place among those in hand.
    pub(super) place: Option<OwnedSemaphorePermit>,
    /// What it has of the memory for large ones.
    pub(super) _room: Option<OwnedSemaphorePermit>,
}

impl Receipt {
    /// Returns when the update is gone from the disk. If that fails the claim is lost, so that its owner
    /// claims it anew and gets the update again, as the door says.
    pub async fn ack(mut self) -> Result<(), PublishError> {
        let (queue, number) = (Arc::clone(&self.queue), self.partition);
        let key = (journal(number), self.sequence);
        let place = self.place.take();
        let ack = self.queue.database.write_then(
            move |tables| Ok(tables.queue.updates.open()?.remove(key)?.is_some()),
            move |was_there| {
                if let Some(partition) = queue.partition(number).filter(|_| *was_there) {
                    partition.acked();
                }
                drop(place);
            },
        );
        let outcome = ack.await.map_err(unpublished);
        if outcome.is_err() {
            self.lost.cancel();
        }
        outcome.map(drop)
    }
}

impl Drop for Receipt {
    /// Not acked: the update stays in hand until the claim ends, and so does its place, as on RabbitMQ.
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            place.forget();
        }
    }
}
