//! setWebhook, deleteWebhook and getWebhookInfo, as the real server has them (facts T9 to T11).

use std::time::Duration;

use serde_json::{Value, json};
use simulator::{NewMessage, Settings};

use crate::harness::{Bench, SECRET, Webhook, send, until};

fn write(bench: &Bench, chat_id: i64) -> i64 {
    let text = Some("a".to_owned());
    bench.control.message(NewMessage { chat_id, text, ..NewMessage::default() }).unwrap().update_id
}

async fn said(bench: &Bench, method: &str, params: Value) -> Value {
    let (status, answer) = bench.call(method, params).await;
    assert_eq!((status, &answer["result"]), (200, &json!(true)), "{answer}");
    answer["description"].clone()
}

#[tokio::test]
async fn the_answer_says_what_was_done() {
    let bench = Bench::start();
    let webhook = json!({"url": "http://127.0.0.1:1/"});
    assert_eq!(said(&bench, "deleteWebhook", json!({})).await, "Webhook is already deleted");
    assert_eq!(said(&bench, "setWebhook", webhook.clone()).await, "Webhook was set");
    assert_eq!(said(&bench, "setWebhook", webhook.clone()).await, "Webhook is already set");
    assert_eq!(said(&bench, "setWebhook", json!({"url": ""})).await, "Webhook was deleted");
}

#[tokio::test]
async fn its_info_has_telegrams_fields() {
    let bench = Bench::start();
    let none = json!({"url": "", "has_custom_certificate": false, "pending_update_count": 0});
    assert_eq!(bench.ok("getWebhookInfo", json!({})).await, none);
    let set = json!({"url": "http://127.0.0.1:1/", "max_connections": 1000, "allowed_updates": ["poll", "message", "x"]});
    bench.ok("setWebhook", set).await;
    let info = json!({
        "url": "http://127.0.0.1:1/", "has_custom_certificate": false, "pending_update_count": 0,
        "max_connections": 100, "ip_address": "127.0.0.1", "allowed_updates": ["message", "poll"],
    });
    assert_eq!(bench.ok("getWebhookInfo", json!({})).await, info);
    write(&bench, 7);
    until("it was tried", || !bench.control.deliveries(0).is_empty()).await;
    let info = bench.ok("getWebhookInfo", json!({})).await;
    assert_eq!(info["last_error_message"], "Connection refused");
    assert!(info["last_error_date"].as_i64().unwrap() > 1_700_000_000 && info["pending_update_count"] == 1);
}

#[tokio::test]
async fn max_connections_are_1_to_100_and_40_if_not_said() {
    let bench = Bench::start();
    for (given, expected) in
        [(json!(null), 40), (json!(0), 1), (json!(1), 1), (json!("100"), 100), (json!(101), 100)]
    {
        bench.ok("setWebhook", json!({"url": "http://127.0.0.1:1/", "max_connections": given})).await;
        assert_eq!(bench.ok("getWebhookInfo", json!({})).await["max_connections"], expected, "{given}");
    }
}

#[tokio::test]
async fn kinds_that_were_not_asked_for_are_never_seen() {
    let (bench, webhook) = (Bench::start(), Webhook::start());
    let kinds = json!(["callback_query", "chat_member"]);
    bench.ok("setWebhook", json!({"url": webhook.url, "allowed_updates": kinds})).await;
    write(&bench, 7);
    let update = json!({"update_id": 2_000_000_000, "chat_member": {"chat": {"id": 7}, "from": {"id": 7}}});
    bench.control.update(&update.to_string()).unwrap();
    assert_eq!(webhook.wait_for(1).await[0].update, update);
    // The choice outlives the webhook; an empty list is the usual one again.
    bench.ok("setWebhook", json!({"url": ""})).await;
    assert_eq!(bench.ok("getWebhookInfo", json!({})).await["allowed_updates"], kinds);
    bench.ok("setWebhook", json!({"url": webhook.url, "allowed_updates": []})).await;
    let message = write(&bench, 7);
    bench.control.update(&update.to_string()).unwrap();
    until("all are taken", || bench.control.pending() == 0).await;
    assert_eq!(webhook.update_ids(), [2_000_000_000, message]);
}

#[tokio::test]
async fn ids_grow_and_what_is_not_wanted_leaves_a_gap() {
    let (bench, webhook) = (Bench::start(), Webhook::start());
    bench.ok("setWebhook", json!({"url": webhook.url, "allowed_updates": ["message"]})).await;
    let first = write(&bench, 7);
    bench.control.block(8).unwrap();
    let second = write(&bench, 7);
    webhook.wait_for(2).await;
    assert_eq!((webhook.update_ids(), second), (vec![first, second], first + 2));
}

#[tokio::test]
async fn a_webhook_that_is_refused_leaves_none() {
    let bench = Bench::start();
    for wrong in [json!({"url": "ftp://x"}), json!({"url": "http://x/", "secret_token": "é"})] {
        bench.ok("setWebhook", json!({"url": "http://127.0.0.1:1/"})).await;
        assert_eq!(bench.refused("setWebhook", wrong).await.0, 400);
        assert!(!bench.control.bot().webhook);
    }
}

#[tokio::test]
async fn of_two_set_webhooks_at_a_time_the_first_is_told_409() {
    let bench = Bench::start();
    bench.control.stop_clock(true);
    let slow = json!({"method": "setWebhook", "delay_ms": 5000});
    send(bench.post("/control/fail", &slow)).await;
    let first = bench.refused("setWebhook", json!({"url": "http://127.0.0.1:1/first"}));
    let second = async {
        until("the first one is in hand", || bench.control.calls(0).len() == 1).await;
        bench.ok("setWebhook", json!({"url": "http://127.0.0.1:1/second"})).await;
    };
    let (refused, ()) = tokio::join!(first, second);
    assert_eq!(refused, (409, "Conflict: terminated by other setWebhook".to_owned()));
    assert_eq!(bench.ok("getWebhookInfo", json!({})).await["url"], "http://127.0.0.1:1/second");
}

#[tokio::test]
async fn set_webhook_more_than_once_a_second_is_429() {
    let bench = Bench::with(Settings { limit_set_webhook: true, ..Settings::default() });
    bench.control.stop_clock(true);
    let set = json!({"url": "http://127.0.0.1:1/"});
    bench.ok("setWebhook", set.clone()).await;
    bench.control.advance(Duration::from_millis(999));
    let refused = bench.refused("setWebhook", set.clone()).await;
    assert_eq!(refused, (429, "Too Many Requests: retry after 1".to_owned()));
    bench.control.advance(Duration::from_millis(1));
    bench.ok("setWebhook", set).await;
}

#[tokio::test]
async fn a_secret_has_1_to_256_letters_digits_and_two_signs() {
    let bench = Bench::start();
    let set = |secret: String| json!({"url": "http://127.0.0.1:1/", "secret_token": secret});
    bench.ok("setWebhook", set("aZ09_-".to_owned() + &"x".repeat(250))).await;
    let refused = bench.refused("setWebhook", set("x".repeat(257))).await;
    assert_eq!(refused.1, "Bad Request: secret token is too long");
}

#[tokio::test]
async fn a_request_in_flight_is_broken_off_by_another_webhook_and_sent_there() {
    let (bench, old, new) = (Bench::start(), Webhook::start(), Webhook::start());
    let gate = old.hold();
    bench.ok("setWebhook", json!({"url": old.url, "secret_token": "old"})).await;
    let first = write(&bench, 7);
    let second = write(&bench, 7);
    assert_eq!(old.wait_for(1).await[0].secret.as_deref(), Some("old"));
    bench.ok("setWebhook", json!({"url": new.url, "secret_token": SECRET})).await;
    gate.add_permits(1);
    until("all are taken", || bench.control.pending() == 0).await;
    assert_eq!((old.update_ids(), new.update_ids()), (vec![first], vec![first, second]));
    assert_eq!(new.received()[0].secret.as_deref(), Some(SECRET));
}

#[tokio::test]
async fn what_is_pending_is_dropped_when_asked_even_if_the_webhook_stays_the_same() {
    let bench = Bench::with(Settings { limit_connections: false, ..Settings::default() });
    let set = |drop: bool| json!({"url": "http://127.0.0.1:1/", "drop_pending_updates": drop});
    bench.ok("setWebhook", set(false)).await;
    write(&bench, 7);
    bench.ok("setWebhook", set(false)).await;
    assert_eq!(bench.control.pending(), 1);
    bench.ok("setWebhook", set(true)).await;
    assert_eq!(bench.control.pending(), 0);
    bench.ok("deleteWebhook", json!({})).await;
    write(&bench, 7);
    bench.ok("deleteWebhook", json!({"drop_pending_updates": true})).await;
    assert_eq!(bench.control.pending(), 0);
}
