//! Invariant I5: memory does not grow with the backlog, with the chats seen, or with what a client sends.
//! Real processes, measured as the kernel sees them.
//!
//! By default at a size that a busy machine does in seconds. `TGW_TEST_FULL=1 tests/run bounds` takes the
//! full numbers: a backlog of 1,000,000 updates, 200,000 chats, 1,000 connections with 1 MiB each. That is
//! a matter of a quarter of an hour, and for the binaries of a release: `cargo build --release --workspace`,
//! then `TGW_TEST_FULL=1 cargo test --release --workspace --test bounds -- --test-threads=1 --nocapture`
//! (it starts its own brokers), which also prints what was measured.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::ops::Range;
use std::time::{Duration, Instant};

use harness::{
    Answer, Flood, LONG, Process, Update, World, allow_many_connections, post_to, wait_for, wait_until,
};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

const MIB: usize = 1024 * 1024;

/// So large is an update of a backlog: in the usual size a few thousand have to show.
fn bytes() -> usize {
    size(4000, 500)
}

/// One of two sizes: for every run, or for the full numbers.
fn size(usual: usize, full: usize) -> usize {
    if std::env::var_os("TGW_TEST_FULL").is_some() { full } else { usual }
}

fn patience() -> Duration {
    Duration::from_secs(size(60, 1200) as u64)
}

/// Updates of so many bytes, a chat each, that no route takes: they cost the queue and the worker, and
/// nobody else.
fn unrouted(chats: Range<usize>, bytes: usize) -> impl Iterator<Item = Update> + Send + 'static {
    chats.map(move |user| {
        let chat = json!({"id": user, "type": "private"});
        Update::of_kind("brand_new", json!({"chat": chat, "from": {"id": user}, "note": "x".repeat(bytes)}))
    })
}

async fn wait_ended(process: &Process, outcome: &str, count: usize) {
    let what = format!("{count} updates ended as {outcome}");
    wait_for(&what, patience(), || async {
        let ended = process.metrics().await.sum("tgw_updates_total", &[("outcome", outcome)]);
        (ended >= count as f64).then_some(())
    })
    .await;
}

/// The same process with less and then with more to bear. What it has in memory anyway (buffers, caches
/// that fill up, pages that the allocator keeps) may differ by so many MiB.
#[track_caller]
fn assert_flat(what: &str, before: f64, after: f64, margin: f64) {
    println!("{what}: {before:.0} MiB, then {after:.0} MiB");
    assert!(after - before < margin, "{what}: {before:.0} MiB grew to {after:.0} MiB");
}

/// An update of a MiB, less what is around the padding.
fn huge(user: usize, padding: &str) -> Vec<u8> {
    let update = Update::of_kind("brand_new", json!({"chat": {"id": user}, "padding": "PADDING"}));
    String::from_utf8(update.bytes()).unwrap().replace("PADDING", padding).into_bytes()
}

/// A MiB comes in on each of so many connections. An ingress has `base` MiB at the most, and its buffers of
/// each connection.
async fn pour_huge(world: &World, connections: usize, base: f64) {
    let padding: &'static str = "x".repeat(MIB - 200).leak();
    let flood = Flood::of(world);
    let (idle, begun) = (world.ingress.memory(), Instant::now());
    let mut tasks = JoinSet::new();
    for user in 0..connections {
        let flood = flood.clone();
        // All are connected before any sends.
        let mut stream = Some(flood.connect().await);
        tasks.spawn(async move { flood.post_until_taken(&mut stream, &huge(user, padding)).await });
    }
    let mut refused = 0;
    while let Some(ended) = tasks.join_next().await {
        refused += ended.unwrap();
    }
    let (most, took) = (world.ingress.most_memory(), begun.elapsed());
    println!("{connections} x 1 MiB: idle {idle:.0} MiB, most {most:.0} MiB; {refused} refusals, {took:.1?}");
    let bound = base + 0.1 * connections as f64;
    assert!(most < bound, "{most:.0} MiB, and not under {bound:.0}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mib_on_each_of_many_connections_costs_a_part_of_it_before_a_broker() {
    allow_many_connections();
    let world = World::distributed().without_worker().set("ACCEPT_DEADLINE", 30).await;
    // Idle it has 25, and then the room for bodies twice (the broker's client has copies), and 0.4 for each of
    // the hundred that may wait.
    pour_huge(&world, size(200, 1000), 125.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mib_on_each_of_many_connections_costs_a_part_of_it_before_a_file() {
    allow_many_connections();
    let world = World::embedded().without_waiting().set("ACCEPT_DEADLINE", 30).await;
    // So they stay in the file, and only the ingress is measured.
    world.telegram.refuse_token(true);
    world.ingress.wait_ready_is(503).await;
    // The file's cache and what is being written come on top.
    pour_huge(&world, size(120, 1000), 160.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_updates_that_wait_for_a_service_are_not_all_in_memory() {
    let world = World::embedded().set("ACCEPT_DEADLINE", 30).set("CONVERSATION_SERVICE_TIMEOUT", 600).await;
    world.conversation.answer(Answer::Hang);
    let padding = "x".repeat(MIB - 1000);
    let count = size(250, 1000);
    for _ in 0..count {
        let update = Update::text(world.user(), "hello").set("/message/padding", json!(padding));
        world.accept(&update).await;
    }
    // As many are asked about as have room.
    world.conversation.wait_for(50).await;
    let (most, asked) = (world.ingress.most_memory(), world.conversation.count());
    println!("{count} x 1 MiB for a service that hangs: {asked} in hand, most {most:.0} MiB");
    assert!(asked < 70 && most < 250.0, "{asked} in hand, {most:.0} MiB");
}

/// Clients that send a byte a second until told to stop: `first` bytes at once, of an announced MiB.
async fn slow_clients(flood: &Flood, count: usize, first: usize) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for _ in 0..count {
        let mut stream = flood.connect().await;
        stream.write_all(flood.head(MIB).as_bytes()).await.unwrap();
        stream.write_all(&vec![b' '; first]).await.unwrap();
        clients.spawn(async move {
            // Until the gateway has had enough of it.
            while stream.write_all(b" ").await.is_ok() {
                harness::pause(Duration::from_secs(1)).await;
            }
        });
    }
    clients
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_byte_a_second_hold_up_nobody_else() {
    allow_many_connections();
    let world = World::embedded().await;
    let idle = world.ingress.memory();
    let flood = Flood::of(&world);
    let stranger = Flood::to(&world.ingress, "wrong");
    let count = size(200, 700);
    let mut clients = vec![
        slow_clients(&flood, count, 1).await,
        slow_clients(&stranger, count, 1).await,
        // These come as far as to fill the room for large bodies.
        slow_clients(&flood, 100, 20 * 1024).await,
        slow_clients(&stranger, 100, 20 * 1024).await,
    ];
    let users: Vec<i64> = (0..20).map(|_| world.user()).collect();
    for user in &users {
        let posted = post_to(&world.ingress, Some(&world.secret), Update::text(*user, "hi").bytes()).await;
        assert_eq!(posted.status, 200);
    }
    for user in &users {
        world.telegram.wait_texts(*user, 1).await;
    }
    // Their time is over after ten seconds, and with it the room is free for a large body.
    let large = huge(7, &"x".repeat(MIB - 200));
    let mut stream = None;
    flood.post_until_taken(&mut stream, &large).await;
    for clients in &mut clients {
        clients.abort_all();
    }
    let connections = (2 * count + 200) as f64;
    assert_flat("slow clients", idle, world.ingress.most_memory(), 15.0 + 0.06 * connections);
}

/// The memory when it grows no more: what is in hand goes on to its service a second later where the store was late.
async fn settled(process: &Process) -> f64 {
    let mut memory = process.memory();
    loop {
        harness::pause(Duration::from_millis(1500)).await;
        let then = std::mem::replace(&mut memory, process.memory());
        if memory - then < 0.5 {
            return memory;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_never_answers_holds_a_bounded_part_of_what_waits_for_it() {
    let world = World::distributed().set("CONVERSATION_SERVICE_TIMEOUT", 300).await;
    world.conversation.answer(Answer::Hang);
    let flood = Flood::of(&world);
    let texts = |from: usize, count: usize| {
        (from..from + count).map(|user| Update::text(i64::try_from(user).unwrap(), &"x".repeat(300)))
    };
    let (usual, more) = (1500, size(4000, 100_000));
    flood.post_all(texts(0, usual), 16).await;
    // What a service may be asked at once, by default.
    wait_until("the service is asked as often as it may be", LONG, || world.conversation.count() >= 512)
        .await;
    // As many as the worker takes: 256 of each partition.
    world.wait_metric("tgw_partition_updates", &[("state", "in_hand")], 1024.0).await;
    let before = settled(world.worker()).await;
    flood.post_all(texts(usual, more), 16).await;
    assert_flat("a service that hangs", before, world.worker().memory(), 5.0);
    assert_eq!(world.conversation.count(), 512, "in hand at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_whose_service_never_answers_holds_up_no_other_partition() {
    let world = World::distributed().set("CONVERSATION_SERVICE_TIMEOUT", 300).await;
    let stuck = world.user();
    world.conversation.answer_with(move |request| match request.body()["telegram_user_id"] == stuck {
        true => Answer::Hang,
        false => Answer::text("ok"),
    });
    let flood = Flood::of(&world);
    flood.post_all((0..2000).map(move |_| Update::text(stuck, "hello?")), 8).await;
    world.conversation.wait_for(1).await;
    let others: Vec<i64> = (0..40).map(|_| world.user()).collect();
    for user in &others {
        world.accept(&Update::text(*user, "and me?")).await;
    }
    // Of four partitions it has one; of 40 chats about 30 are elsewhere.
    let answered = || others.iter().filter(|user| !world.telegram.sent(**user).is_empty()).count();
    wait_until("the chats of other partitions are answered", LONG, || answered() >= 20).await;
    assert!(world.telegram.sent(stuck).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn chats_that_were_seen_cost_nothing() {
    let world = World::embedded().await;
    let flood = Flood::of(&world);
    let (few, many) = (size(2_000, 20_000), size(12_000, 200_000));
    flood.post_all(unrouted(0..few, 300), 16).await;
    wait_ended(&world.ingress, "no_route", few).await;
    let before = world.ingress.memory();
    flood.post_all(unrouted(few..many, 300), 16).await;
    wait_ended(&world.ingress, "no_route", many).await;
    // The file's cache has 8 MiB once it is full, and the worker remembers its last 100,000 updates with
    // some 10. Full, both are from 100,000 chats on.
    assert_flat("chats seen", before, world.ingress.memory(), size(12, 50) as f64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_at_the_broker_costs_neither_ingress_nor_worker() {
    let mut world = World::distributed().without_worker().await;
    let flood = Flood::of(&world);
    let (few, many) = (size(1_500, 100_000), size(7_000, 1_000_000));
    flood.post_all(unrouted(0..few, bytes()), 32).await;
    let ingress = world.ingress.memory();
    let worker = world.add_worker().await;
    wait_ended(&worker, "no_route", few).await;
    let little = worker.most_memory();
    drop(worker);

    flood.post_all(unrouted(0..many, bytes()), 32).await;
    assert_flat("an ingress before a backlog", ingress, world.ingress.memory(), 10.0);
    world.worker = Some(world.add_worker().await);
    wait_ended(world.worker(), "no_route", many).await;
    assert_flat("a worker behind a backlog", little, world.worker().most_memory(), 20.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_in_the_file_costs_its_cache_and_no_more() {
    let mut world = World::embedded().without_waiting().await;
    world.telegram.refuse_token(true);
    world.ingress.wait_ready_is(503).await;
    let flood = Flood::of(&world);
    let (few, many) = (size(5_000, 100_000), size(11_000, 1_000_000));
    flood.post_all(unrouted(0..few, bytes()), 32).await;
    let before = world.ingress.memory();
    flood.post_all(unrouted(few..many, bytes()), 32).await;
    assert_flat("a backlog in the file", before, world.ingress.memory(), 15.0);

    // The next process finds it, and works it off.
    world.ingress.kill9();
    world.ingress.start_again();
    // Before it listens it reads all of the file, to see that it is whole.
    wait_for("it listens", patience(), || async { world.ingress.answers().await.then_some(()) }).await;
    assert_flat("a backlog that was found", before, world.ingress.most_memory(), 50.0);
    world.telegram.refuse_token(false);
    wait_ended(&world.ingress, "no_route", many).await;
    // Up to 1024 updates are in hand now, and the last 100,000 remembered: the same for 300,000 as for a million.
    assert_flat("a backlog that was worked off", before, world.ingress.most_memory(), size(90, 130) as f64);
}
