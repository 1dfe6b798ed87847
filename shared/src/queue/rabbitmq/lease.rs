//! Who has a partition: an exclusive queue on the broker against other processes, a set in memory against
//! this one.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};

use super::topology::closing_code;
use crate::queue::ClaimError;

/// The broker's code for an exclusive queue that is another connection's.
const RESOURCE_LOCKED: u16 = 405;

/// The partitions that this process holds: a lease is no lock between channels of one connection (facts R2).
#[derive(Clone, Default)]
pub(super) struct Held(Arc<Mutex<HashSet<u16>>>);

/// One partition's place among those that are held.
pub(super) struct Place(Held, u16);

impl Held {
    pub fn take(&self, partition: u16) -> Option<Place> {
        self.lock().insert(partition).then(|| Place(self.clone(), partition))
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<u16>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

/// An exclusive queue, and the channel that it was declared on: one of its own, since a refusal closes it.
pub(super) struct Lease {
    channel: Channel,
    queue: String,
}

impl Lease {
    pub async fn take(connection: &Connection, queue: String) -> Result<Self, ClaimError> {
        let channel = connection.create_channel().await.map_err(|_| ClaimError::Away)?;
        let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
        match channel.queue_declare(queue.clone().into(), options, FieldTable::default()).await {
            Ok(_) => Ok(Self { channel, queue }),
            Err(error) => match closing_code(&error) {
                Some((RESOURCE_LOCKED, _)) => Err(ClaimError::Held),
                _ => Err(ClaimError::Away),
            },
        }
    }

    /// Closing the channel does not free it; deleting the queue does.
    pub async fn give_back(self) -> Result<(), lapin::Error> {
        self.channel.queue_delete(self.queue.into(), QueueDeleteOptions::default()).await?;
        self.channel.close(200, "given back".into()).await
    }
}
