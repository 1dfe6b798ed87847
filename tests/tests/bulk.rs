//! Priorities of services' messages (facts T14): replies go at once, notifications before broadcasts, and these two keep a
//! rate that all workers have together.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
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

impl Deployment {
    /// The sum over all: which of two workers something happens in is chance.
    async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let second = match &self.second {
            Some(second) => second.metrics().await.sum(name, labels),
            None => 0.0,
        };
        self.world.metric(name, labels).await + second
    }
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
        let key = format!("{priority} {chat} {}", world.prefix);
        // As a service does: a busy machine's store can be late, and a repeat costs nothing.
        async move {
            wait_for("a message is taken", LONG, || async {
                let answer = world.message(Some(&key), &body).await;
                assert!([202, 503].contains(&answer.status), "{answer:?}");
                (answer.status == 202).then_some(())
            })
            .await
        }
    });
    // All at once: a broker gathers them to few writes, and a slow disk does not stretch them over the time that they take to go.
    join_all(posting).await;
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
    const RATE: u32 = 12;
    let Deployment { world, second: _second } = deployed(world, RATE.into()).await;
    let chats = users(&world, 150);
    send(&world, "broadcast", &chats).await;
    // Who asks does not wait behind what waits.
    let askers = users(&world, 10);
    let asking = askers.iter().map(|user| async {
        world.accept(&Update::text(*user, "hello")).await;
        world.telegram.wait_texts(*user, 1).await;
    });
    join_all(asking).await;
    let before = sent(&world, "broadcast").len();
    assert!(before < 120, "{before} broadcasts went before 10 replies");
    send(&world, "notification", &users(&world, 10)).await;
    wait_sent(&world, "notification", 10).await;
    let between = sent(&world, "broadcast").len();
    assert!(between < 145, "{between} broadcasts went before 10 notifications");
    let broadcasts = wait_sent(&world, "broadcast", 150).await;
    assert_eq!(by_chat(&broadcasts), chats.iter().map(|chat| (*chat, 1)).collect());
    let mut bulk = [broadcasts, sent(&world, "notification")].concat();
    bulk.sort_by_key(|call| call.at);
    let took = bulk[bulk.len() - 1].at - bulk[0].at;
    assert!(took >= SECOND * 160 / RATE * 9 / 10, "{took:?} for 160 at {RATE} a second");
    world.assert_no_dead_letters().await;
}

/// Writes again and again, at most so often, until it is over.
async fn go_on_asking(world: &World, asker: i64, over: &AtomicBool) {
    for round in 1.. {
        world.accept(&Update::text(asker, "hello")).await;
        world.telegram.wait_texts(asker, round).await;
        if over.load(Ordering::Relaxed) {
            break;
        }
        pause(SECOND / 5).await;
    }
}

async fn replies_take_their_part_of_the_rate(world: WorldBuilder) {
    let Deployment { world, second: _second } = deployed(world, 4.0).await;
    let (askers, chats) = (users(&world, 8), users(&world, 24));
    let over = AtomicBool::new(false);
    let asking = join_all(askers.iter().map(|it| go_on_asking(&world, *it, &over)));
    let watching = async {
        // The replies of before count for a second.
        wait_sent(&world, "echo: hello", 30).await;
        send(&world, "broadcast", &chats).await;
        let begun = Instant::now();
        pause(5 * SECOND).await;
        over.store(true, Ordering::Relaxed);
        (begun, Instant::now())
    };
    let (_, (begun, ended)) = tokio::join!(asking, watching);
    let count = |text: &str, from: Instant, to: Instant| {
        sent(&world, text).iter().filter(|call| call.at >= from && call.at < to).count()
    };
    // The moments after a second with more replies than the rate is: then a tenth of it is left to bulk.
    let moments = (0..20).map(|n| begun + n * SECOND / 4).filter(|at| *at + SECOND / 4 < ended);
    let busy: Vec<_> = moments.filter(|at| count("echo: hello", *at - SECOND, *at) > 8).collect();
    assert!(busy.len() >= 8, "only {} moments had enough replies", busy.len());
    let bulk: usize = busy.iter().map(|at| count("broadcast", *at, *at + SECOND / 4)).sum();
    assert!(bulk * 2 < busy.len(), "{bulk} broadcasts in {} quarters of a second", busy.len());
    wait_sent(&world, "broadcast", 24).await;
}

async fn nothing_is_dispatched_while_the_bot_is_parked(world: WorldBuilder) {
    let deployment = deployed(world, 30.0).await;
    let world = &deployment.world;
    let wait = json!({"retry_after": 12});
    // Enough that one of two workers is refused three times.
    world.telegram.fail("sendMessage", 8, 429, "Too Many Requests: retry after 12", wait);
    // At the same time, since three have to be refused within a second.
    let hellos: Vec<Update> = users(world, 12).into_iter().map(|user| Update::text(user, "hello")).collect();
    join_all(hellos.iter().map(|hello| world.accept(hello))).await;
    wait_for("the bot is parked", LONG, || async {
        (deployment.metric("tgw_parks_total", &[("whose", "bot")]).await >= 1.0).then_some(())
    })
    .await;
    let parked = Instant::now();
    // Each worker knows within a quarter of a second.
    pause(SECOND / 2).await;
    let before = deployment.metric("tgw_bulk_dispatched_total", &[]).await;
    send(world, "notification", &users(world, 5)).await;
    pause(2 * SECOND).await;
    let after = deployment.metric("tgw_bulk_dispatched_total", &[]).await;
    assert!(parked.elapsed() < 10 * SECOND, "the test came too late to see anything");
    assert!((before - after).abs() < 0.5, "{before} {after}");
    wait_sent(world, "notification", 5).await;
}

/// Whether this one takes the bulk out of its queues for all.
async fn dispatches(worker: &Process) -> bool {
    worker.metrics().await.0.contains("tgw_bulk_waiting{")
}

async fn the_end_of_who_dispatches_costs_nobody_a_broadcast(world: WorldBuilder) {
    let Deployment { mut world, mut second } = deployed(world, 20.0).await;
    send(&world, "broadcast", &users(&world, 100)).await;
    wait_sent(&world, "broadcast", 20).await;
    let first_dispatches = dispatches(world.worker()).await;
    match second.as_mut().filter(|_| !first_dispatches) {
        Some(second) => second.kill9(),
        None => world.worker_mut().kill9(),
    }
    let killed = Instant::now();
    if second.is_none() {
        world.worker_mut().start_again();
        world.worker_mut().wait_ready().await;
    }
    wait_until("each chat has it", LONG * 2, || by_chat(&sent(&world, "broadcast")).len() == 100).await;
    let sent = sent(&world, "broadcast");
    for (chat, count) in by_chat(&sent).into_iter().filter(|(_, count)| *count > 1) {
        // The kill fell between Telegram's answer and its record: no other may come twice.
        let first = sent.iter().find(|call| call.chat() == Some(chat)).unwrap().at;
        assert!(count == 2 && first + SECOND > killed, "{chat} had it {count} times");
    }
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
