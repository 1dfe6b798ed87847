//! The control side over HTTP: what a person does, and what a test is told.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Bench, Webhook, send, until};

async fn control(bench: &Bench, path: &str, body: Value) -> Value {
    let (status, answer) = send(bench.post(&format!("/control/{path}"), &body)).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

#[tokio::test]
async fn a_button_is_pressed_the_message_edited_and_the_press_answered() {
    let (bench, webhook) = (Bench::start(), Webhook::start());
    bench.set_webhook(&webhook).await;
    let keyboard = json!({"inline_keyboard": [[{"text": "Yes", "callback_data": "ACCEPT:1"}]]});
    let message =
        bench.ok("sendMessage", json!({"chat_id": 7, "text": "ok?", "reply_markup": keyboard})).await;
    let press = json!({"chat_id": 7, "message_id": message["message_id"], "data": "ACCEPT:1"});
    let pressed = control(&bench, "press", press).await;
    let query = webhook.wait_for(1).await[0].update["callback_query"].clone();
    assert_eq!(query["id"], pressed["callback_query_id"]);
    assert_eq!((&query["data"], &query["from"]["id"]), (&json!("ACCEPT:1"), &json!(7)));
    assert_eq!(query["message"], message);
    let answer = json!({"callback_query_id": query["id"], "text": "done", "show_alert": true});
    bench.ok("answerCallbackQuery", answer.clone()).await;
    assert_eq!(bench.refused("answerCallbackQuery", answer).await.0, 400);
    let edit = json!({"chat_id": 7, "message_id": message["message_id"], "text": "accepted"});
    bench.ok("editMessageText", edit).await;
    let chat = bench.get("/control/chats/7").await;
    assert_eq!(chat["messages"][0]["text"], "accepted");
    assert_eq!(chat["messages"][0]["buttons"], json!([]));
    assert_eq!(
        (&chat["answers"][0]["text"], &chat["answers"][0]["show_alert"]),
        (&json!("done"), &json!(true))
    );
}

#[tokio::test]
async fn a_person_is_seen_typing_to_until_the_message_comes() {
    let bench = Bench::start();
    bench.ok("sendChatAction", json!({"chat_id": 7, "action": "typing"})).await;
    assert_eq!(bench.get("/control/chats/7").await["action"], "typing");
    bench.ok("sendMessage", json!({"chat_id": 7, "text": "a"})).await;
    assert_eq!(bench.get("/control/chats/7").await["action"], Value::Null);
}

#[tokio::test]
async fn typing_is_seen_for_five_seconds() {
    let bench = Bench::start();
    bench.control.stop_clock(true);
    bench.ok("sendChatAction", json!({"chat_id": 7, "action": "typing"})).await;
    bench.control.advance(Duration::from_millis(4999));
    assert_eq!(bench.get("/control/chats/7").await["action"], "typing");
    bench.control.advance(Duration::from_millis(1));
    assert_eq!(bench.get("/control/chats/7").await["action"], Value::Null);
}

#[tokio::test]
async fn every_call_is_written_down_without_the_token() {
    let bench = Bench::start();
    bench.ok("sendMessage", json!({"chat_id": 7, "text": "a"})).await;
    bench.refused("sendMessage", json!({"chat_id": "8"})).await;
    let calls = bench.get("/control/calls?after=0").await;
    assert_eq!(
        (&calls[0]["seq"], &calls[0]["method"], &calls[0]["chat_id"]),
        (&json!(1), &json!("sendMessage"), &json!(7))
    );
    assert_eq!((&calls[0]["params"]["text"], &calls[0]["status"]), (&json!("a"), &json!(200)));
    assert_eq!((&calls[1]["chat_id"], &calls[1]["status"]), (&json!(8), &json!(400)));
    assert!(calls[0]["at_ms"].is_i64() && calls[0]["duration_ms"].is_i64());
    assert!(!calls.to_string().contains("test-token"));
    assert_eq!(bench.get("/control/calls?after=1").await.as_array().unwrap().len(), 1);
    control(&bench, "reset", json!({})).await;
    assert_eq!(bench.get("/control/calls").await, json!([]));
}

#[tokio::test]
async fn an_update_of_any_kind_goes_out_byte_for_byte() {
    let (bench, webhook) = (Bench::start(), Webhook::start());
    bench.set_webhook(&webhook).await;
    let named = json!({"update_id": 77, "something_new": {"chat": {"id": 7}}});
    assert_eq!(control(&bench, "update", named.clone()).await["update_id"], 77);
    // Twice the same, as after a lost answer.
    control(&bench, "update", named.clone()).await;
    let nameless = control(&bench, "update", json!({"something_new": {"chat": {"id": 7}}})).await;
    let received = webhook.wait_for(3).await;
    assert_eq!((&received[0].update, &received[1].update), (&named, &named));
    assert_eq!(received[2].update["update_id"], nameless["update_id"]);
    let (status, _) = send(bench.post("/control/update", &json!([]))).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn who_blocks_the_bot_is_told_of_and_not_reached() {
    let (bench, webhook) = (Bench::start(), Webhook::start());
    bench.set_webhook(&webhook).await;
    control(&bench, "block", json!({"user_id": 7})).await;
    assert_eq!(bench.refused("sendMessage", json!({"chat_id": 7, "text": "a"})).await.0, 403);
    control(&bench, "unblock", json!({"user_id": 7})).await;
    bench.ok("sendMessage", json!({"chat_id": 7, "text": "a"})).await;
    let received = webhook.wait_for(2).await;
    let status = |index: usize| received[index].update["my_chat_member"]["new_chat_member"]["status"].clone();
    assert_eq!((status(0), status(1)), (json!("kicked"), json!("member")));
}

#[tokio::test]
async fn a_message_takes_the_fields_it_is_given() {
    let bench = Bench::start();
    let message = json!({"chat_id": -5, "user_id": 9, "first_name": "Ann", "chat_type": "group", "date": 1_000_000,
        "extra": {"photo": [{"file_id": "f"}], "caption": "look"}});
    control(&bench, "message", message).await;
    let updates = bench.ok("getUpdates", json!({})).await;
    let message = &updates[0]["message"];
    assert_eq!(message["chat"], json!({"id": -5, "type": "group", "title": "Group -5"}));
    assert_eq!((&message["from"]["id"], &message["from"]["first_name"]), (&json!(9), &json!("Ann")));
    assert_eq!((&message["caption"], &message["date"]), (&json!("look"), &json!(1_000_000)));
    let (status, answer) = send(bench.post("/control/message", &json!({"chat": 1}))).await;
    assert_eq!(status, 400);
    assert!(answer["error"].as_str().unwrap().contains("unknown field `chat`"), "{answer}");
}

#[tokio::test]
async fn the_page_is_served_and_told_of_changes() {
    let bench = Bench::start();
    for (path, kind) in [("/", "text/html"), ("/style.css", "text/css"), ("/script.js", "text/javascript")] {
        let response = bench.http.get(format!("{}{path}", bench.base)).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with(kind));
        assert!(
            response.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'")
        );
    }
    let mut events = bench.http.get(format!("{}/control/events", bench.base)).send().await.unwrap();
    bench.ok("sendMessage", json!({"chat_id": 7, "text": "a"})).await;
    assert_eq!(events.chunk().await.unwrap().unwrap(), "data: 7\n\n");
}

#[tokio::test]
async fn it_stops_when_told_even_with_a_page_open() {
    let mut bench = Bench::start();
    let mut events = bench.http.get(format!("{}/control/events", bench.base)).send().await.unwrap();
    bench.stop.cancel();
    assert_eq!(events.chunk().await.unwrap(), None);
    until("it has stopped", || bench.running.is_finished()).await;
    (&mut bench.running).await.unwrap().unwrap();
}
