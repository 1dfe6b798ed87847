//! Consuming partitions: a lease, a channel and a forwarder (`forwarder.rs`) per claim.
//!
//! The lease is an exclusive queue on the connection that also consumes (facts R2), so a worker that loses
//! its connection loses leases and consumers at once; `exclusive` on a consumer is no lock on a quorum
//! queue (facts R1).

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapin::Channel;
use lapin::options::BasicQosOptions;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::acks::Acks;
use super::catch_up::Spares;
use super::connection::{Connection, open_channel, while_it_lives};
use super::consuming::ConsumerChannel;
use super::depth;
use super::forwarder::{self, Holding};
use super::lease::{Held, Lease, Place};
use super::pulse::{self, Pulse};
use super::scout::Scout;
use super::supervisor::{Teller, supervise};
use super::topology::{PATIENCE, declare_partition};
use super::{Link, Need, Settings, stat};
use crate::events;
use crate::queue::{Claim, ClaimError};
use crate::readiness::Readiness;

/// How long an earlier consumer is waited for to be gone by whoever begins to consume, and how often it is looked (facts
/// R6a: its count is a help and no barrier).
pub(super) const OLD_CONSUMER: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(50);
const LATER_LOOK: Duration = Duration::from_millis(250);

/// How much longer a queue that does not answer is asked again.
const SILENT: Duration = Duration::from_secs(5);

/// Who has just looked at a partition's first update claims it again at once.
const JUST_NOW: Duration = Duration::from_secs(2);

/// Hands out partitions on a connection of its own. Cheap to clone.
#[derive(Clone)]
pub struct Consumer {
    connection: watch::Receiver<Option<Arc<Connected>>>,
    link: watch::Receiver<Link>,
    pulse: Pulse,
    pub(super) settings: Arc<Settings>,
    pub(super) spares: Arc<Spares>,
    scout: Scout,
    held: Held,
    letters: watch::Receiver<Option<u32>>,
}

pub(super) fn start(settings: Settings, readiness: Readiness, role: &'static str) -> Consumer {
    let (link_in, link) = watch::channel(Link::Away);
    let (connection_in, connection) = watch::channel(None);
    let teller = Teller { role, link: link_in, readiness, need: Need::Must };
    teller.tell(Link::Away);
    let (beat, pulse) = pulse::pair();
    let (held, shared_settings) = (Held::default(), Arc::new(settings.clone()));
    let (letters_in, letters) = watch::channel(None);
    let consumer = Consumer {
        connection,
        link,
        pulse,
        settings: shared_settings.clone(),
        spares: Arc::default(),
        scout: Scout::default(),
        held: held.clone(),
        letters,
    };
    let serve = move |connection: Arc<Connection>| {
        let offered = offer(connection.clone(), connection_in.clone());
        let beating = pulse::beat(connection.clone(), beat.clone());
        let asking = depth::ask(connection, shared_settings.clone(), held.clone(), letters_in.clone());
        async move {
            tokio::select! {
                end = offered => end,
                error = beating => error,
                never = asking => match never {},
            }
        }
    };
    tokio::spawn(supervise(settings, teller, serve));
    consumer
}

/// A connection, and what is known through it.
struct Connected {
    connection: Arc<Connection>,
    /// Partitions of which one update was taken in the last claim, by which their queues caught up then.
    looked_at: Mutex<BTreeMap<u16, Instant>>,
}

impl Connected {
    fn looked_at(&self) -> MutexGuard<'_, BTreeMap<u16, Instant>> {
        self.looked_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets claims use the connection for as long as the supervisor keeps this future.
fn offer(
    connection: Arc<Connection>,
    to: watch::Sender<Option<Arc<Connected>>>,
) -> impl Future<Output = String> {
    struct Withdraw(watch::Sender<Option<Arc<Connected>>>);
    impl Drop for Withdraw {
        fn drop(&mut self) {
            self.0.send_replace(None);
        }
    }
    to.send_replace(Some(Arc::new(Connected { connection, looked_at: Mutex::default() })));
    let withdraw = Withdraw(to);
    async move {
        let _withdraw = withdraw;
        std::future::pending().await
    }
}

/// What can be given up where the broker is silent.
pub(super) async fn in_time<T>(
    partition: u16,
    asking: impl Future<Output = Result<T, lapin::Error>>,
) -> Result<T, ClaimError> {
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(answer) => answer.map_err(|error| refused(partition, &error)),
        Err(_) => {
            events::partition_silent(partition);
            Err(ClaimError::Away)
        }
    }
}

/// Waits for the broker's answer, however late. While the queue's leader is frozen the broker puts the question to
/// it for up to 30 s, and then to the next node; once it is asked it can't be taken back. A fetch would then take an
/// update from under whoever consumes the partition by now. And lapin keeps the channel of
/// an unanswered `basic.consume` open, though nobody has it any more: given up, it becomes a consumer beside
/// them, and takes updates that nobody reads.
pub(super) async fn to_the_end<T>(
    partition: u16,
    asking: impl Future<Output = Result<T, lapin::Error>>,
) -> Result<T, ClaimError> {
    let mut asking = pin!(asking);
    let answer = match tokio::time::timeout(PATIENCE, &mut asking).await {
        Ok(answer) => answer,
        Err(_) => {
            events::partition_silent(partition);
            asking.await
        }
    };
    answer.map_err(|error| refused(partition, &error))
}

fn refused(partition: u16, error: &lapin::Error) -> ClaimError {
    tracing::debug!(partition, %error, "a partition can't be consumed");
    ClaimError::Away
}

/// Gives up a partition that could not be consumed. Its lease would else last as long as the connection, and keep out
/// the worker whose share it has become meanwhile. Nobody waits for it, since a broker that is silent about the queue
/// can be silent about the lease too; until it has answered this process does not claim the partition again, so
/// that a late deletion never takes a lease that is in use.
async fn hand_back(connection: Arc<Connection>, lease: Lease, place: Place) {
    if let Some(Err(error)) = while_it_lives(&connection, lease.give_back()).await {
        tracing::debug!(%error, "a lease was gone already");
    }
    drop(place);
}

/// A channel that consumes a partition.
pub(super) struct Subscription {
    pub channel: ConsumerChannel,
    pub consumer: lapin::Consumer,
    /// Updates that were in the queue when nobody consumed it any more and this did not yet.
    pub ready: u32,
    pub acks: Arc<Acks>,
}

impl Consumer {
    /// What the link is, and each change of it.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    /// When the broker was last heard.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// How many updates were ready in a partition's queue when the broker was last asked, seconds ago; nothing where
    /// it is not ours or the broker does not answer.
    pub fn ready(&self, partition: u16) -> Option<u32> {
        self.held.ready(partition)
    }

    /// How many dead letters were ready when the broker was last asked, seconds ago; nothing where it did not answer.
    pub fn letters_waiting(&self) -> Option<u32> {
        *self.letters.borrow()
    }

    /// A caller that does not wait for the end of it leaves nothing behind: what is claimed then is given back.
    pub async fn claim(&self, partition: u16, prefetch: u16) -> Result<Claim, ClaimError> {
        let (this, given_up) = (self.clone(), CancellationToken::new());
        let _guard = given_up.clone().drop_guard();
        let claiming = async move { this.claim_to_the_end(partition, prefetch, &given_up).await };
        tokio::spawn(claiming).await.unwrap_or(Err(ClaimError::Away))
    }

    async fn claim_to_the_end(
        &self,
        partition: u16,
        prefetch: u16,
        given_up: &CancellationToken,
    ) -> Result<Claim, ClaimError> {
        let place = self.held.take(partition).ok_or(ClaimError::Held)?;
        let mut connections = self.connection.clone();
        let connected = connections.wait_for(Option::is_some).await.map_err(|_| ClaimError::Away)?.clone();
        let connected = connected.ok_or(ClaimError::Away)?;
        let connection = connected.connection.clone();
        if given_up.is_cancelled() {
            return Err(ClaimError::Away);
        }
        let looking = self.scout.sees_it_held(&self.settings, partition);
        match given_up.run_until_cancelled(looking).await {
            Some(false) => {}
            Some(true) => return Err(ClaimError::Held),
            None => return Err(ClaimError::Away),
        }
        let taken = Lease::take(&connection, self.settings.lease_queue(partition)).await;
        let lease = taken.inspect_err(|error| {
            if matches!(error, ClaimError::Held) {
                self.scout.begin();
            }
        })?;
        let subscribing = async {
            let looked_at = connected.looked_at().remove(&partition);
            // Who takes but one can't put what comes in order, and by taking it has the queue catch up.
            let patience = match prefetch == 1 || looked_at.is_some_and(|at| at.elapsed() < JUST_NOW) {
                true => OLD_CONSUMER,
                false => self.catch_up(partition, given_up).await?,
            };
            in_time(partition, lease.ask()).await?;
            self.subscribe(&connection, partition, prefetch, patience).await
        };
        match while_it_lives(&connection, subscribing).await.unwrap_or(Err(ClaimError::Away)) {
            Ok(subscription) => {
                if prefetch == 1 {
                    connected.looked_at().insert(partition, Instant::now());
                }
                let holding = Holding { consumer: self.clone(), connection, partition, lease, place };
                Ok(forwarder::start(holding, subscription, prefetch))
            }
            Err(error) => {
                tokio::spawn(hand_back(connection, lease, place));
                Err(error)
            }
        }
    }

    /// Begins to consume a partition whose lease is ours, when no other consumer is known or `patience` is at its end.
    pub(super) async fn subscribe(
        &self,
        connection: &Connection,
        partition: u16,
        prefetch: u16,
        patience: Duration,
    ) -> Result<Subscription, ClaimError> {
        let mut channel = ConsumerChannel::new(in_time(partition, self.open(connection, partition)).await?);
        let (ready, _) = self.outlast_others(&channel, partition, 0, patience).await?;
        // Per consumer: 4.3 refuses a global qos (facts R14), and without one lapin's inner queue is unbounded (facts L6).
        in_time(partition, channel.basic_qos(prefetch, BasicQosOptions { global: false })).await?;
        let queue = self.settings.partition_queue(partition);
        let consumer = to_the_end(partition, channel.consume_first(queue.into())).await?;
        let acks = Arc::new(Acks::new(channel.clone(), prefetch));
        Ok(Subscription { channel, consumer, ready, acks })
    }

    pub(super) async fn open(
        &self,
        connection: &Connection,
        partition: u16,
    ) -> Result<Channel, lapin::Error> {
        let channel = open_channel(connection).await?;
        declare_partition(&channel, &self.settings, partition).await?;
        Ok(channel)
    }

    /// Waits until no consumers are left on the queue but so many; how many updates are in it then, and whether that came.
    /// A node that has just started still knows consumers of before it died, and would hand out fresh updates before the
    /// ones that they had in hand. In a cluster that has just lost the queue's leader the count can also be false, so it has
    /// to be found twice. After `patience` it is not waited for any more. A queue that does not answer is asked again.
    pub(super) async fn outlast_others(
        &self,
        channel: &Channel,
        partition: u16,
        left: u32,
        patience: Duration,
    ) -> Result<(u32, bool), ClaimError> {
        let queue = self.settings.partition_queue(partition);
        let (begun, mut found) = (Instant::now(), 0);
        loop {
            let stat = in_time(partition, stat::ask(channel, &queue)).await?;
            found = if stat.as_ref().is_some_and(|stat| stat.consumers == left) { found + 1 } else { 0 };
            let patience = if stat.is_some() { patience } else { patience + SILENT };
            if found == 2 || begun.elapsed() >= patience {
                return Ok((stat.map_or(0, |stat| stat.ready), found == 2));
            }
            let look = if begun.elapsed() < OLD_CONSUMER { LOOK } else { LATER_LOOK };
            tokio::time::sleep(look).await;
        }
    }
}
