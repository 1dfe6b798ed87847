//! Facts T14 and T15: who writes too fast is told to wait, who was punished is told how long still, and a
//! clock that the test drives says when it is over.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::Settings;

use crate::harness::{Bench, TOKEN, send};

const SECOND: Duration = Duration::from_secs(1);

fn limited() -> Bench {
    let bench = Bench::with(Settings { limit_sending: true, ..Settings::default() });
    bench.control.stop_clock(true);
    bench
}

/// The status, and the seconds to wait.
async fn write(bench: &Bench, chat_id: i64) -> (u16, Value) {
    let (status, answer) = bench.call("sendMessage", json!({"chat_id": chat_id, "text": "a"})).await;
    (status, answer["parameters"]["retry_after"].clone())
}

#[tokio::test]
async fn a_punished_chat_gets_429_with_the_time_that_is_left_until_it_is_over() {
    let bench = Bench::start();
    assert_eq!(send(bench.post("/control/clock", &json!({"stop": true}))).await.0, 200);
    let (status, _) = send(bench.post("/control/punish", &json!({"chat_id": 7, "seconds": 45}))).await;
    assert_eq!(status, 200);
    assert_eq!(write(&bench, 7).await, (429, json!(45)));
    assert_eq!(write(&bench, 8).await, (200, Value::Null));
    let (status, clock) = send(bench.post("/control/clock", &json!({"advance_ms": 30_000}))).await;
    assert!(status == 200 && clock["now_ms"].is_i64(), "{clock}");
    let action =
        bench.post(&format!("/bot{TOKEN}/sendChatAction"), &json!({"chat_id": "7", "action": "typing"}));
    let response = action.send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["Retry-After"]),
        (429, &"15".parse().unwrap())
    );
    bench.control.advance(15 * SECOND);
    assert_eq!(write(&bench, 7).await, (200, Value::Null));
    let statuses: Vec<_> = bench.control.calls(0).iter().map(|call| (call.chat_id, call.status)).collect();
    let (chat, other) = (Some(7), Some(8));
    assert_eq!(statuses, [(chat, Some(429)), (other, Some(200)), (chat, Some(429)), (chat, Some(200))]);
}

#[tokio::test]
async fn a_punished_bot_may_do_nothing_but_get_updates() {
    let bench = Bench::start();
    bench.control.stop_clock(true);
    bench.control.punish(None, 10 * SECOND);
    assert_eq!(write(&bench, 7).await, (429, json!(10)));
    assert_eq!(bench.call("answerCallbackQuery", json!({"callback_query_id": "1"})).await.0, 429);
    for method in ["getMe", "getUpdates", "getWebhookInfo", "deleteWebhook"] {
        bench.ok(method, json!({})).await;
    }
    bench.control.punish(None, Duration::ZERO);
    assert_eq!(write(&bench, 7).await.0, 200);
}

#[tokio::test]
async fn a_reset_ends_punishments() {
    let bench = Bench::start();
    bench.control.punish(Some(7), SECOND);
    bench.control.reset();
    assert_eq!(write(&bench, 7).await.0, 200);
}

#[tokio::test]
async fn a_chat_that_gets_too_much_is_punished_for_as_long_as_it_was_told() {
    let bench = limited();
    for _ in 0..3 {
        assert_eq!(write(&bench, 7).await.0, 200);
    }
    assert_eq!(write(&bench, 7).await, (429, json!(1)));
    // Not only what writes: whatever names the chat.
    assert_eq!(bench.call("getChat", json!({"chat_id": 7})).await.0, 429);
    assert_eq!(write(&bench, 8).await.0, 200);
    bench.control.advance(SECOND);
    assert_eq!(write(&bench, 7).await.0, 200);
}

#[tokio::test]
async fn a_group_gets_20_messages_and_then_one_in_three_seconds() {
    let bench = limited();
    for _ in 0..20 {
        assert_eq!(write(&bench, -7).await.0, 200);
    }
    assert_eq!(write(&bench, -7).await, (429, json!(3)));
    bench.control.advance(3 * SECOND);
    assert_eq!([write(&bench, -7).await.0, write(&bench, -7).await.0], [200, 429]);
}

#[tokio::test]
async fn chats_have_no_limit_together() {
    let bench = limited();
    // More than 30 at the same moment: that is asked of bulk sends, and not enforced (facts T14).
    for chat_id in 1..=100 {
        assert_eq!(write(&bench, chat_id).await.0, 200, "chat {chat_id}");
    }
}

#[tokio::test]
async fn an_edit_counts_like_a_message() {
    let bench = limited();
    let id = bench.ok("sendMessage", json!({"chat_id": 7, "text": "a"})).await["message_id"].clone();
    let edit = async |text: &str| {
        bench.call("editMessageText", json!({"chat_id": 7, "message_id": id, "text": text})).await.0
    };
    assert_eq!([edit("b").await, edit("c").await, edit("d").await], [200, 200, 429]);
}

#[tokio::test]
async fn many_chats_can_be_punished_at_once() {
    let bench = limited();
    for chat_id in 1..=50 {
        bench.control.punish(Some(chat_id), 100 * SECOND);
    }
    for chat_id in 1..=50 {
        assert_eq!(write(&bench, chat_id).await, (429, json!(100)));
    }
    assert_eq!(write(&bench, 51).await.0, 200);
}
