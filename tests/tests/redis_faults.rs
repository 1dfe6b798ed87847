//! Redis away, slow, restarted empty, failing over: updates go on, nothing is lost, and no update waits on
//! a dead Redis more than once in a breaker's period (contract 9, invariant I9).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use harness::{
    Answer, Direction, Gate, LONG, Proxy, Redis, Update, World, introduce, pause, say, under_load,
    until_known, wait_for,
};
use serde_json::{Value, json};

/// How long Redis is left alone after a failed call.
const REST: Duration = Duration::from_secs(1);

const FAILURES: &str = "tgw_store_failures_total";

async fn world_on(redis: &Redis) -> (World, Proxy) {
    let proxy = Proxy::to(redis.address()).await;
    let world = World::distributed().redis(&proxy.before(redis.url(), redis.address())).await;
    (world, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_update_waits_on_a_redis_that_hangs_more_than_once_in_a_breakers_period() {
    let mut redis = Redis::private().await;
    let (world, _proxy) = world_on(&redis).await;
    let user = world.user();
    say(&world, user, "with Redis").await;
    world.telegram.wait_texts(user, 1).await;

    redis.freeze();
    let failed_before = world.metric(FAILURES, &[]).await;
    let begun = Instant::now();
    let texts = 60;
    for n in 0..texts {
        world.accept(&Update::text(user, &format!("{n}"))).await;
    }
    // Each has three steps that ask Redis; one chat's updates wait for each other, so all waits would add up.
    world.telegram.wait_texts(user, texts + 1).await;
    let took = begun.elapsed();
    let failed = world.metric(FAILURES, &[]).await - failed_before;
    let periods = (took.as_secs_f64() / REST.as_secs_f64()).ceil() + 1.0;
    // In each period one of the chat, or an end and the beginning behind it at once; and the worker's own look at Redis. The
    // period after the last is for the third.
    assert!(failed <= 2.0 * periods, "{failed} calls waited in {took:?}");
    assert_eq!(world.telegram.sent(user).len(), texts + 1, "nothing is sent twice");
    world.assert_no_dead_letters().await;
    redis.thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_twice_is_handled_once_though_its_end_could_not_be_kept() {
    let mut redis = Redis::private().await;
    let (world, _proxy) = world_on(&redis).await;
    let (user, gate) = (world.user(), Gate::default());
    world.telegram.script("sendMessage", 1, gate.holds(Answer::Json(json!({"ok": true, "result": {}}))));
    let once = Update::text(user, "once");
    for update in [&once, &once, &Update::text(user, "last")] {
        world.accept(update).await;
    }
    world.wait_metric("tgw_partition_updates", &[("state", "in_hand")], 3.0).await;
    gate.wait_for(1).await;
    redis.freeze();
    gate.open();
    world.telegram.wait_texts(user, 2).await;
    let asked: Vec<Value> = world.conversation.bodies();
    assert_eq!(asked.iter().map(|body| &body["message"]).collect::<Vec<_>>(), ["once", "last"]);
    redis.thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_slow_is_still_asked() {
    let redis = Redis::private().await;
    let (world, proxy) = world_on(&redis).await;
    let user = world.user();
    introduce(&world, user, "internal-1").await;
    proxy.delay(Direction::Back, Duration::from_millis(80));
    for n in 0..5 {
        assert_eq!(say(&world, user, &format!("{n}")).await["user_id"], "internal-1");
    }
    // Slower than a call may take: it is away, and nothing stops.
    proxy.delay(Direction::Back, Duration::from_millis(400));
    wait_for("Redis counts as away", LONG, || async {
        (say(&world, user, "too slow").await["user_id"] == Value::Null).then_some(())
    })
    .await;
    proxy.delay(Direction::Back, Duration::ZERO);
    until_known(&world, user, "internal-1").await;
    world.assert_no_dead_letters().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_restarted_empty_under_load_loses_and_repeats_nothing() {
    let mut redis = Redis::private().await;
    let (world, _proxy) = world_on(&redis).await;
    let user = world.user();
    introduce(&world, user, "internal-2").await;
    let repeated = under_load(&world, async || redis.restart_empty().await).await;
    // The worker knows what it has in hand, so what Redis forgot is not missed until a worker dies.
    assert_eq!(repeated, (0, 0));
    until_known(&world, user, &format!("user_{user}")).await;
}

/// It answers each read and each `PING`, and refuses what would need memory (`noeviction`): then it keeps nothing, and is
/// done without.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_full_loses_and_repeats_nothing_and_is_used_again_when_it_has_room() {
    let redis = Redis::private().await;
    let (world, _proxy) = world_on(&redis).await;
    let user = world.user();
    introduce(&world, user, "internal-5").await;
    let room = async |bytes: &str| redis.order(&["CONFIG", "SET", "maxmemory", bytes]).await;
    let failed_before = world.metric(FAILURES, &[]).await;
    let repeated = under_load(&world, async || {
        room("1").await;
        wait_for("a call is refused", LONG, || async {
            (world.metric(FAILURES, &[]).await > failed_before).then_some(())
        })
        .await;
    })
    .await;
    assert_eq!(repeated, (0, 0));
    assert_eq!(say(&world, user, "do you know me?").await["user_id"], Value::Null);
    room("0").await;
    until_known(&world, user, "internal-5").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_after_redis_forgot_repeats_at_most_what_it_had_in_hand() {
    let mut redis = Redis::private().await;
    let (mut world, _proxy) = world_on(&redis).await;
    world.conversation.answer(Answer::text("ok").after(Duration::from_millis(150)));
    let chats: Vec<i64> = (0..60).map(|_| world.user()).collect();
    for chat in &chats {
        world.accept(&Update::text(*chat, "hello")).await;
    }
    redis.restart_empty().await;
    world.conversation.wait_for(60).await;
    let answered = || world.telegram.calls_of("sendMessage").len();
    let in_hand = 60 - answered();
    world.worker_mut().kill9();
    world.worker_mut().start_again();
    for chat in &chats {
        world.telegram.wait_texts(*chat, 1).await;
    }
    world.worker_mut().wait_ready().await;
    world.assert_no_dead_letters().await;
    // Those that were answered and not yet acked are in hand too.
    assert!(world.telegram.calls_of("sendMessage").len() <= 60 + in_hand + 60 / 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_is_followed_though_the_old_master_still_answers() {
    let (old, new) = (Redis::private().await, Redis::private().await);
    let (world, proxy) = world_on(&old).await;
    let user = world.user();
    introduce(&world, user, "internal-3").await;
    new.follow(&old).await;

    let (lost, asked) = under_load(&world, async || {
        // The new master has all but what comes now; the old one becomes its replica, and keeps its
        // connections: it answers every write with READONLY, and every PING.
        new.promote().await;
        proxy.lead_to(new.address());
        old.follow(&new).await;
    })
    .await;
    assert_eq!((lost, asked), (0, 0), "nothing is answered twice, no service is asked twice");
    until_known(&world, user, "internal-3").await;
    // It stays so: the worker has found the new master, and is not told to go away every second.
    let failures = world.metric(FAILURES, &[]).await;
    for n in 0..5 {
        pause(Duration::from_millis(500)).await;
        assert_eq!(say(&world, user, &format!("{n}")).await["user_id"], "internal-3");
    }
    let more = world.metric(FAILURES, &[]).await - failures;
    assert!(more < 1.0, "{more} calls failed after the fail-over");
}

/// The broker's count of returns is all that is known of an update then, and the first of a partition is looked at by itself.
#[tokio::test(flavor = "multi_thread")]
async fn without_redis_a_worker_that_takes_less_than_came_back_keeps_the_order() {
    const TEXTS: usize = 100;
    let redis = Redis::shared().await;
    let proxy = Proxy::to(redis.address()).await;
    proxy.cut();
    let world = World::distributed().redis(&proxy.before(redis.url(), redis.address())).set("PARTITIONS", 1);
    let mut world = world.set("CONVERSATION_SERVICE_TIMEOUT", 60).set("CONCURRENCY", 256).await;
    world.conversation.answer(Answer::Hang);
    let user = world.user();
    let due: Vec<String> = (0..TEXTS).map(|n| format!("echo: {n}")).collect();
    for n in 0..TEXTS {
        world.accept(&Update::text(user, &n.to_string())).await;
    }
    world.wait_metric("tgw_partition_updates", &[("state", "in_hand")], TEXTS as f64).await;
    world.worker_mut().kill9();
    world.conversation.echo();
    world.set("CONCURRENCY", 64);
    let _second = world.add_worker().await;
    assert_eq!(world.telegram.wait_texts(user, TEXTS).await, due);
}
