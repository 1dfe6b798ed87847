//! Invariant I4 while workers come, go, die and freeze: the partitions are shared evenly within seconds, nothing
//! is lost or reordered, and more workers do more work. What has to wait (a service) takes its time here, so that it
//! is not the machine's cores that are measured.
//!
//! `TGW_TEST_FULL=1 tests/run scaling` has the autoscaler work off 20,000 updates of 500 chats in place of 3,000.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::{
    Answer, Crew, Depths, FakeService, Fault, Figures, LATENCY, LONG, Ledger, Load, Part, Rabbit, Update,
    World, WorldBuilder, dead_letters, held, wait_for, wait_held,
};
use tokio::sync::{Mutex, MutexGuard};

const PARTITIONS: usize = 16;

/// After a change of the workers their shares are even within this. It counts from when the last new worker is ready:
/// how long six processes take to start is the machine's affair.
const EVEN: Duration = Duration::from_secs(5);

/// Accepted updates of which nothing was heard for so long are lost.
const PATIENCE: Duration = Duration::from_secs(25);

/// Each test measures times, so they take turns.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

fn builder() -> WorldBuilder {
    World::distributed().set("PARTITIONS", PARTITIONS).without_worker()
}

/// A deployment whose books are kept, without workers. Its services take 50 to 300 ms, and `concurrency` updates at
/// once make a worker as fast as that allows.
async fn world_with_books(concurrency: usize) -> (World, Arc<Ledger>) {
    // A line for each update would cost more than the update.
    let world = builder().set("CONCURRENCY", concurrency).set("LOG_LEVEL", "warn").await;
    let ledger = Arc::new(Ledger::default());
    world.conversation.keep_nothing();
    answer_slowly(&world.conversation);
    let seen = ledger.clone();
    world.telegram.watch(LATENCY, move |call| {
        if call.method == "sendMessage" {
            seen.sent(call.chat().unwrap_or_default(), call.text());
        }
    });
    (world, ledger)
}

/// Each answer carries a number of its own, so that two answers to one update can be told apart.
fn answer_slowly(conversation: &FakeService) {
    let nonce = AtomicU64::new(1);
    conversation.answer_with(move |request| {
        let update: i64 = request.body()["message"].as_str().unwrap_or_default().parse().expect("a number");
        let part = Part { update, number: 1, of: 1, nonce: nonce.fetch_add(1, Ordering::Relaxed) };
        Answer::text(&part.text()).after(Duration::from_millis(50 + (update * 37).unsigned_abs() % 251))
    });
}

/// What the books say in the end; nothing in them may be wrong.
async fn close(world: &World, crew: &Crew, ledger: &Ledger) -> Figures {
    ledger.settle(PATIENCE).await;
    crew.all().for_each(|worker| ledger.note_without_store(worker));
    let letters = dead_letters(world.amqp_url.as_ref().unwrap(), &world.prefix).await;
    let dead: BTreeSet<i64> =
        letters.iter().map(|letter| letter.json()["update_id"].as_i64().unwrap()).collect();
    let figures = Figures::of(ledger, dead);
    println!("{figures}");
    let wrong = figures.wrong();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    figures
}

/// How many partitions more than one worker tells the depth of.
async fn told_twice(crew: &Crew) -> usize {
    let told = crew.living.iter().map(|worker| async {
        worker.metrics().await.count("tgw_partition_updates", &[("state", "in_hand")])
    });
    join_all(told).await.iter().sum::<usize>().saturating_sub(PARTITIONS)
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_are_even_for_any_number_of_workers() {
    let _turn = turn().await;
    let world = builder().await;
    let (mut crew, ledger) = (Crew::default(), Ledger::default());
    for count in [1, 5, 9, 15] {
        crew.grow(&world, count).await;
        let took = crew.wait_even(PARTITIONS, Instant::now(), EVEN).await;
        println!("{count} workers have {:?} after {took:.1?}", crew.held().await);
        assert_eq!(told_twice(&crew).await, 0, "who adds up the workers' depths counts some twice");
    }
    for count in [11, 7, 6, 2, 1] {
        let since = Instant::now();
        crew.shrink(count, &ledger);
        let took = crew.wait_even(PARTITIONS, since, EVEN).await;
        println!("{count} workers have {:?} after {took:.1?}", crew.held().await);
    }
    crew.wait_ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_loses_nothing_and_keeps_the_order() {
    let _turn = turn().await;
    let full = std::env::var_os("TGW_TEST_FULL").is_some();
    let (chats, each, many) = if full { (500, 20, 4000) } else { (150, 10, 500) };
    let (world, ledger) = world_with_books(8).await;
    let chats: Vec<i64> = (0..chats).map(|_| world.user()).collect();
    let depths = Depths::of(&world, PARTITIONS).await;
    let (mut crew, begun) = (Crew::default(), Instant::now());
    crew.grow(&world, 1).await;
    crew.wait_even(PARTITIONS, Instant::now(), EVEN).await;
    // Two waves, and the workers that a depth calls for: many while it is great, few when it has become small.
    for workers in [(4, 2), (6, 1)] {
        let pouring = Load::pour(&chats, each, &world.ingress, &world.secret, &ledger);
        let scaling = async {
            wait_for("the wave is high", LONG, || async { (depths.sum().await > many).then_some(()) }).await;
            crew.grow(&world, workers.0).await;
            let took = crew.wait_even(PARTITIONS, Instant::now(), EVEN).await;
            println!("{:.1?}: {} workers, even after {took:.1?}", begun.elapsed(), workers.0);
        };
        tokio::join!(pouring, scaling);
        let low = || async { (depths.sum().await < many / 2).then_some(()) };
        wait_for("the wave is low", LONG * 10, low).await;
        let since = Instant::now();
        crew.shrink(workers.1, &ledger);
        let took = crew.wait_even(PARTITIONS, since, EVEN).await;
        println!("{:.1?}: {} workers, even after {took:.1?}", begun.elapsed(), workers.1);
    }
    let figures = close(&world, &crew, &ledger).await;
    println!("{} updates of {} chats in {:.1?}", figures.accepted, chats.len(), begun.elapsed());
    assert_eq!(figures.accepted, 2 * each * chats.len());
    crew.wait_ended().await;
}

/// As many chats of each partition, so that it is the workers that are compared and not the luck of a hash. Which one
/// a chat belongs to shows in where its first update waits.
async fn chats_of_each_partition(world: &World, count: usize, ledger: &Arc<Ledger>) -> Vec<i64> {
    let depths = Depths::of(world, PARTITIONS).await;
    let (mut chosen, mut known) = (BTreeMap::<usize, Vec<i64>>::new(), depths.each().await);
    while chosen.values().filter(|chats| chats.len() >= count).count() < PARTITIONS {
        let chat = world.user();
        Load::pour(&[chat], 1, &world.ingress, &world.secret, ledger).await;
        // Nobody takes any, so no depth falls: less is said of a queue that has not answered for 250 ms (0, on 3.10.8).
        let grown = wait_for("an accepted update waits", LONG, || async {
            let now = depths.each().await;
            (0..PARTITIONS).find(|n| now[*n] > known[*n]).map(|n| (n, now[n]))
        });
        let (grown, depth) = grown.await;
        chosen.entry(grown).or_default().push(chat);
        known[grown] = depth;
    }
    chosen.into_values().flat_map(|chats| chats.into_iter().take(count)).collect()
}

/// What an update of a backlog takes so many workers, once their shares are even.
async fn drain(world: &World, workers: usize, chats: &[i64], each: usize, ledger: &Arc<Ledger>) -> f64 {
    Load::pour(chats, each, &world.ingress, &world.secret, ledger).await;
    let mut crew = Crew::default();
    crew.grow(world, workers).await;
    crew.wait_even(PARTITIONS, Instant::now(), EVEN).await;
    let ((all, before), begun) = (ledger.progress(), Instant::now());
    let done = || async { (ledger.progress().1 == all).then_some(()) };
    wait_for("the backlog is worked off", LONG * 4, done).await;
    let (took, count) = (begun.elapsed(), all - before);
    println!("{workers} workers: {count} updates in {took:.1?}");
    assert!(count > chats.len() * each / 2, "too few were left to measure");
    took.as_secs_f64() / count as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn four_workers_drain_a_backlog_in_a_quarter_of_the_time_of_one() {
    let _turn = turn().await;
    let (world, ledger) = world_with_books(8).await;
    let chats = chats_of_each_partition(&world, 6, &ledger).await;
    // Each the same, so that no worker is held up by its chats having slow services.
    let took = Duration::from_millis(300);
    world.conversation.answer_with(move |request| {
        let update = request.body()["message"].as_str().unwrap().parse().unwrap();
        Answer::text(&Part { update, number: 1, of: 1, nonce: 0 }.text()).after(took)
    });
    let one = drain(&world, 1, &chats, 8, &ledger).await;
    let four = drain(&world, 4, &chats, 8, &ledger).await;
    println!("{:.1} ms and {:.1} ms for each: {:.3}", one * 1000.0, four * 1000.0, four / one);
    assert!(four / one <= 0.3, "{:.3} of the time of one worker", four / one);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_costs_a_partition_less_than_a_second() {
    let _turn = turn().await;
    let world = builder().await;
    let (mut crew, mut trials) = (Crew::default(), Vec::new());
    for _ in 0..5 {
        crew.grow(&world, 2).await;
        crew.wait_even(PARTITIONS, Instant::now(), EVEN).await;
        let since = Instant::now();
        crew.living.remove(0).kill9();
        trials.push(wait_held(&crew.living[0], PARTITIONS, since, EVEN).await);
    }
    trials.sort();
    println!("after a kill -9 the other worker had all after {trials:.2?}");
    // The median: a machine that others keep busy may stall any one of them, and not most.
    assert!(trials[2] < Duration::from_secs(1), "{trials:.2?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_worker_is_replaced_and_repeats_no_more_than_what_was_on_the_wire() {
    let _turn = turn().await;
    const CONCURRENCY: usize = 8;
    let (world, ledger) = world_with_books(CONCURRENCY).await;
    let chats: Vec<i64> = (0..60).map(|_| world.user()).collect();
    let mut crew = Crew::default();
    crew.grow(&world, 2).await;
    crew.wait_even(PARTITIONS, Instant::now(), EVEN).await;
    // 60 a second, for two workers that do 36 each at most: there is always something in hand.
    let url = [world.ingress.base_url()];
    let load = Load::start(&chats, Duration::from_secs(1), &url, &world.secret, &ledger);
    for round in 1..=2 {
        let before = ledger.progress().1;
        let flows = || async { (ledger.progress().1 > before + 2 * chats.len()).then_some(()) };
        wait_for("the chats are answered", LONG, flows).await;
        let since = Instant::now();
        ledger.fault(Fault::FreezeWorker);
        crew.living[0].freeze();
        let took = wait_held(&crew.living[1], PARTITIONS, since, Duration::from_secs(8)).await;
        // At once: what the frozen one had in hand is still in its successor's.
        ledger.fault(Fault::ThawWorker);
        crew.living[0].thaw();
        let even = crew.wait_even(PARTITIONS, Instant::now(), EVEN).await;
        println!(
            "round {round}: the other had all after {took:.1?}, and after the thaw they were even in {even:.1?}"
        );
        crew.living.swap(0, 1);
    }
    load.stop(LONG).await;
    let figures = close(&world, &crew, &ledger).await;
    // One for each chat in flight at a freeze, and no more were in flight than a worker works on at once.
    let most = figures.doubled.values().max().copied().unwrap_or_default();
    assert!(most <= 2 && figures.duplicates <= 2 * CONCURRENCY, "{:?}", figures.doubled);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_calls_hold_a_hand_over_up_no_longer_than_the_grace() {
    const GRACE: Duration = Duration::from_secs(3);
    let _turn = turn().await;
    let world =
        builder().set("SHUTDOWN_GRACE", GRACE.as_secs()).set("CONVERSATION_SERVICE_TIMEOUT", 60).await;
    let slow = Duration::from_secs(20);
    world
        .conversation
        .answer_with(move |request| Answer::text(request.body()["message"].as_str().unwrap()).after(slow));
    let mut crew = Crew::default();
    crew.grow(&world, 1).await;
    crew.wait_even(PARTITIONS, Instant::now(), EVEN).await;
    // Enough to meet every partition.
    let chats: Vec<i64> = (0..100).map(|_| world.user()).collect();
    for chat in &chats {
        world.accept(&Update::text(*chat, "hello")).await;
    }
    world.conversation.wait_for(chats.len()).await;
    // What comes from now on is answered at once.
    world.conversation.echo();
    crew.grow(&world, 2).await;
    let took = wait_held(&crew.living[1], PARTITIONS / 2, Instant::now(), GRACE + EVEN).await;
    println!("a second worker had its half after {took:.1?}");
    for chat in &chats {
        world.telegram.wait_texts(*chat, 1).await;
    }
    // Those that went over were asked about again, the others were let end.
    let answers = chats.iter().flat_map(|chat| world.telegram.texts(*chat)).collect::<Vec<_>>();
    assert_eq!(answers.len(), chats.len(), "somebody was answered twice");
    world.assert_no_dead_letters().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_hear_nobody_work_all_the_same() {
    let _turn = turn().await;
    let mut rabbit = Rabbit::private().await;
    rabbit.add_user("limited");
    let permissions = ["^(?!.*\\.workers).*$"; 3];
    rabbit.control(&[["set_permissions", "-p", "/", "limited"].as_slice(), &permissions].concat());
    let world = builder().rabbit(&rabbit.url().replace("guest:guest", "limited:limited")).await;
    world.conversation.echo();
    let mut crew = Crew::default();
    crew.grow(&world, 1).await;
    crew.living[0].wait_log("nobody is heard", |line| line.to_string().contains("can't be heard")).await;
    crew.wait_even(PARTITIONS, Instant::now(), EVEN).await;
    crew.grow(&world, 2).await;
    let users: Vec<i64> = (0..40).map(|_| world.user()).collect();
    for user in &users {
        world.accept(&Update::text(*user, "one")).await;
    }
    for user in &users {
        assert_eq!(world.telegram.wait_texts(*user, 1).await, ["echo: one"]);
    }
    assert_eq!(crew.held().await.iter().sum::<usize>(), PARTITIONS);
    // Which of them holds something is nobody's choice; the one that is left takes everything.
    let first = held(&crew.living[0]).await >= PARTITIONS / 2;
    crew.living.remove(usize::from(!first)).kill9();
    let took = wait_held(&crew.living[0], PARTITIONS, Instant::now(), EVEN).await;
    println!("the one that was left had all after {took:.1?}");
    world.accept(&Update::text(users[0], "two")).await;
    assert_eq!(world.telegram.wait_texts(users[0], 2).await[1], "echo: two");
}
