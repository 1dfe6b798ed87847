//! Who has a partition: an exclusive queue on the broker against other processes, a set in memory against
//! this one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapin::Channel;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;

use super::connection::{Connection, open_channel, while_it_lives};
use super::topology::closing_code;
use crate::queue::ClaimError;

/// The broker's code for an exclusive queue that is another connection's.
pub(super) const RESOURCE_LOCKED: u16 = 405;

/// How often it is looked whether a lease is still ours, where there are up to so many partitions. With more it is
/// looked at each less often, since one process may have all of them; but always in less time than whoever claims waits for
/// its last owner to be gone.
const LOOK: Duration = Duration::from_secs(1);
const LOOKS: u16 = 64;
const SELDOM: u16 = 3;

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
    pub fn set_ready(&self, partition: u16, count: Option<u32>) {
        self.lock().entry(partition).and_modify(|ready| *ready = count);
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
        let channel = open_channel(connection).await.map_err(|_| ClaimError::Away)?;
        let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
        let declaring = channel.queue_declare(queue.clone().into(), options, FieldTable::default());
        match while_it_lives(connection, declaring).await.ok_or(ClaimError::Away)? {
            Ok(_) => Ok(Self { channel, queue }),
            Err(error) => match closing_code(&error) {
                Some((RESOURCE_LOCKED, _)) => Err(ClaimError::Held),
                _ => Err(ClaimError::Away),
            },
        }
    }

    /// Until it is found not to be ours any more, though the connection lives. In a cluster whose nodes notice one after
    /// another that a node is gone, a late one lists the gone node's exclusive queues in one transaction and deletes them
    /// by their names in another (`rabbit_amqqueue:on_node_down`), with what another connection has declared between the
    /// two: seen on 3.10.8, with two owners ever after.
    pub fn lost(&self, partitions: u16) -> impl Future<Output = lapin::Error> + use<> {
        let (channel, queue) = (self.channel.clone(), self.queue.clone());
        let every = LOOK * u32::from(partitions.div_ceil(LOOKS).min(SELDOM));
        async move {
            loop {
                tokio::time::sleep(every).await;
                if let Err(error) = ask(&channel, &queue).await {
                    return error;
                }
            }
        }
    }

    /// An error means that it is not ours.
    pub async fn ask(&self) -> Result<(), lapin::Error> {
        ask(&self.channel, &self.queue).await
    }

    /// Closing the channel does not free it; deleting the queue does.
    pub async fn give_back(self) -> Result<(), lapin::Error> {
        self.channel.queue_delete(self.queue.into(), QueueDeleteOptions::default()).await?;
        self.channel.close(200, "given back".into()).await
    }
}

async fn ask(channel: &Channel, queue: &str) -> Result<(), lapin::Error> {
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    channel.queue_declare(queue.into(), passive, FieldTable::default()).await.map(drop)
}
