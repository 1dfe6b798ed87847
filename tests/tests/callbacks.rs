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
    an_answer_that_a_crash_may_have_kept_back_is_given_and_no_service_is_asked_again,
    a_wrong_token_costs_no_callback_its_answer_and_doubles_no_message,
    an_answer_that_telegram_refuses_is_told,
    an_answer_that_failed_is_owed_by_who_takes_the_update_over,
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

/// Nobody knows whether Telegram has it: it is given like a message, once more.
async fn an_answer_that_a_crash_may_have_kept_back_is_given_and_no_service_is_asked_again(
    world: WorldBuilder,
) {
    let mut world = world.await;
    for (answer, text) in
        [(json!({"messages": [], "answer": {"text": "noted"}}), "noted"), (json!({"type": "none"}), "")]
    {
        let (asked, before) = (world.matching.count(), world.telegram.calls_of("answerCallbackQuery").len());
        world.matching.answer(Answer::Json(answer));
        world.telegram.script("answerCallbackQuery", 1, Answer::Hang);
        world.accept(&Update::callback(world.user(), "SKIP:7")).await;
        world.telegram.wait_calls("answerCallbackQuery", before + 1).await;
        world.worker_mut().kill9();
        world.worker_mut().start_again();
        let calls = world.telegram.wait_calls("answerCallbackQuery", before + 2).await;
        assert_eq!(calls[before + 1].text(), text);
        world.wait_metric("tgw_updates_total", &[("outcome", "answered")], 1.0).await;
        assert_eq!(world.matching.count(), asked + 1);
        assert_eq!(world.telegram.calls_of("answerCallbackQuery").len(), before + 2);
    }
}

async fn a_wrong_token_costs_no_callback_its_answer_and_doubles_no_message(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    world.matching.answer(Answer::Json(
        json!({"messages": [{"type": "text", "content": "done"}], "answer": {"text": "noted"}}),
    ));
    // The message goes out, and the answer meets the wrong token.
    world.telegram.fail("answerCallbackQuery", 1, 401, "Unauthorized", serde_json::Value::Null);
    world.accept(&Update::callback(user, "SKIP:7")).await;
    let calls = world.telegram.wait_calls("answerCallbackQuery", 2).await;
    assert_eq!(calls[1].text(), "noted");
    world.wait_metric("tgw_updates_total", &[("outcome", "answered")], 1.0).await;
    assert_eq!((world.telegram.texts(user), world.matching.count()), (vec!["done".to_owned()], 1));
}

async fn an_answer_that_telegram_refuses_is_told(world: WorldBuilder) {
    let world = world.await;
    world.matching.answer(Answer::Json(json!({"messages": [], "answer": {"text": "noted"}})));
    let old = "Bad Request: query is too old and response timeout expired or query ID is invalid";
    world.telegram.fail("answerCallbackQuery", 1, 400, old, serde_json::Value::Null);
    world.accept(&Update::callback(world.user(), "SKIP:7")).await;
    let told = |line: &serde_json::Value| line["message"] == "Telegram refuses an answer for good";
    world.worker().wait_log("the refusal", told).await;
    world.wait_metric("tgw_updates_total", &[("outcome", "refused")], 1.0).await;
    world.assert_no_dead_letters().await;
}

async fn an_answer_that_failed_is_owed_by_who_takes_the_update_over(world: WorldBuilder) {
    let mut world = world.await;
    let user = world.user();
    world.matching.answer(Answer::Json(
        json!({"messages": [{"type": "text", "content": "done"}], "answer": {"text": "noted"}}),
    ));
    world.telegram.fail("answerCallbackQuery", 2, 502, "Bad Gateway", serde_json::Value::Null);
    world.telegram.script("sendMessage", 1, Answer::Hang);
    world.accept(&Update::callback(user, "SKIP:7")).await;
    world.telegram.wait_calls("answerCallbackQuery", 2).await;
    world.wait_metric("tgw_telegram_seconds_count", &[("outcome", "failed")], 2.0).await;
    world.worker_mut().kill9();
    world.worker_mut().start_again();
    assert_eq!(world.telegram.wait_calls("answerCallbackQuery", 3).await[2].text(), "noted");
    world.wait_metric("tgw_updates_total", &[("outcome", "answered")], 1.0).await;
    world.assert_no_dead_letters().await;
}
