//! Notifications and broadcasts: they wait in queues of their own, so that nothing which waits for Telegram's limit on bulk
//! (facts T14) is in a worker's hand in place of what somebody waits for. One worker of all takes them out, at the rate that
//! all have together, and puts each into its chat's partition; who has that sends it, at its chat's pace.
//!
//! Who dispatches is who has the first partition as its share; the leases of the two queues see that it is one. A crash
//! between the publish and the ack repeats a message under the same id, so it runs once.

mod budget;
mod hand;

use std::time::Duration;

use futures_util::future::try_join;
use shared::queue::{Bulk, ClaimError, Consumer, Publisher};
use shared::retry::Backoff;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::events;
use crate::fence::Fence;
use crate::roster::Share;
use crate::telegram::Telegram;
use crate::token::Token;
use budget::Budget;
use hand::{Hand, Happened, Lane};

/// Whose share has this one dispatches.
const DUTY: u16 = 0;

/// How often the queues are asked for that another worker still has.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// How often it is looked how much waits, and whether something has been in hand for long.
const LOOK: Duration = Duration::from_secs(1);

/// Messages that wait for the broker's confirm at a time.
const AT_ONCE: usize = 64;

/// When the duty goes to another worker, for what is on its way.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// All that it needs; one per worker.
pub struct Dispatcher {
    pub consumer: Consumer,
    pub queue: Publisher,
    pub telegram: Telegram,
    pub fence: Fence,
    /// Messages a second, of all workers together.
    pub rate: f64,
    pub share: watch::Receiver<Share>,
    pub token: watch::Receiver<Token>,
    pub stop: CancellationToken,
}

impl Dispatcher {
    /// Dispatches whenever it is this worker's turn, until the worker stops.
    pub async fn run(mut self) {
        let stop = self.stop.clone();
        let mut waits = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        loop {
            let taken = stop.run_until_cancelled(self.take()).await;
            let pause = match taken {
                None => return,
                Some(Ok(hand)) => {
                    self.dispatch(hand).await;
                    waits.reset();
                    ASK_EVERY
                }
                Some(Err(ClaimError::Held)) => ASK_EVERY,
                Some(Err(error)) => {
                    tracing::debug!(%error, "the bulk queues can't be claimed yet");
                    waits.next_wait()
                }
            };
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Both queues, when it is our turn, and for as long as it is.
    async fn take(&mut self) -> Result<Hand, ClaimError> {
        let able = self.token.wait_for(|token| *token != Token::Wrong).await.is_ok();
        let ours = self.share.wait_for(|share| share.partitions.contains(&DUTY)).await.is_ok();
        if !able || !ours {
            return Err(ClaimError::Away);
        }
        // No more in hand than goes out in about two seconds, so that what is there is no old news.
        let prefetch = (self.rate * 2.0).clamp(4.0, 256.0) as u16;
        let both = try_join(
            Lane::claim(&self.consumer, Bulk::Notifications, prefetch),
            Lane::claim(&self.consumer, Bulk::Broadcasts, prefetch),
        );
        tokio::select! {
            both = both => both.map(|(notifications, broadcasts)| Hand::new(notifications, broadcasts)),
            Ok(_) = self.share.wait_for(|share| !share.partitions.contains(&DUTY)) => Err(ClaimError::Held),
        }
    }

    /// Until the queues are lost, or are another worker's to dispatch.
    async fn dispatch(&mut self, mut hand: Hand) {
        events::dispatching(true);
        let (mut token, mut share) = (self.token.clone(), self.share.clone());
        let (stop, lost) = (self.stop.clone(), hand.lost());
        let in_peace = tokio::select! {
            biased;
            () = stop.cancelled() => true,
            () = lost => false,
            // An error means that nobody tells any more.
            _ = token.wait_for(|token| *token == Token::Wrong) => true,
            Ok(_) = share.wait_for(|share| !share.partitions.contains(&DUTY)) => true,
            () = self.work(&mut hand) => false,
        };
        if in_peace && timeout(LAST_WORDS, hand.settle_moving()).await.is_err() {
            tracing::debug!("the broker did not confirm all that was dispatched; it is dispatched again");
        }
        hand.release().await;
        events::dispatching(false);
    }

    /// Ends when something could not be published, so that all that is in hand comes again.
    async fn work(&self, hand: &mut Hand) {
        hand.begin().await;
        let mut budget = Budget::new(self.rate, Instant::now());
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next = self.telegram.parked_until().map_or(budget.next(), |parked| parked.max(budget.next()));
            tokio::select! {
                biased;
                happened = hand.happens() => match happened {
                    Happened::Moved(Ok(())) | Happened::Received => {}
                    Happened::Moved(Err(error)) => {
                        tracing::debug!(%error, "bulk can't be dispatched");
                        return;
                    }
                    Happened::Over => return,
                },
                () = sleep_until(next), if hand.has_some() && hand.moving() < AT_ONCE => {
                    self.fence.pass().await;
                    // Another one may have been told to wait since.
                    if self.telegram.parked_until().is_none()
                        && let Some(messages) = hand.send_next(&self.queue)
                    {
                        budget.take(messages, self.telegram.replies().of_all(), Instant::now());
                    }
                }
                _ = look.tick() => {
                    hand.tell(&self.consumer);
                    if hand.renew_what_is_old().await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}
