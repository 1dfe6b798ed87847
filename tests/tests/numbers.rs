//! What the metrics of a working deployment say is so: lag, leases, dead letters that wait, what Telegram says of the webhook.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use harness::{Answer, LONG, Process, Update, World, WorldBuilder, now, over_both_worlds, pause, wait_for};
use serde_json::json;
use tokio::time::Instant;

over_both_worlds!(
    lag_counts_from_the_messages_date,
    letters_that_wait_are_counted_until_somebody_sees_to_them,
    a_refused_token_is_told_and_what_is_no_longer_known_is_not,
);

/// Until a process tells this.
async fn wait_told(process: &Process, name: &str, labels: &[(&str, &str)], value: f64) {
    let end = Instant::now() + LONG;
    loop {
        let metrics = process.metrics().await;
        if metrics.count(name, labels) > 0 && (metrics.sum(name, labels) - value).abs() < 0.5 {
            return;
        }
        let told: Vec<&str> = metrics.0.lines().filter(|line| line.starts_with("tgw_")).collect();
        assert!(Instant::now() < end, "{name} {labels:?} is not {value}: {}", told.join("\n"));
        pause(Duration::from_millis(20)).await;
    }
}

async fn lag_counts_from_the_messages_date(world: WorldBuilder) {
    let world = world.await;
    world.accept(&Update::text(world.user(), "hello").date(now() - 500)).await;
    // A button's message is old, and says nothing of when it was pressed.
    world.accept(&Update::callback(world.user(), "ACCEPT:1")).await;
    wait_told(world.worker(), "tgw_update_wait_seconds_count", &[], 2.0).await;
    let metrics = world.worker().metrics().await;
    let (count, sum) =
        (metrics.sum("tgw_update_lag_seconds_count", &[]), metrics.sum("tgw_update_lag_seconds_sum", &[]));
    assert!((count - 1.0).abs() < 0.5, "{count} had a date");
    assert!((500.0..600.0).contains(&sum), "{sum} s");
    let confirmed = world.metric("tgw_ingress_confirm_seconds_count", &[("place", "queue")]).await;
    assert!((confirmed - 2.0).abs() < 0.5, "{confirmed} were confirmed by the queue");
}

async fn letters_that_wait_are_counted_until_somebody_sees_to_them(world: WorldBuilder) {
    let world = world.await;
    let waiting = "tgw_dead_letters_waiting";
    wait_told(world.worker(), waiting, &[], 0.0).await;
    for _ in 0..3 {
        world.accept(&Update::text(world.user(), "late").date(now() - 100_000)).await;
    }
    wait_told(world.worker(), waiting, &[], 3.0).await;
    let mut discard = world.command(&["dead", "discard", "--all", "--yes"]).start();
    assert_eq!(discard.wait_exit().await, 0, "{}", discard.stderr());
    wait_told(world.worker(), waiting, &[], 0.0).await;
    wait_told(world.worker(), "tgw_dead_letters_total", &[("reason", "expired")], 3.0).await;
}

async fn a_refused_token_is_told_and_what_is_no_longer_known_is_not(world: WorldBuilder) {
    let world = world.await;
    wait_told(world.worker(), "tgw_webhook_set", &[], 1.0).await;
    wait_told(world.worker(), "tgw_partitions_held", &[], 4.0).await;
    wait_told(world.worker(), "tgw_ready", &[], 1.0).await;
    world.telegram.refuse_token(true);
    world.accept(&Update::text(world.user(), "hello")).await;
    wait_told(world.worker(), "tgw_telegram_token_wrong", &[], 1.0).await;
    wait_told(world.worker(), "tgw_leases_total", &[("event", "lost")], 4.0).await;
    wait_told(world.worker(), "tgw_partitions_held", &[], 0.0).await;
    wait_told(world.worker(), "tgw_ready", &[], 0.0).await;
    wait_for("nobody tells what he does not know", LONG, || async {
        let metrics = world.worker().metrics().await;
        let known = ["tgw_webhook_set", "tgw_webhook_pending_updates", "tgw_dead_letters_waiting"];
        known.iter().all(|name| metrics.count(name, &[]) == 0).then_some(())
    })
    .await;
    world.telegram.refuse_token(false);
    wait_told(world.worker(), "tgw_telegram_token_wrong", &[], 0.0).await;
    wait_told(world.worker(), "tgw_partitions_held", &[], 4.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_at_telegram_is_told_by_one_worker() {
    let world = World::distributed().without_worker().await;
    let info = json!({"url": "", "pending_update_count": 7, "last_error_date": 1_700_000_000});
    world.telegram.script("getWebhookInfo", 1, Answer::Json(json!({"ok": true, "result": info})));
    let first = world.add_worker().await;
    wait_told(&first, "tgw_webhook_pending_updates", &[], 7.0).await;
    wait_told(&first, "tgw_webhook_last_error_timestamp_seconds", &[], 1_700_000_000.0).await;
    wait_told(&first, "tgw_webhook_set", &[], 0.0).await;
    let second = world.add_worker().await;
    wait_told(&second, "tgw_leases_total", &[("event", "taken")], 2.0).await;
    wait_told(&first, "tgw_leases_total", &[("event", "given_back")], 2.0).await;
    wait_told(&first, "tgw_leases_total", &[("event", "lost")], 0.0).await;
    for name in ["tgw_webhook_set", "tgw_dead_letters_waiting"] {
        wait_for(&format!("one of them tells {name}"), LONG, || async {
            let told = first.metrics().await.count(name, &[]) + second.metrics().await.count(name, &[]);
            (told == 1).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_spool_may_hold_is_told_beside_what_it_holds() {
    let world = World::distributed().without_broker().set("SPOOL_MAX_BYTES", "5MiB").without_worker().await;
    world.accept(&Update::text(world.user(), "hello")).await;
    wait_told(&world.ingress, "tgw_spool_limit_bytes", &[], 5.0 * 1024.0 * 1024.0).await;
    wait_told(&world.ingress, "tgw_spool_records", &[("what", "updates")], 1.0).await;
    wait_told(&world.ingress, "tgw_ingress_confirm_seconds_count", &[("place", "spool")], 1.0).await;
    wait_told(&world.ingress, "tgw_broker_up", &[], 0.0).await;
}
