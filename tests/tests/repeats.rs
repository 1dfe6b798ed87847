//! Contract 3.1: an update that ended, as done or as dead, is acked when it comes again, and nothing of it
//! is repeated; nor does it hold up what comes after it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use harness::{Answer, LONG, Update, WorldBuilder, over_both_worlds, wait_for};
use serde_json::json;

over_both_worlds!(
    a_repeat_of_an_update_that_died_is_acked_and_holds_nothing_up,
    a_repeat_of_another_bots_update_is_acked_and_buried_once,
    a_repeated_callback_is_answered_once,
);

async fn a_repeat_of_an_update_that_died_is_acked_and_holds_nothing_up(world: WorldBuilder) {
    let world = world.set("PARTITIONS", 1).await;
    let (dead, other) = (world.user(), world.user());
    world.conversation.answer_first([Answer::Status(500, json!({})), Answer::Status(500, json!({}))]);
    world.conversation.answer(Answer::text("ok"));
    let update = Update::text(dead, "hello?");
    world.accept(&update).await;
    world.wait_dead("service", 1).await;
    for _ in 0..3 {
        world.accept(&update).await;
    }
    for (n, chat) in [(1, other), (2, dead)] {
        world.accept(&Update::text(chat, "and now?")).await;
        assert!(world.telegram.wait_texts(chat, n).await.contains(&"ok".to_owned()));
    }
    world.wait_dead("service", 1).await;
    assert_eq!(world.conversation.count(), 4, "a repeat asks no service");
    assert_eq!(world.metric("tgw_updates_total", &[("outcome", "dead")]).await, 1.0);
}

async fn a_repeat_of_another_bots_update_is_acked_and_buried_once(world: WorldBuilder) {
    let world = world.set("BOT_ID", 999).set("PARTITIONS", 1).await;
    let user = world.user();
    let update = Update::text(user, "hello?");
    world.accept(&update).await;
    world.wait_dead("malformed", 1).await;
    // One after the other: repeats that wait in the ingress together are one already there.
    for repeats in 1..=2 {
        world.accept(&update).await;
        wait_for("the repeat is acked", LONG, || async {
            let seen = world.metric("tgw_updates_total", &[("outcome", "seen")]).await;
            (seen >= f64::from(repeats)).then_some(())
        })
        .await;
    }
    world.accept(&Update::text(user, "another")).await;
    world.wait_dead("malformed", 2).await;
    assert_eq!(world.metric("tgw_updates_total", &[("outcome", "dead")]).await, 2.0);
    assert_eq!(world.conversation.count(), 0);
}

async fn a_repeated_callback_is_answered_once(world: WorldBuilder) {
    let world = world.await;
    world.matching.answer(Answer::Json(json!({"messages": [], "answer": {"text": "noted"}})));
    let user = world.user();
    let update = Update::callback(user, "SKIP:7");
    for _ in 0..3 {
        world.accept(&update).await;
    }
    world.accept(&Update::text(user, "next")).await;
    world.telegram.wait_texts(user, 1).await;
    let answers = world.telegram.calls_of("answerCallbackQuery");
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].params["text"], "noted");
}
