//! How updates reach the webhook: facts T1-T3, T9, T11.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;
use simulator::{NewMessage, NewPress, Settings};

use crate::harness::{Bench, SECRET, Webhook, until};

fn text(chat_id: i64, text: &str) -> NewMessage {
    NewMessage { chat_id, text: Some(text.to_owned()), ..NewMessage::default() }
}

async fn settled(bench: &Bench, count: usize) {
    until(&format!("{count} attempts have ended"), || bench.control.deliveries(0).len() >= count).await;
}

#[tokio::test]
async fn an_update_comes_with_the_secret_as_json() {
    let (bench, webhook) = (Bench::start(), Webhook::start());
    bench.set_webhook(&webhook).await;
    let sent = bench.control.message(text(7, "/start now")).unwrap();
    let received = webhook.wait_for(1).await.remove(0);
    assert_eq!(received.secret.as_deref(), Some(SECRET));
    assert_eq!(received.content_type.as_deref(), Some("application/json"));
    let message = &received.update["message"];
    assert_eq!(received.update["update_id"], sent.update_id);
    assert_eq!(message["message_id"], sent.message_id);
    assert_eq!(message["text"], "/start now");
    assert_eq!(message["entities"], json!([{"type": "bot_command", "offset": 0, "length": 6}]));
    assert_eq!(message["chat"], json!({"id": 7, "type": "private", "first_name": "User 7"}));
    assert_eq!(message["from"]["id"], 7);
    until("nothing is pending", || bench.control.pending() == 0).await;
}

#[tokio::test]
async fn what_came_before_the_webhook_was_set_is_delivered_in_order() {
    let (bench, webhook) = (Bench::start(), Webhook::start());
    let ids: Vec<_> = (0..20).map(|_| bench.control.message(text(7, "x")).unwrap().update_id).collect();
    bench.set_webhook(&webhook).await;
    webhook.wait_for(20).await;
    assert_eq!(webhook.update_ids(), ids);
}

#[tokio::test]
async fn an_update_that_gets_a_500_is_sent_again_before_the_next_of_its_chat() {
    let settings = Settings { first_pause: Duration::from_millis(50), ..Settings::default() };
    let (bench, webhook) = (Bench::with(settings), Webhook::start());
    for _ in 0..3 {
        webhook.answer(500, None);
    }
    bench.set_webhook(&webhook).await;
    let first = bench.control.message(text(7, "a")).unwrap().update_id;
    let second = bench.control.message(text(7, "b")).unwrap().update_id;
    webhook.wait_for(5).await;
    assert_eq!(webhook.update_ids(), [first, first, first, first, second]);
    until("all are settled", || bench.control.deliveries(0).len() == 5).await;
    let deliveries = bench.control.deliveries(0);
    let attempts: Vec<_> = deliveries.iter().map(|delivery| (delivery.attempt, delivery.status)).collect();
    assert_eq!(attempts[..4], [(1, Some(500)), (2, Some(500)), (3, Some(500)), (4, Some(200))]);
    let info = bench.ok("getWebhookInfo", json!({})).await;
    assert_eq!(info["last_error_message"], "Wrong response from the webhook: 500 Internal Server Error");
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let (bench, webhook) = (Bench::start(), Webhook::start());
    bench.control.stop_clock(true);
    webhook.answer(503, Some(3600));
    bench.set_webhook(&webhook).await;
    let first = bench.control.message(text(7, "a")).unwrap().update_id;
    settled(&bench, 1).await;
    bench.control.advance(Duration::from_secs(3599));
    // Another chat's update shows that the first one's time has not come.
    let other = bench.control.message(text(8, "b")).unwrap().update_id;
    settled(&bench, 2).await;
    bench.control.advance(Duration::from_secs(1));
    settled(&bench, 3).await;
    assert_eq!(webhook.update_ids(), [first, other, first]);
}

#[tokio::test]
async fn one_update_of_a_key_is_on_its_way_while_other_keys_go_on() {
    let settings = Settings { limit_connections: false, ..Settings::default() };
    let (bench, webhook) = (Bench::with(settings), Webhook::start());
    let gate = webhook.hold();
    bench.set_webhook(&webhook).await;
    let first = bench.control.message(text(7, "a")).unwrap().update_id;
    let second = bench.control.message(text(7, "b")).unwrap().update_id;
    let other = bench.control.message(text(8, "c")).unwrap().update_id;
    let press = NewPress { chat_id: 7, user_id: None, message_id: 1, data: "SKIP:1".to_owned() };
    let pressed = bench.control.press(press).unwrap().update_id;
    webhook.wait_for(3).await;
    let mut on_their_way = webhook.update_ids();
    on_their_way.sort_unstable();
    assert_eq!(on_their_way, [first, other, pressed]);
    gate.add_permits(3);
    webhook.wait_for(4).await;
    assert_eq!(webhook.update_ids()[3], second);
}

#[tokio::test]
async fn no_more_than_max_connections_are_on_their_way() {
    let settings = Settings { limit_connections: false, ..Settings::default() };
    let (bench, webhook) = (Bench::with(settings), Webhook::start());
    let gate = webhook.hold();
    bench.ok("setWebhook", json!({"url": webhook.url, "max_connections": 2})).await;
    for chat_id in 1..=6 {
        bench.control.message(text(chat_id, "a")).unwrap();
    }
    for settled in 0..4 {
        webhook.wait_for(settled + 2).await;
        assert_eq!(webhook.received().len(), settled + 2);
        gate.add_permits(1);
    }
    gate.add_permits(2);
    webhook.wait_for(6).await;
}

#[tokio::test]
async fn no_more_than_twice_max_connections_keys_are_loaded() {
    let (bench, webhook) = (Bench::start(), Webhook::start());
    bench.control.stop_clock(true);
    bench.ok("setWebhook", json!({"url": webhook.url, "max_connections": 1})).await;
    for _ in 0..4 {
        webhook.answer(500, None);
    }
    let ids: Vec<_> = (1..=3).map(|chat| bench.control.message(text(chat, "a")).unwrap().update_id).collect();
    settled(&bench, 4).await;
    // Two chats keep failing: the third one, which would be answered, is stopped by them.
    bench.control.advance(Duration::from_millis(1999));
    assert!(!webhook.update_ids().contains(&ids[2]));
    bench.control.advance(Duration::from_millis(1));
    until("all are taken", || bench.control.pending() == 0).await;
    assert_eq!(*webhook.update_ids().last().unwrap(), ids[2]);
}

#[tokio::test]
async fn only_200_to_299_is_success() {
    let (bench, webhook) = (Bench::start(), Webhook::start());
    bench.control.stop_clock(true);
    bench.set_webhook(&webhook).await;
    for (status, attempts) in [(204, 1), (299, 1), (302, 2), (400, 2), (404, 2), (500, 2)] {
        let before = webhook.received().len();
        webhook.answer(status, None);
        bench.control.message(text(7, "a")).unwrap();
        until("it is taken", || bench.control.pending() == 0).await;
        assert_eq!(webhook.received().len() - before, attempts, "{status}");
    }
}

#[tokio::test]
async fn a_webhook_that_is_not_there_is_tried_again_and_complained_about() {
    let bench = Bench::start();
    bench.ok("setWebhook", json!({"url": "http://127.0.0.1:1/"})).await;
    bench.control.message(text(7, "a")).unwrap();
    settled(&bench, 1).await;
    // A lost connection is followed by another one every two seconds (facts T7).
    bench.control.advance(Duration::from_secs(2));
    settled(&bench, 2).await;
    let delivery = bench.control.deliveries(0).remove(0);
    assert_eq!((delivery.status, delivery.error.as_deref()), (None, Some("Connection refused")));
    let info = bench.ok("getWebhookInfo", json!({})).await;
    assert_eq!(
        (&info["last_error_message"], &info["pending_update_count"]),
        (&json!("Connection refused"), &json!(1))
    );
}

#[tokio::test]
async fn the_pending_updates_are_dropped_when_asked() {
    let (bench, webhook) = (Bench::start(), Webhook::start());
    bench.control.message(text(7, "a")).unwrap();
    bench.ok("setWebhook", json!({"url": webhook.url, "drop_pending_updates": true})).await;
    let kept = bench.control.message(text(7, "b")).unwrap().update_id;
    webhook.wait_for(1).await;
    assert_eq!(webhook.update_ids(), [kept]);
}

#[tokio::test]
async fn many_chats_at_once_each_keep_their_order_whatever_fails() {
    let settings = Settings { first_pause: Duration::from_millis(1), ..Settings::default() };
    let (bench, webhook) = (Bench::with(settings), Webhook::start());
    bench.set_webhook(&webhook).await;
    for round in 0..20 {
        for chat_id in 1..=100 {
            bench.control.message(text(chat_id, &round.to_string())).unwrap();
        }
        webhook.answer(500, None);
    }
    until("all are delivered", || bench.control.pending() == 0).await;
    let mut last: HashMap<i64, (i64, i64)> = HashMap::new();
    for received in webhook.received() {
        let update_id = received.update["update_id"].as_i64().unwrap();
        let chat_id = received.update["message"]["chat"]["id"].as_i64().unwrap();
        let (before, count) = last.insert(chat_id, (update_id, 0)).unwrap_or((0, 0));
        assert!(update_id >= before, "chat {chat_id}: {update_id} after {before}");
        let repeated = i64::from(update_id == before);
        last.insert(chat_id, (update_id, count + 1 - repeated));
    }
    assert!(last.len() == 100 && last.values().all(|(_, count)| *count == 20), "{last:?}");
}
