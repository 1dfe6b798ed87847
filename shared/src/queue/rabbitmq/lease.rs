//! Who has a partition: an exclusive queue on the broker against other processes, a set in memory against
//! this one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};

use super::topology::closing_code;
use crate::queue::ClaimError;

/// The broker's code for an exclusive queue that is another connection's.
const RESOURCE_LOCKED: u16 = 405;

/// The partitions that this process holds: a lease is no lock between channels of one connection (facts R2). And how
/// many updates were ready in each when the broker was last asked.
#[derive(Clone, Default)]
pub(super) struct Held(Arc<Mutex<HashMap<u16, Option<u32>>>>);

/// One partition's place among those that are held.
pub(super) struct Place(Held, u16);

impl Held {
    pub fn take(&self, partition: u16) -> Option<Place> {
        match self.lock().entry(partition) {
            Entry::Occupied(_) => return None,
            Entry::Vacant(place) => place.insert(None),
        };
        Some(Place(self.clone(), partition))
    }

    pub fn partitions(&self) -> Vec<u16> {
        self.lock().keys().copied().collect()
    }

    pub fn ready(&self, partition: u16) -> Option<u32> {
        self.lock().get(&partition).copied().flatten()
    }

    /// Nothing where the partition has been given back meanwhile.
    pub fn set_ready(&self, partition: u16, count: u32) {
        self.lock().entry(partition).and_modify(|ready| *ready = Some(count));
    }

    pub fn forget_ready(&self) {
        self.lock().values_mut().for_each(|ready| *ready = None);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u16, Option<u32>>> {
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
