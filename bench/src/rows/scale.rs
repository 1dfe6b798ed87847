//! What an update costs over the scale: partitions, chats, and how much waits in the queue. In CPU seconds of worker and
//! ingress per 1,000, which a busy machine changes less than rates.

use std::time::Duration;

use crate::figures::Results;
use crate::goals::OURS;
use crate::ours::Parts;
use crate::rows::World;
use crate::rows::whole::{CHATS, per_thousand, sends};
use crate::updates::Updates;

const CONNECTIONS: u64 = 64;

/// In the middle of the scale.
const PARTITIONS: u16 = 4;

/// What a backlog is compared with.
const SHORT: u64 = 5000;

pub async fn measure(world: &World, results: &mut Results) {
    for partitions in [PARTITIONS, 1, 16] {
        let name =
            if partitions == 1 { "1 partition".to_owned() } else { format!("{partitions} partitions") };
        cost(world, results, partitions, CHATS, &name).await;
    }
    for chats in [10, 100_000] {
        cost(world, results, PARTITIONS, chats, &format!("{chats} chats")).await;
    }
    backlog(world, results, SHORT, "a short backlog").await;
    backlog(world, results, world.options.backlog, "a long backlog").await;
}

async fn cost(world: &World, results: &mut Results, partitions: u16, chats: u64, name: &str) {
    let prefix = format!("scale{partitions}");
    let parts = Parts::both(world, &prefix, partitions).await;
    let (count, before) = (world.options.sized(9000), parts.cpu());
    sends(world, &parts.target(), count, chats).await;
    let after = parts.cpu();
    results.add(&format!("ingress CPU, {name}"), OURS, per_thousand(after.0 - before.0, count));
    results.add(&format!("worker CPU, {name}"), OURS, per_thousand(after.1 - before.1, count));
}

/// The worker's cost of the first updates of so many that waited before it came.
async fn backlog(world: &World, results: &mut Results, length: u64, name: &str) {
    let prefix = format!("scale{PARTITIONS}");
    let mut parts = Parts::ingress_alone(world, &prefix, PARTITIONS).await;
    parts.queues.purge().await;
    parts.target().post_all(&Updates::new(length, CHATS), length, CONNECTIONS).await;
    let before = world.sink.answered();
    parts.start_worker(world, &prefix).await;
    let (some, begun) = (world.sink.answered() - before, parts.cpu().1);
    let count = SHORT.saturating_sub(1000).min(length);
    world.sink.wait_answered("a backlog", before + count, Duration::from_secs(60)).await;
    let done = (world.sink.answered() - before).saturating_sub(some);
    results.add(&format!("worker CPU, {name}"), OURS, per_thousand(parts.cpu().1 - begun, done.max(1)));
    drop(parts.worker.take());
    parts.queues.purge().await;
}
