//! Contract 3.3: the limit, its notice, and its clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use harness::{Answer, Update, WorldBuilder, now, over_both_worlds, wait_until};

const NOTICE: &str = "You're sending messages too fast, please slow down 🙂";

over_both_worlds!(
    too_fast_a_user_reads_the_notice_once_a_window,
    a_callback_that_is_too_fast_is_answered_with_the_notice,
    a_notice_that_may_have_been_seen_is_the_only_one_of_its_window,
    a_backlog_of_messages_a_second_apart_is_answered_whole,
    an_edit_is_not_charged,
);

async fn too_fast_a_user_reads_the_notice_once_a_window(world: WorldBuilder) {
    let world = world.set("RATE_LIMIT_REQUESTS", 2).set("RATE_LIMIT_WINDOW", 60).await;
    world.conversation.echo();
    let (fast, other) = (world.user(), world.user());
    let date = now();
    for n in 0..6 {
        world.accept(&Update::text(fast, &format!("{n}")).date(date)).await;
    }
    world.accept(&Update::text(other, "hello").date(date)).await;
    world.telegram.wait_texts(other, 1).await;
    assert_eq!(world.telegram.wait_texts(fast, 3).await, ["echo: 0", "echo: 1", NOTICE]);

    // The bucket is full again when the user's next message is a window younger.
    world.accept(&Update::text(fast, "later").date(date + 61)).await;
    assert_eq!(world.telegram.wait_texts(fast, 4).await, ["echo: 0", "echo: 1", NOTICE, "echo: later"]);
    assert_eq!(world.conversation.count(), 4);
    world.assert_no_dead_letters().await;
}

async fn a_notice_that_may_have_been_seen_is_the_only_one_of_its_window(world: WorldBuilder) {
    let world =
        world.set("RATE_LIMIT_REQUESTS", 1).set("RATE_LIMIT_WINDOW", 600).set("TELEGRAM_TIMEOUT", 1).await;
    world.conversation.echo();
    let (user, date) = (world.user(), now());
    world.accept(&Update::text(user, "0").date(date)).await;
    world.telegram.wait_texts(user, 1).await;
    world.telegram.script("sendMessage", 1, Answer::Hang);
    for n in 1..=3 {
        world.accept(&Update::text(user, &format!("{n}")).date(date)).await;
    }
    world.wait_metric("tgw_updates_total", &[("outcome", "limited")], 3.0).await;
    assert_eq!(world.telegram.texts(user), ["echo: 0", NOTICE]);
}

async fn a_callback_that_is_too_fast_is_answered_with_the_notice(world: WorldBuilder) {
    let world = world.set("RATE_LIMIT_REQUESTS", 1).set("RATE_LIMIT_WINDOW", 60).await;
    let user = world.user();
    world.accept(&Update::callback(user, "ACCEPT:1")).await;
    world.telegram.wait_calls("answerCallbackQuery", 1).await;
    world.matching.wait_for(1).await;
    let second = Update::callback(user, "ACCEPT:2");
    world.accept(&second).await;
    let calls = world.telegram.wait_calls("answerCallbackQuery", 2).await;
    assert_eq!(calls[1].text(), NOTICE);
    assert_eq!(calls[1].params["callback_query_id"], second.value()["callback_query"]["id"]);
    assert_eq!(world.matching.count(), 1);
    // Delivered again, it is over and is answered no second time; nor is the one that was taken.
    world.accept(&second).await;
    world.accept(&Update::my_chat_member(user, "member", "kicked")).await;
    world.notification.wait_for(1).await;
    assert_eq!(world.telegram.calls_of("answerCallbackQuery").len(), 2);
    assert!(!world.telegram.texts(user).iter().any(|text| text == NOTICE));
}

async fn a_backlog_of_messages_a_second_apart_is_answered_whole(world: WorldBuilder) {
    let world = world.set("RATE_LIMIT_REQUESTS", 1).set("RATE_LIMIT_WINDOW", 1).await;
    world.conversation.echo();
    let user = world.user();
    let first = now() - 50;
    for n in 0..50 {
        world.accept(&Update::text(user, &format!("{n}")).date(first + n)).await;
    }
    let all = || world.telegram.sent(user).len() >= 50;
    wait_until("50 answers", Duration::from_secs(90), all).await;
    let expected: Vec<String> = (0..50).map(|n| format!("echo: {n}")).collect();
    assert_eq!(world.telegram.texts(user), expected);
}

async fn an_edit_is_not_charged(world: WorldBuilder) {
    let world = world.set("RATE_LIMIT_REQUESTS", 1).set("RATE_LIMIT_WINDOW", 60).await;
    world.conversation.echo();
    let user = world.user();
    for n in 0..3 {
        world.accept(&Update::edited(user, &format!("edit {n}"))).await;
    }
    world.accept(&Update::text(user, "new")).await;
    assert_eq!(world.telegram.wait_texts(user, 1).await, ["echo: new"]);
}
