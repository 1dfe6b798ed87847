mod gathering;

use std::time::Duration;

use super::*;

/// Writes down when each job began and ended; a job takes as many ms as it says, and so does the keeping of its end.
#[derive(Default)]
struct Diary(Mutex<Vec<(&'static str, u32)>>);

struct Job {
    name: u32,
    takes_ms: u64,
    next: Next,
    /// How long it takes to keep that it is done, and what comes of it.
    keeping: (u64, Next),
    /// Jobs of one set are done as one.
    set: Option<u32>,
    /// The names of those that were joined.
    with: Vec<u32>,
    /// It belongs before those of a higher name.
    late: bool,
}

/// As many belong to a set.
const WHOLE_SET: usize = 4;
const PATIENCE: Duration = Duration::from_millis(1000);

impl Work for Diary {
    type Job = Job;
    type End = (u32, (u64, Next));
    type Mark = u32;

    fn mark(&self, job: &Job) -> u32 {
        job.name
    }

    fn gathers(&self, job: &Job) -> Option<Duration> {
        (job.set.is_some() && job.with.len() + 1 < WHOLE_SET).then_some(PATIENCE)
    }

    fn join(&self, head: &mut Job, next: Job) -> Option<Job> {
        if head.set != next.set {
            return Some(next);
        }
        if head.name != next.name && !head.with.contains(&next.name) {
            head.with.push(next.name);
        }
        None
    }

    fn is_late(&self, job: &Job) -> bool {
        job.late
    }

    fn belongs_before(&self, late: &Job, waiting: &Job) -> bool {
        late.name < waiting.name
    }

    async fn broken_off(&self, name: u32) {
        self.0.lock().unwrap().push(("broken off", name));
    }

    async fn keep(&self, (name, (ms, next)): (u32, (u64, Next))) -> Next {
        if ms > 0 {
            self.0.lock().unwrap().push(("keep", name));
            tokio::time::sleep(Duration::from_millis(ms)).await;
            self.0.lock().unwrap().push(("kept", name));
        }
        next
    }

    async fn work(
        &self,
        job: Job,
        signals: Signals,
        before: Option<CancellationToken>,
    ) -> (Worked<Self::End>, Option<Job>) {
        self.0.lock().unwrap().push(("begin", job.name));
        self.0.lock().unwrap().extend(job.with.iter().map(|name| ("with", *name)));
        if let Some(before) = before {
            signals.abort.run_until_cancelled(before.cancelled()).await;
        }
        tokio::select! {
            () = signals.abort.cancelled() => return (Worked::Ended(Next::Stop), None),
            () = tokio::time::sleep(Duration::from_millis(job.takes_ms)) => {}
        }
        self.0.lock().unwrap().push(("end", job.name));
        // A set that takes no time is done by its first job alone; the others are left.
        let mut left = job.with.into_iter().filter(|_| job.takes_ms == 0);
        let left = left.next().map(|name| Job { name, with: left.collect(), ..one(name, job.set, 0) });
        let worked = match job.next {
            Next::Go => Worked::ToKeep((job.name, job.keeping)),
            next => Worked::Ended(next),
        };
        (worked, left)
    }
}

fn job(name: u32, takes_ms: u64) -> Job {
    one(name, None, takes_ms)
}

fn one(name: u32, set: Option<u32>, takes_ms: u64) -> Job {
    Job { name, takes_ms, next: Next::Go, keeping: (0, Next::Go), set, with: Vec::new(), late: false }
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
    assert!(lanes.inner.hand().is_idle(), "an idle lane costs something");
}

#[tokio::test(start_paused = true)]
async fn the_next_is_begun_while_an_end_is_kept_and_goes_on_after_it() {
    let (diary, lanes) = lanes(10);
    for name in 1..=3 {
        lanes.push(CHAT, Job { keeping: (20, Next::Go), ..job(name, 10) });
    }
    tokio::time::sleep(Duration::from_millis(15)).await;
    assert_eq!(lanes.in_hand(), 3, "one whose end is not kept is in hand");
    lanes.idle().await;
    let one_by_one = [
        [("begin", 1), ("end", 1), ("keep", 1), ("begin", 2), ("kept", 1)],
        [("end", 2), ("keep", 2), ("begin", 3), ("kept", 2), ("end", 3)],
    ];
    let expected = [&one_by_one.concat()[..], &[("keep", 3), ("kept", 3)]].concat();
    assert_eq!(*diary.0.lock().unwrap(), expected);
    assert!(lanes.inner.hand().is_idle());
}

#[tokio::test(start_paused = true)]
async fn what_was_begun_behind_an_end_goes_on_after_a_halt_and_a_renewal() {
    let (diary, lanes) = lanes(10);
    (1..=3).for_each(|name| lanes.push(CHAT, Job { keeping: (20, Next::Go), ..job(name, 10) }));
    tokio::time::sleep(Duration::from_millis(15)).await;
    lanes.renew();
    assert_eq!(lanes.in_hand(), 0);
    lanes.push(CHAT, job(1, 10));
    lanes.halt();
    lanes.idle().await;
    let expected = [("begin", 2), ("kept", 1), ("end", 2), ("keep", 2), ("kept", 2)];
    assert_eq!(diary.0.lock().unwrap()[3..], expected);
    assert_eq!(lanes.in_hand(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_job_has_its_permit_until_its_end_is_kept() {
    let (diary, lanes) = lanes(1);
    (1..=2).for_each(|name| lanes.push(CHAT, Job { keeping: (20, Next::Go), ..job(name, 10) }));
    lanes.idle().await;
    let each = |name| [("begin", name), ("end", name), ("keep", name), ("kept", name)];
    assert_eq!(*diary.0.lock().unwrap(), [each(1), each(2)].concat());
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_on_behind_what_could_not_be_kept() {
    for killed in [false, true] {
        let (diary, lanes) = lanes(10);
        let next = if killed { Next::Go } else { Next::Stop };
        lanes.push(CHAT, Job { keeping: (20, next), ..job(1, 10) });
        (2..=3).for_each(|name| lanes.push(CHAT, job(name, 10)));
        tokio::time::sleep(Duration::from_millis(15)).await;
        if killed {
            lanes.kill();
        }
        lanes.aborted().await;
        lanes.idle().await;
        let expected = match killed {
            true => vec![("broken off", 1), ("broken off", 2)],
            false => vec![("kept", 1), ("broken off", 1), ("broken off", 2)],
        };
        assert_eq!(diary.0.lock().unwrap()[4..], expected, "after both were begun");
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_late_is_done_before_what_it_belongs_before_and_has_not_begun() {
    let (diary, lanes) = lanes(9);
    // The 1 that came in its turn, a replay for example, is where it is.
    for name in [3, 4, 6, 7, 1] {
        lanes.push(CHAT, job(name, 10));
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    for name in [2, 5, 8] {
        lanes.push(CHAT, Job { late: true, ..job(name, 10) });
    }
    lanes.push(CHAT, job(0, 10));
    lanes.idle().await;
    let begun: Vec<u32> =
        diary.0.lock().unwrap().iter().filter(|(what, _)| *what == "begin").map(|(_, name)| *name).collect();
    assert_eq!(begun, [3, 2, 4, 5, 6, 7, 1, 8, 0]);
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
    tokio::time::sleep(Duration::from_millis(10)).await;
    lanes.push(CHAT, Job { late: true, ..job(0, 50) });
    lanes.push(CHAT, Job { late: true, ..job(1, 0) });
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(lanes.oldest(), Some(begun + Duration::from_millis(20)), "whatever is before it");
    lanes.idle().await;
    assert_eq!((lanes.in_hand(), lanes.oldest()), (0, None));
}

/// What was done, without its ends.
fn done(diary: &Diary) -> Vec<(&'static str, u32)> {
    diary.0.lock().unwrap().iter().filter(|(what, _)| *what != "end").copied().collect()
}

#[tokio::test(start_paused = true)]
async fn lanes_that_are_dropped_begin_nothing_more() {
    let (diary, lanes) = lanes(10);
    (1..4).for_each(|name| lanes.push(CHAT, job(name, 1000)));
    tokio::time::sleep(Duration::from_millis(10)).await;
    drop(lanes);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(*diary.0.lock().unwrap(), [("begin", 1), ("broken off", 1)]);
}
