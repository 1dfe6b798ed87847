//! From an outcome to the ack: the only file that acks. First what was decided is made durable, then the
//! update is acked (invariant I2); where neither can be had, it stays in the queue.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt as _;
use shared::clock;
use shared::queue::{Delivery, Envelope, Letter, Publisher, Reason, Receipt};
use shared::retry::Backoff;
use shared::store::{End, StoreError, UpdateKey};
use shared::traces::{Kind, Span};
use tokio_util::sync::CancellationToken;

use crate::ages::{Aged, Ages};
use crate::events;
use crate::handle::outcome::{Death, Done, Outcome};
use crate::handle::{Attempt, Handler, Spinner, request_id};
use crate::incoming::Incoming;
use crate::lanes::{LaneKey, Next, Signals, Work};
use crate::spans;

/// As often as this a panic is an attempt; then the update is poison, whatever the store knows.
const PANICS: u32 = 5;

/// Handles updates and settles them.
pub struct Settler {
    pub handler: Arc<Handler>,
    pub letters: Publisher,
    pub ages: Ages,
}

/// One delivery, ready to be handled.
pub struct Job {
    content: Result<Update, Bytes>,
    receipt: Receipt,
}

/// How a partition is in hand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hand {
    /// The store was away when it was taken.
    pub without_store: bool,
    /// One update of it at a time.
    pub by_itself: bool,
}

struct Update {
    envelope: Envelope,
    incoming: Incoming,
    key: UpdateKey,
    returns: u32,
    hand: Hand,
    came_back: bool,
    spinner: Option<Spinner>,
    _age: Aged,
}

impl Settler {
    /// Reads a delivery that has just arrived: from here on a callback's loading sign has its clock.
    pub fn job(&self, delivery: Delivery, hand: Hand) -> (Option<LaneKey>, Job) {
        let Delivery { content, redelivered, returns, receipt } = delivery;
        let came_back = redelivered && !hand.without_store;
        let envelope = match content {
            Ok(envelope) => envelope,
            Err(body) => return (None, Job { content: Err(body), receipt }),
        };
        let incoming = Incoming::from_bytes(envelope.body.clone());
        let key = self.handler.key(&envelope, &incoming);
        let lane = Some(lane(&envelope));
        let spinner = self.spinner(&envelope, &incoming, &key);
        let age = self.ages.add(envelope.received_ms);
        (
            lane,
            Job {
                content: Ok(Update { envelope, incoming, key, returns, hand, came_back, spinner, _age: age }),
                receipt,
            },
        )
    }

    /// A replay answers no callback by itself (contract 8).
    fn spinner(&self, envelope: &Envelope, incoming: &Incoming, key: &UpdateKey) -> Option<Spinner> {
        let callback = incoming.callback.as_ref().filter(|_| envelope.replay == 0)?;
        let (store, telegram) = (self.handler.store.clone(), self.handler.telegram.clone());
        let traceparent = envelope.traceparent.as_deref();
        Some(Spinner::start(callback.id.clone(), key.clone(), store, telegram, traceparent))
    }

    async fn settle(&self, update: &Update, receipt: Receipt, signals: &Signals) -> Next {
        if update.envelope.replay == 0 {
            events::turn_came(update.envelope.received_ms, &update.incoming);
        }
        let begun = Instant::now();
        let request_id = request_id(&update.key);
        let span = spans::handling(&update.envelope, &update.key, &request_id);
        let outcome = self.attempts(update, &request_id, &span, signals).await;
        spans::handled(&span, &outcome);
        let user = update.incoming.user.as_ref().map(|user| user.id);
        events::handled(&outcome, &request_id, user, begun.elapsed());
        let end = match outcome {
            // Told to come to an end, it need not take the others with it.
            Outcome::Stay if signals.halt.is_cancelled() && !signals.abort.is_cancelled() => {
                return Next::PutBack;
            }
            Outcome::Stay => return Next::Stop,
            Outcome::NotBegun => return Next::Halted,
            // Its end is recorded, as done or as dead: only the ack was missing.
            Outcome::Done(Done::Seen) => return acked(receipt).await,
            Outcome::Done(_) => End::Done,
            Outcome::Dead(death) => match self.bury(update, &death, &span, &signals.abort).await {
                Ok(()) => End::Dead,
                Err(Unburied) => return Next::Stop,
            },
        };
        let _finishing = span.child("finish", Kind::Internal);
        match self.handler.store.finish(&update.key, &self.handler.worker, end).await {
            Ok(()) | Err(StoreError::Away) => {}
            Err(StoreError::Fenced) => return Next::Stop,
        }
        self.handler.recent.insert(&update.key);
        acked(receipt).await
    }

    /// Handles an update until it is handled without a panic, or has panicked once too often (invariant I7).
    async fn attempts(&self, update: &Update, request_id: &str, span: &Span, signals: &Signals) -> Outcome {
        contain(|after_panic| {
            let attempt = Attempt {
                envelope: &update.envelope,
                incoming: &update.incoming,
                key: update.key.clone(),
                request_id: request_id.to_owned(),
                returns: update.returns,
                came_back: update.came_back,
                by_itself: update.hand.by_itself,
                after_panic,
                halt: &signals.halt,
                abort: &signals.abort,
                spinner: update.spinner.as_ref(),
                span,
            };
            async move { self.handler.handle(&attempt).await }
        })
        .await
    }

    /// `dying`, the letter confirmed, and only then the end: found dying again, it is buried again and
    /// never handled.
    async fn bury(
        &self,
        update: &Update,
        death: &Death,
        span: &Span,
        abort: &CancellationToken,
    ) -> Result<(), Unburied> {
        let _burying = span.child("bury", Kind::Producer);
        let store = &self.handler.store;
        if let Err(StoreError::Fenced) =
            store.dying(&update.key, &self.handler.worker, &death.to_bytes()).await
        {
            return Err(Unburied);
        }
        self.publish(&letter(update, death, span), abort).await
    }

    /// Until it is confirmed, or the partition is lost: the update stays in hand meanwhile.
    async fn publish(&self, letter: &Letter, abort: &CancellationToken) -> Result<(), Unburied> {
        let mut waits = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        let confirmed = async {
            while let Err(error) = self.letters.bury(letter).await {
                events::letter_waits(&error);
                waits.wait().await;
            }
        };
        abort.run_until_cancelled(confirmed).await.ok_or(Unburied)
    }
}

/// The letter is not known to be published: the update stays.
struct Unburied;

impl Work for Settler {
    type Job = Job;
    type Mark = Option<UpdateKey>;

    fn mark(&self, job: &Job) -> Option<UpdateKey> {
        job.content.as_ref().ok().map(|update| update.key.clone())
    }

    async fn work(&self, job: Job, signals: Signals) -> Next {
        match job.content {
            Ok(update) => self.settle(&update, job.receipt, &signals).await,
            Err(body) => {
                let error = "a message in the queue is no update".to_owned();
                match self.publish(&Letter::malformed(error, None, None, body), &signals.abort).await {
                    Ok(()) => acked(job.receipt).await,
                    Err(Unburied) => Next::Stop,
                }
            }
        }
    }

    /// The partition is lost or handed over, which is no attempt (design 3).
    async fn broken_off(&self, key: Option<UpdateKey>) {
        let Some(key) = key else { return };
        if let Err(error) = self.handler.store.release(&key, &self.handler.worker).await {
            tracing::debug!(%error, "an attempt that was broken off counts");
        }
    }
}

/// Runs `attempt` again after each panic. Its argument is whether the one before panicked.
async fn contain<F>(attempt: impl Fn(bool) -> F) -> Outcome
where
    F: Future<Output = Outcome>,
{
    for panics in 0..PANICS {
        match AssertUnwindSafe(attempt(panics > 0)).catch_unwind().await {
            Ok(outcome) => return outcome,
            Err(_) => events::panicked(panics + 1),
        }
    }
    let error = format!("its handler panicked {PANICS} times");
    Outcome::Dead(Death { attempts: PANICS, ..Death::new(Reason::Poison, error) })
}

/// The lane of an update: its chat's, else its user's; that of its queries where it is one.
fn lane(envelope: &Envelope) -> LaneKey {
    let query = matches!(envelope.kind.as_str(), "inline_query" | "pre_checkout_query" | "shipping_query");
    let key = envelope.lane.map(if query { LaneKey::Query } else { LaneKey::Chat });
    key.unwrap_or(LaneKey::Own(envelope.update_id))
}

async fn acked(receipt: Receipt) -> Next {
    match receipt.ack().await {
        Ok(()) => Next::Go,
        // It ended, so it does no harm when it comes again; but the partition is lost.
        Err(error) => {
            events::ack_failed(&error);
            Next::Stop
        }
    }
}

fn letter(update: &Update, death: &Death, span: &Span) -> Letter {
    let Update { envelope, incoming, key, .. } = update;
    let now = clock::now_ms();
    Letter {
        reason: death.reason,
        error: death.error.clone(),
        update_id: Some(envelope.update_id),
        bot: Some(key.bot),
        kind: envelope.kind.clone(),
        lane: envelope.lane,
        chat_id: incoming.chat.map(|chat| chat.id),
        user_id: incoming.user.as_ref().map(|user| user.id),
        route: death.route.clone(),
        service: death.service.clone(),
        attempts: death.attempts,
        received_ms: envelope.received_ms,
        first_failed_ms: envelope.replayed.as_ref().map_or(now, |replayed| replayed.first_failed_ms),
        last_failed_ms: now,
        replays: envelope.replay,
        replayed: envelope.replayed.clone(),
        // A replay hangs under the run that died.
        traceparent: span.traceparent().or_else(|| envelope.traceparent.clone()),
        body: envelope.body.clone(),
        rest: death.rest.as_ref().map(|rest| Bytes::from(rest.0.clone())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_panic_is_one_attempt_and_the_process_lives() {
        let tries = AtomicU32::new(0);
        let outcome = contain(|after_panic| {
            let try_number = tries.fetch_add(1, Ordering::Relaxed);
            assert_eq!(after_panic, try_number > 0);
            async move {
                assert!(try_number >= 2, "on cue");
                Outcome::Done(Done::Answered)
            }
        });
        assert_eq!(outcome.await, Outcome::Done(Done::Answered));
        assert_eq!(tries.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn an_update_that_panics_five_times_is_poison() {
        let outcome = contain(|_| async { panic!("on cue") }).await;
        assert!(matches!(outcome, Outcome::Dead(Death { reason: Reason::Poison, .. })), "{outcome:?}");
    }
}
