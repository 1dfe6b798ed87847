//! A lane per chat: one update at a time, and nobody waits for another's (invariant I4); an idle lane costs
//! nothing; `CONCURRENCY` is what is in hand, at the services and at the broker (invariant I5).
//!
//! What "holds nobody up" means is shown by the order of events: when the others have all been answered,
//! what is in their way is still there. All chats share one partition where that is the point.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use harness::{
    Answer, Flood, Gate, LONG, Update, World, WorldBuilder, allow_many_connections, over_both_worlds, pause,
    wait_for, wait_until,
};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use serde_json::json;
use tempfile::NamedTempFile;

over_both_worlds!(
    idle_chats_cost_nothing,
    a_busy_chat_holds_nobody_up,
    a_service_that_hangs_holds_nobody_up,
    a_chat_that_telegram_parks_holds_nobody_up,
    a_stop_does_not_wait_for_a_parked_chat_and_loses_nothing,
    concurrency_bounds_what_is_in_hand,
    the_metrics_tell_how_much_waits,
);

/// For what takes many updates.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a worker with 2,000 calls in hand may have: 120 MB, in MiB. The code of an unoptimized build has some
/// 15 MiB more, and what it does is slower, so that more of it is in hand at the same time.
const MOST_MIB: f64 = if cfg!(debug_assertions) { 170.0 } else { 114.4 };

/// How much sooner than at the end of its grace a worker ends that has nothing to wait for.
const GOODBYE: Duration = Duration::from_secs(5);

/// What Telegram says to a chat that it has had enough of; far longer than any test waits for the others.
const PARKED: u64 = 45;

fn users(world: &World, count: usize) -> Vec<i64> {
    (0..count).map(|_| world.user()).collect()
}

fn texts(chats: Vec<i64>) -> impl Iterator<Item = Update> + Send + 'static {
    chats.into_iter().map(|chat| Update::text(chat, "hello"))
}

async fn wait_answered(world: &World, count: usize) {
    wait_for(&format!("{count} updates are answered"), PATIENCE, || async {
        let answered = world.worker().metrics().await.sum("tgw_updates_total", &[("outcome", "answered")]);
        (answered >= count as f64).then_some(())
    })
    .await;
}

/// A text in each of 40 other chats, and their answers.
async fn others_are_answered(world: &World) {
    let others = users(world, 40);
    for chat in &others {
        world.accept(&Update::text(*chat, "and me?")).await;
    }
    for chat in &others {
        world.telegram.wait_texts(*chat, 1).await;
    }
}

/// The next message is refused for so long, and so its chat is parked; this one's.
async fn park(world: &World, chat: i64, seconds: u64) {
    let description = format!("Too Many Requests: retry after {seconds}");
    world.telegram.fail("sendMessage", 1, 429, &description, json!({"retry_after": seconds}));
    world.accept(&Update::text(chat, "one")).await;
    world.telegram.wait_texts(chat, 1).await;
}

async fn idle_chats_cost_nothing(world: WorldBuilder) {
    // With few updates in hand at a time, what those cost is the same before and after.
    let world = world.set("CONCURRENCY", 64).await;
    let flood = Flood::of(&world);
    // What fills up, whoever writes, has to be full before: the embedded file's cache of 8 MiB is after some 15,000
    // chats. Measured over 36,000, 3,000 at a time: 10 MiB from the first to the fifth, 2.5 MiB from there to the last.
    let (some, many) = (5_000, 10_000);
    for rounds in 1..=3 {
        flood.post_all(texts(users(&world, some)), 16).await;
        wait_answered(&world, rounds * some).await;
    }
    let before = world.worker().memory();
    flood.post_all(texts(users(&world, many)), 16).await;
    wait_answered(&world, 3 * some + many).await;
    let after = world.worker().memory();
    println!("{many} chats that have said one thing: {before:.1} MiB, then {after:.1} MiB");
    // The worker remembers its last 100,000 updates: with that, half a KiB a chat.
    assert!(after - before < 5.0, "{many} idle chats: {before:.1} MiB grew to {after:.1} MiB");
}

async fn a_busy_chat_holds_nobody_up(world: WorldBuilder) {
    let world = world.set("PARTITIONS", 1).set("CONVERSATION_SERVICE_TIMEOUT", 300).await;
    let (busy, last) = (world.user(), Gate::default());
    let held = last.clone();
    world.conversation.answer_with(move |request| {
        let body = request.body();
        let echo = Answer::text(body["message"].as_str().unwrap());
        match (body["telegram_user_id"] == busy, &body["message"]) {
            (true, message) if message == "99" => held.holds(echo),
            (true, _) => echo.after(Duration::from_millis(100)),
            (false, _) => echo,
        }
    });
    let expected: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    for text in &expected {
        world.accept(&Update::text(busy, text)).await;
    }
    others_are_answered(&world).await;
    assert!(world.telegram.sent(busy).len() < 100, "the busy chat has not come to its end");
    last.open();
    assert_eq!(world.telegram.wait_texts(busy, 100).await, expected);
    assert_eq!(last.most(), 1);
}

async fn a_service_that_hangs_holds_nobody_up(world: WorldBuilder) {
    let world = world.set("PARTITIONS", 1).set("MATCHING_SERVICE_TIMEOUT", 300).await;
    let hangs = Gate::default();
    world.matching.answer(hangs.holds(Answer::text("late")));
    let stuck = users(&world, 60);
    for chat in &stuck {
        world.accept(&Update::callback(*chat, "SKIP")).await;
    }
    hangs.wait_for(60).await;
    others_are_answered(&world).await;
    assert_eq!(
        (hangs.waiting(), world.matching.count()),
        (60, 60),
        "it still hangs, and was not asked again"
    );
    assert!(stuck.iter().all(|chat| world.telegram.sent(*chat).is_empty()));
    hangs.open();
    for chat in &stuck {
        assert_eq!(world.telegram.wait_texts(*chat, 1).await, ["late"]);
    }
}

async fn a_chat_that_telegram_parks_holds_nobody_up(world: WorldBuilder) {
    let world = world.set("PARTITIONS", 1).await;
    world.conversation.echo();
    let parked = world.user();
    park(&world, parked, PARKED).await;
    world.accept(&Update::text(parked, "two")).await;
    others_are_answered(&world).await;
    assert_eq!(world.telegram.texts(parked), ["echo: one"], "what was refused is not tried again so soon");
    assert_eq!(world.conversation.count(), 1 + 40, "what is behind it waits");
}

async fn a_stop_does_not_wait_for_a_parked_chat_and_loses_nothing(world: WorldBuilder) {
    // Longer than a stop may take, and short enough to be waited out: who goes on keeps it.
    let (grace, waits) = (Duration::from_secs(25), 22);
    let mut world = world.set("PARTITIONS", 1).set("SHUTDOWN_GRACE", grace.as_secs()).await;
    world.conversation.echo();
    let parked = world.user();
    park(&world, parked, waits).await;
    world.accept(&Update::text(parked, "two")).await;
    // Taken in order from one partition: when this one is answered, the other is in its lane.
    let other = world.user();
    world.accept(&Update::text(other, "three")).await;
    world.telegram.wait_texts(other, 1).await;

    let begun = Instant::now();
    world.worker_mut().term();
    let code = world.worker_mut().wait_exit().await;
    let took = begun.elapsed();
    assert_eq!(code, 0, "what waits for Telegram goes back to the queue");
    assert!(took < grace - GOODBYE, "it took {took:?}");
    let logs = world.worker().stdout() + &world.worker().stderr();
    assert!(!logs.contains("panicked"), "it ends without a panic");

    world.worker_mut().start_again();
    world.worker_mut().wait_ready().await;
    assert_eq!(world.telegram.wait_texts(parked, 3).await, ["echo: one", "echo: one", "echo: two"]);
    let calls = world.telegram.sent(parked);
    let apart = calls[1].at - calls[0].at + Duration::from_millis(50);
    assert!(apart >= Duration::from_secs(waits), "it was called again after {apart:?}");
    assert_eq!(world.telegram.texts(other), ["echo: three"]);
    assert_eq!(world.conversation.count(), 3, "the answer was kept; its service is not asked again");
    world.assert_no_dead_letters().await;
}

async fn concurrency_bounds_what_is_in_hand(world: WorldBuilder) {
    let world = world.set("CONCURRENCY", 5).set("CONVERSATION_SERVICE_TIMEOUT", 300).await;
    let gate = Gate::default();
    world.conversation.answer(gate.holds(Answer::text("ok")));
    let chats = users(&world, 50);
    for chat in &chats {
        world.accept(&Update::text(*chat, "hello")).await;
    }
    gate.wait_for(5).await;
    // A sixth would come at once.
    pause(Duration::from_secs(1)).await;
    assert_eq!(gate.waiting(), 5);
    // One goes in as one goes out, and so to the end.
    gate.open();
    for chat in &chats {
        world.telegram.wait_texts(*chat, 1).await;
    }
    assert_eq!(gate.most(), 5, "calls that were open at the same time");
}

/// A partition's queue, looked at from a connection of its own.
struct Look {
    _connection: Connection,
    channel: Channel,
    queue: String,
}

impl Look {
    async fn at(world: &World) -> Self {
        let url = world.amqp_url.as_ref().unwrap();
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        Self { _connection: connection, channel, queue: format!("{}.p.0", world.prefix) }
    }

    /// How many messages it holds that nobody has in hand: some. None is what a broker says too whose queue has not
    /// answered it for 250 ms (3.10.8, `rabbit_quorum_queue:stat`), so that is asked again.
    async fn ready(&self) -> u32 {
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        wait_for("the queue tells its depth", LONG, || async {
            let queue = self.queue.as_str().into();
            let queue = self.channel.queue_declare(queue, passive, FieldTable::default()).await.unwrap();
            Some(queue.message_count()).filter(|count| *count > 0)
        })
        .await
    }
}

/// Of 400 updates in one partition a worker with this setting has so many in hand, and never more.
async fn in_hand_of_one_partition(concurrency: u32, in_hand: u32) {
    let mut world = World::distributed()
        .set("PARTITIONS", 1)
        .set("CONCURRENCY", concurrency)
        .set("CONVERSATION_SERVICE_TIMEOUT", 300)
        .without_worker()
        .await;
    let gate = Gate::default();
    world.conversation.answer(gate.holds(Answer::text("ok")));
    Flood::of(&world).post_all(texts(users(&world, 400)), 16).await;
    let look = Look::at(&world).await;
    wait_for("all are in the queue", LONG, || async { (look.ready().await == 400).then_some(()) }).await;
    world.worker = Some(world.add_worker().await);
    let most = AtomicU32::new(0);
    let count = || async { most.fetch_max(400 - look.ready().await, Ordering::Relaxed) };
    let calls = concurrency.min(in_hand) as usize;
    gate.wait_for(calls).await;
    wait_for("as many are in hand as may be", LONG, || async { (count().await >= in_hand).then_some(()) })
        .await;
    // More would come at once.
    for _ in 0..20 {
        pause(Duration::from_millis(50)).await;
        count().await;
    }
    assert_eq!(most.into_inner(), in_hand, "in hand with CONCURRENCY={concurrency}");
    gate.open();
    wait_answered(&world, 400).await;
    assert_eq!(gate.most(), calls, "calls that were open at the same time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_hands_out_no_more_than_concurrency_asks_for() {
    // clamp(CONCURRENCY / partitions held, 16, 256) for each partition.
    for (concurrency, in_hand) in [(5, 16), (32, 32), (1024, 256)] {
        in_hand_of_one_partition(concurrency, in_hand).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_worker_has_2000_slow_calls_in_flight_in_little_memory() {
    allow_many_connections();
    // By default a service is asked 512 times at once.
    let mut routes = NamedTempFile::new().unwrap();
    writeln!(routes, "[services.conversation]\nconcurrency = 4096\n").unwrap();
    writeln!(routes, "[[routes]]\ntext = true\nservice = \"conversation\"").unwrap();
    let world = World::distributed()
        .set("PARTITIONS", 32)
        // 2,000 chats don't spread evenly: more than 2,000 have to fit, so that all of each partition do.
        .set("CONCURRENCY", 4096)
        .set("ROUTES_FILE", routes.path().display())
        .set("CONVERSATION_SERVICE_TIMEOUT", 300)
        .await;
    let (gate, idle) = (Gate::default(), world.worker().memory());
    world.conversation.answer(gate.holds(Answer::text("ok")));
    Flood::of(&world).post_all(texts(users(&world, 2000)), 16).await;
    wait_until("2,000 calls are open at the same time", PATIENCE, || gate.waiting() == 2000).await;
    // The time that a slow service takes.
    pause(Duration::from_secs(3)).await;
    assert_eq!(world.telegram.calls_of("sendMessage").len(), 0);
    let waiting = world.worker().memory();
    gate.open();
    wait_answered(&world, 2000).await;
    let most = world.worker().most_memory();
    println!("idle {idle:.1} MiB, with 2,000 calls {waiting:.1} MiB, sending their answers {most:.1} MiB");
    assert!(most < MOST_MIB, "{most:.1} MiB");
    world.assert_no_dead_letters().await;
}

/// What an autoscaler asks for: all that has not ended, whether a worker has it or not.
async fn the_metrics_tell_how_much_waits(world: WorldBuilder) {
    const COUNT: usize = 60;
    let world = world.set("PARTITIONS", 1).set("CONCURRENCY", 4).await;
    let gate = Gate::default();
    let held = gate.clone();
    world.conversation.answer_with(move |_| held.holds(Answer::text("at last")));
    for chat in users(&world, COUNT) {
        world.accept(&Update::text(chat, "hello")).await;
    }
    gate.wait_for(4).await;
    let world = &world;
    let told = |state| async move {
        world.metric("tgw_partition_updates", &[("partition", "0"), ("state", state)]).await
    };
    let all = || async { (told("ready").await + told("in_hand").await == COUNT as f64).then_some(()) };
    wait_for("the metrics tell of all", LONG, all).await;
    // The least that a partition is claimed with, and those that run.
    assert!((4.0..=20.0).contains(&told("in_hand").await), "{}", told("in_hand").await);
    gate.open();
    let none = || async { (told("ready").await + told("in_hand").await == 0.0).then_some(()) };
    wait_for("the metrics tell of none", LONG, none).await;
    assert!(world.metric("tgw_update_wait_seconds_count", &[]).await >= COUNT as f64);
}
