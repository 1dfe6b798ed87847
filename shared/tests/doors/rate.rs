//! The rate limit in the store: charged once, judged by when the user acted, and the same in both rooms.

use bytes::Bytes;
use shared::store::bucket::Bucket;
use shared::store::{Begin, Charge};

use crate::backend::Stored;
use crate::store::{key, of, run};

crate::over_stores!(
    the_second_in_a_window_is_limited,
    the_verdict_on_an_update_is_given_once,
    an_album_is_charged_once,
    a_stricter_limit_does_not_judge_what_was_granted_before_it,
    both_rooms_judge_as_the_bucket_does,
);

const NOW: u64 = 1_790_000_000_000;

const ONE_A_SECOND: Charge<'_> =
    Charge { acted_ms: NOW, album: None, requests: 1, window_ms: 1000, only_if_sticky: false };

/// The verdict on one update.
async fn limited(stored: &Stored, update_id: u64, owner: i64, charge: Charge<'_>) -> bool {
    let key = key(stored, update_id, owner);
    run(stored, &Begin { charge: Some(charge), ..of(&key, "w1") }).await.limited
}

async fn the_second_in_a_window_is_limited(stored: Stored) {
    let at = |acted_ms| Charge { acted_ms, ..ONE_A_SECOND };
    assert!(!limited(&stored, 1, 5, at(NOW)).await);
    assert!(limited(&stored, 2, 5, at(NOW + 999)).await);
    assert!(!limited(&stored, 3, 5, at(NOW + 1000)).await);
    assert!(!limited(&stored, 4, 6, at(NOW + 999)).await, "another user");
    assert!(!limited(&stored, 5, 5, at(NOW - 10_000)).await, "it waited long at Telegram");
    let uncharged = key(&stored, 6, 5);
    assert!(!run(&stored, &of(&uncharged, "w1")).await.limited);
}

async fn the_verdict_on_an_update_is_given_once(stored: Stored) {
    let (first, second) = (key(&stored, 1, 5), key(&stored, 2, 5));
    let begin = |key, worker| Begin { charge: Some(ONE_A_SECOND), ..of(key, worker) };
    for worker in ["w1", "w1", "w2", "w3"] {
        assert!(!run(&stored, &begin(&first, worker)).await.limited, "it is not charged again");
        assert!(run(&stored, &begin(&second, worker)).await.limited, "it is not forgiven");
    }
    stored.store.release(&second, "w3").await.unwrap();
    assert!(run(&stored, &begin(&second, "w4")).await.limited);
}

async fn an_album_is_charged_once(stored: Stored) {
    let part = Charge { album: Some("album-1"), ..ONE_A_SECOND };
    for update_id in 1..=10 {
        let acted_ms = NOW + update_id;
        assert!(!limited(&stored, update_id, 5, Charge { acted_ms, ..part }).await);
    }
    assert!(limited(&stored, 11, 5, ONE_A_SECOND).await, "it was charged");
    for update_id in 12..=20 {
        let album = Some("album-2");
        // Also what was sent a second later: it is one album.
        let acted_ms = NOW + (update_id - 12) * 500;
        assert!(
            limited(&stored, update_id, 5, Charge { album, acted_ms, ..part }).await,
            "one verdict for all"
        );
    }
    assert!(!limited(&stored, 21, 6, part).await, "the same album sent by another");
}

async fn a_stricter_limit_does_not_judge_what_was_granted_before_it(stored: Stored) {
    for update_id in 1..=20 {
        let burst = Charge { requests: 20, window_ms: 60_000, ..ONE_A_SECOND };
        assert!(!limited(&stored, update_id, 5, burst).await);
    }
    let at = |acted_ms| Charge { acted_ms, ..ONE_A_SECOND };
    assert!(limited(&stored, 21, 5, at(NOW + 999)).await);
    assert!(!limited(&stored, 22, 5, at(NOW + 1000)).await);
    assert!(limited(&stored, 23, 5, at(NOW + 1001)).await);
}

async fn both_rooms_judge_as_the_bucket_does(stored: Stored) {
    let limits = [(1, 1000), (3, 1000), (5, 7777), (1, 1), (20, 60_000)];
    for (owner, first) in (1..).zip(limits) {
        let mut model = Bucket::full(first.0);
        let mut latest = NOW;
        for update_id in 0..250 {
            // What an operator sets is changed now and then, and the history stays.
            let (requests, window_ms) =
                if update_id < 150 { first } else { limits[rand::random_range(0..limits.len())] };
            let step = rand::random_range(0..=2 * first.1 / u64::from(first.0));
            latest += step;
            // Every fifth one comes late.
            let late = if update_id % 5 == 4 { rand::random_range(0..=10 * first.1) } else { 0 };
            let acted_ms = latest - late;
            let charge = Charge { acted_ms, requests, window_ms, ..ONE_A_SECOND };
            let expected = !model.charge(acted_ms as i64, requests, window_ms);
            let verdict = limited(&stored, owner * 1000 + update_id, owner as i64, charge).await;
            assert_eq!(verdict, expected, "{requests} in {window_ms} ms, update {update_id} at {acted_ms}");
        }
    }
    let plan = Bytes::from_static(b"the store still takes writes");
    stored.store.plan(&key(&stored, 1, 1), "w1", &plan, None).await.unwrap();
}
