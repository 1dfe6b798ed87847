//! Looks whether a partition that was refused is free by now. Whoever waits for one asks several times a second, and
//! every "no" costs one of the 2,047 channels of the connection on which it is asked (`connection::open_channel`): on the
//! one that holds the leases and consumes that would soon be all. So after the first "no" it is asked on a connection that
//! is thrown away when it is used up, and the other one hears of it when the answer is "yes".

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lapin::Connection;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::Settings;
use super::connection::{self, open_channel};
use super::lease::RESOURCE_LOCKED;
use super::topology::{PATIENCE, closing_code};

/// Looks on one connection.
const LOOKS: u16 = 1_500;

/// Nothing where it could not be had.
type Shared = OnceCell<Option<Connection>>;

#[derive(Default)]
pub(super) struct Scout(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Partitions whose last claim was refused.
    refused: BTreeSet<u16>,
    shared: Arc<Shared>,
    looks: u16,
}

impl Scout {
    pub fn is_refused(&self, partition: u16) {
        self.inner().refused.insert(partition);
    }

    /// With the last that was waited for the connection goes.
    pub fn is_had(&self, partition: u16) {
        let mut inner = self.inner();
        if inner.refused.remove(&partition) && inner.refused.is_empty() {
            (inner.shared, inner.looks) = Default::default();
        }
    }

    /// Whether the partition was refused before and another process has it still. Where that can't be told it has to be
    /// tried.
    pub async fn sees_it_held(&self, settings: &Settings, partition: u16) -> bool {
        let Some(shared) = self.take(partition) else { return false };
        let looking = async {
            let opening = connection::open(settings, "broker_looking");
            let connection = shared.get_or_init(|| async { opening.await.ok() }).await.as_ref()?;
            let channel = open_channel(connection).await.ok()?;
            let passive = QueueDeclareOptions { passive: true, ..Default::default() };
            let lease = settings.lease_queue(partition).into();
            let error = channel.queue_declare(lease, passive, FieldTable::default()).await.err()?;
            Some(closing_code(&error)?.0 == RESOURCE_LOCKED)
        };
        timeout(PATIENCE, looking).await.ok().flatten().unwrap_or(false)
    }

    /// The connection for one look; none where the partition was not refused.
    fn take(&self, partition: u16) -> Option<Arc<Shared>> {
        let mut inner = self.inner();
        if !inner.refused.contains(&partition) {
            return None;
        }
        let lives = |made: &Option<Connection>| made.as_ref().is_some_and(|it| it.status().connected());
        if inner.looks == LOOKS || !inner.shared.get().is_none_or(lives) {
            (inner.shared, inner.looks) = Default::default();
        }
        inner.looks += 1;
        Some(inner.shared.clone())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
