//! Contract 3: a button's spinner stops early, and exactly once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use harness::{Answer, Update, World, WorldBuilder, over_both_worlds};
use serde_json::json;

over_both_worlds!(
    a_callback_is_answered_with_what_the_service_says,
    a_callback_is_answered_empty_once_the_service_has_answered,
    a_callback_is_answered_empty_after_3_s_of_a_slow_service,
    a_callback_is_answered_while_its_chat_waits_for_something_slow,
    a_callback_whose_service_fails_is_answered_and_told,
);

const APOLOGY: &str = "Something went wrong on our side. Please try again in a minute.";

/// The one answer that a callback gets, when `update` is over.
async fn only_answer(world: &World, update: &Update) -> harness::Call {
    let calls = world.telegram.wait_calls("answerCallbackQuery", 1).await;
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert_eq!(calls[0].params["callback_query_id"], update.value()["callback_query"]["id"]);
    calls.into_iter().next().unwrap()
}

async fn a_callback_is_answered_with_what_the_service_says(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    let answer =
        json!({"type": "text", "content": "done", "answer": {"text": "Connected!", "show_alert": true}});
    world.matching.answer(Answer::Json(answer));
    let update = Update::callback(user, "CONNECT:9");
    world.accept(&update).await;
    world.telegram.wait_texts(user, 1).await;
    let call = only_answer(&world, &update).await;
    assert_eq!(call.text(), "Connected!");
    assert_eq!(call.params["show_alert"], true);
}

async fn a_callback_is_answered_empty_once_the_service_has_answered(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    let update = Update::callback(user, "CONNECT:9");
    world.accept(&update).await;
    world.telegram.wait_texts(user, 1).await;
    let call = only_answer(&world, &update).await;
    assert_eq!(call.text(), "");
    let asked = world.matching.requests()[0].at;
    assert!(call.at - asked < Duration::from_secs(2), "answered {:?} after the call", call.at - asked);
}

async fn a_callback_is_answered_empty_after_3_s_of_a_slow_service(world: WorldBuilder) {
    let world = world.set("MATCHING_SERVICE_TIMEOUT", 10).await;
    let user = world.user();
    let late = json!({"type": "text", "content": "at last", "answer": {"text": "too late to be seen"}});
    world.matching.answer(Answer::Json(late).after(Duration::from_millis(4500)));
    let update = Update::callback(user, "CONNECT:9");
    let posted = Instant::now();
    world.accept(&update).await;
    world.telegram.wait_texts(user, 1).await;
    let call = only_answer(&world, &update).await;
    assert_eq!(call.text(), "");
    let (waited, since_asked) = (call.at - posted, call.at - world.matching.requests()[0].at);
    assert!(waited >= Duration::from_secs(3), "answered after {waited:?}");
    assert!(
        since_asked < Duration::from_millis(4200),
        "answered {since_asked:?} after the service was asked"
    );
}

async fn a_callback_is_answered_while_its_chat_waits_for_something_slow(world: WorldBuilder) {
    let world = world.set("CONVERSATION_SERVICE_TIMEOUT", 20).await;
    let user = world.user();
    world.conversation.answer(Answer::text("slow").after(Duration::from_secs(10)));
    world.accept(&Update::text(user, "take your time")).await;
    world.conversation.wait_for(1).await;
    world.accept(&Update::callback(user, "SKIP:1")).await;
    let pressed = Instant::now();
    let call = world.telegram.wait_calls("answerCallbackQuery", 1).await.remove(0);
    assert!(call.at - pressed < Duration::from_secs(4), "answered after {:?}", call.at - pressed);
    assert!(world.telegram.sent(user).is_empty(), "the spinner stops before the chat's turn comes");
    assert_eq!(call.text(), "");
    // The button itself waits for its turn.
    assert_eq!(world.telegram.wait_texts(user, 2).await, ["slow", "ok"]);
    assert_eq!(world.telegram.calls_of("answerCallbackQuery").len(), 1);
}

async fn a_callback_whose_service_fails_is_answered_and_told(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    world.matching.answer(Answer::Status(500, json!({})));
    let update = Update::callback(user, "SKIP:1");
    world.accept(&update).await;
    assert_eq!(world.telegram.wait_texts(user, 1).await, [APOLOGY]);
    only_answer(&world, &update).await;
    world.wait_dead("service", 1).await;
}
