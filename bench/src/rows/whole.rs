//! The whole way of an update: webhook, queue, worker, Redis, service, sendMessage, ack; over 64 connections. Beside bots
//! that do the same within the request, or after a 200 that nothing stands behind. What it costs a processor, and in
//! memory, of ours only.

use std::time::{Duration, Instant};

use crate::figures::Results;
use crate::goals::{BARE, BARE_INGRESS, BARE_WORKER, EMBEDDED, OURS};
use crate::load::Target;
use crate::machine::{listening, start};
use crate::ours::{Parts, bare_ingress, bare_worker, embedded};
use crate::peers::Peer;
use crate::rows::{PREFIX, World};
use crate::updates::Updates;

const CONNECTIONS: u64 = 64;
pub const CHATS: u64 = 1000;
const ROW: &str = "whole way, sends/s";

/// How long it may take until the last of them is answered.
const PATIENCE: Duration = Duration::from_secs(60);
const PEERS_PATIENCE: Duration = Duration::from_secs(15);

pub async fn measure(world: &World, results: &mut Results) {
    ours(world, results).await;
    bare(world, results).await;
    let peers = [(Peer::Teloxide, 6000), (Peer::Grammy, 3000), (Peer::Aiogram, 1500), (Peer::FastApi, 1000)];
    for (peer, count) in peers {
        if let Some((_process, target)) = peer.start(world).await {
            let (count, before) = (world.options.sized(count), world.sink.answered());
            let updates = Updates::new(count, CHATS);
            let begun = Instant::now();
            target.post_all(&updates, count, CONNECTIONS).await;
            // What a peer loses is its own affair, and said: ours may lose none.
            world.sink.all_answered(before + count, PEERS_PATIENCE).await;
            let answered = world.sink.answered() - before;
            let seconds = world.sink.last().duration_since(begun).as_secs_f64();
            results.add(ROW, peer.name(), answered as f64 / seconds);
            results.add("whole way, updates without a message", peer.name(), (count - answered) as f64);
        }
    }
    let (gateway, _) = start(embedded(world)).await;
    let target = Target::new(EMBEDDED, &gateway.address());
    results.add("memory, MB: tgw run, at rest", EMBEDDED, megabytes(gateway.memory()));
    let before = gateway.cpu_seconds();
    let count = world.options.sized(24_000);
    results.add(ROW, EMBEDDED, sends(world, &target, count, CHATS).await);
    results.add("CPU s per 1,000: tgw run", EMBEDDED, per_thousand(gateway.cpu_seconds() - before, count));
    results.add("memory, MB: tgw run, most", EMBEDDED, megabytes(gateway.most_memory()));
}

async fn ours(world: &World, results: &mut Results) {
    let parts = Parts::both(world, PREFIX, world.options.partitions).await;
    let worker = parts.worker.as_ref().expect("it was just started");
    results.add("memory, MB: ingress, at rest", OURS, megabytes(parts.ingress.memory()));
    results.add("memory, MB: worker, at rest", OURS, megabytes(worker.memory()));
    let (count, before, servers) = (world.options.sized(18_000), parts.cpu(), world.servers_cpu());
    results.add(ROW, OURS, sends(world, &parts.target(), count, CHATS).await);
    let (after, servers_after) = (parts.cpu(), world.servers_cpu());
    let broker = per_thousand(servers_after.0 - servers.0, count);
    results.add("CPU s per 1,000: RabbitMQ", OURS, broker);
    results.add("CPU s per 1,000: Redis", OURS, per_thousand(servers_after.1 - servers.1, count));
    results.add("CPU s per 1,000: ingress", OURS, per_thousand(after.0 - before.0, count));
    results.add("CPU s per 1,000: worker", OURS, per_thousand(after.1 - before.1, count));
    results.add("memory, MB: ingress, most", OURS, megabytes(parts.ingress.most_memory()));
    results.add("memory, MB: worker, most", OURS, megabytes(worker.most_memory()));
}

/// The same with an ingress and a worker that do no more than they must: what is left to gain.
async fn bare(world: &World, results: &mut Results) {
    // It has declared the queues.
    let parts = Parts::ingress_alone(world, PREFIX, world.options.partitions).await;
    parts.queues.purge().await;
    let ingress = listening(BARE_INGRESS, bare_ingress(world, PREFIX, world.options.partitions)).await;
    let worker = listening(BARE_WORKER, bare_worker(world, PREFIX, world.options.partitions)).await;
    let target = Target::new(BARE, &ingress.address());
    let (count, before) = (world.options.sized(18_000), (ingress.cpu_seconds(), worker.cpu_seconds()));
    results.add(ROW, BARE, sends(world, &target, count, CHATS).await);
    let (ingress, worker) = (ingress.cpu_seconds() - before.0, worker.cpu_seconds() - before.1);
    results.add("CPU s per 1,000: ingress", BARE_INGRESS, per_thousand(ingress, count));
    results.add("CPU s per 1,000: worker", BARE_WORKER, per_thousand(worker, count));
}

/// Messages a second, from the first update to the last message; each update got its message, and none two. A tenth
/// as many go before, so that connections are made and caches warm: they count in costs and not in rates.
pub async fn sends(world: &World, target: &Target, count: u64, chats: u64) -> f64 {
    let sink = &world.sink;
    let twice = sink.twice();
    let warm = Updates::new(count / 10, chats);
    let before = sink.answered();
    target.post_all(&warm, count / 10, CONNECTIONS).await;
    sink.wait_answered(&target.who, before + count / 10, PATIENCE).await;
    let updates = Updates::new(count - count / 10, chats);
    let begun = Instant::now();
    target.post_all(&updates, count - count / 10, CONNECTIONS).await;
    sink.wait_answered(&target.who, before + count, PATIENCE).await;
    assert_eq!(sink.twice(), twice, "{}: a message went out twice", target.who);
    (count - count / 10) as f64 / sink.last().duration_since(begun).as_secs_f64()
}

pub fn per_thousand(seconds: f64, updates: u64) -> f64 {
    seconds * 1000.0 / updates as f64
}

/// The kernel counts in MiB.
fn megabytes(mebibytes: f64) -> f64 {
    mebibytes * 1.048_576
}
