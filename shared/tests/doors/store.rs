//! What the store knows of updates, whichever room is behind it. Users and the rate limit have files of their own.

use std::time::{Duration, Instant};

use bytes::Bytes;
use shared::store::{Begin, Begun, Beside, End, Run, Session, Sticky, Store, StoreError, UpdateKey};

use crate::backend::{LONG, Stored};

crate::over_stores!(
    the_first_begin_is_the_first_attempt,
    a_redelivery_to_the_same_worker_is_no_attempt_but_a_panic_is,
    what_another_worker_had_begun_is_a_suspect,
    a_release_takes_the_attempt_back,
    a_release_where_nothing_was_counted_takes_nothing_back,
    a_worker_that_lost_an_update_is_fenced,
    a_worker_whose_update_another_ended_is_fenced,
    a_claim_that_is_not_there_fences_nobody,
    the_answer_is_kept_until_it_is_sent,
    a_dying_update_is_found_dying,
    a_wait_is_known_to_who_takes_the_update_over,
    a_bots_wait_is_the_longest_that_any_worker_told,
    an_ended_update_is_told_and_forgotten,
    a_replay_is_a_run_of_its_own,
    a_callback_is_answered_once,
    a_callbacks_answer_that_was_not_given_can_be_given_later,
    a_notice_is_sent_once_in_its_time,
    an_albums_parts_are_those_of_its_first_attempt,
    an_albums_parts_end_with_its_plan_and_with_its_end,
    a_key_is_given_to_one_message,
    the_replies_of_all_workers_are_counted_for_a_second,
);

pub fn key(stored: &Stored, update_id: u64, owner: i64) -> UpdateKey {
    UpdateKey { bot: stored.bot, update_id, replay: 0, owner }
}

/// As an update that may be a suspect is begun by `worker`.
pub fn of<'a>(key: &'a UpdateKey, worker: &'a str) -> Begin<'a> {
    Begin {
        key,
        worker,
        user: Some(key.owner),
        session_seconds: 60,
        charge: None,
        sticky_in: None,
        suspect: true,
        after_panic: false,
        album: None,
    }
}

pub async fn run(stored: &Stored, begin: &Begin<'_>) -> Run {
    match stored.store.begin(begin).await.unwrap() {
        Begun::Run(run) => run,
        other => panic!("{other:?}"),
    }
}

/// This user's free texts in chat 5 go to that service for a minute.
pub fn to(service: &str) -> Beside<'_> {
    Beside { sticky: Some(Sticky { chat: 5, to: Some(service), seconds: 60 }), ..Beside::default() }
}

fn is_fenced(outcome: Result<(), StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Fenced))
}

async fn the_first_begin_is_the_first_attempt(stored: Stored) {
    let key = key(&stored, 1, 5);
    let expected = Run { attempts: 1, user_id: Some("user_5".to_owned()), ..Run::default() };
    assert_eq!(run(&stored, &Begin { suspect: false, ..of(&key, "w1") }).await, expected);
    let nobody = UpdateKey { update_id: 2, owner: -7, ..key.clone() };
    let expected = Run { attempts: 1, ..Run::default() };
    assert_eq!(run(&stored, &Begin { user: None, ..of(&nobody, "w1") }).await, expected);
    stored.store.ping().await.unwrap();
}

async fn a_redelivery_to_the_same_worker_is_no_attempt_but_a_panic_is(stored: Stored) {
    let key = key(&stored, 1, 5);
    for (after_panic, attempts) in [(false, 1), (false, 1), (true, 2), (false, 2), (true, 3)] {
        let begin = Begin { suspect: false, after_panic, ..of(&key, "w1") };
        assert_eq!(run(&stored, &begin).await.attempts, attempts);
    }
}

async fn what_another_worker_had_begun_is_a_suspect(stored: Stored) {
    let key = key(&stored, 1, 5);
    run(&stored, &of(&key, "w1")).await;
    for _ in 0..3 {
        let begin = Begin { suspect: false, ..of(&key, "w2") };
        assert_eq!(stored.store.begin(&begin).await.unwrap(), Begun::Suspect(1));
    }
    assert_eq!(run(&stored, &of(&key, "w2")).await.attempts, 2);
    let mine = Begin { suspect: false, ..of(&key, "w2") };
    assert_eq!(run(&stored, &mine).await.attempts, 2, "to its own worker it is none");
}

async fn a_release_takes_the_attempt_back(stored: Stored) {
    let key = key(&stored, 1, 5);
    for worker in ["w1", "w2", "w3"] {
        assert_eq!(run(&stored, &Begin { suspect: false, ..of(&key, worker) }).await.attempts, 1);
        stored.store.release(&key, worker).await.unwrap();
        stored.store.release(&key, worker).await.unwrap();
    }
    assert_eq!(run(&stored, &of(&key, "w4")).await.attempts, 1);
    // A suspect's release leaves what it was begun with before.
    run(&stored, &of(&key, "w5")).await;
    stored.store.release(&key, "w5").await.unwrap();
    let begin = Begin { suspect: false, ..of(&key, "w6") };
    assert_eq!(stored.store.begin(&begin).await.unwrap(), Begun::Suspect(1));
}

/// What it wrote since is all that the store knows of its update.
async fn a_release_where_nothing_was_counted_takes_nothing_back(stored: Stored) {
    let (store, key) = (&stored.store, key(&stored, 1, 5));
    store.plan(&key, "w1", &Bytes::from_static(b"plan"), None).await.unwrap();
    store.release(&key, "w1").await.unwrap();
    assert_eq!(run(&stored, &of(&key, "w2")).await.attempts, 1);
    let begin = Begin { suspect: false, ..of(&key, "w3") };
    assert_eq!(store.begin(&begin).await.unwrap(), Begun::Suspect(1));
}

async fn a_worker_that_lost_an_update_is_fenced(stored: Stored) {
    let (store, key) = (&stored.store, key(&stored, 1, 5));
    let (old, new) = (Bytes::from_static(b"old"), Bytes::from_static(b"new"));
    run(&stored, &of(&key, "w1")).await;
    run(&stored, &of(&key, "w2")).await;
    let beside =
        Beside { session: Some(Session { user: 5, user_id: "stolen", seconds: 60 }), ..to("stolen") };
    assert!(is_fenced(store.plan(&key, "w1", &old, Some(&beside)).await));
    assert!(is_fenced(store.sent(&key, "w1", 9).await));
    assert!(is_fenced(store.dying(&key, "w1", &old).await));
    assert!(is_fenced(store.finish(&key, "w1", End::Dead, &[]).await));
    assert!(is_fenced(store.release(&key, "w1").await));
    store.plan(&key, "w2", &new, None).await.unwrap();
    store.sent(&key, "w2", 1).await.unwrap();
    let expected =
        Run { attempts: 2, user_id: Some("user_5".to_owned()), plan: Some(new), sent: 1, ..Run::default() };
    assert_eq!(run(&stored, &Begin { sticky_in: Some(5), ..of(&key, "w2") }).await, expected);
}

/// It was frozen for so long that nothing but the end is left of the update.
async fn a_worker_whose_update_another_ended_is_fenced(stored: Stored) {
    let (store, key, words) = (&stored.store, key(&stored, 1, 5), Bytes::from_static(b"late"));
    run(&stored, &of(&key, "w1")).await;
    run(&stored, &of(&key, "w2")).await;
    store.finish(&key, "w2", End::Done, &[]).await.unwrap();
    assert!(is_fenced(store.plan(&key, "w1", &words, None).await));
    assert!(is_fenced(store.sent(&key, "w1", 1).await));
    assert!(is_fenced(store.dying(&key, "w1", &words).await));
}

async fn a_claim_that_is_not_there_fences_nobody(stored: Stored) {
    let (store, words) = (&stored.store, Bytes::from_static(b"words"));
    let all: Vec<UpdateKey> = (1..=5).map(|update_id| key(&stored, update_id, 5)).collect();
    store.plan(&all[0], "w1", &words, None).await.unwrap();
    store.sent(&all[1], "w1", 1).await.unwrap();
    store.dying(&all[2], "w1", &words).await.unwrap();
    store.finish(&all[3], "w1", End::Done, &[]).await.unwrap();
    store.release(&all[4], "w1").await.unwrap();
    assert_eq!(run(&stored, &of(&all[0], "w1")).await.plan, Some(words));
    assert_eq!(stored.store.begin(&of(&all[3], "w2")).await.unwrap(), Begun::Ended);
    assert_eq!(run(&stored, &of(&all[4], "w2")).await.attempts, 1);
}

async fn the_answer_is_kept_until_it_is_sent(stored: Stored) {
    let (store, key) = (&stored.store, key(&stored, 1, 5));
    let plan = Bytes::from((0..=255).cycle().take(50_000).collect::<Vec<u8>>());
    run(&stored, &of(&key, "w1")).await;
    store.plan(&key, "w1", &plan, None).await.unwrap();
    store.plan(&key, "w1", &Bytes::from_static(b"another"), None).await.unwrap();
    assert_eq!(run(&stored, &of(&key, "w1")).await.sent, 0);
    for count in 1..=3 {
        store.sent(&key, "w1", count).await.unwrap();
        let known = run(&stored, &of(&key, "w1")).await;
        assert_eq!((known.sent, known.plan == Some(plan.clone())), (count, true), "the first plan stays");
    }
    let taken_over = run(&stored, &of(&key, "w2")).await;
    assert_eq!((taken_over.sent, taken_over.plan == Some(plan)), (3, true));
}

async fn a_wait_is_known_to_who_takes_the_update_over(stored: Stored) {
    let (store, key) = (&stored.store, key(&stored, 1, 5));
    assert_eq!(run(&stored, &of(&key, "w1")).await.parked_until_ms, 0);
    store.parked(&key, "w1", 1_767_225_600_123).await.unwrap();
    assert_eq!(run(&stored, &of(&key, "w2")).await.parked_until_ms, 1_767_225_600_123);
    assert!(is_fenced(store.parked(&key, "w1", 5).await));
}

async fn a_bots_wait_is_the_longest_that_any_worker_told(stored: Stored) {
    let store = &stored.store;
    assert_eq!(store.beat(stored.bot, 0).await.unwrap().parked, None);
    let (short, long) = (Duration::from_millis(300), Duration::from_secs(60));
    for wait in [long, short] {
        store.park_bot(stored.bot, wait).await.unwrap();
    }
    // The embedded store has one worker, which knows by itself.
    let Store::Redis(_) = store else { return };
    let left = store.beat(stored.bot, 0).await.unwrap().parked.unwrap();
    assert!(left <= long && left > long / 2, "{left:?}");
    assert_eq!(store.beat(stored.bot + 1, 0).await.unwrap().parked, None);
}

async fn a_dying_update_is_found_dying(stored: Stored) {
    let (key, why) = (key(&stored, 1, 5), Bytes::from_static(b"\0service\xff"));
    run(&stored, &of(&key, "w1")).await;
    stored.store.dying(&key, "w1", &why).await.unwrap();
    assert_eq!(run(&stored, &of(&key, "w2")).await.dying, Some(why));
}

async fn an_ended_update_is_told_and_forgotten(stored: Stored) {
    for (update_id, end) in [(1, End::Done), (2, End::Dead)] {
        let (store, key) = (&stored.store, key(&stored, update_id, 5));
        run(&stored, &of(&key, "w1")).await;
        store.plan(&key, "w1", &Bytes::from_static(b"plan"), None).await.unwrap();
        store.finish(&key, "w1", end, &[]).await.unwrap();
        store.finish(&key, "w1", end, &[]).await.unwrap();
        store.release(&key, "w1").await.unwrap();
        for (worker, suspect) in [("w1", true), ("w1", false), ("w2", true), ("w2", false)] {
            let begin = Begin { suspect, ..of(&key, worker) };
            assert_eq!(store.begin(&begin).await.unwrap(), Begun::Ended);
        }
    }
}

async fn a_replay_is_a_run_of_its_own(stored: Stored) {
    let first = key(&stored, 1, 5);
    run(&stored, &of(&first, "w1")).await;
    stored.store.finish(&first, "w1", End::Dead, &[]).await.unwrap();
    let replay = UpdateKey { replay: 1, ..first.clone() };
    assert_eq!(run(&stored, &of(&replay, "w2")).await.attempts, 1);
    assert_eq!(stored.store.begin(&of(&first, "w2")).await.unwrap(), Begun::Ended);
}

async fn a_callback_is_answered_once(stored: Stored) {
    let (store, key, other) = (&stored.store, key(&stored, 1, 5), key(&stored, 2, 5));
    assert!(store.answer_begin(&key, "w1").await.unwrap());
    assert!(!store.answer_begin(&key, "w1").await.unwrap());
    let begun = run(&stored, &Begin { suspect: false, ..of(&key, "w1") }).await;
    assert_eq!(begun.attempts, 1, "answering is no attempt");
    assert!(!store.answer_begin(&key, "w1").await.unwrap());
    store.answer_end(&key, "w1", true).await.unwrap();
    for worker in ["w1", "w2"] {
        assert!(!store.answer_begin(&key, worker).await.unwrap(), "it was given");
    }
    run(&stored, &of(&other, "w1")).await;
    store.finish(&other, "w1", End::Done, &[]).await.unwrap();
    assert!(!store.answer_begin(&other, "w1").await.unwrap(), "it has ended");
    store.answer_end(&other, "w1", true).await.unwrap();
    assert_eq!(store.begin(&of(&other, "w1")).await.unwrap(), Begun::Ended);
}

async fn a_callbacks_answer_that_was_not_given_can_be_given_later(stored: Stored) {
    let (store, key) = (&stored.store, key(&stored, 1, 5));
    assert!(store.answer_begin(&key, "w1").await.unwrap());
    store.answer_end(&key, "w1", false).await.unwrap();
    assert!(store.answer_begin(&key, "w1").await.unwrap(), "given back");
    assert!(store.answer_begin(&key, "w11").await.unwrap(), "w1 may be dead");
    assert!(!store.answer_begin(&key, "w11").await.unwrap());
    store.answer_end(&key, "w1", true).await.unwrap();
    assert!(store.answer_begin(&key, "w2").await.unwrap(), "w1 had lost the right");
    store.answer_end(&key, "w2", true).await.unwrap();
    assert!(!store.answer_begin(&key, "w11").await.unwrap());
}

async fn a_notice_is_sent_once_in_its_time(stored: Stored) {
    let (store, key, other) = (&stored.store, key(&stored, 1, 5), key(&stored, 1, 6));
    assert!(store.notice_begin(&key, 60_000).await.unwrap());
    assert!(!store.notice_begin(&key, 60_000).await.unwrap());
    assert!(store.notice_begin(&other, 60_000).await.unwrap(), "another user's");
    // It went out sooner than it might have: the next one may follow a window later.
    let sent = Instant::now();
    store.notice_sent(&key, 300).await.unwrap();
    while !store.notice_begin(&key, 60_000).await.unwrap() {
        assert!(sent.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(sent.elapsed() >= Duration::from_millis(299), "{:?}", sent.elapsed());
    store.notice_sent(&key, 60_000).await.unwrap();
    assert!(!store.notice_begin(&key, 1).await.unwrap());
}

async fn an_albums_parts_are_those_of_its_first_attempt(stored: Stored) {
    let parts = |update_id, worker: &'static str, album: &'static [u64]| {
        let (key, stored) = (key(&stored, update_id, 5), &stored);
        async move { run(stored, &Begin { album: Some(album), ..of(&key, worker) }).await.album }
    };
    assert_eq!(parts(1, "w1", &[2, 3]).await, [2, 3]);
    assert_eq!(parts(1, "w2", &[2, 3, 4]).await, [2, 3], "one that came later is none of them");
    // Whatever broke the attempt off, the service may have been asked.
    stored.store.release(&key(&stored, 1, 5), "w2").await.unwrap();
    assert_eq!(parts(1, "w2", &[2, 3, 4]).await, [2, 3]);
    assert_eq!(parts(10, "w1", &[]).await, [0_u64; 0]);
    assert_eq!(parts(10, "w2", &[11]).await, [0_u64; 0]);
    // One that was handled by itself, before the table asked for albums.
    let alone = key(&stored, 20, 5);
    assert_eq!(run(&stored, &of(&alone, "w1")).await.album, [0_u64; 0]);
    assert_eq!(parts(20, "w2", &[21]).await, [0_u64; 0]);
}

async fn an_albums_parts_end_with_its_plan_and_with_its_end(stored: Stored) {
    let (store, key) = (&stored.store, |update_id| key(&stored, update_id, 5));
    let ended = |update_id| async move {
        let key = UpdateKey { bot: stored.bot, update_id, replay: 0, owner: 5 };
        matches!(store.begin(&of(&key, "w3")).await.unwrap(), Begun::Ended)
    };
    run(&stored, &Begin { album: Some(&[2, 3]), ..of(&key(1), "w1") }).await;
    run(&stored, &of(&key(1), "w2")).await;
    let beside = Beside { album: &[2, 3], ..Beside::default() };
    let plan = Bytes::from_static(b"plan");
    assert!(is_fenced(store.plan(&key(1), "w1", &plan, Some(&beside)).await));
    assert!(!ended(2).await, "what is fenced ends nothing");
    store.plan(&key(1), "w2", &plan, Some(&beside)).await.unwrap();
    assert!(ended(2).await && ended(3).await && !ended(4).await);
    assert_eq!(run(&stored, &of(&key(1), "w2")).await.plan, Some(plan));
    store.finish(&key(1), "w2", End::Done, &[2, 3]).await.unwrap();
    assert!(ended(1).await);

    run(&stored, &Begin { album: Some(&[12]), ..of(&key(11), "w1") }).await;
    run(&stored, &of(&key(11), "w2")).await;
    assert!(is_fenced(store.finish(&key(11), "w1", End::Dead, &[12]).await) && !ended(12).await);
    store.finish(&key(11), "w2", End::Dead, &[12]).await.unwrap();
    store.finish(&key(11), "w2", End::Dead, &[12]).await.unwrap();
    assert!(ended(11).await && ended(12).await);
}

async fn a_key_is_given_to_one_message(stored: Stored) {
    let (store, bot) = (&stored.store, stored.bot);
    assert_eq!(store.message_once(bot, "key", "first", 60).await.unwrap(), None);
    assert_eq!(store.message_once(bot, "key", "second", 60).await.unwrap().as_deref(), Some("first"));
    assert_eq!(store.message_once(bot, "another", "second", 60).await.unwrap(), None);
    assert_eq!(store.message_once(bot + 1, "key", "third", 60).await.unwrap(), None);
}

async fn the_replies_of_all_workers_are_counted_for_a_second(stored: Stored) {
    let beat = async |replies| stored.store.beat(stored.bot, replies).await.unwrap().replies;
    // Embedded there is nobody else to count.
    let Some(first) = beat(3).await else { return };
    assert_eq!(first, 3);
    assert_eq!(stored.store.beat(stored.bot + 1, 1).await.unwrap().replies, Some(1), "another bot's");
    let begun = Instant::now();
    let both = beat(2).await.unwrap();
    assert!(both == 5 || begun.elapsed() > Duration::from_millis(700), "{both}");
    while beat(0).await != Some(0) {
        assert!(begun.elapsed() < LONG, "they count for ever");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What lies under one user's name is nobody else's trouble: the server answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_the_wrong_kind_sends_nobody_else_away() {
    let (Some(stored), Ok(url)) = (Stored::redis().await, std::env::var("TGW_TEST_REDIS_URL")) else {
        return;
    };
    let (spoilt, well) = (key(&stored, 1, 7), key(&stored, 2, 8));
    let mut client = ::redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
    let session = format!("tgw:{{{}:7}}:session", stored.bot);
    let _: () = ::redis::cmd("RPUSH").arg(session).arg(1).query_async(&mut client).await.unwrap();
    for _ in 0..5 {
        assert!(matches!(stored.store.begin(&of(&spoilt, "a")).await, Err(StoreError::Away)));
        run(&stored, &of(&well, "a")).await;
    }
}
