//! Contract 4, the answer: what a service's messages become at Telegram.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use harness::{Answer, Update, World, WorldBuilder, over_both_worlds};
use serde_json::{Value, json};

over_both_worlds!(
    a_text_with_its_options_is_a_send_message,
    several_messages_go_out_in_their_order,
    an_edit_changes_the_message_of_the_button,
    an_edit_outside_a_callback_is_a_new_message,
    delete_photo_location_and_any_method_reach_telegram,
    nothing_to_say_sends_nothing,
    a_long_text_is_split_and_nothing_of_it_is_lost,
);

async fn send_one(world: &World, user: i64, answer: Value) -> harness::Call {
    world.conversation.answer_first([Answer::Json(answer)]);
    let before = world.telegram.sent(user).len();
    world.accept(&Update::text(user, "go")).await;
    world.telegram.wait_texts(user, before + 1).await;
    world.telegram.sent(user).remove(before)
}

async fn a_text_with_its_options_is_a_send_message(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    let buttons = json!([[{"text": "Yes", "callback_data": "ACCEPT:1"}, {"text": "No", "callback_data": "REJECT:1"}],
                         [{"text": "Site", "url": "https://example.org/"}]]);
    let answer = json!({"type": "text", "content": "<b>Match?</b>", "parse_mode": "HTML", "buttons": buttons,
                        "silent": true, "reply_to": 991, "unknown_field": {"is": "ignored"}});
    let call = send_one(&world, user, answer).await;
    assert_eq!(call.text(), "<b>Match?</b>");
    assert_eq!(call.params["parse_mode"], "HTML");
    assert_eq!(call.keyboard(), buttons);
    assert_eq!(call.params["disable_notification"], true);
    assert_eq!(call.params["reply_parameters"]["message_id"], 991);

    let plain = send_one(&world, user, json!({"type": "text", "content": "plain"})).await;
    assert!(plain.params["parse_mode"].is_null());
    assert!(plain.keyboard().is_null());
}

async fn several_messages_go_out_in_their_order(world: WorldBuilder) {
    let world = world.await;
    let (user, other) = (world.user(), world.user());
    let messages: Vec<Value> =
        (1..=3).map(|n| json!({"type": "text", "content": format!("part {n}")})).collect();
    world
        .conversation
        .answer_first([Answer::Json(json!(messages)), Answer::Json(json!({"messages": messages}))]);
    for chat in [user, other] {
        world.accept(&Update::text(chat, "go")).await;
        assert_eq!(world.telegram.wait_texts(chat, 3).await, ["part 1", "part 2", "part 3"]);
    }
    assert_eq!(world.conversation.count(), 2);
}

async fn an_edit_changes_the_message_of_the_button(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    let buttons = json!([[{"text": "Next", "callback_data": "SKIP:2"}]]);
    world.matching.answer(Answer::Json(json!({"type": "edit", "content": "Accepted", "buttons": buttons})));
    world.accept(&Update::callback(user, "ACCEPT:1")).await;
    let call = world.telegram.wait_calls("editMessageText", 1).await.remove(0);
    assert_eq!(call.chat(), Some(user));
    assert_eq!(call.params["message_id"], 555);
    assert_eq!(call.text(), "Accepted");
    assert_eq!(call.keyboard(), buttons);
    assert!(world.telegram.sent(user).is_empty());
}

async fn an_edit_outside_a_callback_is_a_new_message(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    let call = send_one(&world, user, json!({"type": "edit", "content": "new"})).await;
    assert_eq!(call.text(), "new");
    assert!(world.telegram.calls_of("editMessageText").is_empty());
}

async fn delete_photo_location_and_any_method_reach_telegram(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    world.matching.answer(Answer::Json(json!([
        {"type": "delete"},
        {"type": "location", "latitude": 52.5, "longitude": 13.4},
        {"type": "method", "method": "sendDice", "params": {"emoji": "🎯"}},
    ])));
    world.accept(&Update::callback(user, "SKIP:1")).await;
    let dice = world.telegram.wait_calls("sendDice", 1).await.remove(0);
    assert_eq!((dice.chat(), &dice.params["emoji"]), (Some(user), &json!("🎯")));
    let deleted = world.telegram.wait_calls("deleteMessage", 1).await.remove(0);
    assert_eq!((deleted.chat(), &deleted.params["message_id"]), (Some(user), &json!(555)));
    let location = world.telegram.wait_calls("sendLocation", 1).await.remove(0);
    assert_eq!((location.chat(), location.params["latitude"].as_f64()), (Some(user), Some(52.5)));
}

async fn nothing_to_say_sends_nothing(world: WorldBuilder) {
    let world = world.await;
    world.conversation.answer_first([
        Answer::Json(json!({"type": "none"})),
        Answer::Json(json!([])),
        Answer::Json(json!({"messages": []})),
    ]);
    let user = world.user();
    for n in 0..4 {
        world.accept(&Update::text(user, &format!("{n}"))).await;
    }
    assert_eq!(world.telegram.wait_texts(user, 1).await, ["ok"]);
    assert_eq!(world.conversation.count(), 4);
    world.assert_no_dead_letters().await;
}

async fn a_long_text_is_split_and_nothing_of_it_is_lost(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    let paragraph = "Ein Satz mit Ümlauten und 👍. ".repeat(60);
    let text = (1..=6).map(|n| format!("{n}. {}", paragraph.trim())).collect::<Vec<_>>().join("\n\n");
    world.conversation.answer_first([Answer::text(&text)]);
    world.accept(&Update::text(user, "long")).await;
    world.accept(&Update::text(user, "end")).await;
    let want = text.chars().count().div_ceil(4096) + 1;
    world.telegram.wait_texts(user, want).await;
    harness::wait_until("the end", harness::LONG, || {
        world.telegram.texts(user).last().is_some_and(|last| last == "ok")
    })
    .await;
    let mut pieces = world.telegram.texts(user);
    pieces.pop();
    assert!(pieces.iter().all(|piece| piece.chars().count() <= 4096));
    let without_space = |text: &str| text.split_whitespace().collect::<String>();
    assert_eq!(without_space(&pieces.concat()), without_space(&text));
    // Split between paragraphs where that is possible, as it is here.
    for piece in &pieces {
        assert!(piece.trim_start().starts_with(|first: char| first.is_ascii_digit()), "{piece}");
    }
}
