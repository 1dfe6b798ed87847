//! Priorities of services' messages (facts T14): replies go at once, notifications before broadcasts, and these two keep a
//! rate that all workers have together.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use harness::{
    Call, LONG, MESSAGES_TOKEN, Process, Update, World, WorldBuilder, over_both_worlds, pause, wait_for,
    wait_held, wait_until,
};
use serde_json::{Value, json};

over_both_worlds!(
    a_broadcast_keeps_the_rate_and_holds_nobody_up,
    replies_take_their_part_of_the_rate,
    nothing_is_dispatched_while_the_bot_is_parked,
    the_end_of_who_dispatches_costs_nobody_a_broadcast,
    what_waits_is_told_and_outlives_its_worker,
);

const SECOND: Duration = Duration::from_secs(1);

/// A deployment of two workers, where there can be two.
struct Deployment {
    world: World,
    second: Option<Process>,
}

async fn deployed(world: WorldBuilder, rate: f64) -> Deployment {
    let world = world.set("MESSAGES_TOKEN", MESSAGES_TOKEN).set("BULK_RATE", rate).await;
    world.conversation.echo();
    if world.is_embedded() {
        return Deployment { world, second: None };
    }
    let second = world.add_worker().await;
    let begun = Instant::now();
    wait_held(world.worker(), 2, begun, LONG).await;
    wait_held(&second, 2, begun, LONG).await;
    Deployment { world, second: Some(second) }
}

async fn send(world: &World, priority: &str, chats: &[i64]) {
    let posting = chats.iter().map(|chat| {
        let body = json!({"chat_id": chat, "type": "text", "content": priority, "priority": priority});
        async move { world.message(Some(&format!("{priority} {chat} {}", world.prefix)), &body).await.id() }
    });
    stream::iter(posting).buffer_unordered(16).for_each(|_| std::future::ready(())).await;
}

fn users(world: &World, count: usize) -> Vec<i64> {
    (0..count).map(|_| world.user()).collect()
}

/// What was sent of a text, in the order of its coming.
fn sent(world: &World, text: &str) -> Vec<Call> {
    let mut calls = world.telegram.calls_of("sendMessage");
    calls.retain(|call| call.text() == text);
    calls.sort_by_key(|call| call.at);
    calls
}

async fn wait_sent(world: &World, text: &str, count: usize) -> Vec<Call> {
    let deadline = LONG * 2;
    wait_until(&format!("{count} times {text}"), deadline, || sent(world, text).len() >= count).await;
    sent(world, text)
}

/// How often each chat had it.
fn by_chat(calls: &[Call]) -> BTreeMap<i64, usize> {
    let mut counts = BTreeMap::new();
    calls.iter().filter_map(Call::chat).for_each(|chat| *counts.entry(chat).or_default() += 1);
    counts
}

async fn a_broadcast_keeps_the_rate_and_holds_nobody_up(world: WorldBuilder) {
    const RATE: usize = 50;
    let Deployment { world, second: _second } = deployed(world, RATE as f64).await;
    let chats = users(&world, 500);
    send(&world, "broadcast", &chats).await;
    wait_sent(&world, "broadcast", 20).await;
    // Who asks does not wait behind what waits.
    for user in users(&world, 20) {
        world.accept(&Update::text(user, "hello")).await;
        world.telegram.wait_texts(user, 1).await;
    }
    let before = sent(&world, "broadcast").len();
    assert!(before < 400, "{before} broadcasts went before 20 replies");
    send(&world, "notification", &users(&world, 20)).await;
    wait_sent(&world, "notification", 20).await;
    let between = sent(&world, "broadcast").len();
    assert!(between < 450, "{between} broadcasts went before 20 notifications");
    let broadcasts = wait_sent(&world, "broadcast", 500).await;
    assert_eq!(by_chat(&broadcasts), chats.iter().map(|chat| (*chat, 1)).collect());
    let mut bulk = [broadcasts, sent(&world, "notification")].concat();
    bulk.sort_by_key(|call| call.at);
    let took = bulk[bulk.len() - 1].at - bulk[0].at;
    assert!(took >= SECOND * 520 / RATE as u32 * 9 / 10, "{took:?} for 520 at {RATE} a second");
    // A worker that was late for a moment may bring some together, but not for long.
    let most = bulk.iter().map(|it| {
        let window = |call: &&Call| call.at >= it.at && call.at < it.at + 5 * SECOND;
        bulk.iter().filter(window).count()
    });
    let most = most.max().unwrap();
    assert!(most <= 5 * RATE * 13 / 10, "{most} in five seconds at {RATE} a second");
    world.assert_no_dead_letters().await;
}

async fn replies_take_their_part_of_the_rate(world: WorldBuilder) {
    let Deployment { world, second: _second } = deployed(world, 20.0).await;
    let askers = users(&world, 24);
    let over = Arc::new(AtomicBool::new(false));
    let asking = askers.chunks(3).map(|askers| {
        let (world, over) = (&world, over.clone());
        async move {
            for round in 1.. {
                for asker in askers {
                    world.accept(&Update::text(*asker, "hello")).await;
                    world.telegram.wait_texts(*asker, round).await;
                }
                if over.load(Ordering::Relaxed) {
                    break;
                }
            }
        }
    });
    let chats = users(&world, 150);
    let watching = async {
        // The replies of before count for a second.
        wait_sent(&world, "echo: hello", 60).await;
        send(&world, "broadcast", &chats).await;
        let (begun, replies) = (Instant::now(), sent(&world, "echo: hello").len());
        let broadcasts = sent(&world, "broadcast").len();
        pause(4 * SECOND).await;
        let took = begun.elapsed().as_secs_f64();
        over.store(true, Ordering::Relaxed);
        let rate = |text: &str, before: usize| (sent(&world, text).len() - before) as f64 / took;
        (rate("echo: hello", replies), rate("broadcast", broadcasts))
    };
    let (_, (replies, broadcasts)) = tokio::join!(futures_util::future::join_all(asking), watching);
    assert!(replies > 20.0, "only {replies} replies a second");
    // A tenth is left to bulk.
    assert!((0.5..10.0).contains(&broadcasts), "{broadcasts} a second beside {replies} replies");
    wait_sent(&world, "broadcast", 150).await;
}

async fn nothing_is_dispatched_while_the_bot_is_parked(world: WorldBuilder) {
    let Deployment { world, second: _second } = deployed(world, 30.0).await;
    let wait = json!({"retry_after": 5});
    world.telegram.fail("sendMessage", 3, 429, "Too Many Requests: retry after 5", wait);
    // Of one worker, since it is one that has to be refused several times.
    for user in users(&world, 12) {
        world.accept(&Update::text(user, "hello")).await;
    }
    world.wait_metric("tgw_parks_total", &[("whose", "bot")], 1.0).await;
    let parked = Instant::now();
    // Each worker knows within a quarter of a second.
    pause(SECOND / 2).await;
    let before = world.metric("tgw_bulk_dispatched_total", &[]).await;
    send(&world, "notification", &users(&world, 5)).await;
    pause(2 * SECOND).await;
    let after = world.metric("tgw_bulk_dispatched_total", &[]).await;
    assert!(parked.elapsed() < 4 * SECOND, "the test came too late to see anything");
    assert!((before - after).abs() < 0.5, "{before} {after}");
    wait_sent(&world, "notification", 5).await;
}

/// Whether this one takes the bulk out of its queues for all.
async fn dispatches(worker: &Process) -> bool {
    worker.metrics().await.0.contains("tgw_bulk_waiting{")
}

async fn the_end_of_who_dispatches_costs_nobody_a_broadcast(world: WorldBuilder) {
    let Deployment { mut world, second } = deployed(world, 50.0).await;
    send(&world, "broadcast", &users(&world, 240)).await;
    wait_sent(&world, "broadcast", 40).await;
    let first_dispatches = dispatches(world.worker()).await;
    // Kept to the end: it may be the one that goes on.
    let mut second = second;
    match second.as_mut().filter(|_| !first_dispatches) {
        Some(second) => second.kill9(),
        None => world.worker_mut().kill9(),
    }
    if second.is_none() {
        world.worker_mut().start_again();
        world.worker_mut().wait_ready().await;
    }
    wait_until("each chat has it", LONG * 2, || by_chat(&sent(&world, "broadcast")).len() == 240).await;
    // A kill falls between an answer of Telegram's and its record now and then; no more than what was on the wire.
    let doubled = by_chat(&sent(&world, "broadcast")).values().filter(|count| **count > 1).count();
    assert!(doubled <= 2, "{doubled} chats had it twice");
}

async fn status(world: &World) -> Value {
    let mut process = world.command(&["status", "--json"]).start();
    process.wait_exit().await;
    serde_json::from_str(&process.stdout()).unwrap_or_default()
}

async fn what_waits_is_told_and_outlives_its_worker(world: WorldBuilder) {
    let mut world = world.set("MESSAGES_TOKEN", MESSAGES_TOKEN).set("BULK_RATE", "0.1").await;
    // The first one goes at once.
    let first = users(&world, 1);
    send(&world, "notification", &first).await;
    wait_sent(&world, "notification", 1).await;
    let (notified, others) = (users(&world, 2), users(&world, 5));
    send(&world, "broadcast", &others).await;
    send(&world, "notification", &notified).await;
    wait_for("all that waits is told", LONG, || async {
        let bulk = status(&world).await["bulk"].clone();
        (bulk["broadcasts"].as_u64()? + bulk["notifications"].as_u64()? >= 6).then_some(())
    })
    .await;
    world.set("BULK_RATE", 1000);
    match &world.worker {
        None => world.restart_ingress().await,
        Some(_) => {
            world.worker_mut().kill9();
            let worker = world.add_worker().await;
            world.worker = Some(worker);
        }
    }
    let all = wait_sent(&world, "broadcast", 5).await;
    assert_eq!(by_chat(&all).len(), 5);
    assert_eq!(by_chat(&wait_sent(&world, "notification", 3).await).len(), 3);
}
