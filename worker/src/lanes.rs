//! A lane per chat: first in, first out, one at a time; any number of lanes at once, up to the permits. The next job is begun
//! while it is being kept how the one before ended, and goes on after that. A lane with nothing to do does not exist. What
//! belongs together is gathered to one. Knows nothing of updates: a test drives it with numbers.

mod hand;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::join;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{Duration, Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use hand::{Arrival, Hand, Supply};

/// Where nothing is handed out a job waits so many times as long for another that belongs to it, and no longer.
const MOST_WAITS: u32 = 10;

/// What could not be handed out was there already and comes at once: it is waited for by this part of the whole wait. Were it
/// the whole, jobs that fill a hand together and wait would end one by one, a wait apart.
const PART_OF_WAIT: u32 = 4;

/// What keeps jobs in order. Queries have lanes of their own, so that a checkout's ten seconds are not
/// spent behind a chat (facts T18).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LaneKey {
    Chat(i64),
    Query(i64),
    /// An update of no chat and no user, by its update_id: in order with nothing but itself.
    Own(u64),
}

/// Whether a lane may go on after a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Go,
    /// The job was not ended; what is behind it must not overtake it.
    Stop,
    /// The same, but nothing is to be started any more, so what else runs may end.
    PutBack,
    /// The job was not begun, since nothing is to be started any more. What runs may end.
    Halted,
}

/// What came of a job.
pub enum Worked<E> {
    /// It is done, and how it ends is to be kept.
    ToKeep(E),
    /// It is not done, or there is nothing to keep.
    Ended(Next),
}

/// What a job listens to.
#[derive(Clone, Default)]
pub struct Signals {
    /// Cancelled: a job that still waits to begin does not begin.
    pub halt: CancellationToken,
    /// Cancelled: a job begins nothing more, and returns as soon as what it has on the wire is recorded.
    pub abort: CancellationToken,
}

/// Does the jobs.
pub trait Work: Send + Sync + 'static {
    type Job: Send + 'static;
    /// How a job ends, as long as that is not kept.
    type End: Send;
    /// What is left to know of a job that did not end.
    type Mark: Send;

    fn mark(&self, job: &Self::Job) -> Self::Mark;

    /// For how long after it arrived a job at the head of its lane waits for another one that belongs to it; nothing
    /// where none does.
    fn gathers(&self, job: &Self::Job) -> Option<Duration>;

    /// Takes the next job of the lane into the one at its head, or gives it back: it is to be done by itself.
    fn join(&self, head: &mut Self::Job, next: Self::Job) -> Option<Self::Job>;

    /// Whether a job that has just come may belong before some that came earlier.
    fn is_late(&self, job: &Self::Job) -> bool;

    /// Whether a late job belongs before one that waits in its lane.
    fn belongs_before(&self, late: &Self::Job, waiting: &Self::Job) -> bool;

    /// Does one. What comes back beside is what was gathered and not done: it is the lane's next job. Until `before` is
    /// cancelled it may be begun, and no more: then it is kept how the job before ended, or known that it can't be.
    fn work(
        &self,
        job: Self::Job,
        signals: Signals,
        before: Option<CancellationToken>,
    ) -> impl Future<Output = (Worked<Self::End>, Option<Self::Job>)> + Send;

    /// Keeps how one ended. Meanwhile the lane's next is begun.
    fn keep(&self, end: Self::End) -> impl Future<Output = Next> + Send;

    /// A job was begun and did not end, for no fault of its own.
    fn broken_off(&self, mark: Self::Mark) -> impl Future<Output = ()> + Send;
}

/// The lanes of one partition.
pub struct Lanes<W: Work> {
    inner: Arc<Inner<W>>,
}

/// Of a claim that ends without its lanes being waited for, by a panic, nothing goes on beside whoever has it next.
impl<W: Work> Drop for Lanes<W> {
    fn drop(&mut self) {
        self.abort();
    }
}

/// A job that is done. It has its permit until it is kept how it ended.
struct Unkept<'p, W: Work> {
    end: W::End,
    mark: W::Mark,
    permit: Option<SemaphorePermit<'p>>,
}

struct Inner<W: Work> {
    work: Arc<W>,
    hand: Mutex<Hand<W::Job>>,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
    signals: Signals,
    /// Cancelled: it is dropped where it stands.
    kill: CancellationToken,
}

impl<W: Work> Lanes<W> {
    /// `permits` bounds what is started at once, over all partitions.
    pub fn new(work: Arc<W>, permits: Arc<Semaphore>) -> Self {
        let (signals, kill) = Default::default();
        let hand = Mutex::new(Hand::default());
        let tasks = TaskTracker::new();
        Self { inner: Arc::new(Inner { work, hand, permits, tasks, signals, kill }) }
    }

    /// Jobs are handed out, until so many are in hand.
    pub fn has_room_for(&self, jobs: u16) {
        self.inner.hand().has_room_for(jobs.into());
    }

    /// None is handed out before a renewal, which comes when no more than so many are in hand.
    pub fn paused_until(&self, jobs: u16) {
        self.inner.hand().supply = Supply::Paused(jobs.into());
    }

    /// Puts a job at the end of its lane, or a late one before the first that it belongs before; without a key it has no
    /// order.
    pub fn push(&self, key: Option<LaneKey>, job: W::Job) {
        let work = &self.inner.work;
        let (late, before) = (work.is_late(&job), |late: &_, waiting: &_| work.belongs_before(late, waiting));
        let (since, first) = self.inner.hand().push(key, job, late.then_some(before));
        let Some(job) = first else { return };
        // In a box of its own, since a task's future is moved at each step of becoming one and of ending, and it has 3.9 KB.
        self.inner.tasks.spawn(Box::pin(self.inner.clone().drive(key, since, job)));
    }

    /// How many are in hand, started or not.
    pub fn in_hand(&self) -> usize {
        self.inner.hand().count()
    }

    /// Since when the one has been in hand that has been longest.
    pub fn oldest(&self) -> Option<Instant> {
        self.inner.hand().oldest()
    }

    /// All that is in hand comes again: what is not started is forgotten, and what is started goes on, before what
    /// comes for its lane.
    pub fn renew(&self) {
        let forgotten = self.inner.hand().renew();
        drop(forgotten);
    }

    /// Starts nothing more.
    pub fn halt(&self) {
        self.inner.signals.halt.cancel();
    }

    /// Starts nothing more, and has what was started end as soon as it can.
    pub fn abort(&self) {
        self.inner.signals.halt.cancel();
        self.inner.signals.abort.cancel();
    }

    /// Drops what was started, wherever it stands.
    pub fn kill(&self) {
        self.abort();
        self.inner.kill.cancel();
    }

    /// Ends when a job had to stop, and with it the partition.
    pub async fn aborted(&self) {
        self.inner.signals.abort.cancelled().await;
    }

    /// Ends when nothing runs any more. Only after `halt` or `abort` does it stay so.
    pub async fn idle(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

impl<W: Work> Inner<W> {
    /// Drives a lane until it is empty.
    async fn drive(self: Arc<Self>, key: Option<LaneKey>, since: Arrival, first: W::Job) {
        let (mut since, mut job) = (since, first);
        // How the job before ended, and what is cancelled when that is kept.
        let mut keeping = None;
        loop {
            let number = self.hand().start(since.at);
            let (worked, left) = match keeping.take() {
                Some((keep, kept)) => {
                    let start = pin!(self.start(key, number, since, job, Some(kept)));
                    // What can't be kept has stopped all.
                    join(keep, start).await.1
                }
                None => self.start(key, number, since, job, None).await,
            };
            let mut next = left.map(|left| (since, left));
            match worked {
                Worked::Ended(Next::Go) => self.hand().ended(number),
                Worked::Ended(_) => return self.hand().ended(number),
                Worked::ToKeep(unkept) => {
                    next = next.or_else(|| self.hand().pop(key?));
                    let keep = self.keep(number, unkept);
                    if next.is_some() {
                        let kept = CancellationToken::new();
                        let tell = kept.clone();
                        keeping = Some((Box::pin(keep.map(move |_| tell.cancel())), kept));
                    } else if keep.await != Next::Go {
                        return;
                    }
                }
            }
            let next = next.or_else(|| self.hand().next_of(key?));
            let Some(next) = next else { return };
            (since, job) = next;
        }
    }

    /// Takes into the lane's head what comes behind it and belongs to it, until something else stands there or nothing
    /// has come for as long as the head waits, or longer where nothing can come. Costs no permit.
    async fn gather(&self, key: LaneKey, number: u64, since: Arrival, mut head: W::Job) -> W::Job {
        if self.work.gathers(&head).is_none() {
            return head;
        }
        let (mut last, mut kept_out) = (since, since.at);
        let arrived = Arc::new(Notify::new());
        while let Some(wait) = self.work.gathers(&head) {
            {
                let mut hand = self.hand();
                match hand.pop(key) {
                    Some((since, next)) => match self.work.join(&mut head, next) {
                        None => {
                            // One that came back late stood before an earlier one.
                            last = last.later(since);
                            kept_out = last.at;
                            hand.count_one_more(number, since.at);
                            continue;
                        }
                        Some(next) => {
                            hand.put_first(key, since, next);
                            break;
                        }
                    },
                    None => hand.gathering.insert(key, arrived.clone()),
                };
            }
            let due = (last.at + wait).max(kept_out + wait / PART_OF_WAIT);
            tokio::select! {
                biased;
                () = self.signals.halt.cancelled() => break,
                () = arrived.notified() => {}
                () = sleep_until(due) => {
                    match self.hand().kept_out_until(last) {
                        Some(until) if until + wait / PART_OF_WAIT > due && until < last.at + wait * MOST_WAITS => {
                            kept_out = until;
                        }
                        _ => break,
                    }
                }
            }
        }
        self.hand().gathering.remove(&key);
        head
    }

    /// Gathers what belongs to a lane's head, and does it.
    async fn start(
        &self,
        key: Option<LaneKey>,
        number: u64,
        since: Arrival,
        mut job: W::Job,
        before: Option<CancellationToken>,
    ) -> (Worked<Unkept<'_, W>>, Option<W::Job>) {
        if let Some(key) = key {
            job = self.gather(key, number, since, job).await;
        }
        self.hand().busy += 1;
        let permit = tokio::select! {
            biased;
            () = self.signals.halt.cancelled() => return (Worked::Ended(Next::Halted), None),
            // Never closed; without a permit there would just be no bound.
            permit = self.permits.acquire() => permit.ok(),
        };
        let mark = self.work.mark(&job);
        let work = AssertUnwindSafe(self.work.work(job, self.signals.clone(), before)).catch_unwind();
        let (worked, left) = tokio::select! {
            biased;
            () = self.kill.cancelled() => (Worked::Ended(Next::Stop), None),
            // What panics here has not ended, and is handed out again.
            worked = work => worked.unwrap_or((Worked::Ended(Next::Stop), None)),
        };
        let next = match worked {
            Worked::ToKeep(end) => return (Worked::ToKeep(Unkept { end, mark, permit }), left),
            Worked::Ended(next) => next,
        };
        self.heed(next, mark).await;
        (Worked::Ended(next), left)
    }

    /// Keeps how a job ended.
    async fn keep(&self, number: u64, Unkept { end, mark, permit }: Unkept<'_, W>) -> Next {
        let keep = AssertUnwindSafe(self.work.keep(end)).catch_unwind();
        let next = tokio::select! {
            biased;
            () = self.kill.cancelled() => Next::Stop,
            next = keep => next.unwrap_or(Next::Stop),
        };
        self.heed(next, mark).await;
        drop(permit);
        self.hand().ended(number);
        next
    }

    /// Stops all behind a job that did not end.
    async fn heed(&self, next: Next, mark: W::Mark) {
        if next == Next::Stop {
            self.signals.halt.cancel();
            self.signals.abort.cancel();
        }
        if matches!(next, Next::Stop | Next::PutBack) {
            self.work.broken_off(mark).await;
        }
    }

    fn hand(&self) -> MutexGuard<'_, Hand<W::Job>> {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
