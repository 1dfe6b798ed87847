//! Contract 3, the rows about Telegram: it fails, it refuses, it limits, it does not know the token.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use harness::{Answer, LONG, Update, WorldBuilder, over_both_worlds, pause, wait_for};
use serde_json::{Value, json};

over_both_worlds!(
    telegram_that_fails_twice_makes_a_dead_letter,
    telegram_that_fails_once_is_tried_again,
    a_connection_that_closes_is_tried_again,
    a_user_who_blocked_the_bot_is_no_failure,
    a_limit_is_waited_for_and_is_no_failure,
    what_cannot_be_parsed_goes_out_plain,
    a_message_of_a_chat_that_moved_follows_it,
    a_refused_token_keeps_updates_queued,
    what_was_sent_is_not_sent_again,
);

async fn telegram_that_fails_twice_makes_a_dead_letter(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    world.telegram.fail("sendMessage", 2, 500, "Internal Server Error", Value::Null);
    let update = Update::text(user, "hello");
    world.accept(&update).await;
    let letters = world.wait_dead("telegram", 1).await;
    let sent = world.telegram.sent(user);
    assert_eq!(sent.len(), 2, "one retry, and no apology on the way that does not work");
    assert!(sent[1].at - sent[0].at >= Duration::from_millis(900), "the retry comes after 1 s");
    assert_eq!(world.conversation.count(), 1, "the service is not asked again");
    world.worker().wait_log("an error", |line| line["level"] == "ERROR").await;
    for letter in letters {
        assert_eq!(letter.json(), *update.value());
        assert!(!letter.rest.is_empty(), "the letter holds what is still to send");
    }
}

async fn telegram_that_fails_once_is_tried_again(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    world.telegram.fail("sendMessage", 1, 502, "Bad Gateway", Value::Null);
    world.accept(&Update::text(user, "hello")).await;
    assert_eq!(world.telegram.wait_texts(user, 2).await, ["ok", "ok"]);
    world.accept(&Update::text(user, "again")).await;
    world.telegram.wait_texts(user, 3).await;
    world.assert_no_dead_letters().await;
}

async fn a_connection_that_closes_is_tried_again(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    world.telegram.script("sendMessage", 1, Answer::Close);
    world.accept(&Update::text(user, "hello")).await;
    world.telegram.wait_texts(user, 2).await;
    world.accept(&Update::text(user, "again")).await;
    world.telegram.wait_texts(user, 3).await;
    world.assert_no_dead_letters().await;
}

async fn a_user_who_blocked_the_bot_is_no_failure(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    let refusals = [
        (403, "Forbidden: bot was blocked by the user"),
        (403, "Forbidden: user is deactivated"),
        (400, "Bad Request: chat not found"),
    ];
    for (n, (status, description)) in refusals.into_iter().enumerate() {
        world.telegram.fail("sendMessage", 1, status, description, Value::Null);
        world.accept(&Update::text(user, "hello")).await;
        world.telegram.wait_texts(user, n + 1).await;
    }
    world.accept(&Update::text(user, "unblocked")).await;
    world.telegram.wait_texts(user, 4).await;
    assert_eq!(world.telegram.sent(user).len(), 4, "a refusal is final");
    world.assert_no_dead_letters().await;
}

async fn a_limit_is_waited_for_and_is_no_failure(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    world.telegram.fail("sendMessage", 2, 429, "Too Many Requests: retry after 1", json!({"retry_after": 1}));
    world.accept(&Update::text(user, "hello")).await;
    world.telegram.wait_texts(user, 3).await;
    let sent = world.telegram.sent(user);
    for pair in sent.windows(2) {
        assert!(pair[1].at - pair[0].at >= Duration::from_millis(900), "retry_after is obeyed");
    }
    world.accept(&Update::text(user, "again")).await;
    world.telegram.wait_texts(user, 4).await;
    world.assert_no_dead_letters().await;
    assert_eq!(world.conversation.count(), 2);
}

async fn what_cannot_be_parsed_goes_out_plain(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    let description = "Bad Request: can't parse entities: Unsupported start tag \"x\" at byte offset 0";
    world.telegram.fail("sendMessage", 1, 400, description, Value::Null);
    let answer = json!({"type": "text", "content": "<x>hello", "parse_mode": "HTML"});
    world.conversation.answer(Answer::Json(answer));
    world.accept(&Update::text(user, "hello")).await;
    world.telegram.wait_texts(user, 2).await;
    let sent = world.telegram.sent(user);
    assert_eq!(sent[0].params["parse_mode"], "HTML");
    assert!(sent[1].params["parse_mode"].is_null());
    assert_eq!(sent[1].text(), "<x>hello");
    world.assert_no_dead_letters().await;
}

async fn a_message_of_a_chat_that_moved_follows_it(world: WorldBuilder) {
    let world = world.await;
    let (user, moved) = (world.user(), -100_000_000_000 - world.user());
    let description = "Bad Request: group chat was upgraded to a supergroup chat";
    world.telegram.fail("sendMessage", 1, 400, description, json!({"migrate_to_chat_id": moved}));
    world.accept(&Update::text(user, "hello")).await;
    world.telegram.wait_texts(moved, 1).await;
    world.assert_no_dead_letters().await;
}

async fn a_refused_token_keeps_updates_queued(world: WorldBuilder) {
    let world = world.await;
    world.conversation.echo();
    let user = world.user();
    world.accept(&Update::text(user, "one")).await;
    world.telegram.wait_texts(user, 1).await;

    world.telegram.refuse_token(true);
    world.accept(&Update::text(user, "two")).await;
    world.worker().wait_ready_is(503).await;
    world.worker().wait_log("an error about the token", |line| line["level"] == "ERROR").await;
    world.accept(&Update::text(user, "three")).await;
    world.assert_no_dead_letters().await;

    let refused = world.telegram.sent(user).len();
    world.telegram.refuse_token(false);
    world.worker().wait_ready_is(200).await;
    wait_for("the updates that waited", LONG, || async {
        let texts = world.telegram.texts(user).split_off(refused);
        (texts == ["echo: two", "echo: three"]).then_some(())
    })
    .await;
    world.assert_no_dead_letters().await;
}

async fn what_was_sent_is_not_sent_again(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    let parts: Vec<Value> =
        (1..=3).map(|n| json!({"type": "text", "content": format!("part {n}")})).collect();
    world.conversation.answer(Answer::Json(json!(parts)));
    // The first goes out; the second fails for good; the third waits in the letter with it.
    world.telegram.script("sendMessage", 1, Answer::Json(json!({"ok": true, "result": {"message_id": 1}})));
    world.telegram.fail("sendMessage", 2, 500, "Internal Server Error", Value::Null);
    world.accept(&Update::text(user, "hello")).await;
    world.wait_dead("telegram", 1).await;
    pause(Duration::from_millis(300)).await;
    assert_eq!(world.telegram.texts(user), ["part 1", "part 2", "part 2"]);
}
