//! From an outcome to the ack: the only file that acks updates. First what was decided is made durable, then the
//! update is acked (invariant I2); where neither can be had, it stays in the queue. An album is one handling: its parts
//! end together, and what was not handled with them is the lane's next.

mod letter;
mod panics;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use shared::queue::{Delivery, Envelope, Letter, Publisher, Reason, Receipt};
use shared::retry::Backoff;
use shared::store::{End, StoreError, UpdateKey};
use shared::traces::{Kind, Span};
use tokio_util::sync::CancellationToken;

use crate::ages::Ages;
use crate::events;
use crate::handle::outcome::{Death, Done, Outcome};
use crate::handle::{Attempt, Handled, Handler, Spinner, request_id};
use crate::incoming::Incoming;
use crate::job::{Group, Hand, Job, Part, Update};
use crate::lanes::{LaneKey, Next, Signals, Work, Worked};
use crate::messages::{Queued, is_message};
use crate::routing::Routing;
use crate::spans;
use letter::letters;
use panics::{PANICS, contain};

/// The store's word on an attempt that was broken off is waited for so long: twice what one failed call costs (contract 9).
const BREAK_OFF: Duration = Duration::from_millis(2500);

/// Handles updates and settles them.
pub struct Settler {
    pub handler: Arc<Handler>,
    pub letters: Publisher,
    pub ages: Ages,
}

impl Settler {
    /// Reads a delivery that has just arrived: from here on a callback's loading sign has its clock.
    pub fn job(&self, delivery: Delivery, hand: Hand) -> (Option<LaneKey>, Job) {
        let Delivery { content, redelivered, returns, receipt } = delivery;
        let (came_back, late) = (redelivered && !hand.without_store, redelivered && hand.in_any_order);
        let envelope = match content {
            Ok(envelope) => envelope,
            Err(body) => return (None, Job::NoUpdate(Box::new((body, receipt)))),
        };
        let incoming = Incoming::from_bytes(envelope.body.clone());
        let key = self.handler.key(&envelope, &incoming);
        let spinner = self.spinner(&envelope, &incoming, &key);
        let _age = self.ages.add(envelope.received_ms);
        let update = Update { envelope, incoming, key, returns, hand, came_back, late, spinner, _age };
        (Some(update.lane()), Job::Updates(Box::new(Group::of(Part { update, receipt }))))
    }

    fn spinner(&self, envelope: &Envelope, incoming: &Incoming, key: &UpdateKey) -> Option<Spinner> {
        let callback = incoming.callback.as_ref()?;
        let traceparent = envelope.traceparent.as_deref();
        Some(Spinner::start(callback.id.clone(), key.clone(), &self.handler, traceparent))
    }

    /// What comes back beside is what is to be handled after it.
    async fn settle(
        &self,
        mut group: Box<Group>,
        signals: &Signals,
        before: Option<&CancellationToken>,
    ) -> (Worked<Ending>, Option<Group>) {
        let routing = self.handler.routing.borrow().clone();
        let head = &group.head.update;
        // The table may have been read again since they were gathered.
        let asks = self.handler.asks_for_album(&routing, &head.incoming, &head.key);
        let mut left = if asks { Vec::new() } else { std::mem::take(&mut group.others) };
        for update in group.updates() {
            if update.envelope.replay == 0 {
                events::turn_came(update.envelope.received_ms, &update.incoming);
            }
        }
        let begun = Instant::now();
        let request_id = self.request_id(&group.head.update);
        let span = spans::handling(&group.head.update.envelope, &group.head.update.key, &request_id);
        let Handled { outcome, with } =
            self.attempts(&group, &routing, &request_id, &span, signals, before).await;
        spans::handled(&span, &outcome);
        let is_with = |part: &Part| with.contains(&part.update.id());
        let (others, apart): (Vec<Part>, _) =
            std::mem::take(&mut group.others).into_iter().partition(is_with);
        group.others = others;
        left.splice(0..0, apart);
        let user = group.head.update.incoming.user.as_ref().map(|user| user.id);
        events::handled(&outcome, &request_id, user, begun.elapsed(), 1 + group.others.len());
        let worked = self.conclude(group, outcome, span, signals).await;
        (worked, Group::of_all(left))
    }

    /// Buries what is no update.
    async fn settle_malformed(&self, body: Bytes, receipt: Receipt, signals: &Signals) -> Next {
        let error = "a message in the queue is no update".to_owned();
        match self.publish(&Letter::malformed(error, None, None, body), &signals.abort).await {
            Ok(()) => acked(receipt, Kept::No).await,
            Err(Unburied) => Next::Stop,
        }
    }

    /// Makes the outcome durable, but for its end.
    async fn conclude(
        &self,
        group: Box<Group>,
        outcome: Outcome,
        span: Span,
        signals: &Signals,
    ) -> Worked<Ending> {
        let end = match outcome {
            // Told to come to an end, it need not take the others with it.
            Outcome::Stay if signals.halt.is_cancelled() && !signals.abort.is_cancelled() => {
                return Worked::Ended(Next::PutBack);
            }
            Outcome::Stay => return Worked::Ended(Next::Stop),
            Outcome::NotBegun => return Worked::Ended(Next::Halted),
            // Its end is recorded, as done or as dead, if only in this process's memory: the ack was missing.
            Outcome::Done(Done::Seen) => return Worked::Ended(acked(group.head.receipt, Kept::No).await),
            Outcome::Done(_) => End::Done,
            Outcome::Dead(death) => match self.bury(&group, &death, &span, &signals.abort).await {
                Ok(()) => End::Dead,
                Err(Unburied) => return Worked::Ended(Next::Stop),
            },
        };
        // Now, since the same update may be the lane's next. Also where its end is not kept, because another worker has it by
        // now: all that there was to do for it is done.
        for update in group.updates() {
            self.handler.recent.insert(&update.key);
        }
        Worked::ToKeep(Ending { group, end, span })
    }

    /// Handles an update until it is handled without a panic, or has panicked once too often (invariant I7).
    async fn attempts(
        &self,
        group: &Group,
        routing: &Routing,
        request_id: &str,
        span: &Span,
        signals: &Signals,
        before: Option<&CancellationToken>,
    ) -> Handled {
        let Group { head: Part { update: head, .. }, others } = group;
        let album: Vec<&Incoming> = others.iter().map(|part| &part.update.incoming).collect();
        let handled = contain(|after_panic| {
            self.handler.handle(Attempt {
                envelope: &head.envelope,
                incoming: &head.incoming,
                album: &album,
                routing,
                key: &head.key,
                request_id,
                returns: head.returns,
                came_back: head.came_back || others.iter().any(|part| part.update.came_back),
                by_itself: head.hand.by_itself,
                after_panic,
                halt: &signals.halt,
                abort: &signals.abort,
                before,
                spinner: head.spinner.as_ref(),
                span,
            })
        });
        if let Some(handled) = handled.await {
            return handled;
        }
        // It may have panicked before it was begun.
        let outcome = if is_over(before, &signals.abort).await {
            let error = format!("its handler panicked {PANICS} times");
            Outcome::Dead(Death { attempts: PANICS, ..Death::new(Reason::Poison, error) })
        } else {
            Outcome::Stay
        };
        Handled { outcome, with: others.iter().map(|part| part.update.id()).collect() }
    }

    /// Of the update; of a message that answers one, that one's.
    fn request_id(&self, update: &Update) -> String {
        let message = Some(&update.envelope).filter(|envelope| is_message(envelope));
        let answered = message.and_then(Queued::read).and_then(|queued| queued.request_id);
        answered.map_or_else(|| request_id(&update.key), |id| id.to_string())
    }

    /// `dying`, the letters confirmed, and only then the end: found dying again, it is buried again and
    /// never handled.
    async fn bury(
        &self,
        group: &Group,
        death: &Death,
        span: &Span,
        abort: &CancellationToken,
    ) -> Result<(), Unburied> {
        let _burying = span.child("bury", Kind::Producer);
        let store = &self.handler.store;
        let key = &group.head.update.key;
        if let Err(StoreError::Fenced) = store.dying(key, &self.handler.worker, &death.to_bytes()).await {
            return Err(Unburied);
        }
        for letter in letters(group, death, span) {
            self.publish(&letter, abort).await?;
        }
        Ok(())
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

/// What was handled, and how that ends.
pub struct Ending {
    group: Box<Group>,
    end: End,
    span: Span,
}

impl Work for Settler {
    type Job = Job;
    type End = Ending;
    type Mark = Option<UpdateKey>;

    fn mark(&self, job: &Job) -> Option<UpdateKey> {
        match job {
            Job::Updates(group) => Some(group.head.update.key.clone()),
            Job::NoUpdate(_) => None,
        }
    }

    fn gathers(&self, job: &Job) -> Option<Duration> {
        let Job::Updates(group) = job else { return None };
        let Update { incoming, key, .. } = &group.head.update;
        let asks = || self.handler.asks_for_album(&self.handler.routing.borrow().clone(), incoming, key);
        // What panics here panics again where it is counted (invariant I7).
        let asks = || catch_unwind(AssertUnwindSafe(asks)).unwrap_or(false);
        let gathers = incoming.album_part().is_some() && !group.is_full() && asks();
        gathers.then_some(self.handler.limits.next_part)
    }

    fn join(&self, head: &mut Job, next: Job) -> Option<Job> {
        match (head, next) {
            (Job::Updates(group), Job::Updates(next)) if next.others.is_empty() => {
                let apart = group.join(next.head)?;
                Some(Job::Updates(Box::new(Group::of(apart))))
            }
            (_, next) => Some(next),
        }
    }

    fn is_late(&self, job: &Job) -> bool {
        matches!(job, Job::Updates(group) if group.head.update.late)
    }

    /// As all that come back with a claim are put in order (`worker/src/claim/returned.rs`).
    fn belongs_before(&self, late: &Job, waiting: &Job) -> bool {
        let (Job::Updates(late), Job::Updates(waiting)) = (late, waiting) else { return false };
        late.head.update.id() < waiting.head.update.id()
    }

    async fn work(
        &self,
        job: Job,
        signals: Signals,
        before: Option<CancellationToken>,
    ) -> (Worked<Ending>, Option<Job>) {
        match job {
            Job::Updates(group) => {
                let (worked, left) = self.settle(group, &signals, before.as_ref()).await;
                (worked, left.map(|left| Job::Updates(Box::new(left))))
            }
            Job::NoUpdate(stray) => {
                let (body, receipt) = *stray;
                (Worked::Ended(self.settle_malformed(body, receipt, &signals).await), None)
            }
        }
    }

    /// Records the end, and acks what it is the end of.
    async fn keep(&self, Ending { mut group, end, span }: Ending) -> Next {
        let _finishing = span.child("finish", Kind::Internal);
        let parts: Vec<u64> = group.others.iter().map(|part| part.update.id()).collect();
        let Handler { store, worker, .. } = &*self.handler;
        let kept = match store.finish(&group.head.update.key, worker, end, &parts).await {
            Ok(()) => Kept::Yes,
            Err(StoreError::Away) => Kept::No,
            Err(StoreError::Fenced) => return Next::Stop,
        };
        // The first part last: what a crash leaves of the album is asked for under the same key, also where no store
        // remembers that it has ended.
        for receipt in std::mem::take(&mut group.others).into_iter().map(|part| part.receipt) {
            let next = acked(receipt, kept).await;
            if next != Next::Go {
                return next;
            }
        }
        acked(group.head.receipt, kept).await
    }

    /// The partition is lost or handed over, which is no attempt (design 3).
    async fn broken_off(&self, key: Option<UpdateKey>) {
        let Some(key) = key else { return };
        let releasing = self.handler.store.release(&key, &self.handler.worker);
        match tokio::time::timeout(BREAK_OFF, releasing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "an attempt that was broken off counts"),
            // A disk that hangs must not keep the lane, and the process that stops.
            Err(_) => tracing::debug!("the store does not say whether an attempt that was broken off counts"),
        }
    }
}

/// Waits until it is kept how the one before ended. False if that stopped all.
async fn is_over(before: Option<&CancellationToken>, abort: &CancellationToken) -> bool {
    if let Some(before) = before {
        before.cancelled().await;
    }
    !abort.is_cancelled()
}

/// Whether the store knows that the update has ended: then its ack may be late.
#[derive(Clone, Copy)]
enum Kept {
    Yes,
    No,
}

async fn acked(receipt: Receipt, kept: Kept) -> Next {
    let acking = match kept {
        Kept::Yes => receipt.ack_soon().await,
        Kept::No => receipt.ack().await,
    };
    match acking {
        Ok(()) => Next::Go,
        // It ended, so it does no harm when it comes again; but the partition is lost.
        Err(error) => {
            events::ack_failed(&error);
            Next::Stop
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;

    use super::*;

    /// In bytes. Each update in hand has one, up to `CONCURRENCY` of them.
    fn size_of_work<'s, F: Future>(
        _: impl FnOnce(&'s Settler, Job, Signals, Option<CancellationToken>) -> F,
    ) -> usize {
        size_of::<F>()
    }

    /// Likewise of the one before it in its lane, as long as its end is being kept.
    fn size_of_keep<'s, F: Future>(_: impl FnOnce(&'s Settler, Ending) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_update_in_hand_takes_no_more_than_it_did() {
        let size = size_of_work(|settler, job, signals, before| settler.work(job, signals, before));
        assert!(size <= 3_500, "{size} bytes, and 3,264 were measured");
        let size = size_of_keep(|settler, ending| settler.keep(ending));
        assert!(size <= 1_000, "{size} bytes, and 880 were measured");
    }

    #[tokio::test]
    async fn what_panicked_is_buried_after_the_end_before_it_unless_that_stopped_all() {
        for stopped in [false, true] {
            let (before, abort) = (CancellationToken::new(), CancellationToken::new());
            let mut over = pin!(is_over(Some(&before), &abort));
            assert_eq!(over.as_mut().now_or_never(), None);
            if stopped {
                abort.cancel();
            }
            before.cancel();
            assert_eq!(over.await, !stopped);
        }
    }
}
