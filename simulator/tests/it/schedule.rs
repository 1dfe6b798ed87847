//! What happens over hours and days, by the simulator's clock: retries, expiry, a webhook that is gone.

use std::time::Duration;

use serde_json::json;
use simulator::{NewMessage, NewPress};

use crate::harness::{Bench, Webhook, until};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A simulator whose clock stands still, and its webhook.
async fn stopped() -> (Bench, Webhook) {
    let (bench, webhook) = (Bench::start(), Webhook::start());
    bench.control.stop_clock(true);
    bench.set_webhook(&webhook).await;
    (bench, webhook)
}

fn write(bench: &Bench, chat_id: i64) -> i64 {
    let text = Some("a".to_owned());
    bench.control.message(NewMessage { chat_id, text, ..NewMessage::default() }).unwrap().update_id
}

async fn settled(bench: &Bench, count: usize) {
    until(&format!("{count} attempts have ended"), || bench.control.deliveries(0).len() >= count).await;
}

#[tokio::test]
async fn a_failed_update_is_tried_at_once_and_then_after_2_4_8_seconds_up_to_a_minute_or_two() {
    let (bench, webhook) = stopped().await;
    let start = bench.control.now_ms();
    for _ in 0..9 {
        webhook.answer(500, None);
    }
    write(&bench, 7);
    settled(&bench, 2).await;
    for (attempt, pause) in (3..).zip([2, 4, 8, 16, 32]) {
        bench.control.advance(pause * SECOND);
        settled(&bench, attempt).await;
    }
    for attempt in 8..=10 {
        // The cap is random, between one minute and two; the sixth pause would be 64 s.
        bench.control.advance(120 * SECOND);
        settled(&bench, attempt).await;
    }
    let times: Vec<_> = bench.control.deliveries(0).iter().map(|it| (it.at_ms - start) / 1000).collect();
    assert_eq!(times[..7], [0, 0, 2, 6, 14, 30, 62]);
    until("it was taken", || bench.control.pending() == 0).await;
}

#[tokio::test]
async fn a_message_is_tried_for_24_hours_and_a_press_for_150_seconds() {
    let (bench, webhook) = stopped().await;
    let hour = Some(3600);
    // The message is told to wait an hour each time; the press too, which is longer than it lives.
    for _ in 0..100 {
        webhook.answer(503, hour);
    }
    write(&bench, 7);
    settled(&bench, 1).await;
    let press = NewPress { chat_id: 7, user_id: None, message_id: 1, data: "A".to_owned() };
    bench.control.press(press).unwrap();
    settled(&bench, 2).await;
    until("the press was dropped at once", || bench.control.pending() == 1).await;
    for attempt in 3..=26 {
        bench.control.advance(HOUR);
        settled(&bench, attempt).await;
    }
    until("the message was dropped after its last hour", || bench.control.pending() == 0).await;
}

#[tokio::test]
async fn a_press_is_answered_within_150_seconds_or_never() {
    let (bench, _) = stopped().await;
    let press = || NewPress { chat_id: 7, user_id: None, message_id: 1, data: "A".to_owned() };
    let (early, late) = (bench.control.press(press()).unwrap(), bench.control.press(press()).unwrap());
    bench.control.advance(150 * SECOND);
    bench.ok("answerCallbackQuery", json!({"callback_query_id": early.callback_query_id})).await;
    bench.control.advance(SECOND);
    let answer =
        bench.refused("answerCallbackQuery", json!({"callback_query_id": late.callback_query_id})).await;
    assert_eq!(answer.1, "Bad Request: query is too old and response timeout expired or query ID is invalid");
}

#[tokio::test]
async fn a_webhook_that_says_410_for_more_than_23_hours_is_deleted_and_its_updates_stay() {
    let (bench, webhook) = stopped().await;
    for _ in 0..3 {
        webhook.answer(410, Some(3600));
    }
    // Something else in between: the 23 hours begin anew.
    webhook.answer(500, Some(3600));
    for _ in 0..100 {
        webhook.answer(410, Some(3600));
    }
    write(&bench, 7);
    for attempt in 1..=20 {
        settled(&bench, attempt).await;
        bench.control.advance(HOUR);
    }
    // A fresh one, told to wait an hour in its turn: the first one's day is over with its 25th attempt.
    let kept = write(&bench, 8);
    let mut attempts = 20;
    for hour in 20..=28 {
        attempts += if hour <= 24 { 2 } else { 1 };
        settled(&bench, attempts).await;
        assert_eq!(bench.control.bot().webhook, hour <= 27, "after {hour} hours");
        bench.control.advance(HOUR);
    }
    let deliveries = bench.control.deliveries(0);
    let (first_gone, last) = (deliveries[4].at_ms, deliveries[deliveries.len() - 1].at_ms);
    let hours = (last - first_gone) as f64 / 3_600_000.0;
    assert!((23.0..25.0).contains(&hours), "{hours}");
    let info = bench.ok("getWebhookInfo", json!({})).await;
    assert_eq!(info, json!({"url": "", "has_custom_certificate": false, "pending_update_count": 1}));
    let updates = bench.ok("getUpdates", json!({})).await;
    assert_eq!(updates[0]["update_id"], kept);
}

#[tokio::test]
async fn an_answer_that_takes_more_than_60_seconds_is_a_failure_and_sent_again_at_once() {
    let (bench, webhook) = stopped().await;
    let gate = webhook.hold();
    let update_id = write(&bench, 7);
    webhook.wait_for(1).await;
    bench.control.advance(59 * SECOND);
    assert!(bench.control.deliveries(0).is_empty());
    bench.control.advance(SECOND);
    settled(&bench, 1).await;
    let delivery = bench.control.deliveries(0).remove(0);
    let ended = (delivery.status, delivery.error.as_deref(), delivery.duration_ms);
    assert_eq!(ended, (None, Some("Read timeout expired"), 60_000));
    webhook.wait_for(2).await;
    gate.add_permits(2);
    until("it was taken", || bench.control.pending() == 0).await;
    assert_eq!(webhook.update_ids(), [update_id, update_id]);
    let info = bench.ok("getWebhookInfo", json!({})).await;
    assert_eq!(info["last_error_message"], "Read timeout expired");
}

#[tokio::test]
async fn ids_start_anew_after_a_week_without_updates() {
    let (bench, webhook) = stopped().await;
    let named = json!({"update_id": 2_000_000_000, "message": {"chat": {"id": 7}}});
    bench.control.update(&named.to_string()).unwrap();
    assert_eq!(write(&bench, 7), 2_000_000_001);
    webhook.wait_for(2).await;
    until("all are taken", || bench.control.pending() == 0).await;
    bench.control.advance(8 * 24 * HOUR);
    assert!(write(&bench, 7) < 1_000_000_000);
}
