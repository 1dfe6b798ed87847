//! getUpdates: the other way to an update, for a bot without a webhook.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::NewMessage;

use crate::harness::{Bench, Webhook, until};

const SECOND: Duration = Duration::from_secs(1);

fn text(text: &str) -> NewMessage {
    NewMessage { chat_id: 7, text: Some(text.to_owned()), ..NewMessage::default() }
}

/// A simulator whose clock stands still.
fn stopped() -> Bench {
    let bench = Bench::start();
    bench.control.stop_clock(true);
    bench
}

fn write(bench: &Bench, content: &str) -> i64 {
    bench.control.message(text(content)).unwrap().update_id
}

async fn ids(bench: &Bench, params: Value) -> Vec<i64> {
    let updates = bench.ok("getUpdates", params).await;
    updates.as_array().unwrap().iter().map(|update| update["update_id"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn updates_are_returned_until_they_are_confirmed() {
    let bench = stopped();
    let (first, second) = (write(&bench, "a"), write(&bench, "b"));
    for _ in 0..2 {
        assert_eq!(ids(&bench, json!({})).await, [first, second]);
        bench.control.advance(SECOND);
    }
    assert_eq!(ids(&bench, json!({"offset": second})).await, [second]);
    assert_eq!(bench.control.pending(), 1);
    assert!(ids(&bench, json!({"offset": (second + 1).to_string()})).await.is_empty());
    assert_eq!(bench.control.pending(), 0);
}

#[tokio::test]
async fn a_negative_offset_counts_from_the_end_and_forgets_what_is_before() {
    let bench = stopped();
    let ids_written: Vec<_> = (0..5).map(|_| write(&bench, "a")).collect();
    assert_eq!(ids(&bench, json!({"offset": -2})).await, ids_written[3..]);
    assert_eq!(bench.control.pending(), 2);
    assert_eq!(ids(&bench, json!({"offset": -9})).await, ids_written[3..]);
}

#[tokio::test]
async fn a_limit_is_moved_into_1_to_100() {
    let bench = stopped();
    for _ in 0..120 {
        write(&bench, "a");
    }
    for (given, returned) in [
        (json!(7), 7),
        (json!(0), 1),
        (json!(-5), 1),
        (json!(1000), 100),
        (json!("x"), 1),
        (json!(null), 100),
    ] {
        bench.control.advance(SECOND);
        assert_eq!(ids(&bench, json!({"limit": given})).await.len(), returned, "{given}");
    }
}

#[tokio::test]
async fn who_asks_the_same_twice_in_half_a_second_gets_one_update() {
    let bench = stopped();
    let (first, second) = (write(&bench, "a"), write(&bench, "b"));
    assert_eq!(ids(&bench, json!({})).await, [first, second]);
    assert_eq!(ids(&bench, json!({})).await, [first]);
}

/// Waits until so many polls have begun, and are waiting.
async fn waiting(bench: &Bench, count: usize) {
    until("the poll has begun", || bench.control.calls(0).len() >= count).await;
    // Its look at the queue comes just after; a call of its own comes behind that.
    bench.ok("getMe", json!({})).await;
}

#[tokio::test]
async fn a_poll_waits_as_long_as_it_says_and_not_longer_than_50_seconds() {
    let bench = stopped();
    for (calls, (offset, timeout, waits)) in [(1, 10, 10), (2, 1000, 50), (3, -1, 0)].into_iter().enumerate()
    {
        let begun = bench.control.now_ms();
        let poll = ids(&bench, json!({"timeout": timeout, "offset": offset}));
        let clock = async {
            until("the poll has begun", || bench.control.calls(0).len() > calls).await;
            for _ in 0..waits {
                bench.control.advance(SECOND);
                tokio::task::yield_now().await;
            }
        };
        let (updates, ()) = tokio::join!(poll, clock);
        assert!(updates.is_empty());
        assert_eq!(bench.control.now_ms() - begun, waits * 1000);
        bench.control.advance(10 * SECOND);
    }
}

#[tokio::test]
async fn a_second_poller_ends_the_first_ones_wait() {
    let bench = stopped();
    let first = bench.refused("getUpdates", json!({"timeout": 50}));
    let second = async {
        waiting(&bench, 1).await;
        let poll = ids(&bench, json!({"timeout": 50}));
        let write = async {
            waiting(&bench, 3).await;
            write(&bench, "a")
        };
        let (updates, written) = tokio::join!(poll, write);
        assert_eq!(updates, [written]);
    };
    let ((status, text), ()) = tokio::join!(first, second);
    let why =
        "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running";
    assert_eq!((status, text.as_str()), (409, why));
}

#[tokio::test]
async fn a_webhook_ends_a_poller_s_wait() {
    let (bench, webhook) = (stopped(), Webhook::start());
    let poll = bench.refused("getUpdates", json!({"timeout": 50}));
    let set = async {
        waiting(&bench, 1).await;
        bench.set_webhook(&webhook).await;
    };
    let (refused, ()) = tokio::join!(poll, set);
    assert_eq!(refused, (409, "Conflict: terminated by setWebhook request".to_owned()));
}

#[tokio::test]
async fn conflicts_after_the_first_are_told_three_seconds_later() {
    let (bench, webhook) = (stopped(), Webhook::start());
    bench.set_webhook(&webhook).await;
    assert_eq!(bench.refused("getUpdates", json!({})).await.0, 409);
    let second = bench.refused("getUpdates", json!({}));
    let clock = async {
        until("it waits", || bench.control.calls(0).len() == 3).await;
        bench.ok("getMe", json!({})).await;
        assert_eq!(bench.control.calls(0)[2].status, None);
        bench.control.advance(3 * SECOND);
    };
    let (refused, ()) = tokio::join!(second, clock);
    assert_eq!(refused.0, 409);
}

#[tokio::test]
async fn a_poll_chooses_kinds_too() {
    let bench = stopped();
    bench.ok("getUpdates", json!({"allowed_updates": ["callback_query"]})).await;
    write(&bench, "a");
    assert_eq!(bench.control.pending(), 0);
}

#[tokio::test]
async fn a_poll_waits_for_what_comes() {
    let bench = Bench::start();
    let poll = bench.ok("getUpdates", json!({"timeout": 20}));
    let write = async {
        crate::harness::until("the poll has begun", || !bench.control.calls(0).is_empty()).await;
        bench.control.message(text("a")).unwrap();
    };
    let (updates, ()) = tokio::join!(poll, write);
    assert_eq!(updates[0]["message"]["text"], "a");
}

#[tokio::test]
async fn polling_and_a_webhook_exclude_each_other() {
    let (bench, webhook) = (Bench::start(), Webhook::start());
    bench.set_webhook(&webhook).await;
    let (status, text) = bench.refused("getUpdates", json!({})).await;
    assert!(status == 409 && text.starts_with("Conflict: can't use getUpdates method"), "{text}");
    bench.ok("deleteWebhook", json!({})).await;
    assert_eq!(bench.ok("getUpdates", json!({})).await, json!([]));
}
