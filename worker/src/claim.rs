//! The partitions of a worker: claims each, feeds its updates to lanes, gives it back. For now a worker
//! claims every partition that it can get; two workers never have the same one.

use std::sync::Arc;
use std::time::Duration;

use shared::queue::{Claim, ClaimError, Consumer};
use shared::retry::Backoff;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::events;
use crate::lanes::Lanes;
use crate::settle::Settler;
use crate::token::Token;

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
    pub token: watch::Receiver<Token>,
    pub stop: CancellationToken,
    pub grace: Duration,
}

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
                Ok(claim) => {
                    waits.reset();
                    events::partition_taken(partition);
                    let in_time = self.work(claim).await;
                    events::partition_given_back(partition);
                    if stop.is_cancelled() {
                        return in_time;
                    }
                }
                Err(ClaimError::Held) => self.pause(ASK_EVERY).await,
                Err(error) => {
                    tracing::debug!(partition, %error, "a partition can't be claimed yet");
                    self.pause(waits.next_wait()).await;
                }
            }
        }
    }

    async fn claim(&mut self, partition: u16) -> Result<Claim, ClaimError> {
        if self.token.wait_for(|token| *token != Token::Wrong).await.is_err() {
            return Err(ClaimError::Away);
        }
        self.consumer.claim(partition, self.prefetch).await
    }

    async fn pause(&self, time: Duration) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(time) => {}
        }
    }

    /// Works a claim off until it ends, and gives it back.
    async fn work(&mut self, mut claim: Claim) -> bool {
        let lanes = Lanes::new(self.settler.clone(), self.permits.clone());
        match self.feed(&mut claim, &lanes).await {
            End::Now => {
                lanes.abort();
                // Before the partition is taken again nothing of it may still run.
                lanes.idle().await;
                claim.release().await;
                true
            }
            End::Stop => {
                let deadline = Instant::now() + self.grace;
                claim.close().await;
                lanes.halt();
                let in_time = tokio::time::timeout_at(deadline, lanes.idle()).await.is_ok();
                lanes.abort();
                lanes.idle().await;
                claim.release().await;
                in_time
            }
        }
    }

    async fn feed(&mut self, claim: &mut Claim, lanes: &Lanes<Settler>) -> End {
        let mut token = self.token.clone();
        let wrong = token.wait_for(|token| *token == Token::Wrong);
        tokio::pin!(wrong);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return End::Stop,
                () = claim.lost.cancelled() => return End::Now,
                () = lanes.aborted() => return End::Now,
                _ = &mut wrong => return End::Now,
                delivery = claim.deliveries.recv() => match delivery {
                    Some(delivery) => {
                        let (lane, job) = self.settler.job(delivery);
                        lanes.push(lane, job);
                    }
                    None => return End::Now,
                },
            }
        }
    }
}
