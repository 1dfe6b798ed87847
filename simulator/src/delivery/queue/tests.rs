//! The delivery rules, one test for each promise, with a clock made by hand.

use super::poll::AHEAD;
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
        let update_id = self.queue.take_update_id(self.start);
        let (body, expires_at) = (Bytes::from(update_id.to_string()), self.at(lifetime));
        self.queue.add(Update { update_id, body, expires_at, key }).unwrap();
        update_id
    }

    fn send(&mut self, seconds: u64) -> Job {
        match self.queue.take(0, self.at(seconds), 80) {
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
    assert_eq!(bench.queue.take(0, bench.at(0), 80), Next::Nothing);
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
            assert_eq!(bench.queue.take(0, bench.at(now), 80), Next::Wait(bench.at(now + pause)));
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
    assert_eq!(bench.queue.take(0, bench.at(0), 80), Next::Wait(bench.at(5)));
    let job = bench.send(5);
    bench.settle(&job, Outcome::Failed { retry_after: 9_999 }, 5);
    assert_eq!(bench.queue.take(0, bench.at(5), 80), Next::Wait(bench.at(3605)));
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
    assert_eq!(bench.queue.take(0, bench.at(31), 80), Next::Nothing);
    assert_eq!(bench.queue.pending(), 0);
}

#[test]
fn an_update_that_was_loaded_in_time_is_sent_once_even_after_its_expiry() {
    let mut bench = Bench::new();
    bench.add(Some(7), 1000);
    bench.add(Some(7), 30);
    let slow = bench.send(0);
    bench.settle(&slow, Outcome::Accepted, 50);
    let late = bench.send(50);
    assert_eq!(late.update_id, 2);
    bench.settle(&late, FAILED, 50);
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
            let Next::Send(job) = bench.queue.take(0, bench.at(0), 2) else { panic!("not sent") };
            bench.settle(&job, FAILED, 0);
        }
    }
    // Key 3 is healthy, but both places are taken (facts T5).
    assert_eq!(bench.queue.take(0, bench.at(0), 2), Next::Wait(bench.at(2)));
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
    // Large ones fill it sooner.
    let large = || update(Bytes::from(vec![0; MAX_EVENT]));
    for _ in 0..MAX_PENDING_BYTES / MAX_EVENT {
        queue.add(large()).unwrap();
    }
    assert_eq!(queue.add(large()), Err(Refused::Full));
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
    assert_eq!(bench.queue.take_update_id(bench.start), 501);
}

#[test]
fn an_offset_that_is_far_from_every_id_confirms_nothing() {
    let mut bench = Bench { queue: Queue::new(1_000_000), start: Instant::now() };
    bench.add(Some(7), 100);
    let now = bench.at(0);
    for offset in [1_000_001 + AHEAD + 1, 1_000_001 - BEHIND - 1, 0] {
        assert_eq!(bench.queue.poll(offset, 100, now), [Bytes::from("1000000")], "{offset}");
    }
    assert!(bench.queue.poll(1_000_001 + AHEAD, 100, now).is_empty());
}

#[test]
fn get_updates_returns_no_more_than_4_mib() {
    let mut bench = Bench::new();
    for update_id in 1..=10 {
        let (body, expires_at) = (Bytes::from(vec![b' '; MAX_EVENT]), bench.at(100));
        bench.queue.add(Update { update_id, body, expires_at, key: None }).unwrap();
    }
    assert_eq!(bench.queue.poll(0, 100, bench.at(0)).len(), 7);
    assert_eq!(bench.queue.pending(), 10);
}

#[test]
fn get_updates_does_not_return_what_has_expired() {
    let mut bench = Bench::new();
    bench.add(Some(7), 30);
    bench.add(Some(7), 100);
    assert_eq!(bench.queue.poll(0, 100, bench.at(31)), [Bytes::from("2")]);
    assert_eq!(bench.queue.pending(), 1);
}

#[test]
fn ids_start_anew_after_a_week_of_silence_and_not_before() {
    const DAY: u64 = 24 * 60 * 60;
    let mut queue = Queue::new(5_000_000_000);
    let (start, at) = (Instant::now(), |days: u64| Duration::from_secs(days * DAY));
    assert_eq!(queue.take_update_id(start), 5_000_000_000);
    assert_eq!(queue.take_update_id(start + at(7)), 5_000_000_001);
    // The new ids are lower, as they may be (facts T8).
    assert!(queue.take_update_id(start + at(15)) < 1_000_000_000);
}

#[test]
fn a_busy_key_s_next_update_goes_before_what_was_loaded_later() {
    let mut bench = Bench::new();
    bench.add(Some(7), 1000);
    bench.add(Some(7), 1000);
    let first = bench.send(0);
    bench.add(Some(8), 1000);
    bench.queue.load(bench.at(1), 80);
    bench.settle(&first, Outcome::Accepted, 2);
    assert_eq!([bench.send(2).update_id, bench.send(2).update_id], [2, 3]);
}

#[test]
fn what_nobody_tried_goes_back_without_a_failure() {
    let mut bench = Bench::new();
    bench.add(Some(7), 100);
    let job = bench.send(0);
    bench.queue.give_back(&job, bench.at(0));
    let again = bench.send(0);
    assert_eq!(again.attempt, 1);
    // The job that went back is not the one on its way.
    bench.settle(&job, Outcome::Accepted, 0);
    assert_eq!(bench.queue.pending(), 1);
}

#[test]
fn another_webhook_gets_all_that_is_pending_and_the_old_one_nothing_more() {
    let mut bench = Bench::new();
    bench.add(Some(7), 100);
    bench.add(Some(7), 100);
    let old = bench.send(0);
    bench.settle(&old, FAILED, 0);
    let stale = bench.send(0);
    bench.queue.start(1);
    assert_eq!(bench.queue.take(0, bench.at(0), 80), Next::Nothing);
    bench.settle(&stale, Outcome::Accepted, 0);
    let Next::Send(job) = bench.queue.take(1, bench.at(0), 80) else { panic!("nothing to send") };
    assert_eq!((job.update_id, job.attempt), (1, 1));
}
