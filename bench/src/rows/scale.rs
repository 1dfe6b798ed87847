//! What an update costs over the scale: partitions, chats, and how much waits in the queue. In CPU seconds of worker and
//! ingress per 1,000, which a busy machine changes less than rates.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use crate::figures::Results;
use crate::goals::{BARE_INGRESS, BARE_WORKER, OURS};
use crate::ours::{ANY, Parts};
use crate::rows::World;
use crate::rows::whole::{CHATS, per_thousand, sends};
use crate::updates::Updates;

const CONNECTIONS: u64 = 64;

/// In the middle of the scale.
const PARTITIONS: u16 = 4;

/// What a backlog is compared with.
const SHORT: u64 = 5000;

/// In so many parts each point of the scale takes its turns within a round, so that a better moment of the machine is
/// everybody's: a point takes less than two seconds, and the machine's speed changes within ten.
const LAPS: u64 = 6;

/// A place on the scale, and the CPU seconds of its ingress and its worker until now.
struct Point {
    gateway: Gateway,
    chats: u64,
    name: &'static str,
    cpu: (f64, f64),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gateway {
    /// With so many partitions.
    Ours(u16),
    /// With so many updates on their way at once.
    Bare(usize),
}

impl Point {
    const fn new(gateway: Gateway, chats: u64, name: &'static str) -> Self {
        Self { gateway, chats, name, cpu: (0.0, 0.0) }
    }
}

impl Gateway {
    async fn start(self, world: &World) -> Parts {
        match self {
            Self::Ours(partitions) => Parts::both(world, &format!("scale{partitions}"), partitions).await,
            Self::Bare(at_once) => Parts::bare(world, &format!("bare{at_once}"), PARTITIONS, at_once).await,
        }
    }
}

pub async fn measure(world: &World, results: &mut Results) {
    let mut points = [
        Point::new(Gateway::Ours(PARTITIONS), CHATS, "4 partitions"),
        Point::new(Gateway::Ours(1), CHATS, "1 partition"),
        Point::new(Gateway::Ours(16), CHATS, "16 partitions"),
        Point::new(Gateway::Ours(PARTITIONS), 10, "10 chats"),
        Point::new(Gateway::Ours(PARTITIONS), 100_000, "100000 chats"),
        // A bare worker knows no chats: as many updates as there are chats are on their way at once.
        Point::new(Gateway::Bare(ANY), CHATS, "4 partitions"),
        Point::new(Gateway::Bare(10), CHATS, "10 chats"),
    ];
    let count = LAPS * world.options.sized(1500);
    laps(world, &mut points, count).await;
    for Point { gateway, name, cpu: (ingress, worker), .. } in points {
        let whose = match gateway {
            Gateway::Ours(_) => (OURS, OURS),
            Gateway::Bare(_) => (BARE_INGRESS, BARE_WORKER),
        };
        results.add(&format!("ingress CPU, {name}"), whose.0, per_thousand(ingress, count));
        results.add(&format!("worker CPU, {name}"), whose.1, per_thousand(worker, count));
    }
    backlog(world, results, SHORT, "a short backlog").await;
    backlog(world, results, world.options.backlog, "a long backlog").await;
}

/// `count` updates at each of the points, whose gateways all run meanwhile, one with work and the others without.
async fn laps(world: &World, points: &mut [Point], count: u64) {
    let mut gateways = BTreeMap::new();
    for &Point { gateway, .. } in points.iter() {
        if let Entry::Vacant(none) = gateways.entry(gateway) {
            none.insert(gateway.start(world).await);
        }
    }
    for _ in 0..LAPS {
        for point in points.iter_mut() {
            let parts = &gateways[&point.gateway];
            let before = parts.cpu();
            sends(world, &parts.target(), count / LAPS, point.chats).await;
            let after = parts.cpu();
            point.cpu.0 += after.0 - before.0;
            point.cpu.1 += after.1 - before.1;
        }
        // There and back, so that whoever comes first has no better place.
        points.reverse();
    }
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
