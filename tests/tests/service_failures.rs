//! Contract 3, the first row of what goes wrong: a service that times out, fails or answers nonsense.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use harness::{Answer, Update, WorldBuilder, over_both_worlds};
use serde_json::{Value, json};

const APOLOGY: &str = "Something went wrong on our side. Please try again in a minute.";

over_both_worlds!(
    a_service_that_hangs_is_asked_twice_and_the_user_is_told,
    nonsense_of_any_kind_is_a_failure,
    a_failure_that_passes_is_not_seen,
    a_service_that_is_not_there_is_a_failure,
    an_unknown_type_of_message_is_a_failure_that_is_named,
    the_next_update_of_the_chat_is_handled_after_a_failure,
);

async fn a_service_that_hangs_is_asked_twice_and_the_user_is_told(world: WorldBuilder) {
    let world = world.set("CONVERSATION_SERVICE_TIMEOUT", 1).await;
    world.conversation.answer(Answer::Hang);
    let user = world.user();
    let update = Update::text(user, "hello?");
    let begun = Instant::now();
    world.accept(&update).await;
    assert_eq!(world.telegram.wait_texts(user, 1).await, [APOLOGY]);
    let letters = world.wait_dead("service", 1).await;

    let requests = world.conversation.requests();
    assert_eq!(requests.len(), 2, "one retry");
    assert_eq!(requests[0].header("Idempotency-Key"), requests[1].header("Idempotency-Key"));
    assert_eq!(requests[0].body(), requests[1].body());
    let said = |line: &Value| line["message"] == "a service failed and is asked once more";
    world.worker().wait_log("that it is asked again", said).await;
    let (given_up, again) = (world.worker().logged(said)[0], requests[1].at);
    assert!(given_up - begun >= Duration::from_secs(1), "for the answer: {:?}", given_up - begun);
    let before = again - given_up;
    assert!(before >= Duration::from_millis(100), "the retry comes after 100-300 ms: {before:?}");
    for letter in letters {
        assert_eq!(letter.json(), *update.value());
        assert_eq!(letter.text("tgw-service").as_deref(), Some("conversation"));
        assert_eq!(letter.text("tgw-kind").as_deref(), Some("message"));
        assert_eq!(letter.number("tgw-update-id"), Some(update.update_id()));
        assert_eq!((letter.number("tgw-chat"), letter.number("tgw-user")), (Some(user), Some(user)));
        assert_eq!(letter.number("tgw-replays").unwrap_or(0), 0);
        assert_eq!(letter.number("tgw-attempts"), Some(1));
        assert!(letter.text("tgw-error").is_some_and(|error| !error.is_empty()));
        let (first, last) =
            (letter.number("tgw-first-failed").unwrap(), letter.number("tgw-last-failed").unwrap());
        let now_ms = harness::now() * 1000;
        assert!((now_ms - 120_000..=now_ms + 2000).contains(&first) && first <= last, "{first} {last}");
    }
}

async fn nonsense_of_any_kind_is_a_failure(world: WorldBuilder) {
    let world = world.await;
    let cases = [
        Answer::html(),
        Answer::empty(),
        Answer::huge(),
        Answer::Close,
        Answer::Status(500, json!({"type": "text", "content": "not to be sent"})),
        Answer::Status(404, json!({})),
        Answer::Json(json!("a string")),
        Answer::Json(json!({"content": "no type"})),
        Answer::Json(json!({"type": "text"})),
    ];
    for (n, answer) in cases.iter().enumerate() {
        // A chat each, one after the other: which answer belongs to which is then sure.
        world.conversation.answer(answer.clone());
        let user = world.user();
        world.accept(&Update::text(user, "hello?")).await;
        assert_eq!(world.telegram.wait_texts(user, 1).await, [APOLOGY], "case {n}");
    }
    world.wait_dead("service", cases.len()).await;
    world.conversation.echo();
    let user = world.user();
    world.accept(&Update::text(user, "and now?")).await;
    assert_eq!(world.telegram.wait_texts(user, 1).await, ["echo: and now?"]);
}

async fn a_failure_that_passes_is_not_seen(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    for failure in [Answer::Status(503, json!({})), Answer::Close, Answer::html()] {
        world.conversation.answer_first([failure]);
        let before = world.telegram.sent(user).len();
        world.accept(&Update::text(user, "hello?")).await;
        assert_eq!(world.telegram.wait_texts(user, before + 1).await[before], "ok");
    }
    assert_eq!(world.conversation.count(), 6);
    world.assert_no_dead_letters().await;
}

async fn a_service_that_is_not_there_is_a_failure(world: WorldBuilder) {
    let nowhere = format!("http://127.0.0.1:{}/ask", harness::free_port());
    let world = world.set("CONVERSATION_SERVICE_URL", nowhere).await;
    let user = world.user();
    world.accept(&Update::text(user, "hello?")).await;
    assert_eq!(world.telegram.wait_texts(user, 1).await, [APOLOGY]);
    world.wait_dead("service", 1).await;
}

async fn an_unknown_type_of_message_is_a_failure_that_is_named(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    world.conversation.answer(Answer::Json(json!({"type": "hologram", "content": "x"})));
    world.accept(&Update::text(user, "hello?")).await;
    assert_eq!(world.telegram.wait_texts(user, 1).await, [APOLOGY]);
    world.worker().wait_log("the unknown type", |line| line.to_string().contains("hologram")).await;
    world.wait_dead("service", 1).await;
}

async fn the_next_update_of_the_chat_is_handled_after_a_failure(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    world.conversation.echo();
    world.conversation.answer_first([Answer::html(), Answer::html()]);
    world.accept(&Update::text(user, "one")).await;
    world.accept(&Update::text(user, "two")).await;
    assert_eq!(world.telegram.wait_texts(user, 2).await, [APOLOGY, "echo: two"]);
    world.wait_dead("service", 1).await;
}
