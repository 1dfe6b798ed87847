//! What an update costs over the scale: partitions, chats, and how much waits in the queue. In CPU seconds of worker and
//! ingress per 1,000, which a busy machine changes less than rates.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use crate::figures::Results;
use crate::goals::{BARE_INGRESS, OURS};
use crate::ours::{Bare, Parts};
use crate::rows::World;
use crate::rows::whole::{CHATS, per_thousand, sends, warm_up};
use crate::updates::Updates;

const CONNECTIONS: u64 = 64;

/// In the middle of the scale.
const PARTITIONS: u16 = 4;

/// What a backlog is compared with, and how many of one are taken in a turn.
const SHORT: u64 = 10_000;
const TAKEN: u64 = 4000;

/// In so many parts each point of the scale takes its turns within a round, so that a better moment of the machine is
/// everybody's: a point takes less than two seconds, and the machine's speed changes within ten.
const LAPS: u64 = 6;

/// Likewise of the two backlogs, for each of which a worker comes and goes.
const BACKLOG_LAPS: u32 = 4;

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
    Bare(Bare),
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
            Self::Bare(bare) => {
                let prefix =
                    format!("bare{}{}", bare.at_once, if bare.keeps_records { "records" } else { "" });
                Parts::bare(world, &prefix, PARTITIONS, bare).await
            }
        }
    }
}

pub async fn measure(world: &World, results: &mut Results) {
    let mut points = [
        Point::new(Gateway::Ours(PARTITIONS), CHATS, "4 partitions"),
        Point::new(Gateway::Ours(1), CHATS, "1 partition"),
        Point::new(Gateway::Ours(PARTITIONS), 10, "10 chats"),
        Point::new(Gateway::Ours(16), CHATS, "16 partitions"),
        Point::new(Gateway::Ours(PARTITIONS), 100_000, "100000 chats"),
        // A bare worker knows no chats: as many updates as there are chats are on their way at once.
        Point::new(Gateway::Bare(Bare::PLAIN), CHATS, "4 partitions"),
        Point::new(Gateway::Bare(Bare { at_once: 10, ..Bare::PLAIN }), CHATS, "10 chats"),
        Point::new(Gateway::Bare(Bare::RECORDING), CHATS, "4 partitions"),
        Point::new(Gateway::Bare(Bare { at_once: 10, ..Bare::RECORDING }), CHATS, "10 chats"),
    ];
    let count = LAPS * world.options.sized(1500);
    laps(world, &mut points, count).await;
    for Point { gateway, name, cpu: (ingress, worker), .. } in points {
        let whose = match gateway {
            Gateway::Ours(_) => (Some(OURS), OURS),
            Gateway::Bare(bare) => ((!bare.keeps_records).then_some(BARE_INGRESS), bare.names().0),
        };
        // The ingress in front of a worker with records is the same one.
        if let Some(whose) = whose.0 {
            results.add(&format!("ingress CPU, {name}"), whose, per_thousand(ingress, count));
        }
        results.add(&format!("worker CPU, {name}"), whose.1, per_thousand(worker, count));
    }
    backlogs(world, results).await;
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
            warm_up(world, &parts.target(), count / LAPS, point.chats).await;
            let before = parts.cpu();
            sends(world, &parts.target(), count / LAPS, point.chats).await;
            let after = parts.cpu();
            point.cpu.0 += after.0 - before.0;
            point.cpu.1 += after.1 - before.1;
        }
        // Another comes first, and nobody twice in a row.
        points.rotate_left(1);
    }
}

/// A queue's updates that wait until a worker comes, and what that took for the first of them.
struct Backlog {
    parts: Parts,
    prefix: &'static str,
    length: u64,
    /// So many of `length` are to be posted.
    missing: u64,
    name: &'static str,
    cpu: f64,
    done: u64,
}

impl Backlog {
    async fn new(world: &World, prefix: &'static str, length: u64, name: &'static str) -> Self {
        let parts = Parts::ingress_alone(world, prefix, PARTITIONS).await;
        parts.queues.purge().await;
        Self { parts, prefix, length, missing: length, name, cpu: 0.0, done: 0 }
    }

    async fn fill(&mut self) {
        let missing = std::mem::take(&mut self.missing);
        self.parts.target().post_all(&Updates::new(missing, CHATS), missing, CONNECTIONS).await;
    }

    /// A worker comes, and goes after the first of them: what it had in hand then comes first the next time. From when it
    /// holds its partitions on, its time counts.
    async fn take_some(&mut self, world: &World) {
        let answered = || world.sink.answered();
        let before = answered();
        self.parts.start_worker(world, self.prefix).await;
        let (some, begun) = (answered() - before, self.parts.cpu().1);
        // Of a very short one some stay: one that was answered in the last turn and not acked is not answered again.
        let enough = (some + TAKEN).min(self.length / 10 * 9);
        world.sink.wait_answered("a backlog", before + enough, Duration::from_secs(60)).await;
        self.done += (answered() - before).saturating_sub(some);
        self.cpu += self.parts.cpu().1 - begun;
        self.parts.stop_worker().await;
        self.missing = answered() - before;
    }
}

/// Both by turns. The long one is filled before the first turn, which takes longer than all of them.
async fn backlogs(world: &World, results: &mut Results) {
    let mut them = [
        Backlog::new(world, "long", world.options.backlog, "a long backlog").await,
        Backlog::new(world, "short", SHORT, "a short backlog").await,
    ];
    for _ in 0..BACKLOG_LAPS {
        for backlog in &mut them {
            backlog.fill().await;
            backlog.take_some(world).await;
        }
        them.reverse();
    }
    for Backlog { parts, name, cpu, done, .. } in them {
        results.add(&format!("worker CPU, {name}"), OURS, per_thousand(cpu, done.max(1)));
        parts.queues.purge().await;
    }
}
