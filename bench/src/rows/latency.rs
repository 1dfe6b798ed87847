//! Latencies by an open loop, at half of what the ingress takes at 100 connections: the webhook's, and those of a bare
//! ingress and of a bare confirmed publish at the same rate.

use std::time::Duration;

use crate::figures::Results;
use crate::goals::{BARE_INGRESS, LAPIN, OURS};
use crate::load::{Latencies, Target};
use crate::machine::listening;
use crate::ours::{Parts, bare_ingress};
use crate::rows::{PREFIX, World};

/// So many requests can be under way; far more than are at this rate.
const MOST: u64 = 256;

pub async fn measure(world: &World, results: &mut Results) {
    let parts = Parts::ingress_alone(world, PREFIX, world.options.partitions).await;
    let full = match results.spread("ingress, 100 connections", OURS) {
        Some(spread) => spread.median,
        None => parts.target().throughput(100, world.time()).await.0,
    };
    let (rate, time) = (full / 2.0, Duration::from_millis(world.options.sized(4000)));
    results.add("latency: rate, 1/s", OURS, rate);
    parts.queues.purge().await;
    add(results, OURS, parts.target().latencies(rate, time, MOST).await);
    parts.queues.purge().await;
    let bare = listening(BARE_INGRESS, bare_ingress(world, PREFIX, world.options.partitions)).await;
    let target = Target::new(BARE_INGRESS, &bare.address());
    add(results, BARE_INGRESS, target.latencies(rate, time, MOST).await);
    parts.queues.purge().await;
    add(results, LAPIN, parts.queues.latencies(rate, time, MOST).await);
    parts.queues.purge().await;
}

fn add(results: &mut Results, who: &str, Latencies { p50, p99 }: Latencies) {
    results.add("latency p50 at half load, ms", who, p50);
    results.add("latency p99 at half load, ms", who, p99);
}
