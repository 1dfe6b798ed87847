//! The whole way of an update: webhook, queue, worker, Redis, service, sendMessage, ack; over 64 connections. Beside bots
//! that do the same within the request, or after a 200 that nothing stands behind. What it costs a processor, and in
//! memory, of ours only.

use std::time::{Duration, Instant};

use harness::Process;

use crate::figures::Results;
use crate::goals::{BARE_INGRESS, BARE_WORKER, EMBEDDED, OURS, RECORDING_WORKER};
use crate::load::Target;
use crate::machine::start;
use crate::ours::{Bare, Parts, embedded};
use crate::peers::Peer;
use crate::rows::{PREFIX, World};
use crate::updates::Updates;

const CONNECTIONS: u64 = 64;
pub const CHATS: u64 = 1000;
const ROW: &str = "whole way, sends/s";

/// The bare ones' queues, and of those that keep records.
const BARE_PREFIX: &str = "bare";
const RECORDING_PREFIX: &str = "records";

/// How long it may take until the last of them is answered.
const PATIENCE: Duration = Duration::from_secs(60);
const PEERS_PATIENCE: Duration = Duration::from_secs(15);

/// In so many parts each takes its turns within a round: all of one takes about three seconds, and the machine's speed
/// changes within ten.
const LAPS: u64 = 4;

/// Who takes turns, and what was measured of them so far.
struct Contender<'a> {
    target: Target,
    /// How many updates it gets in a round.
    count: u64,
    /// What a peer loses is its own affair, and said: ours may lose none.
    may_lose: bool,
    lost: u64,
    sent: Sent,
    costs: Vec<Cost<'a>>,
}

/// A process's CPU seconds.
struct Cost<'a> {
    row: &'static str,
    who: &'static str,
    read: Box<dyn Fn() -> f64 + 'a>,
    seconds: f64,
}

/// Messages, and the time from the first update to the last of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    messages: u64,
    time: Duration,
}

impl Sent {
    fn rate(self) -> f64 {
        self.messages as f64 / self.time.as_secs_f64()
    }
}

impl<'a> Contender<'a> {
    fn ours(target: Target, count: u64, costs: Vec<Cost<'a>>) -> Self {
        Self { target, count, may_lose: false, lost: 0, sent: Sent::default(), costs }
    }

    fn peer(target: Target, count: u64) -> Self {
        Self { may_lose: true, ..Self::ours(target, count, Vec::new()) }
    }

    async fn run(&mut self, world: &World) {
        let count = self.count / LAPS;
        if !self.may_lose {
            warm_up(world, &self.target, count, CHATS).await;
        }
        let before: Vec<f64> = self.costs.iter().map(|cost| (cost.read)()).collect();
        let sent = match self.may_lose {
            true => some_sends(world, &self.target, count).await,
            false => sends(world, &self.target, count, CHATS).await,
        };
        self.lost += count - sent.messages;
        self.sent.messages += sent.messages;
        self.sent.time += sent.time;
        for (cost, before) in self.costs.iter_mut().zip(before) {
            cost.seconds += (cost.read)() - before;
        }
    }

    fn tell(&self, results: &mut Results) {
        let who = &self.target.who;
        results.add(ROW, who, self.sent.rate());
        if self.may_lose {
            results.add("whole way, updates without a message", who, self.lost as f64);
        }
        for Cost { row, who, seconds, .. } in &self.costs {
            results.add(row, who, per_thousand(*seconds, self.count / LAPS * LAPS));
        }
    }
}

impl<'a> Cost<'a> {
    fn new(row: &'static str, who: &'static str, read: impl Fn() -> f64 + 'a) -> Self {
        Self { row, who, read: Box::new(read), seconds: 0.0 }
    }

    fn of(process: &'a Process, row: &'static str, who: &'static str) -> Self {
        Self::new(row, who, || process.cpu_seconds())
    }
}

/// All run meanwhile, one with work and the others without.
pub async fn measure(world: &World, results: &mut Results) {
    let parts = Parts::both(world, PREFIX, world.options.partitions).await;
    let worker = parts.worker.as_ref().expect("it was just started");
    results.add("memory, MB: ingress, at rest", OURS, megabytes(parts.ingress.memory()));
    results.add("memory, MB: worker, at rest", OURS, megabytes(worker.memory()));
    // What is left to gain.
    let bare = Parts::bare(world, BARE_PREFIX, world.options.partitions, Bare::PLAIN).await;
    let bare_worker = bare.worker.as_ref().expect("it was just started");
    let recording = Parts::bare(world, RECORDING_PREFIX, world.options.partitions, Bare::RECORDING).await;
    let recording_worker = recording.worker.as_ref().expect("it was just started");
    let (gateway, _) = start(embedded(world)).await;
    results.add("memory, MB: tgw run, at rest", EMBEDDED, megabytes(gateway.memory()));

    let sized = |count| world.options.sized(count);
    let embedded = Target::new(EMBEDDED, &gateway.address());
    let bare_costs = vec![
        Cost::of(&bare.ingress, "CPU s per 1,000: ingress", BARE_INGRESS),
        Cost::of(bare_worker, "CPU s per 1,000: worker", BARE_WORKER),
    ];
    let recording_costs = vec![Cost::of(recording_worker, "CPU s per 1,000: worker", RECORDING_WORKER)];
    let embedded_costs = vec![Cost::of(&gateway, "CPU s per 1,000: tgw run", EMBEDDED)];
    let mut contenders = vec![
        Contender::ours(parts.target(), sized(18_000), costs(world, &parts.ingress, worker)),
        Contender::ours(bare.target(), sized(18_000), bare_costs),
        Contender::ours(recording.target(), sized(18_000), recording_costs),
        Contender::ours(embedded, sized(24_000), embedded_costs),
    ];
    let mut processes = Vec::new();
    let peers = [(Peer::Teloxide, 6000), (Peer::Grammy, 3000), (Peer::Aiogram, 1500), (Peer::FastApi, 1000)];
    for (peer, count) in peers {
        if let Some((process, target)) = peer.start(world).await {
            processes.push(process);
            contenders.push(Contender::peer(target, sized(count)));
        }
    }
    for _ in 0..LAPS {
        for contender in &mut contenders {
            contender.run(world).await;
        }
        // Another comes first, and nobody twice in a row.
        contenders.rotate_left(1);
    }
    contenders.iter().for_each(|contender| contender.tell(results));
    results.add("memory, MB: ingress, most", OURS, megabytes(parts.ingress.most_memory()));
    results.add("memory, MB: worker, most", OURS, megabytes(worker.most_memory()));
    results.add("memory, MB: tgw run, most", EMBEDDED, megabytes(gateway.most_memory()));
}

fn costs<'a>(world: &'a World, ingress: &'a Process, worker: &'a Process) -> Vec<Cost<'a>> {
    vec![
        Cost::new("CPU s per 1,000: RabbitMQ", OURS, || world.servers_cpu().0),
        Cost::new("CPU s per 1,000: Redis", OURS, || world.servers_cpu().1),
        Cost::of(ingress, "CPU s per 1,000: ingress", OURS),
        Cost::of(worker, "CPU s per 1,000: worker", OURS),
    ]
}

/// Before so many a fifth as many go, and are not counted, so that whoever rested for less since its last turn does not seem
/// cheaper by that.
pub async fn warm_up(world: &World, target: &Target, count: u64, chats: u64) {
    sends(world, target, count / 5, chats).await;
}

/// Each update gets its message, and none two.
pub async fn sends(world: &World, target: &Target, count: u64, chats: u64) -> Sent {
    let sink = &world.sink;
    let (twice, before) = (sink.twice(), sink.answered());
    let (updates, begun) = (Updates::new(count, chats), Instant::now());
    target.post_all(&updates, count, CONNECTIONS).await;
    sink.wait_answered(&target.who, before + count, PATIENCE).await;
    assert_eq!(sink.twice(), twice, "{}: a message went out twice", target.who);
    Sent { messages: count, time: sink.last().duration_since(begun) }
}

/// As many of a peer's as come.
async fn some_sends(world: &World, target: &Target, count: u64) -> Sent {
    let (updates, before, begun) = (Updates::new(count, CHATS), world.sink.answered(), Instant::now());
    target.post_all(&updates, count, CONNECTIONS).await;
    world.sink.all_answered(before + count, PEERS_PATIENCE).await;
    let messages = world.sink.answered() - before;
    Sent { messages, time: world.sink.last().duration_since(begun) }
}

pub fn per_thousand(seconds: f64, updates: u64) -> f64 {
    seconds * 1000.0 / updates as f64
}

/// The kernel counts in MiB.
fn megabytes(mebibytes: f64) -> f64 {
    mebibytes * 1.048_576
}
