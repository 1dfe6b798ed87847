//! Invariants I1 to I3 in small: kill -9 of each part once, and of a worker by the same update again and
//! again. Nothing accepted is lost, and nothing is handled twice but in the window that contract 3.8 names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;
use std::time::{Duration, Instant};

use harness::{
    Answer, LONG, Posted, Rabbit, Update, World, WorldBuilder, over_both_worlds, post_to, wait_for,
    wait_until,
};

over_both_worlds!(
    an_update_accepted_before_kill_9_is_handled,
    an_update_that_kills_its_worker_5_times_is_poison,
    an_update_in_hand_at_kill_9_is_taken_up_again_with_the_same_key,
);

/// Enough for any test here, where a lost connection or a take-over comes first.
const RECOVERY: Duration = Duration::from_secs(60);

const DEAD: &str = "tgw_dead_letters_total";

/// Posts one text to each chat while `after` of them are in, then does `harm`; returns the chats whose
/// update was accepted. One that was not is nobody's promise.
async fn flood(world: &mut World, count: usize, after: usize, harm: impl FnOnce(&mut World)) -> Vec<i64> {
    let mut accepted = Vec::new();
    let mut harm = Some(harm);
    for n in 0..count {
        if n == after {
            harm.take().unwrap()(world);
        }
        let chat = world.user();
        if world.ingress.is_running() && world.post(&Update::text(chat, "hello")).await == 200 {
            accepted.push(chat);
        }
    }
    accepted
}

/// The chats that got no answer in time; none if all is well.
async fn unanswered(world: &World, chats: &[i64]) -> Vec<i64> {
    let end = Instant::now() + RECOVERY;
    let left = || -> Vec<i64> {
        chats.iter().copied().filter(|chat| world.telegram.sent(*chat).is_empty()).collect()
    };
    let what = "every accepted update is answered, or the time is over";
    wait_until(what, RECOVERY * 2, || left().is_empty() || Instant::now() > end).await;
    left()
}

async fn all_answered(world: &World, chats: &[i64]) {
    let lost = unanswered(world, chats).await;
    assert!(lost.is_empty(), "{lost:?} of {chats:?} got no answer");
}

/// From a message's coming to the record of it, on a busy machine.
const RECORD: Duration = Duration::from_millis(250);

/// A chat reads something twice only where it was in flight at the kill, between Telegram's answer and the record of it.
/// Few are, and none that had come so long before that it was recorded.
fn assert_few_doubled(world: &World, chats: &[i64], killed: Instant) {
    let mut doubled = 0;
    for chat in chats {
        let sent = world.telegram.sent(*chat);
        assert!(sent.len() == 1 || sent[0].at + RECORD > killed, "{chat}, {killed:?}: {sent:?}");
        doubled += sent.len() - 1;
    }
    assert!(doubled <= 5, "{doubled} doubled");
}

/// What waited for a worker that still takes its partitions would be handled all at once, and be in flight together.
async fn wait_for_partitions(world: &World) {
    world.wait_metric("tgw_partitions_held", &[], 4.0).await;
}

async fn an_update_accepted_before_kill_9_is_handled(world: WorldBuilder) {
    let mut world = world.await;
    wait_for_partitions(&world).await;
    world.conversation.answer(Answer::text("ok").after(Duration::from_millis(30)));
    let chats = flood(&mut world, 60, 60, |_| ()).await;
    let killed = Instant::now();
    world.worker_mut().kill9();
    world.worker_mut().start_again();
    assert_eq!(chats.len(), 60);
    all_answered(&world, &chats).await;
    world.assert_no_dead_letters().await;
    assert_few_doubled(&world, &chats, killed);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_accepted_before_the_ingress_was_killed_is_handled() {
    let mut world = World::distributed().await;
    let mut chats = flood(&mut world, 40, 39, |_| ()).await;
    world.ingress.kill9();
    world.ingress.start_again();
    world.ingress.wait_ready().await;
    chats.extend(flood(&mut world, 10, 9, |_| ()).await);
    assert_eq!(chats.len(), 50);
    all_answered(&world, &chats).await;
    world.assert_no_dead_letters().await;
    assert!(chats.iter().all(|chat| world.telegram.sent(*chat).len() == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_accepted_before_the_broker_was_killed_is_handled() {
    let mut rabbit = Rabbit::private().await;
    let mut world = World::distributed().rabbit(rabbit.url()).await;
    let queues: Vec<String> = (0..4).map(|partition| format!("{}.p.{partition}", world.prefix)).collect();
    rabbit.wait_durable(&queues).await;
    wait_for_partitions(&world).await;
    world.conversation.answer(Answer::text("ok").after(Duration::from_millis(30)));
    let mut killed = Instant::now();
    let kill = |_: &mut World| {
        killed = Instant::now();
        rabbit.kill();
    };
    let mut chats = flood(&mut world, 60, 50, kill).await;
    assert!(chats.len() >= 50, "only {} accepted", chats.len());
    rabbit.start().await;
    let again = Update::text(world.user(), "hello");
    wait_for("taken again", RECOVERY, || async { (world.post(&again).await == 200).then_some(()) }).await;
    chats.push(again.value()["message"]["chat"]["id"].as_i64().unwrap());
    let lost = unanswered(&world, &chats).await;
    let queues =
        rabbit.control(&["list_queues", "name", "messages_ready", "messages_unacknowledged", "consumers"]);
    assert!(lost.is_empty(), "{lost:?} of {chats:?} got no answer; what the broker holds:\n{queues}");
    world.assert_no_dead_letters().await;
    assert_few_doubled(&world, &chats, killed);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_worker_takes_over_from_one_that_was_killed() {
    let mut world = World::distributed().await;
    wait_for_partitions(&world).await;
    let _other = world.add_worker().await;
    world.conversation.answer(Answer::text("ok").after(Duration::from_millis(50)));
    let mut killed = Instant::now();
    let kill = |world: &mut World| {
        killed = Instant::now();
        world.worker_mut().kill9();
    };
    let chats = flood(&mut world, 60, 30, kill).await;
    assert_eq!(chats.len(), 60);
    all_answered(&world, &chats).await;
    assert_few_doubled(&world, &chats, killed);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_ingresses_take_the_same_update_and_it_is_handled_once() {
    let world = World::distributed().await;
    let second = world.add_ingress().await;
    let (user, update) = (world.user(), Update::text(world.user(), "hello"));
    let taken: Posted = post_to(&second, Some(&world.secret), update.bytes()).await;
    assert_eq!((taken.status, world.post(&update).await), (200, 200));
    world.accept(&Update::text(user, "next")).await;
    world.telegram.wait_texts(user, 1).await;
    let chat = update.value()["message"]["chat"]["id"].as_i64().unwrap();
    world.telegram.wait_texts(chat, 1).await;
    world.accept(&Update::text(chat, "last")).await;
    assert_eq!(world.telegram.wait_texts(chat, 2).await, ["ok", "ok"]);
    assert_eq!(world.conversation.count(), 3);
}

async fn an_update_in_hand_at_kill_9_is_taken_up_again_with_the_same_key(world: WorldBuilder) {
    let mut world = world.set("CONVERSATION_SERVICE_TIMEOUT", 60).await;
    let user = world.user();
    world.conversation.echo();
    world.conversation.answer_first([Answer::Hang]);
    world.accept(&Update::text(user, "one")).await;
    world.accept(&Update::text(user, "two")).await;
    world.conversation.wait_for(1).await;
    world.worker_mut().kill9();
    world.worker_mut().start_again();
    assert_eq!(world.telegram.wait_texts(user, 2).await, ["echo: one", "echo: two"]);
    let requests = world.conversation.requests();
    assert_eq!(requests.len(), 3);
    assert_eq!(requests[0].header("Idempotency-Key"), requests[1].header("Idempotency-Key"));
}

async fn an_update_that_kills_its_worker_5_times_is_poison(world: WorldBuilder) {
    let mut world = world.set("CONVERSATION_SERVICE_TIMEOUT", 60).await;
    let (poisoned, innocent) = (world.user(), world.user());
    world.conversation.answer_with(move |request| {
        if request.body()["telegram_user_id"] == poisoned { Answer::Hang } else { Answer::text("ok") }
    });
    let update = Update::text(poisoned, "poison");
    world.accept(&update).await;
    let asked = |world: &World| {
        let bodies = world.conversation.bodies();
        bodies.iter().filter(|body| body["telegram_user_id"] == poisoned).count()
    };
    // It is asked for the poisoned update once more, and killed for it, until it asks no more.
    let mut kills = 0;
    loop {
        let world_now = &world;
        let asked_again = wait_for("another try, or none any more", RECOVERY, || async move {
            let dead = world_now.worker().answers().await
                && world_now.metric(DEAD, &[("reason", "poison")]).await > 0.0;
            (dead || asked(world_now) > kills).then_some(!dead)
        })
        .await;
        if !asked_again {
            break;
        }
        kills += 1;
        world.worker_mut().kill9();
        world.worker_mut().start_again();
    }
    // Without its store a worker counts no try, and one whose store takes 250 ms is without it: a busy test
    // machine may add a try for each time that this was said.
    let uncounted = world.worker().stdout().matches("the store is away").count();
    assert!((5..=5 + uncounted).contains(&kills), "{kills} kills, {uncounted} perhaps not counted");
    let letters = world.wait_dead("poison", 1).await;
    for letter in letters {
        assert_eq!(letter.json(), *update.value());
        assert_eq!(letter.number("tgw-attempts"), Some(5));
    }
    assert_eq!(asked(&world), kills);
    let keys: HashSet<String> = world
        .conversation
        .requests()
        .iter()
        .map(|request| request.header("Idempotency-Key").unwrap().to_owned())
        .collect();
    assert_eq!(keys.len(), 1, "every attempt carries the same key");

    // The chat goes on after it, and so does everybody else.
    world.conversation.answer(Answer::text("ok"));
    for chat in [poisoned, innocent] {
        world.accept(&Update::text(chat, "hello")).await;
        let what = "the chats go on";
        wait_for(what, LONG, || async { world.telegram.texts(chat).contains(&"ok".into()).then_some(()) })
            .await;
    }
}
