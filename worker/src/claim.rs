//! The partitions of a worker: claims each, feeds its updates to lanes, gives it back. For now a worker
//! claims every partition that it can get; two workers never have the same one.

mod turn;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use shared::queue::{ClaimError, Consumer, Delivery};
use shared::retry::Backoff;
use tokio::sync::mpsc::Receiver;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::events;
use crate::lanes::Lanes;
use crate::settle::{Hand, Settler};
use crate::token::Token;
use turn::Taken;

/// A claim that lasted this long was a good one.
const LASTING: Duration = Duration::from_secs(1);

/// No more returned updates are waited for after this much silence. A quorum queue returns what another had in
/// two steps, what was on the wire first, and each is a write of its log: tens of milliseconds on a busy disk.
const SILENCE: Duration = Duration::from_millis(250);

/// For so long after the first fresh update of a claim a returned one may still come.
const LATE_RETURNS: Duration = Duration::from_millis(150);

/// At the end of the grace, for requests that are on the wire.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How often another worker's partition is asked for.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// All that a partition's keeper needs; one per worker.
#[derive(Clone)]
pub struct Keeper {
    pub consumer: Consumer,
    pub settler: Arc<Settler>,
    /// Bounds the updates in hand over all partitions.
    pub permits: Arc<Semaphore>,
    pub prefetch: u16,
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
                Err(ClaimError::Held) => self.pause(ASK_EVERY).await,
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
        events::partition_taken(partition);
        let in_time = AssertUnwindSafe(self.work(taken)).catch_unwind().await;
        events::partition_given_back(partition);
        in_time.unwrap_or(false)
    }

    async fn claim(&mut self, partition: u16) -> Result<Taken, ClaimError> {
        if self.token.wait_for(|token| *token != Token::Wrong).await.is_err() {
            return Err(ClaimError::Away);
        }
        self.take(partition).await
    }

    async fn pause(&self, time: Duration) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(time) => {}
        }
    }

    /// Works a claim off until it ends, and gives it back.
    async fn work(&mut self, mut taken: Taken) -> bool {
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
                in_time
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
                in_time
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

    /// Feeds the lanes until the claim ends. First come the updates that were handed out before, sorted:
    /// the broker returns them in an order of its own (facts R4).
    async fn feed(&mut self, taken: &mut Taken, lanes: &Settling) -> End {
        let mut token = self.token.clone();
        let wrong = token.wait_for(|token| *token == Token::Wrong);
        let (lost, stop) = (taken.claim.lost.clone(), self.stop.clone());
        let feeding = async {
            let Taken { claim, prefetch, first, turn, chosen } = taken;
            let first = first.take();
            let (returned, fresh) = settle_down(first, &mut claim.deliveries, *prefetch).await;
            if *chosen && self.are_too_many(*prefetch, &returned) {
                self.one_by_one = true;
                return;
            }
            let hand = Hand { without_store: *chosen, by_itself: *prefetch == 1 };
            returned.into_iter().chain(fresh).for_each(|delivery| self.push(lanes, delivery, hand));
            if let Some(turn) = turn {
                return self.feed_turn(claim, *prefetch, turn, lanes).await;
            }
            while let Some(delivery) = claim.deliveries.recv().await {
                self.push(lanes, delivery, hand);
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => End::Stop,
            () = lost.cancelled() => End::Now,
            () = lanes.aborted() => End::Now,
            _ = wrong => End::Now,
            () = feeding => End::Now,
        }
    }

    fn push(&self, lanes: &Settling, delivery: Delivery, hand: Hand) {
        let (lane, job) = self.settler.job(delivery, hand);
        lanes.push(lane, job);
    }
}

/// The first deliveries of a new claim: those that were handed out before, sorted by update_id, and the fresh ones
/// behind them. Collected until a short silence, until as many are here as may be in hand, or until a moment
/// after the first fresh one: a broker that has just started can hand out fresh ones first.
async fn settle_down(
    first: Option<Delivery>,
    deliveries: &mut Receiver<Delivery>,
    prefetch: u16,
) -> (Vec<Delivery>, Vec<Delivery>) {
    let mut returned = Vec::from_iter(first);
    let mut fresh = Vec::new();
    let mut end = None;
    while returned.len() + fresh.len() < usize::from(prefetch) {
        let now = Instant::now();
        let until = end.map_or(now + SILENCE, |end: Instant| end.min(now + SILENCE));
        match tokio::time::timeout_at(until, deliveries.recv()).await {
            Ok(Some(delivery)) if delivery.redelivered => returned.push(delivery),
            Ok(Some(delivery)) => {
                fresh.push(delivery);
                end.get_or_insert(now + LATE_RETURNS);
            }
            Ok(None) | Err(_) => break,
        }
    }
    returned.sort_by_key(|delivery| delivery.content.as_ref().map_or(0, |envelope| envelope.update_id));
    (returned, fresh)
}
