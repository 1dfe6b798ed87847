//! A lane per chat: first in, first out, one at a time; any number of lanes at once, up to the permits. A
//! lane with nothing to do does not exist. Knows nothing of updates: a test drives it with numbers.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

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
    /// What is left to know of a job that did not end.
    type Mark: Send;

    fn mark(&self, job: &Self::Job) -> Self::Mark;

    /// Does one.
    fn work(&self, job: Self::Job, signals: Signals) -> impl Future<Output = Next> + Send;

    /// A job was begun and did not end, for no fault of its own.
    fn broken_off(&self, mark: Self::Mark) -> impl Future<Output = ()> + Send;
}

/// The lanes of one partition.
pub struct Lanes<W: Work> {
    inner: Arc<Inner<W>>,
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

/// All that is in hand, and since when.
struct Hand<J> {
    /// What waits for its lane. A lane that works and has nothing more to do is empty; one that does not is not here.
    waiting: HashMap<LaneKey, VecDeque<(Instant, J)>>,
    started: HashMap<u64, Instant>,
    /// The number of the next to be started.
    next: u64,
}

impl<W: Work> Lanes<W> {
    /// `permits` bounds what is started at once, over all partitions.
    pub fn new(work: Arc<W>, permits: Arc<Semaphore>) -> Self {
        let (signals, kill) = Default::default();
        let hand = Mutex::new(Hand { waiting: HashMap::new(), started: HashMap::new(), next: 0 });
        let tasks = TaskTracker::new();
        Self { inner: Arc::new(Inner { work, hand, permits, tasks, signals, kill }) }
    }

    /// Puts a job at the end of its lane; without a key it has no order.
    pub fn push(&self, key: Option<LaneKey>, job: W::Job) {
        let since = Instant::now();
        if let Some(key) = key {
            match self.inner.hand().waiting.entry(key) {
                Entry::Occupied(mut lane) => return lane.get_mut().push_back((since, job)),
                Entry::Vacant(lane) => lane.insert(VecDeque::new()),
            };
        }
        self.inner.tasks.spawn(self.inner.clone().drive(key, since, job));
    }

    /// How many are in hand, started or not.
    pub fn in_hand(&self) -> usize {
        let hand = self.inner.hand();
        hand.started.len() + hand.waiting.values().map(VecDeque::len).sum::<usize>()
    }

    /// Since when the one has been in hand that has been longest.
    pub fn oldest(&self) -> Option<Instant> {
        let hand = self.inner.hand();
        let waiting = hand.waiting.values().filter_map(|lane| Some(lane.front()?.0));
        waiting.chain(hand.started.values().copied()).min()
    }

    /// All that is in hand comes again: what is not started is forgotten, and what is started goes on, before what
    /// comes for its lane.
    pub fn renew(&self) {
        let forgotten: Vec<_> = {
            let mut hand = self.inner.hand();
            hand.started.clear();
            hand.waiting.values_mut().map(std::mem::take).collect()
        };
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
    async fn drive(self: Arc<Self>, key: Option<LaneKey>, since: Instant, first: W::Job) {
        let (mut since, mut job) = (since, first);
        loop {
            let number = self.hand().start(since);
            let next = self.start(job).await;
            self.hand().started.remove(&number);
            if next != Next::Go {
                return;
            }
            let Some(next) = key.and_then(|key| self.hand().next_of(key)) else { return };
            (since, job) = next;
        }
    }

    async fn start(&self, job: W::Job) -> Next {
        let _permit = tokio::select! {
            biased;
            () = self.signals.halt.cancelled() => return Next::Halted,
            // Never closed; without a permit there would just be no bound.
            permit = self.permits.acquire() => permit,
        };
        let mark = self.work.mark(&job);
        let work = AssertUnwindSafe(self.work.work(job, self.signals.clone())).catch_unwind();
        let next = tokio::select! {
            biased;
            () = self.kill.cancelled() => Next::Stop,
            // What panics here has not ended, and is handed out again.
            next = work => next.unwrap_or(Next::Stop),
        };
        if next == Next::Stop {
            self.signals.halt.cancel();
            self.signals.abort.cancel();
        }
        if matches!(next, Next::Stop | Next::PutBack) {
            self.work.broken_off(mark).await;
        }
        next
    }

    fn hand(&self) -> MutexGuard<'_, Hand<W::Job>> {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J> Hand<J> {
    fn start(&mut self, since: Instant) -> u64 {
        self.next += 1;
        self.started.insert(self.next, since);
        self.next
    }

    /// The lane's next job; an empty lane ceases to exist.
    fn next_of(&mut self, key: LaneKey) -> Option<(Instant, J)> {
        let next = self.waiting.get_mut(&key)?.pop_front();
        if next.is_none() {
            self.waiting.remove(&key);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Writes down when each job began and ended; a job takes as many ms as it says.
    #[derive(Default)]
    struct Diary(Mutex<Vec<(&'static str, u32)>>);

    struct Job {
        name: u32,
        takes_ms: u64,
        next: Next,
    }

    impl Work for Diary {
        type Job = Job;
        type Mark = u32;

        fn mark(&self, job: &Job) -> u32 {
            job.name
        }

        async fn broken_off(&self, name: u32) {
            self.0.lock().unwrap().push(("broken off", name));
        }

        async fn work(&self, job: Job, signals: Signals) -> Next {
            self.0.lock().unwrap().push(("begin", job.name));
            tokio::select! {
                () = signals.abort.cancelled() => return Next::Stop,
                () = tokio::time::sleep(Duration::from_millis(job.takes_ms)) => {}
            }
            self.0.lock().unwrap().push(("end", job.name));
            job.next
        }
    }

    fn job(name: u32, takes_ms: u64) -> Job {
        Job { name, takes_ms, next: Next::Go }
    }

    fn lanes(permits: usize) -> (Arc<Diary>, Lanes<Diary>) {
        let diary = Arc::new(Diary::default());
        (diary.clone(), Lanes::new(diary, Arc::new(Semaphore::new(permits))))
    }

    const CHAT: Option<LaneKey> = Some(LaneKey::Chat(1));

    #[tokio::test(start_paused = true)]
    async fn a_chats_jobs_run_one_at_a_time_in_their_order() {
        let (diary, lanes) = lanes(10);
        (0..5).for_each(|name| lanes.push(CHAT, job(name, 50 - u64::from(name) * 10)));
        lanes.idle().await;
        let expected: Vec<_> = (0..5).flat_map(|name| [("begin", name), ("end", name)]).collect();
        assert_eq!(*diary.0.lock().unwrap(), expected);
        assert!(lanes.inner.hand().waiting.is_empty(), "an idle lane costs something");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_chat_holds_no_other() {
        let (diary, lanes) = lanes(10);
        lanes.push(CHAT, job(1, 10_000));
        lanes.push(Some(LaneKey::Chat(2)), job(2, 1));
        lanes.push(Some(LaneKey::Query(1)), job(3, 2));
        lanes.push(None, job(4, 3));
        lanes.idle().await;
        let ends: Vec<_> =
            diary.0.lock().unwrap().iter().filter(|(what, _)| *what == "end").map(|(_, n)| *n).collect();
        assert_eq!(ends, [2, 3, 4, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_run_at_once_than_there_are_permits() {
        let (diary, lanes) = lanes(2);
        (0..6).for_each(|name| lanes.push(Some(LaneKey::Chat(i64::from(name))), job(name, 10)));
        lanes.idle().await;
        let (mut now, mut most) = (0, 0);
        for (what, _) in diary.0.lock().unwrap().iter() {
            now += if *what == "begin" { 1 } else { -1 };
            most = most.max(now);
        }
        assert_eq!(most, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_behind_a_job_that_stopped_does_not_overtake_it() {
        let (diary, lanes) = lanes(10);
        lanes.push(CHAT, Job { next: Next::Stop, ..job(1, 5) });
        lanes.push(CHAT, job(2, 5));
        lanes.push(Some(LaneKey::Chat(2)), job(3, 50));
        lanes.aborted().await;
        lanes.idle().await;
        let diary = diary.0.lock().unwrap();
        assert!(!diary.contains(&("begin", 2)) && !diary.contains(&("end", 3)), "{diary:?}");
        assert!(diary.contains(&("broken off", 1)) && diary.contains(&("broken off", 3)), "{diary:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_is_put_back_takes_no_other_with_it() {
        let (diary, lanes) = lanes(10);
        lanes.push(CHAT, Job { next: Next::PutBack, ..job(1, 5) });
        lanes.push(CHAT, job(2, 5));
        lanes.push(Some(LaneKey::Chat(2)), job(3, 50));
        tokio::time::sleep(Duration::from_millis(1)).await;
        lanes.halt();
        lanes.idle().await;
        let diary = diary.0.lock().unwrap();
        assert!(!diary.contains(&("begin", 2)), "{diary:?}");
        assert!(!diary.contains(&("broken off", 3)), "{diary:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_halt_what_runs_may_end_and_nothing_starts() {
        let (diary, lanes) = lanes(10);
        lanes.push(CHAT, job(1, 50));
        lanes.push(CHAT, job(2, 50));
        tokio::time::sleep(Duration::from_millis(10)).await;
        lanes.halt();
        lanes.idle().await;
        assert_eq!(*diary.0.lock().unwrap(), [("begin", 1), ("end", 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_renewal_what_runs_ends_before_what_comes_again() {
        let (diary, lanes) = lanes(10);
        (1..=3).for_each(|name| lanes.push(CHAT, job(name, 50)));
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(lanes.in_hand(), 3);
        lanes.renew();
        assert_eq!((lanes.in_hand(), lanes.oldest()), (0, None));
        (1..=3).for_each(|name| lanes.push(CHAT, job(name * 10, 50)));
        lanes.idle().await;
        let expected = [1, 10, 20, 30].iter().flat_map(|name| [("begin", *name), ("end", *name)]);
        assert_eq!(*diary.0.lock().unwrap(), expected.collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_in_hand_is_known_started_or_not() {
        let (_, lanes) = lanes(1);
        let begun = Instant::now();
        lanes.push(CHAT, job(1, 50));
        tokio::time::sleep(Duration::from_millis(20)).await;
        lanes.push(CHAT, job(2, 50));
        assert_eq!(lanes.oldest(), Some(begun));
        tokio::time::sleep(Duration::from_millis(40)).await;
        assert_eq!(lanes.oldest(), Some(begun + Duration::from_millis(20)));
        lanes.idle().await;
        assert_eq!((lanes.in_hand(), lanes.oldest()), (0, None));
    }
}
