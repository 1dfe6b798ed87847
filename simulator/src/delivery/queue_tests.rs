//! The delivery rules, one test for each promise, with a clock made by hand.

use super::*;

const PAUSES: Pauses = Pauses { first: Duration::from_secs(2), cap: Duration::from_secs(60) };
const FAILED: Outcome = Outcome::Failed { retry_after: 0 };

struct Bench {
    queue: Queue,
    start: Instant,
}

impl Bench {
    fn new() -> Self {
        Self { queue: Queue::new(1), start: Instant::now() }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    fn add(&mut self, key: Option<i64>, lifetime: u64) -> i64 {
        let update_id = self.queue.take_update_id();
        let (body, expires_at) = (Bytes::from(update_id.to_string()), self.at(lifetime));
        self.queue.add(Update { update_id, body, expires_at, key }).unwrap();
        update_id
    }

    fn send(&mut self, seconds: u64) -> Job {
        match self.queue.take(self.at(seconds), 80) {
            Next::Send(job) => job,
            other => panic!("nothing to send but {other:?}"),
        }
    }

    fn settle(&mut self, job: &Job, outcome: Outcome, seconds: u64) {
        self.queue.settle(job, outcome, self.at(seconds), PAUSES);
    }
}

#[test]
fn one_key_has_one_update_on_its_way_and_other_keys_do_not_wait() {
    let mut bench = Bench::new();
    for key in [Some(7), Some(7), Some(8), None, None] {
        bench.add(key, 100);
    }
    let sent: Vec<_> = (0..4).map(|_| bench.send(0)).collect();
    assert_eq!(sent.iter().map(|job| job.update_id).collect::<Vec<_>>(), [1, 3, 4, 5]);
    assert_eq!(bench.queue.take(bench.at(0), 80), Next::Nothing);
    bench.settle(&sent[0], Outcome::Accepted, 0);
    assert_eq!(bench.send(0).update_id, 2);
}

#[test]
fn a_failed_update_is_tried_at_once_then_after_2_4_8_seconds_up_to_the_cap() {
    let mut bench = Bench::new();
    bench.add(Some(7), 10_000);
    let mut now = 0;
    for (attempt, pause) in (1..).zip([0, 2, 4, 8, 16, 32, 60, 60]) {
        let job = bench.send(now);
        assert_eq!(job.attempt, attempt);
        bench.settle(&job, FAILED, now);
        if pause > 0 {
            assert_eq!(bench.queue.take(bench.at(now), 80), Next::Wait(bench.at(now + pause)));
        }
        now += pause;
    }
    assert_eq!(bench.queue.pending(), 1);
}

#[test]
fn retry_after_is_obeyed_and_cut_to_an_hour() {
    let mut bench = Bench::new();
    bench.add(Some(7), 100_000);
    let job = bench.send(0);
    bench.settle(&job, Outcome::Failed { retry_after: 5 }, 0);
    assert_eq!(bench.queue.take(bench.at(0), 80), Next::Wait(bench.at(5)));
    let job = bench.send(5);
    bench.settle(&job, Outcome::Failed { retry_after: 9_999 }, 5);
    assert_eq!(bench.queue.take(bench.at(5), 80), Next::Wait(bench.at(3605)));
}

#[test]
fn an_update_whose_next_try_is_past_its_expiry_is_dropped_and_its_key_goes_on() {
    let mut bench = Bench::new();
    bench.add(Some(7), 30);
    bench.add(Some(7), 100);
    let job = bench.send(0);
    bench.settle(&job, Outcome::Failed { retry_after: 31 }, 0);
    assert_eq!(bench.send(0).update_id, 2);
    assert_eq!(bench.queue.pending(), 1);
}

#[test]
fn an_update_that_expired_while_it_waited_is_never_sent() {
    let mut bench = Bench::new();
    bench.add(Some(7), 30);
    assert_eq!(bench.queue.take(bench.at(30), 80), Next::Nothing);
    assert_eq!(bench.queue.pending(), 0);
}

#[test]
fn keys_that_keep_failing_stop_the_whole_bot() {
    let mut bench = Bench::new();
    for key in 1..=3 {
        bench.add(Some(key), 1000);
    }
    for _ in 0..2 {
        for _ in 0..2 {
            let Next::Send(job) = bench.queue.take(bench.at(0), 2) else { panic!("not sent") };
            bench.settle(&job, FAILED, 0);
        }
    }
    // Key 3 is healthy, but both places are taken (facts T5).
    assert_eq!(bench.queue.take(bench.at(0), 2), Next::Wait(bench.at(2)));
}

#[test]
fn the_pending_store_is_bounded() {
    let mut queue = Queue::new(1);
    let update = |body| Update { update_id: 1, body, expires_at: Instant::now(), key: None };
    assert_eq!(queue.add(update(Bytes::from(vec![0; MAX_EVENT + 1]))), Err(Refused::TooLarge));
    for _ in 0..MAX_PENDING {
        queue.add(update(Bytes::new())).unwrap();
    }
    assert_eq!(queue.add(update(Bytes::new())), Err(Refused::Full));
    queue.clear();
    assert_eq!(queue.pending(), 0);
}

#[test]
fn an_answer_that_comes_after_the_updates_were_dropped_changes_nothing() {
    let mut bench = Bench::new();
    bench.add(Some(7), 100);
    let stale = bench.send(0);
    bench.queue.clear();
    bench.add(Some(7), 100);
    let fresh = bench.send(0);
    bench.settle(&stale, Outcome::Accepted, 0);
    assert_eq!(bench.queue.pending(), 1);
    bench.settle(&fresh, Outcome::Accepted, 0);
    assert_eq!(bench.queue.pending(), 0);
}

#[test]
fn get_updates_confirms_what_is_before_its_offset() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.add(Some(7), 100);
    }
    let now = bench.at(0);
    assert_eq!(bench.queue.poll(0, 2, now), [Bytes::from("1"), Bytes::from("2")]);
    assert_eq!(bench.queue.poll(3, 100, now), [Bytes::from("3")]);
    assert_eq!(bench.queue.pending(), 1);
    assert!(bench.queue.poll(4, 100, now).is_empty());
}

#[test]
fn get_updates_with_a_negative_offset_keeps_the_last() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.add(None, 100);
    }
    assert_eq!(bench.queue.poll(-1, 100, bench.at(0)), [Bytes::from("3")]);
    assert_eq!(bench.queue.pending(), 1);
}

#[test]
fn an_id_that_an_update_brought_along_moves_the_counter() {
    let mut bench = Bench::new();
    let (body, expires_at) = (Bytes::new(), bench.at(100));
    bench.queue.add(Update { update_id: 500, body, expires_at, key: None }).unwrap();
    assert_eq!(bench.queue.take_update_id(), 501);
}
