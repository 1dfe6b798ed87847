//! Contract 3.2: the session, and what goes on without Redis (invariant I9).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use harness::{Answer, Proxy, Redis, Update, World, WorldBuilder, over_both_worlds, pause};
use serde_json::{Value, json};

over_both_worlds!(
    a_user_is_known_by_their_number_until_a_service_says_otherwise,
    a_session_lives_as_long_as_updates_renew_it,
);

async fn say(world: &World, user: i64, text: &str) -> Value {
    let before = world.conversation.count();
    world.accept(&Update::text(user, text)).await;
    world.conversation.wait_for(before + 1).await[before].body()
}

fn named(user_id: &str) -> Answer {
    Answer::Json(json!({"type": "text", "content": "hello", "user_id": user_id}))
}

async fn a_user_is_known_by_their_number_until_a_service_says_otherwise(world: WorldBuilder) {
    let world = world.await;
    let (user, other) = (world.user(), world.user());
    world.conversation.answer_first([named("internal-7")]);
    assert_eq!(say(&world, user, "one").await["user_id"], format!("user_{user}"));
    world.telegram.wait_texts(user, 1).await;
    assert_eq!(say(&world, user, "two").await["user_id"], "internal-7");
    assert_eq!(say(&world, user, "three").await["user_id"], "internal-7");
    assert_eq!(say(&world, other, "one").await["user_id"], format!("user_{other}"));

    // The other services get the same.
    world.accept(&Update::callback(user, "ACCEPT:42")).await;
    assert_eq!(world.matching.wait_for(1).await[0].body()["user_id"], "internal-7");
}

async fn a_session_lives_as_long_as_updates_renew_it(world: WorldBuilder) {
    let world = world.set("SESSION_TTL", 3).await;
    let user = world.user();
    world.conversation.answer_first([named("internal-8")]);
    say(&world, user, "at 0 s").await;
    for _ in 0..3 {
        pause(Duration::from_millis(1500)).await;
        assert_eq!(say(&world, user, "again").await["user_id"], "internal-8");
    }
    pause(Duration::from_millis(4500)).await;
    assert_eq!(say(&world, user, "much later").await["user_id"], format!("user_{user}"));
}

async fn world_behind_a_proxy() -> (World, Proxy) {
    let redis = Redis::shared().await;
    let proxy = Proxy::to(redis.address()).await;
    let world = World::distributed().redis(&proxy.before(redis.url(), redis.address())).await;
    (world, proxy)
}

async fn goes_on_without_redis(world: &World, user: i64) {
    assert_eq!(say(world, user, "without Redis").await["user_id"], Value::Null);
    assert_eq!(say(world, user, "still without").await["user_id"], Value::Null);
    let (status, body) = world.worker().ready().await;
    assert_eq!(status, 200, "a worker without Redis is ready: {body}");
    world.assert_no_dead_letters().await;
}

/// A call that failed is not repeated for a second, so the first updates after may still go without.
async fn comes_back(world: &World, user: i64, user_id: &str) {
    for _ in 0..20 {
        let body = say(world, user, "again with Redis").await;
        if body["user_id"] == user_id {
            return;
        }
        pause(Duration::from_millis(250)).await;
    }
    panic!("the session did not come back");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_updates_go_on_with_no_user_id() {
    let (world, proxy) = world_behind_a_proxy().await;
    let user = world.user();
    world.conversation.answer_first([named("internal-9")]);
    say(&world, user, "with Redis").await;
    world.telegram.wait_texts(user, 1).await;

    proxy.cut();
    goes_on_without_redis(&world, user).await;
    world.worker().wait_log("Redis is away", |line| line["level"] == "WARN").await;
    proxy.resume();
    comes_back(&world, user, "internal-9").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_holds_nothing_up() {
    let (world, proxy) = world_behind_a_proxy().await;
    let user = world.user();
    say(&world, user, "with Redis").await;
    proxy.freeze();
    let begun = std::time::Instant::now();
    goes_on_without_redis(&world, user).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "two updates took {:?}", begun.elapsed());
    proxy.resume();
    comes_back(&world, user, &format!("user_{user}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_away_at_the_start_is_no_reason_not_to_start() {
    let (redis, user) = (Redis::shared().await, 77);
    let proxy = Proxy::to(redis.address()).await;
    proxy.cut();
    let world = World::distributed().redis(&proxy.before(redis.url(), redis.address())).await;
    goes_on_without_redis(&world, user).await;
    proxy.resume();
    comes_back(&world, user, &format!("user_{user}")).await;
}
