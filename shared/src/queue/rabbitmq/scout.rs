//! Looks whether a partition that was refused is free by now. Whoever waits for one asks several times a second, and
//! every "no" costs one of the 2,047 channels of the connection on which it is asked (`connection::open_channel`): on the
//! one that holds the leases and consumes that would soon be all. So after the first "no" it is asked on a connection that
//! is thrown away when it is used up, and the other one hears of it when the answer is "yes".

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::sync::OnceCell;
use tokio::time::{sleep, timeout};

use super::Settings;
use super::connection::{self, Connection, open_channel};
use super::lease::RESOURCE_LOCKED;
use super::topology::{PATIENCE, closing_code};

/// Looks on one connection.
const LOOKS: u16 = 1_500;

/// Without a look for so long nobody waits any more.
const IDLE: Duration = Duration::from_secs(10);

/// Nothing where it could not be had.
type Shared = OnceCell<Option<Connection>>;

#[derive(Clone, Default)]
pub(super) struct Scout(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// None while nobody waits for a partition.
    shared: Option<Arc<Shared>>,
    looks: u16,
}

impl Scout {
    /// A partition was refused: from now on it is looked first, until nobody does for a while.
    pub fn begin(&self) {
        let mut inner = self.inner();
        if inner.shared.is_none() {
            (inner.shared, inner.looks) = (Some(Arc::default()), 0);
            tokio::spawn(self.clone().end());
        }
    }

    async fn end(self) {
        let mut before = None;
        loop {
            sleep(IDLE).await;
            let mut inner = self.inner();
            if before == Some(inner.looks) {
                inner.shared = None;
                return;
            }
            before = Some(inner.looks);
        }
    }

    /// Whether another process has the partition, where that is looked for. Where it can't be told it has to be tried.
    pub async fn sees_it_held(&self, settings: &Settings, partition: u16) -> bool {
        let Some(shared) = self.take() else { return false };
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

    /// The connection for one look.
    fn take(&self) -> Option<Arc<Shared>> {
        let mut inner = self.inner();
        let ended = match inner.shared.as_ref()?.get() {
            // A broker that allows no more connections is not asked for one at each look.
            Some(None) => return None,
            Some(Some(made)) => !made.status().connected(),
            None => false,
        };
        if ended || inner.looks >= LOOKS {
            (inner.shared, inner.looks) = (Some(Arc::default()), 0);
        }
        inner.looks += 1;
        inner.shared.clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
