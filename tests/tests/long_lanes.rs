//! RabbitMQ takes a channel away from who holds an update for too long (facts R14): 30 minutes by default, and some
//! set a minute. A long lane before a slow service holds its last updates for longer than that.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::time::Duration;

use harness::{Answer, Rabbit, Update, World, wait_for};

/// In ms: the minute that some set.
const BROKERS_PATIENCE: &str = "consumer_timeout = 60000\n";

/// In ms: how often the broker looks, which is a minute too if nobody says otherwise.
const BROKERS_LOOK: &str = "application:set_env(rabbit, channel_tick_interval, 1000).";

const DEEP: usize = 200;

/// Longer than the broker waits, by as much as it takes to be sure.
const CALLS: usize = 9;
const SERVICE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_deep_lane_before_a_slow_service_loses_no_channel_and_starts_nothing_over() {
    let mut rabbit = Rabbit::stopped();
    rabbit.configure(BROKERS_PATIENCE);
    rabbit.start().await;
    rabbit.control(&["eval", BROKERS_LOOK]);
    let settings = World::distributed().rabbit(rabbit.url()).set("PARTITIONS", 1);
    let world = settings.set("CONVERSATION_SERVICE_TIMEOUT", 20).await;
    let slow = world.user();
    world.conversation.answer_with(move |request| {
        let is_slow = request.body()["telegram_user_id"].as_i64() == Some(slow);
        let answer = Answer::text(request.body()["message"].as_str().unwrap());
        if is_slow { answer.after(SERVICE) } else { answer }
    });
    for n in 0..DEEP {
        world.accept(&Update::text(slow, &n.to_string())).await;
    }
    let enough = SERVICE * u32::try_from(CALLS + 2).unwrap();
    let mut others = 0;
    wait_for("the broker's patience is over", enough, || async {
        (world.telegram.texts(slow).len() >= CALLS).then_some(())
    })
    .await;
    // Whoever writes meanwhile is answered as ever.
    for _ in 0..20 {
        let other = world.user();
        world.accept(&Update::text(other, "and me?")).await;
        assert_eq!(world.telegram.wait_texts(other, 1).await, ["and me?"]);
        others += 1;
    }
    let log = rabbit.log();
    assert!(!log.contains("timeout") && !log.contains("timed out"), "a channel was closed: {log}");
    let expected: Vec<String> = (0..world.telegram.texts(slow).len()).map(|n| n.to_string()).collect();
    assert_eq!(world.telegram.texts(slow), expected, "in order, nothing left out and nothing twice");
    let requests = world.conversation.requests();
    let keys: BTreeSet<&str> = requests.iter().filter_map(|it| it.header("idempotency-key")).collect();
    assert_eq!(keys.len(), requests.len(), "no update was started over");
    assert!(requests.len() >= others + CALLS);
}
