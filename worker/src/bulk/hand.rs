//! What the dispatcher has in hand of the two queues, and what of it is on its way into a partition.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use shared::clock;
use shared::queue::{Bulk, Claim, ClaimError, Consumer, Delivery, Envelope, Letter, PublishError, Publisher};
use tokio::time::Instant;

use crate::claim::settle_down;
use crate::events;
use crate::messages::Queued;
use crate::telegram::weight;

/// What is in hand for longer is handed out again, before the broker takes it away (facts R14).
const LONGEST: Duration = Duration::from_secs(25);

/// One of the queues.
pub struct Lane {
    bulk: Bulk,
    claim: Claim,
    prefetch: u16,
    /// In order, and since when the first of them is here.
    ready: VecDeque<Delivery>,
    since: Instant,
}

impl Lane {
    pub async fn claim(consumer: &Consumer, bulk: Bulk, prefetch: u16) -> Result<Self, ClaimError> {
        let claim = consumer.claim(bulk.partition(), prefetch).await?;
        Ok(Self { bulk, claim, prefetch, ready: VecDeque::new(), since: Instant::now() })
    }

    pub async fn release(self) {
        events::bulk_waiting(self.bulk, None);
        self.claim.release().await;
    }

    /// What comes back comes first, sorted (facts R4).
    async fn begin(&mut self) {
        let first = settle_down(None, &mut self.claim.updates, self.prefetch).await;
        self.since = Instant::now();
        self.ready = first.returned.into_iter().chain(first.fresh).collect();
    }

    fn push(&mut self, delivery: Delivery) {
        if self.ready.is_empty() {
            self.since = Instant::now();
        }
        self.ready.push_back(delivery);
    }

    fn pop(&mut self) -> Option<Delivery> {
        let next = self.ready.pop_front();
        self.since = Instant::now();
        next
    }

    fn is_old(&self) -> bool {
        self.claim.has_to_be_renewed() && !self.ready.is_empty() && self.since.elapsed() > LONGEST
    }
}

type Moving = Pin<Box<dyn Future<Output = Result<(), PublishError>> + Send>>;

/// What can happen.
pub enum Happened {
    /// The broker has answered for one that was on its way.
    Moved(Result<(), PublishError>),
    Received,
    /// There are no more to come.
    Over,
}

/// Both queues, the more urgent first.
pub struct Hand {
    lanes: [Lane; 2],
    moving: FuturesUnordered<Moving>,
}

impl Hand {
    pub fn new(notifications: Lane, broadcasts: Lane) -> Self {
        Self { lanes: [notifications, broadcasts], moving: FuturesUnordered::new() }
    }

    /// Ends when either is lost.
    pub fn lost(&self) -> impl Future<Output = ()> + use<> {
        let [one, other] = self.lanes.each_ref().map(|lane| lane.claim.lost.clone());
        async move {
            tokio::select! {
                () = one.cancelled() => {}
                () = other.cancelled() => {}
            }
        }
    }

    pub async fn begin(&mut self) {
        let [notifications, broadcasts] = &mut self.lanes;
        tokio::join!(notifications.begin(), broadcasts.begin());
    }

    /// The next thing that happens; what comes is taken in.
    pub async fn happens(&mut self) -> Happened {
        let Self { lanes: [notifications, broadcasts], moving } = self;
        let (lane, delivery) = tokio::select! {
            biased;
            Some(published) = moving.next() => return Happened::Moved(published),
            delivery = notifications.claim.updates.deliveries.recv() => (notifications, delivery),
            delivery = broadcasts.claim.updates.deliveries.recv() => (broadcasts, delivery),
        };
        match delivery {
            Some(delivery) => {
                lane.push(delivery);
                Happened::Received
            }
            None => Happened::Over,
        }
    }

    pub fn has_some(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.ready.is_empty())
    }

    pub fn moving(&self) -> usize {
        self.moving.len()
    }

    pub async fn settle_moving(&mut self) {
        while self.moving.next().await.is_some() {}
    }

    /// Puts the most urgent one on its way, a notification before a broadcast; how many messages that is.
    pub fn send_next(&mut self, queue: &Publisher) -> Option<u32> {
        let lane = self.lanes.iter_mut().find(|lane| !lane.ready.is_empty())?;
        let Delivery { content, receipt, .. } = lane.pop()?;
        events::bulk_dispatched(lane.bulk);
        let queue = queue.clone();
        let (messages, moving): (u32, Moving) = match content {
            Ok(envelope) => {
                let messages = weight_of(&envelope);
                // How long it waited here is no worker's slowness.
                let publishing = queue.begin(&Envelope { received_ms: clock::now_ms(), ..envelope });
                (messages, Box::pin(async move { and_ack(publishing.await, receipt).await }))
            }
            Err(body) => {
                let error = "a message in the queue is no update".to_owned();
                let letter = Letter::malformed(error, None, None, body);
                (0, Box::pin(async move { and_ack(queue.bury(&letter).await, receipt).await }))
            }
        };
        self.moving.push(moving);
        Some(messages)
    }

    /// Has what has been in hand for long handed out again.
    pub async fn renew_what_is_old(&mut self) -> Result<(), ClaimError> {
        if !self.moving.is_empty() {
            return Ok(());
        }
        for lane in &mut self.lanes {
            if lane.is_old() {
                lane.ready.clear();
                lane.claim.renew(lane.prefetch).await?;
                lane.begin().await;
            }
        }
        Ok(())
    }

    /// Tells the metrics how much waits.
    pub fn tell(&self, consumer: &Consumer) {
        for lane in &self.lanes {
            let in_hand = lane.ready.len() as u64;
            let ready = consumer.ready(lane.bulk.partition(), in_hand);
            events::bulk_waiting(lane.bulk, ready.map(|ready| ready + in_hand));
        }
    }

    pub async fn release(self) {
        let [notifications, broadcasts] = self.lanes;
        tokio::join!(notifications.release(), broadcasts.release());
    }
}

/// An ack that does not reach the broker has the message dispatched again.
async fn and_ack(
    published: Result<(), PublishError>,
    receipt: shared::queue::Receipt,
) -> Result<(), PublishError> {
    published?;
    receipt.ack().await
}

/// How many messages it comes to.
fn weight_of(envelope: &Envelope) -> u32 {
    let calls = Queued::read(envelope).map(|queued| queued.calls).unwrap_or_default();
    calls.iter().map(|call| weight(&call.method, &call.params)).sum()
}
