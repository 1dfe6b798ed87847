//! Telegram's limits (facts T14, T15) over any number of workers: a chat that is written to too fast waits, one that
//! Telegram parks waits for as long as it says, and nobody waits for either; and "typing" while a service takes long.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use harness::{Answer, Call, Gate, LONG, Update, World, WorldBuilder, held, over_both_worlds, wait_for};
use serde_json::json;

over_both_worlds!(
    a_private_chat_gets_a_burst_and_then_one_a_second,
    a_group_gets_5_at_once_and_then_20_a_minute,
    a_chat_that_is_paced_holds_nobody_up,
    a_parked_chat_is_not_called_again_before_its_time,
    somebody_is_typing_while_a_service_takes_long,
    a_sign_that_is_refused_for_an_hour_costs_no_reply,
);

const SECOND: Duration = Duration::from_secs(1);

/// Two clocks that start at two ends of a connection may differ by so much.
const NEAR: Duration = Duration::from_millis(50);

/// As they are where nobody sets them.
fn with_telegrams_limits(world: WorldBuilder) -> WorldBuilder {
    world.set("CHAT_RATE", 1).set("CHAT_BURST", 3)
}

fn answer_with_many(world: &World, count: usize) {
    let messages: Vec<_> = (0..count).map(|n| json!({"type": "text", "content": n.to_string()})).collect();
    world.conversation.answer_with(move |_| Answer::Json(json!(messages)));
}

/// How long after the first each message of a chat came.
fn times(world: &World, chat: i64) -> Vec<Duration> {
    let sent = world.telegram.sent(chat);
    sent.iter().map(|call| call.at - sent[0].at).collect()
}

/// How long after the service was asked, which is before the first of them went out, each message of a chat came.
fn since_asked(world: &World, chat: i64) -> Vec<Duration> {
    let asked = world.conversation.requests()[0].at;
    world.telegram.sent(chat).iter().map(|call| call.at - asked).collect()
}

async fn a_private_chat_gets_a_burst_and_then_one_a_second(world: WorldBuilder) {
    let world = with_telegrams_limits(world).await;
    answer_with_many(&world, 6);
    let chat = world.user();
    world.accept(&Update::text(chat, "hello")).await;
    assert_eq!(world.telegram.wait_texts(chat, 6).await, ["0", "1", "2", "3", "4", "5"]);
    let times = times(&world, chat);
    let since_asked = since_asked(&world, chat);
    assert!(since_asked[3] >= SECOND, "{since_asked:?}");
    assert!(since_asked[4] >= 2 * SECOND && since_asked[5] >= 3 * SECOND, "{since_asked:?}");
    // The burst is a burst.
    assert!(times[2] < times[3] / 2, "{times:?}");
}

async fn a_group_gets_5_at_once_and_then_20_a_minute(world: WorldBuilder) {
    let world = with_telegrams_limits(world).await;
    answer_with_many(&world, 6);
    let group = -world.user();
    world.accept(&Update::text(group, "hello")).await;
    assert_eq!(world.telegram.wait_texts(group, 6).await.len(), 6);
    let times = times(&world, group);
    assert!(since_asked(&world, group)[5] >= 3 * SECOND && times[4] < times[5] / 2, "{times:?}");
}

async fn a_chat_that_is_paced_holds_nobody_up(world: WorldBuilder) {
    let world = with_telegrams_limits(world).set("PARTITIONS", 1).await;
    answer_with_many(&world, 30);
    let busy = world.user();
    world.accept(&Update::text(busy, "hello")).await;
    world.telegram.wait_texts(busy, 3).await;
    answer_with_many(&world, 1);
    for _ in 0..40 {
        let other = world.user();
        world.accept(&Update::text(other, "and me?")).await;
        world.telegram.wait_texts(other, 1).await;
    }
    let count = world.telegram.sent(busy).len();
    assert!(count < 30, "all {count} went out before the others had their answers");
}

/// The next sendMessage is refused for so many seconds.
fn refuse(world: &World, times: usize, seconds: u64) {
    let description = format!("Too Many Requests: retry after {seconds}");
    world.telegram.fail("sendMessage", times, 429, &description, json!({"retry_after": seconds}));
}

async fn a_parked_chat_is_not_called_again_before_its_time(world: WorldBuilder) {
    let world = world.await;
    world.conversation.echo();
    refuse(&world, 1, 3);
    let (parked, other) = (world.user(), world.user());
    for text in ["one", "two"] {
        world.accept(&Update::text(parked, text)).await;
    }
    world.telegram.wait_texts(parked, 1).await;
    world.accept(&Update::text(other, "and me?")).await;
    world.telegram.wait_texts(other, 1).await;
    assert_eq!(world.telegram.sent(parked).len(), 1);
    assert_eq!(world.telegram.wait_texts(parked, 3).await, ["echo: one", "echo: one", "echo: two"]);
    assert!(times(&world, parked)[1] + NEAR >= 3 * SECOND);
    world.assert_no_dead_letters().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_chat_stays_parked_when_its_worker_dies() {
    const WAIT: u64 = 8;
    let mut world = World::distributed().await;
    world.conversation.echo();
    refuse(&world, 1, WAIT);
    let chat = world.user();
    world.accept(&Update::text(chat, "one")).await;
    world.telegram.wait_texts(chat, 1).await;
    // That it is noted can't be seen from outside; what comes after it in the same worker can.
    let parked = || async { (world.metric("tgw_chats_parked", &[]).await > 0.0).then_some(()) };
    wait_for("the chat is parked", LONG, parked).await;
    world.worker_mut().kill9();
    let _next = world.add_worker().await;
    assert_eq!(world.telegram.wait_texts(chat, 2).await, ["echo: one", "echo: one"]);
    let waited = times(&world, chat)[1];
    assert!(waited + NEAR >= Duration::from_secs(WAIT), "a second refusal was asked for after {waited:?}");
}

/// Three chats in a row are refused: that is the bot. A worker that starts later knows it from the store.
#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_telegram_parks_waits_on_every_worker() {
    const WAIT: u64 = 10;
    let world = World::distributed().await;
    world.conversation.echo();
    refuse(&world, 3, WAIT);
    let chats: Vec<i64> = (0..40).map(|_| world.user()).collect();
    // All within the second that they have to be in, however slow the way is.
    let gate = Gate::default();
    world.conversation.answer(gate.holds(Answer::text("echo: one")));
    for chat in &chats[..3] {
        world.accept(&Update::text(*chat, "one")).await;
    }
    gate.wait_for(3).await;
    gate.open();
    for chat in &chats[..3] {
        world.telegram.wait_texts(*chat, 1).await;
    }
    let refused = |chat: &i64| world.telegram.sent(*chat)[0].at;
    let since = chats[..3].iter().map(refused).max().expect("three of them");
    world.conversation.echo();
    world.worker().wait_log("the bot waits", |line| line.to_string().contains("the bot waits")).await;
    let other = world.add_worker().await;
    wait_for("another worker has its share", LONG, || async { (held(&other).await > 1).then_some(()) }).await;
    for chat in &chats[3..] {
        world.accept(&Update::text(*chat, "one")).await;
    }
    for chat in &chats {
        world.telegram.wait_texts(*chat, 1 + usize::from(chats[..3].contains(chat))).await;
    }
    let late = |call: &Call| call.at + SECOND / 2 >= since + Duration::from_secs(WAIT);
    let calls = world.telegram.calls_of("sendMessage");
    assert_eq!(calls.iter().filter(|call| !late(call)).count(), 3, "somebody did not wait");
    assert!(other.metrics().await.sum("tgw_updates_total", &[]) > 0.0, "the other worker had nothing to do");
    world.assert_no_dead_letters().await;
}

async fn somebody_is_typing_while_a_service_takes_long(world: WorldBuilder) {
    let world = world.set("CONVERSATION_SERVICE_TIMEOUT", 20).await;
    let slow = Duration::from_millis(5600);
    let (quick, waits, later) = (world.user(), world.user(), world.user());
    world.conversation.answer_with(move |request| {
        let answer = Answer::text("done");
        if request.body()["telegram_user_id"] == quick { answer } else { answer.after(slow) }
    });
    let signs = |chat: i64| {
        let mut calls = world.telegram.calls_of("sendChatAction");
        calls.retain(|call| call.chat() == Some(chat));
        calls
    };
    world.accept(&Update::text(quick, "hello")).await;
    world.telegram.wait_texts(quick, 1).await;
    let begun = Instant::now();
    world.accept(&Update::text(waits, "hello")).await;
    world.telegram.wait_texts(waits, 1).await;
    let seen = signs(waits);
    assert_eq!(seen.len(), 2, "after half a second, and once more 4 to 5 s later");
    assert_eq!(seen[0].params["action"], "typing");
    assert!(seen[0].at - begun >= Duration::from_millis(450), "{:?}", seen[0].at - begun);
    let between = seen[1].at - seen[0].at;
    assert!((4 * SECOND..5 * SECOND + NEAR).contains(&between), "{between:?}");
    // Somebody else's wait is longer than a sign lasts: by then another one would have come.
    world.accept(&Update::text(later, "hello")).await;
    world.telegram.wait_texts(later, 1).await;
    assert_eq!((signs(waits).len(), signs(later).len(), signs(quick).len()), (2, 2, 0));
}

/// Three in a row are refused, so that it could be the bot. A call that is told to wait for over a minute fails; a sign that is
/// told so is nothing to wait for.
async fn a_sign_that_is_refused_for_an_hour_costs_no_reply(world: WorldBuilder) {
    let world = world.await;
    world.conversation.answer_with(|_| Answer::text("done").after(2 * SECOND));
    let description = "Too Many Requests: retry after 3600";
    world.telegram.fail("sendChatAction", 100, 429, description, json!({"retry_after": 3600}));
    let chats: Vec<i64> = (0..4).map(|_| world.user()).collect();
    for chat in &chats {
        world.accept(&Update::text(*chat, "hello")).await;
    }
    for chat in &chats {
        assert_eq!(world.telegram.wait_texts(*chat, 1).await, ["done"]);
    }
    assert!(world.telegram.calls_of("sendChatAction").len() >= chats.len(), "nothing was refused");
    world.assert_no_dead_letters().await;
}
