//! The partitions of a worker: claims each of its share (`crate::roster`), feeds its updates to lanes, gives it
//! back. Two workers never have the same one.

mod feed;
mod returned;
mod turn;

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use shared::queue::{ClaimError, Consumer};
use shared::retry::Backoff;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::events;
use crate::lanes::Lanes;
use crate::roster::Share;
use crate::settle::Settler;
use crate::token::Token;
pub use returned::settle_down;
use turn::Taken;

/// A claim that lasted this long was a good one.
const LASTING: Duration = Duration::from_secs(1);

/// At the end of the grace, for requests that are on the wire.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How often a partition of our share is asked for that another worker still has.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// How often any partition is, where it is not known who has it.
const ASK_FOR_ANY: Duration = Duration::from_secs(2);

/// All that a partition's keeper needs; one per worker.
#[derive(Clone)]
pub struct Keeper {
    pub consumer: Consumer,
    pub settler: Arc<Settler>,
    /// Bounds the updates in hand over all partitions.
    pub permits: Arc<Semaphore>,
    pub concurrency: u32,
    pub share: watch::Receiver<Share>,
    /// The partitions that this worker has, for the others to know.
    pub held: watch::Sender<BTreeSet<u16>>,
    /// One partition at a time takes a turn, where the store is away.
    pub turns: Arc<Semaphore>,
    /// This partition's returned updates are taken one by one (`turn`).
    pub one_by_one: bool,
    pub token: watch::Receiver<Token>,
    pub stop: CancellationToken,
    pub grace: Duration,
}

type Settling = Lanes<Settler>;

/// Why a partition is given back.
enum End {
    /// The worker stops: what was started may end.
    Stop,
    /// It is gone already, or nothing may be sent any more.
    Now,
}

impl Keeper {
    /// Keeps one partition until the worker stops. False if what was in hand did not end in time.
    pub async fn keep(mut self, partition: u16) -> bool {
        let mut waits = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        let stop = self.stop.clone();
        loop {
            let claim = tokio::select! {
                biased;
                () = stop.cancelled() => return true,
                claim = self.claim(partition) => claim,
            };
            match claim {
                Ok(taken) => {
                    let since = Instant::now();
                    let in_time = self.hold(taken).await;
                    if stop.is_cancelled() {
                        return in_time;
                    }
                    // One that is lost as soon as it is taken is not taken again at once.
                    if since.elapsed() > LASTING {
                        waits.reset();
                    }
                    self.pause(waits.next_wait()).await;
                }
                Err(ClaimError::Held) => {
                    let every = if self.share.borrow().alone { ASK_FOR_ANY } else { ASK_EVERY };
                    self.pause(every).await;
                }
                Err(error) => {
                    tracing::debug!(partition, %error, "a partition can't be claimed yet");
                    self.pause(waits.next_wait()).await;
                }
            }
        }
    }

    /// A panic costs the claim, not the keeper: dropped with it, the partition goes back.
    async fn hold(&mut self, taken: Taken) -> bool {
        let partition = taken.claim.partition;
        self.held.send_if_modified(|held| held.insert(partition));
        events::partition_taken(partition);
        let ended = AssertUnwindSafe(self.work(taken)).catch_unwind().await;
        let (in_time, lost) = ended.unwrap_or((false, true));
        events::partition_ended(partition, lost);
        self.held.send_if_modified(|held| held.remove(&partition));
        in_time
    }

    async fn claim(&mut self, partition: u16) -> Result<Taken, ClaimError> {
        if self.token.wait_for(|token| *token != Token::Wrong).await.is_err() {
            return Err(ClaimError::Away);
        }
        if self.share.wait_for(|share| share.partitions.contains(&partition)).await.is_err() {
            return Err(ClaimError::Away);
        }
        let mut share = self.share.clone();
        tokio::select! {
            taken = self.take(partition) => taken,
            // Whose it has become need not wait for as long as this takes. An error means that there is nobody else.
            Ok(_) = share.wait_for(|share| !share.partitions.contains(&partition)) => Err(ClaimError::Held),
        }
    }

    async fn pause(&self, time: Duration) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(time) => {}
        }
    }

    /// Works a claim off until it ends, and gives it back. Whether what was in hand ended in time, and whether the
    /// claim was lost.
    async fn work(&mut self, mut taken: Taken) -> (bool, bool) {
        let lanes = Lanes::new(self.settler.clone(), self.permits.clone());
        let end = self.feed(&mut taken, &lanes).await;
        // A turn lasts until the partition is given back.
        let Taken { mut claim, turn: _turn, .. } = taken;
        match end {
            End::Now => {
                lanes.abort();
                // Before the partition is taken again nothing of it may still run.
                let in_time = self.idle_or_stopped(&lanes).await;
                claim.release().await;
                (in_time, true)
            }
            End::Stop => {
                let deadline = Instant::now() + self.grace;
                claim.close().await;
                lanes.halt();
                // What does not end by itself gets the last part of the grace for what is on the wire.
                let last = LAST_WORDS.min(self.grace / 4);
                let in_time = tokio::time::timeout_at(deadline - last, lanes.idle()).await.is_ok();
                lanes.abort();
                if tokio::time::timeout_at(deadline, lanes.idle()).await.is_err() {
                    lanes.kill();
                    lanes.idle().await;
                }
                claim.release().await;
                (in_time, false)
            }
        }
    }

    /// Until nothing runs any more; where the worker is told to stop meanwhile, no longer than its grace.
    async fn idle_or_stopped(&self, lanes: &Settling) -> bool {
        let out_of_time = async {
            self.stop.cancelled().await;
            tokio::time::sleep(self.grace).await;
        };
        tokio::select! {
            biased;
            () = lanes.idle() => return true,
            () = out_of_time => lanes.kill(),
        }
        lanes.idle().await;
        false
    }
}
