//! Invariant I4: one chat's updates are handled one after the other, and no chat waits for another.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use harness::{
    Answer, Gate, LONG, MESSAGES_TOKEN, Update, World, WorldBuilder, over_both_worlds, post_to, wait_for,
};
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ConnectionProperties};
use serde_json::json;

over_both_worlds!(a_chat_is_answered_in_order_while_its_service_is_slow, a_chat_that_waits_holds_no_other_up,);

const SLOW: Duration = Duration::from_millis(200);

async fn a_chat_is_answered_in_order_while_its_service_is_slow(world: WorldBuilder) {
    let world = world.await;
    world
        .conversation
        .answer_with(|request| Answer::text(request.body()["message"].as_str().unwrap()).after(SLOW));
    let user = world.user();
    let expected: Vec<String> = (0..10).map(|n| format!("message {n}")).collect();
    for text in &expected {
        world.accept(&Update::text(user, text)).await;
    }
    assert_eq!(world.telegram.wait_texts(user, 10).await, expected);
    for pair in world.conversation.requests().windows(2) {
        assert!(pair[1].at - pair[0].at >= SLOW, "the next begins when the one before has ended");
    }
}

async fn a_chat_that_waits_holds_no_other_up(world: WorldBuilder) {
    let world = world.set("CONVERSATION_SERVICE_TIMEOUT", 20).await;
    let slow = world.user();
    world.conversation.answer_with(move |request| {
        if request.body()["telegram_user_id"] == slow { Answer::Hang } else { Answer::text("ok") }
    });
    for _ in 0..5 {
        world.accept(&Update::text(slow, "hello?")).await;
    }
    world.conversation.wait_for(1).await;
    // Enough chats to meet every partition, the slow one's too.
    let others: Vec<i64> = (0..40).map(|_| world.user()).collect();
    let begun = Instant::now();
    for chat in &others {
        world.accept(&Update::text(*chat, "hello")).await;
    }
    for chat in &others {
        world.telegram.wait_texts(*chat, 1).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "40 other chats took {:?}", begun.elapsed());
    assert!(world.telegram.sent(slow).is_empty());
}

/// Somebody else took an update and lets it go again, later than the worker was handed what came after it: a node of RabbitMQ
/// that was frozen, for example, for its dead connections.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_late_is_answered_before_what_came_after_it_and_waits() {
    let world = World::distributed().set("PARTITIONS", 1).await;
    let (user, first) = (world.user(), Gate::default());
    let held = first.clone();
    world.conversation.answer_with(move |request| {
        let echo = Answer::text(request.body()["message"].as_str().unwrap());
        if request.body()["message"] == "1" { held.holds(echo) } else { echo }
    });
    let in_hand =
        |count: usize| world.wait_metric("tgw_partition_updates", &[("state", "in_hand")], count as f64);
    world.accept(&Update::text(user, "1")).await;
    first.wait_for(1).await;

    let url = world.amqp_url.as_ref().unwrap();
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.basic_qos(1, BasicQosOptions::default()).await.unwrap();
    let mut before_others = FieldTable::default();
    before_others.insert("x-priority".into(), AMQPValue::LongLongInt(i64::MAX));
    let (queue, options) = (format!("{}.p.0", world.prefix), BasicConsumeOptions::default());
    let mut somebody = channel.basic_consume(queue.into(), "".into(), options, before_others).await.unwrap();
    world.accept(&Update::text(user, "2")).await;
    let taken = somebody.next().await.unwrap().unwrap();
    world.accept(&Update::text(user, "3")).await;
    in_hand(2).await;
    drop(taken);
    connection.close(200, "bye".into()).await.unwrap();
    in_hand(3).await;
    first.open();
    assert_eq!(world.telegram.wait_texts(user, 3).await, ["1", "2", "3"]);
}

/// A file hands out again in the order in which it took, whatever numbers that has: a service's message is no update.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_the_embedded_queue_keeps_its_order_over_kill_9() {
    let mut world =
        World::embedded().set("MESSAGES_TOKEN", MESSAGES_TOKEN).set("CONVERSATION_SERVICE_TIMEOUT", 60).await;
    let user = world.user();
    world
        .conversation
        .answer_with(|request| Answer::text(request.body()["message"].as_str().unwrap()).after(2 * SLOW));
    world.conversation.answer_first([Answer::Hang]);
    world.accept(&Update::text(user, "1")).await;
    world.conversation.wait_for(1).await;
    let message = json!({"chat_id": user, "messages": {"type": "text", "content": "a message"}});
    world.message(None, &message).await.id();
    world.accept(&Update::text(user, "2")).await;
    world.worker_mut().kill9();
    world.worker_mut().start_again();
    assert_eq!(world.telegram.wait_texts(user, 3).await, ["1", "a message", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_stays_in_order_while_workers_come_and_go() {
    let world = World::distributed().await;
    world.conversation.answer_with(|request| {
        Answer::text(request.body()["message"].as_str().unwrap()).after(Duration::from_millis(20))
    });
    let chats: Vec<i64> = (0..6).map(|_| world.user()).collect();
    let (mut joined, mut left) = (None, None);
    for n in 0..30 {
        for chat in &chats {
            world.accept(&Update::text(*chat, &format!("{n}"))).await;
        }
        if n == 5 {
            joined = Some(world.add_worker().await);
        }
        if n == 15 {
            left = joined.take();
            left.as_mut().unwrap().term();
        }
    }
    let expected: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    for chat in &chats {
        wait_for("30 answers", LONG, || async { (world.telegram.sent(*chat).len() >= 30).then_some(()) })
            .await;
        assert_eq!(world.telegram.texts(*chat), expected, "chat {chat}");
    }
    assert_eq!(left.unwrap().wait_exit().await, 0);
    assert_eq!(world.conversation.count(), 30 * chats.len(), "nothing was handled twice");
}

/// As ARCHITECTURE.md has it: other queues, which nobody works on until the old ones are empty.
#[tokio::test(flavor = "multi_thread")]
async fn another_number_of_partitions_costs_a_live_system_no_order() {
    let mut world = World::distributed().set("PARTITIONS", 4).set("CONVERSATION_SERVICE_TIMEOUT", 60).await;
    let gate = Gate::default();
    let held = gate.clone();
    world
        .conversation
        .answer_with(move |request| held.holds(Answer::text(request.body()["message"].as_str().unwrap())));
    let chats: Vec<i64> = (0..40).map(|_| world.user()).collect();
    for chat in &chats {
        world.accept(&Update::text(*chat, "one")).await;
    }
    gate.wait_for(1).await;
    world.set("PARTITIONS", 7);
    world.set("AMQP_PREFIX", format!("{}.new", world.prefix));
    let next = world.add_ingress().await;
    for chat in &chats {
        let posted = post_to(&next, Some(&world.secret), Update::text(*chat, "two").bytes()).await;
        assert_eq!(posted.status, 200);
    }
    world.ingress.term();
    assert_eq!(world.ingress.wait_exit().await, 0);
    gate.open();
    for chat in &chats {
        assert_eq!(world.telegram.wait_texts(*chat, 1).await, ["one"]);
    }
    world.worker_mut().term();
    assert_eq!(world.worker_mut().wait_exit().await, 0);
    let _worker = world.add_worker().await;
    for chat in &chats {
        assert_eq!(world.telegram.wait_texts(*chat, 2).await, ["one", "two"]);
    }
}

/// The same text in each chat, and waits until each has so many answers.
async fn say(world: &World, chats: &[i64], text: &str, count: usize) {
    for chat in chats {
        world.accept(&Update::text(*chat, text)).await;
    }
    for chat in chats {
        world.telegram.wait_texts(*chat, count).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_freezes_is_replaced_and_does_no_harm_when_it_thaws() {
    let mut world = World::distributed().await;
    world.conversation.echo();
    let other = world.add_worker().await;
    let chats: Vec<i64> = (0..20).map(|_| world.user()).collect();
    say(&world, &chats, "one", 1).await;
    // What was sent and is not recorded yet would be sent again, by right. A chat's next update begins after that.
    for chat in &chats {
        let unrouted = json!({"chat": {"id": chat, "type": "private"}});
        world.accept(&Update::of_kind("brand_new", unrouted)).await;
    }
    wait_for("all that was answered is recorded", LONG, || async {
        let ended = [("outcome", "no_route")];
        let here = world.metric("tgw_updates_total", &ended).await;
        let there = other.metrics().await.sum("tgw_updates_total", &ended);
        (here + there >= chats.len() as f64).then_some(())
    })
    .await;
    world.worker_mut().freeze();
    say(&world, &chats, "two", 2).await;
    world.worker_mut().thaw();
    say(&world, &chats, "three", 3).await;
    for chat in &chats {
        assert_eq!(world.telegram.texts(*chat), ["echo: one", "echo: two", "echo: three"], "chat {chat}");
    }
}
