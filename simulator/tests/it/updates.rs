//! getUpdates: the other way to an update, for a bot without a webhook.

use serde_json::json;
use simulator::NewMessage;

use crate::harness::{Bench, Webhook};

fn text(text: &str) -> NewMessage {
    NewMessage { chat_id: 7, text: Some(text.to_owned()), ..NewMessage::default() }
}

#[tokio::test]
async fn updates_are_returned_until_they_are_confirmed() {
    let bench = Bench::start();
    let first = bench.control.message(text("a")).unwrap().update_id;
    bench.control.message(text("b")).unwrap();
    for _ in 0..2 {
        assert_eq!(bench.ok("getUpdates", json!({})).await.as_array().unwrap().len(), 2);
    }
    let rest = bench.ok("getUpdates", json!({"offset": first + 1})).await;
    assert_eq!(rest[0]["message"]["text"], "b");
    assert_eq!(bench.control.pending(), 1);
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
