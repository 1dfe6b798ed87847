//! Having a partition's queue catch up before it is consumed, on a connection that may break.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use lapin::options::BasicGetOptions;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::connection::{self, Connection, while_it_lives};
use super::consumer::{Consumer, OLD_CONSUMER, in_time, to_the_end};
use crate::events;
use crate::queue::ClaimError;

/// In a cluster the others notice one after another that a node was frozen or cut off: between 0.75 and 1.25 of the
/// `net_ticktime` after it (Erlang's kernel), which is 10 s where it is set as deployments are told to. The first to notice
/// frees the node's leases. To a queue whose leader has not noticed yet, the last owner's consumer is as good as any: it
/// is handed fresh updates, which come back when the leader notices, behind what another has taken by then.
const LATE_NEWS: Duration = Duration::from_secs(5);

/// A connection for what the broker may close it for; nothing where it could not be had.
type Spare = OnceCell<Option<Connection>>;

/// Claims that are made at the same time share a spare connection, and when none is made it is closed.
#[derive(Default)]
pub(super) struct Spares(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    shared: Weak<Spare>,
    /// Partitions whose last try failed. Of two that share a connection the one can cost the other its own, so each of
    /// these gets one by itself.
    failed: BTreeSet<u16>,
}

impl Spares {
    fn take(&self, partition: u16) -> Arc<Spare> {
        let mut inner = self.inner();
        if inner.failed.contains(&partition) {
            return Arc::default();
        }
        let is_fit = |spare: &Arc<Spare>| spare.get().is_none_or(|made| made.as_ref().is_some_and(lives));
        if let Some(shared) = inner.shared.upgrade().filter(is_fit) {
            return shared;
        }
        let fresh = Arc::default();
        inner.shared = Arc::downgrade(&fresh);
        fresh
    }

    fn tried(&self, partition: u16, failed: bool) {
        let mut inner = self.inner();
        match failed {
            true => inner.failed.insert(partition),
            false => inner.failed.remove(&partition),
        };
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lives(connection: &Connection) -> bool {
    connection.status().connected()
}

impl Consumer {
    /// Waits until the queue has carried out all that was done with it before, and who had it is gone; not any longer
    /// where the claim was `given_up`. How long whoever consumes it next is to wait for other consumers to be gone.
    ///
    /// A queue that has just started, or has another leader, answers a passive declare from what it has carried out so
    /// far, which need not be all that it has confirmed: it then knows nothing of the last consumer and of what that had in
    /// hand (facts R6a). But a fetch is answered once all before it was carried out, and counts as a consumer from then on.
    /// What was fetched goes back behind all that has come back meanwhile.
    ///
    /// Where the leader is gone the broker can close the connection for a fetch (541, "Cannot get a message from queue", on
    /// 3.10.8), which would take the leases of all partitions.
    pub(super) async fn catch_up(
        &self,
        partition: u16,
        given_up: &CancellationToken,
    ) -> Result<Duration, ClaimError> {
        let spare = self.spares.take(partition);
        let connecting = spare.get_or_init(|| async {
            let opened = connection::open(&self.settings, "broker_claiming").await;
            opened.inspect_err(|error| events::no_spare_connection(error)).ok()
        });
        let connection = given_up.run_until_cancelled(connecting).await.and_then(Option::as_ref);
        let connection = connection.ok_or(ClaimError::Away)?;
        let catching_up = self.catch_up_on(connection, partition, given_up);
        // The broker forgets with the connection what was asked for on it.
        let caught_up = while_it_lives(connection, catching_up).await.unwrap_or(Err(ClaimError::Away));
        self.spares.tried(partition, caught_up.is_err() && !given_up.is_cancelled());
        caught_up
    }

    async fn catch_up_on(
        &self,
        connection: &Connection,
        partition: u16,
        given_up: &CancellationToken,
    ) -> Result<Duration, ClaimError> {
        let channel = in_time(partition, self.open(connection, partition)).await?;
        let queue = self.settings.partition_queue(partition);
        let fetch = channel.basic_get(queue.into(), BasicGetOptions::default());
        let fetched = to_the_end(partition, fetch).await?.is_some();
        let outlasting = self.outlast_others(&channel, partition, fetched.into(), LATE_NEWS);
        let outlasted = given_up.run_until_cancelled(outlasting).await;
        in_time(partition, channel.close(200, "caught up".into())).await?;
        let (_, are_gone) = outlasted.ok_or(ClaimError::Away)??;
        Ok(if are_gone { OLD_CONSUMER } else { Duration::ZERO })
    }
}
