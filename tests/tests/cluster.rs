//! Invariants I1 to I4 on a cluster of three RabbitMQ nodes, set as deployments are told to (facts R6a): the node that
//! an ingress and a worker are connected to dies, freezes or is cut off from the others. The rest goes on without it,
//! before it is back, and the books are right in the end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::Mutex as Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use harness::{
    Answer, Cluster, Crew, Fault, Figures, LATENCY, LONG, Ledger, Load, Part, Proxy, World, dead_letters,
    pause, wait_for, wait_until,
};
use tokio::sync::{Mutex, MutexGuard};

const PARTITIONS: usize = 6;

/// One update a second each.
const CHATS: usize = 60;

/// The services need long for the first update of each of these.
const SLOW_CHATS: usize = 20;

/// Accepted updates of which nothing was heard for so long are lost.
const PATIENCE: Duration = Duration::from_secs(25);

const LOOK: Duration = Duration::from_millis(50);

/// A cluster's nodes take all that the machine has when they start, so the tests take turns.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// A deployment on a cluster. The ingress and the first worker are connected to node 0, the second to node 1.
struct Field {
    cluster: Cluster,
    world: World,
    /// A balancer's ports, for each of the three.
    doors: [Proxy; 3],
    crew: Crew,
    ledger: Arc<Ledger>,
    slow: Vec<i64>,
    /// How many of the long calls have begun.
    begun: Arc<AtomicUsize>,
}

impl Field {
    /// A long call of a chat takes as long as one of its own between these.
    async fn prepare(long: (Duration, Duration)) -> Self {
        let cluster = Cluster::start().await;
        let doors = [cluster.door(0).await, cluster.door(0).await, cluster.door(1).await];
        let world = World::distributed().rabbit(&cluster.url(&doors[0])).without_worker();
        let world = world.set("PARTITIONS", PARTITIONS).set("ACCEPT_DEADLINE", "0.5");
        let world = world.set("CONVERSATION_SERVICE_TIMEOUT", 30).set("LOG_LEVEL", "warn").await;
        let ledger = Arc::new(Ledger::default());
        let slow: Vec<i64> = (0..SLOW_CHATS).map(|_| world.user()).collect();
        let begun = answer(&world, &slow, long);
        let seen = ledger.clone();
        world.telegram.watch(LATENCY, move |call| {
            if call.method == "sendMessage" {
                seen.sent(call.chat().unwrap_or_default(), call.text());
            }
        });
        let mut crew = Crew::default();
        for door in &doors[1..] {
            crew.living.push(cluster.add_worker(&world, door).await);
        }
        Self { cluster, world, doors, crew, ledger, slow, begun }
    }

    /// Chats talk, and shortly before something happens long calls begin, which then are under way.
    async fn talk(&self) -> Load {
        self.crew.wait_even(PARTITIONS, Instant::now(), LONG).await;
        let chats: Vec<i64> = (0..CHATS).map(|_| self.world.user()).collect();
        let (url, secret) = ([self.world.ingress.base_url()], &self.world.secret);
        let load = Load::start(&chats, Duration::from_secs(1), &url, secret, &self.ledger);
        let flows = || async { (self.ledger.progress().1 > 2 * CHATS).then_some(()) };
        wait_for("the chats are answered", LONG, flows).await;
        Load::pour(&self.slow, 2, &self.world.ingress, secret, &self.ledger).await;
        wait_until("the long calls have begun", LONG, || self.begun.load(Ordering::Relaxed) == SLOW_CHATS)
            .await;
        load
    }

    /// From now on who has to connect is led to these nodes, each of the three to one.
    fn lead_to(&self, nodes: [usize; 3]) {
        for (door, node) in self.doors.iter().zip(nodes) {
            door.lead_to(self.cluster.nodes[node].address());
        }
    }

    /// Until this worker has lost its connection, and then until no more is in hand than usual and the shares are
    /// even: without the node. The other one's connection lives, whatever it asks of the queues meanwhile.
    async fn goes_on(&self, worker: usize, since: Instant) {
        let losses = |worker: usize| {
            let lost = |line: &serde_json::Value| {
                let text = line["message"].as_str().unwrap_or_default();
                line["role"] == "broker" && text.starts_with("the connection to the broker is lost")
            };
            self.crew.living[worker].logged(lost).len()
        };
        let before = losses(1 - worker);
        // A node of RabbitMQ 4 that is to pause has been seen to take 25 s until it closed its connections.
        wait_until("a worker has lost its connection", 2 * LONG, || losses(worker) > 0).await;
        println!("{:6.1} s: worker {worker} has lost its connection", since.elapsed().as_secs_f64());
        self.is_answered(since).await;
        let took = self.crew.wait_even(PARTITIONS, since, 2 * LONG).await;
        println!("{:6.1} s: the shares are even", took.as_secs_f64());
        assert_eq!(losses(1 - worker), before, "the worker on another node has lost its connection too");
    }

    /// Until as many updates are answered as are accepted by now.
    async fn is_answered(&self, since: Instant) {
        let (all, mut before, begun) = (self.ledger.progress().0, Vec::new(), Instant::now());
        while self.ledger.progress().1 < all {
            let held = self.crew.held().await;
            if held != before {
                println!("{:6.1} s: the workers have {held:?}", since.elapsed().as_secs_f64());
                before = held;
            }
            let progress = self.ledger.progress();
            assert!(begun.elapsed() < LONG, "accepted and answered are {progress:?}, and it takes too long");
            pause(LOOK).await;
        }
        println!("{:6.1} s: all is answered", since.elapsed().as_secs_f64());
    }

    /// Ends the load; nothing in the books may be wrong.
    async fn close(self, load: Load) {
        load.stop(LONG).await;
        self.ledger.settle(PATIENCE).await;
        self.crew.all().for_each(|worker| self.ledger.note_without_store(worker));
        let letters = dead_letters(self.world.amqp_url.as_ref().unwrap(), &self.world.prefix).await;
        let dead: BTreeSet<i64> =
            letters.iter().map(|letter| letter.json()["update_id"].as_i64().unwrap()).collect();
        let figures = Figures::of(&self.ledger, dead);
        println!("{figures}");
        let trace = self.ledger.trace();
        for chat in figures.out_of_order.iter().map(|(chat, _)| format!(" {chat} ")) {
            trace.lines().filter(|line| line.contains(&chat)).for_each(|line| println!("{line}"));
        }
        let wrong = figures.wrong();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// Each answer carries a number of its own, so that two answers to one update can be told apart. Who asks again about
/// the first update of a slow chat gets an answer soon: before whoever asked first.
fn answer(world: &World, slow: &[i64], long: (Duration, Duration)) -> Arc<AtomicUsize> {
    let (nonce, begun) = (AtomicU64::new(1), Arc::new(AtomicUsize::new(0)));
    let (slow, asked, count) = (slow.to_vec(), Cell::new(HashSet::new()), begun.clone());
    world.conversation.keep_nothing();
    world.conversation.answer_with(move |request| {
        let body = request.body();
        let update: i64 = body["message"].as_str().unwrap_or_default().parse().expect("a number");
        let part = Part { update, number: 1, of: 1, nonce: nonce.fetch_add(1, Ordering::Relaxed) };
        let usual = Duration::from_millis(50 + (update * 37).unsigned_abs() % 251);
        let user = body["telegram_user_id"].as_i64().unwrap_or_default();
        let time = match slow.iter().position(|chat| *chat == user) {
            Some(n) if asked.lock().unwrap().insert(user) => {
                count.fetch_add(1, Ordering::Relaxed);
                long.0 + (long.1 - long.0) * n as u32 / SLOW_CHATS as u32
            }
            _ => usual,
        };
        Answer::text(&part.text()).after(time)
    });
    begun
}

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_queue_is_on_every_node_and_a_killed_one_is_not_missed() {
    let _turn = turn().await;
    let mut field = Field::prepare((ms(500), ms(5000))).await;
    let queues = field.cluster.queues(2);
    // Those of the partitions, of notifications, of broadcasts, and the dead letters'.
    assert_eq!(queues.len(), PARTITIONS + 3, "{queues:?}");
    assert!(queues.iter().all(|queue| queue.members == 3), "{queues:?}");
    let load = field.talk().await;

    let since = Instant::now();
    field.ledger.fault(Fault::KillBroker);
    field.lead_to([2, 2, 1]);
    field.cluster.nodes[0].kill();
    field.goes_on(0, since).await;
    field.cluster.nodes[0].start().await;
    field.cluster.wait_whole(2);

    let since = Instant::now();
    field.ledger.fault(Fault::KillBroker);
    field.lead_to([2, 2, 0]);
    field.cluster.nodes[1].kill();
    field.goes_on(1, since).await;
    field.close(load).await;
}

/// Longer than a net_ticktime, and so are the long calls: they end just before and just after others take over.
const LONG_CALLS: (Duration, Duration) = (ms(7000), ms(17_000));

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_node_is_given_up_and_nobody_hears_of_it_when_it_thaws() {
    let _turn = turn().await;
    let mut field = Field::prepare(LONG_CALLS).await;
    let load = field.talk().await;
    let since = Instant::now();
    field.lead_to([2, 2, 1]);
    field.cluster.nodes[0].freeze();
    field.goes_on(0, since).await;
    field.cluster.nodes[0].thaw();
    field.cluster.wait_seen(0, 2).await;
    field.is_answered(since).await;
    // It may stay apart from the others for good where it should pause (RabbitMQ 3.10.8), so that nobody may be led to
    // it before somebody has started it anew.
    field.cluster.nodes[0].kill();
    field.cluster.nodes[0].start().await;
    field.cluster.wait_whole(2);
    field.is_answered(since).await;
    field.close(load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_on_the_lesser_side_of_a_partition_does_nothing_that_the_others_do() {
    let _turn = turn().await;
    let mut field = Field::prepare(LONG_CALLS).await;
    let load = field.talk().await;
    let since = Instant::now();
    // A balancer asks a node's port, which answers until the node finds itself alone.
    field.lead_to([2, 2, 1]);
    field.cluster.cut_off(0);
    field.goes_on(0, since).await;
    field.cluster.join_again(0);
    field.cluster.wait_whole(2);
    field.is_answered(since).await;
    field.close(load).await;
}
