//! Workers that are killed, over and over: poison dies and the innocent beside it never do, what was done
//! is not done again, no answer is a mixture of two, and an update is dead or done, never both.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use harness::{
    Answer, Direction, LONG, Proxy, Redis, Update, World, WorldBuilder, dead_letters, over_both_worlds,
    pause, wait_for, wait_until,
};
use serde_json::json;

over_both_worlds!(
    a_poison_update_dies_after_5_tries_and_the_500_slow_innocents_beside_it_never_do,
    what_a_chat_reads_of_one_update_is_of_one_answer,
);

/// For what many kills and starts add up to.
const RECOVERY: Duration = Duration::from_secs(240);

/// Of workers at random: the fifth may make an update poison that was in hand at each, and would be right to.
const KILLS: usize = 4;

const POISON: [(&str, &str); 1] = [("reason", "poison")];
const DEAD: &str = "tgw_dead_letters_total";

const APOLOGY: &str = "Something went wrong on our side. Please try again in a minute.";

/// Posts a text to each of `count` chats, with `poisoned`'s in their midst; the other chats.
async fn crowd_around(world: &World, poisoned: i64, count: usize) -> Vec<i64> {
    let chats: Vec<i64> = (0..count).map(|_| world.user()).collect();
    for (n, chat) in chats.iter().enumerate() {
        if n == count / 2 {
            world.accept(&Update::text(poisoned, "poison")).await;
        }
        world.accept(&Update::text(*chat, "hello")).await;
    }
    chats
}

/// Kills the worker each time that the service is asked about `poisoned`, until it is asked no more.
/// Returns the kills.
async fn kill_until_it_is_dead(world: &mut World, poisoned: i64) -> usize {
    let asked = |world: &World| {
        let bodies = world.conversation.bodies();
        bodies.iter().filter(|body| body["telegram_user_id"] == poisoned).count()
    };
    let mut kills = 0;
    loop {
        let now = &*world;
        let again = wait_for("another try, or none any more", RECOVERY, || async move {
            if asked(now) > kills {
                return Some(true);
            }
            let dead = now.worker().answers().await && now.metric(DEAD, &POISON).await > 0.0;
            dead.then_some(false)
        })
        .await;
        if !again {
            return kills;
        }
        kills = asked(world);
        world.worker_mut().kill9();
        world.worker_mut().start_again();
    }
}

async fn until_all_are_answered(world: &World, chats: &[i64]) {
    let left = || chats.iter().filter(|chat| world.telegram.sent(**chat).is_empty()).count();
    wait_until("every innocent is answered", RECOVERY, || {
        let calls = world.telegram.calls_of("sendMessage");
        let answered: BTreeSet<i64> = calls.iter().filter_map(harness::Call::chat).collect();
        chats.iter().all(|chat| answered.contains(chat))
    })
    .await;
    assert_eq!(left(), 0);
}

/// The poison hangs, so that its worker can be killed for it; everybody else is slow.
fn slow_but_for(world: &World, poisoned: i64, slow: Duration) {
    world.conversation.answer_with(move |request| {
        let is_poison = request.body()["telegram_user_id"] == poisoned;
        if is_poison { Answer::Hang } else { Answer::text("ok").after(slow) }
    });
}

async fn a_poison_update_dies_after_5_tries_and_the_500_slow_innocents_beside_it_never_do(
    world: WorldBuilder,
) {
    let mut world = world.set("CONVERSATION_SERVICE_TIMEOUT", 60).await;
    let poisoned = world.user();
    slow_but_for(&world, poisoned, Duration::from_millis(700));
    let innocents = crowd_around(&world, poisoned, 500).await;
    let kills = kill_until_it_is_dead(&mut world, poisoned).await;
    // Without its store a worker counts no try, and one whose store takes 250 ms is without it.
    let uncounted = world.worker().stdout().matches("the store is away").count();
    assert!((5..=5 + uncounted).contains(&kills), "{kills} kills, {uncounted} perhaps not counted");
    let begun = Instant::now();
    until_all_are_answered(&world, &innocents).await;
    // One by one, the slow would take 350 s.
    assert!(begun.elapsed() < Duration::from_secs(90), "the innocent took {:?}", begun.elapsed());
    let letters = world.wait_dead("poison", 1).await;
    assert!(letters.iter().all(|letter| letter.json()["message"]["chat"]["id"] == poisoned));
    assert!(letters.iter().all(|letter| letter.number("tgw-attempts") == Some(5)), "{letters:?}");
    assert!(world.telegram.sent(poisoned).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_update_dies_without_redis_too_and_the_slow_innocents_beside_it_never_do() {
    let redis = Redis::shared().await;
    let proxy = Proxy::to(redis.address()).await;
    proxy.cut();
    let world = World::distributed().redis(&proxy.before(redis.url(), redis.address()));
    let mut world = world.set("CONVERSATION_SERVICE_TIMEOUT", 60).await;
    let poisoned = world.user();
    slow_but_for(&world, poisoned, Duration::from_millis(700));
    let innocents = crowd_around(&world, poisoned, 500).await;
    let kills = kill_until_it_is_dead(&mut world, poisoned).await;
    assert!((5..=20).contains(&kills), "{kills} kills");
    until_all_are_answered(&world, &innocents).await;
    let letters = world.wait_dead("poison", 1).await;
    assert_eq!(letters[0].json()["message"]["chat"]["id"], poisoned);
    // Its chat goes on.
    world.conversation.answer(Answer::text("ok"));
    world.accept(&Update::text(poisoned, "hello")).await;
    world.telegram.wait_texts(poisoned, 1).await;
}

/// A few numbers below `below` that look random and are the same in each run.
fn dice(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

/// Posts texts to two dozen fresh chats, and kills the worker in the midst of them; again and again.
/// Returns the chats, and how many sends were in flight at the kills: begun within the last moment.
async fn kills_under_load(world: &mut World, rounds: usize, moment: Duration) -> (Vec<i64>, usize) {
    let mut throw = dice(42);
    let (mut chats, mut in_flight) = (Vec::new(), 0);
    for _ in 0..rounds {
        world.worker_mut().wait_ready().await;
        for _ in 0..24 {
            let chat = world.user();
            world.accept(&Update::text(chat, "hello")).await;
            chats.push(chat);
        }
        let before = world.telegram.calls_of("sendMessage").len();
        // A quick worker has begun the last send when the last post returns.
        let all_begun = || chats.iter().all(|chat| !world.telegram.sent(*chat).is_empty());
        wait_until("it sends", LONG, || world.telegram.calls_of("sendMessage").len() > before || all_begun())
            .await;
        pause(Duration::from_millis(throw(500))).await;
        world.worker_mut().kill9();
        let now = Instant::now();
        let calls = world.telegram.calls_of("sendMessage");
        in_flight += calls.iter().filter(|call| now - call.at < moment).count();
        world.worker_mut().start_again();
    }
    world.worker_mut().wait_ready().await;
    (chats, in_flight)
}

/// Every call of sendMessage takes this long, so that a kill finds some in flight.
fn slow_telegram(world: &World, takes: Duration) {
    let sent = Answer::Json(json!({"ok": true, "result": {"message_id": 1}}));
    world.telegram.script("sendMessage", 100_000, sent.after(takes));
}

async fn what_a_chat_reads_of_one_update_is_of_one_answer(world: WorldBuilder) {
    let mut world = world.await;
    let calls = AtomicU64::new(0);
    world.conversation.answer_with(move |_| {
        let nonce = calls.fetch_add(1, Ordering::Relaxed);
        let part = |n: u32| json!({"type": "text", "content": format!("{nonce}.{n}")});
        Answer::Json(json!({"messages": [part(1), part(2), part(3)]})).after(Duration::from_millis(20))
    });
    let takes = Duration::from_millis(60);
    slow_telegram(&world, takes);
    // A send is in flight until it is recorded, which a busy machine does a little later.
    let (chats, in_flight) = kills_under_load(&mut world, KILLS, takes + Duration::from_millis(150)).await;
    let mut copies = 0;
    for chat in &chats {
        let what = format!("the third part in chat {chat}");
        wait_until(&what, LONG * 2, || world.telegram.texts(*chat).iter().any(|text| text.ends_with(".3")))
            .await;
        let texts = world.telegram.texts(*chat);
        let (nonce, _) = texts[0].split_once('.').unwrap();
        let distinct: BTreeSet<String> = texts.iter().cloned().collect();
        let expected: BTreeSet<String> = (1..=3).map(|n| format!("{nonce}.{n}")).collect();
        assert_eq!(distinct, expected, "chat {chat} read {texts:?}");
        // What comes again goes on from where it was recorded, so a part follows its predecessor or itself.
        let order: Vec<&str> = texts.iter().filter_map(|text| text.rsplit('.').next()).collect();
        assert_eq!((order[0], order[order.len() - 1]), ("1", "3"), "{texts:?}");
        copies += texts.len() - 3;
    }
    assert!(copies <= in_flight, "{copies} copies, but only {in_flight} sends were in flight at the kills");
    world.assert_no_dead_letters().await;
}

/// The chats of all letters, each as often as it has copies; of these, each must be the same update.
async fn chats_of_letters(world: &World) -> BTreeMap<i64, BTreeSet<i64>> {
    let mut chats: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    for letter in dead_letters(world.amqp_url.as_ref().unwrap(), &world.prefix).await {
        assert_eq!(letter.reason(), "service");
        let update = letter.json();
        let chat = update["message"]["chat"]["id"].as_i64().unwrap();
        chats.entry(chat).or_default().insert(update["update_id"].as_i64().unwrap());
    }
    chats
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_a_kill_interrupts_is_dead_or_done_and_never_both() {
    let mut world = World::distributed().await;
    // For every other chat the service fails twice, which is a letter; asked for a third time it answers.
    let asked = Mutex::new(BTreeMap::<i64, u32>::new());
    world.conversation.answer_with(move |request| {
        let chat = request.body()["telegram_user_id"].as_i64().unwrap();
        let mut asked = asked.lock().unwrap();
        let times = asked.entry(chat).or_default();
        *times += 1;
        let fails = chat % 4 < 2 && *times <= 2;
        if fails { Answer::Status(500, json!({})) } else { Answer::text("ok") }
    });
    slow_telegram(&world, Duration::from_millis(150));
    let (chats, _) = kills_under_load(&mut world, KILLS, Duration::ZERO).await;
    until_all_are_answered(&world, &chats).await;
    // Whoever apologised has its letter by now, or soon.
    let apologised: BTreeSet<i64> = chats
        .iter()
        .copied()
        .filter(|chat| world.telegram.texts(*chat).iter().any(|text| text == APOLOGY))
        .collect();
    let letters = wait_for("a letter for each apology", LONG * 2, || async {
        let letters = chats_of_letters(&world).await;
        apologised.iter().all(|chat| letters.contains_key(chat)).then_some(letters)
    })
    .await;
    assert!(!apologised.is_empty() && apologised.len() < chats.len(), "both kinds of ends were to be seen");
    for chat in &chats {
        let texts: BTreeSet<String> = world.telegram.texts(*chat).into_iter().collect();
        let dead = letters.contains_key(chat);
        let expected = if dead { APOLOGY } else { "ok" };
        assert_eq!(texts, BTreeSet::from([expected.to_owned()]), "chat {chat}, dead: {dead}");
    }
    assert!(letters.values().all(|updates| updates.len() == 1));
}

/// Redis takes its time, and is cut together with the worker as soon as a letter is out, so that neither
/// the end is recorded nor the update acked.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_between_the_letter_and_the_ack_leaves_a_copy_of_the_letter_and_no_more() {
    let redis = Redis::shared().await;
    let proxy = Proxy::to(redis.address()).await;
    let mut world = World::distributed().redis(&proxy.before(redis.url(), redis.address())).await;
    let url = world.amqp_url.clone().unwrap();
    let (mut copies, mut tried) = (0, 0);
    while copies == 0 {
        tried += 1;
        assert!(tried <= 10, "the moment between the letter and the ack was never met");
        let chat = world.user();
        // Twice each time: the retry fails too. From then on the service is well.
        world.conversation.answer_first(vec![Answer::Status(500, json!({})); 2]);
        let before = world.metric(DEAD, &[]).await;
        // Well under what a call may take, also where one waits behind another: without the store there is no end
        // to be recorded, and nothing to come between.
        proxy.delay(Direction::There, Duration::from_millis(90));
        world.accept(&Update::text(chat, "hello")).await;
        let soon = &world;
        wait_for("the letter is out", LONG, || async move {
            (soon.worker().metrics().await.sum(DEAD, &[]) > before).then_some(())
        })
        .await;
        proxy.cut();
        world.worker_mut().kill9();
        proxy.delay(Direction::There, Duration::ZERO);
        proxy.resume();
        world.worker_mut().start_again();
        world.worker_mut().wait_ready().await;
        // Its chat goes on, after what became of it.
        world.accept(&Update::text(chat, "again")).await;
        wait_until("the chat goes on", LONG, || world.telegram.texts(chat).contains(&"ok".into())).await;
        let texts = world.telegram.texts(chat);
        assert_eq!(texts, [APOLOGY, "ok"], "one apology, and no answer to what is dead");
        let letters = dead_letters(&url, &world.prefix).await;
        let of_chat: Vec<_> =
            letters.iter().filter(|letter| letter.json()["message"]["chat"]["id"] == chat).collect();
        assert!((1..=2).contains(&of_chat.len()), "{of_chat:?}");
        assert!(of_chat.iter().all(|letter| letter.update == of_chat[0].update));
        copies += of_chat.len() - 1;
    }
}
