//! SIGTERM under load: nothing is lost, nothing is repeated, and the exit code is 0 within the grace
//! (contract 2). Where the grace runs out it is 1, and nothing is lost either.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use harness::{
    Answer, LONG, SECRET_HEADER, Update, World, WorldBuilder, http_client, over_both_worlds, pause,
    wait_until,
};

over_both_worlds!(
    a_stop_under_load_loses_and_repeats_nothing,
    a_stop_while_suspects_wait_for_their_turn_is_in_time,
    a_grace_that_runs_out_is_exit_1_and_loses_nothing,
    what_is_accepted_while_it_stops_is_handled_once,
);

/// The default of SHUTDOWN_GRACE.
const GRACE: Duration = Duration::from_secs(25);

/// What a worker adds to the grace before it is gone, on a busy machine.
const GOODBYE: Duration = Duration::from_secs(5);

async fn say_to_all(world: &World, chats: &[i64], text: &str) {
    for chat in chats {
        world.accept(&Update::text(*chat, text)).await;
    }
}

async fn until_each_read(world: &World, chats: &[i64], count: usize) {
    let what = format!("{count} answers in each of {} chats", chats.len());
    wait_until(&what, LONG * 3, || {
        let calls = world.telegram.calls_of("sendMessage");
        let of = |chat: i64| calls.iter().filter(|call| call.chat() == Some(chat)).count();
        chats.iter().all(|chat| of(*chat) >= count)
    })
    .await;
}

/// SIGTERM to what handles updates; its exit code, and how long it took.
async fn stop(world: &mut World) -> (i32, Duration) {
    let begun = Instant::now();
    world.worker_mut().term();
    (world.worker_mut().wait_exit().await, begun.elapsed())
}

async fn start_again(world: &mut World) {
    world.worker_mut().start_again();
    world.worker_mut().wait_ready().await;
}

async fn a_stop_under_load_loses_and_repeats_nothing(world: WorldBuilder) {
    let mut world = world.await;
    world.conversation.answer_with(|request| {
        Answer::text(request.body()["message"].as_str().unwrap()).after(Duration::from_millis(400))
    });
    let chats: Vec<i64> = (0..60).map(|_| world.user()).collect();
    let texts = ["one", "two", "three", "four"];
    for (round, text) in texts.iter().enumerate() {
        say_to_all(&world, &chats, text).await;
        // In the midst of each round but the last.
        if round < 3 {
            let done = world.telegram.calls_of("sendMessage").len();
            wait_until("it is at work", LONG, || world.telegram.calls_of("sendMessage").len() > done).await;
            let (code, took) = stop(&mut world).await;
            assert_eq!(code, 0);
            assert!(took < GRACE, "it took {took:?}");
            start_again(&mut world).await;
        }
    }
    until_each_read(&world, &chats, texts.len()).await;
    for chat in &chats {
        assert_eq!(world.telegram.texts(*chat), texts, "chat {chat}");
    }
    assert_eq!(world.conversation.count(), texts.len() * chats.len(), "no service was asked twice");
    world.assert_no_dead_letters().await;
}

async fn a_stop_while_suspects_wait_for_their_turn_is_in_time(world: WorldBuilder) {
    let mut world = world.set("SHUTDOWN_GRACE", 8).set("CONVERSATION_SERVICE_TIMEOUT", 60).await;
    // All are in hand when their worker dies.
    world.conversation.answer(Answer::Hang);
    let chats: Vec<i64> = (0..300).map(|_| world.user()).collect();
    say_to_all(&world, &chats, "hello").await;
    world.conversation.wait_for(chats.len()).await;
    world.worker_mut().kill9();
    world.conversation.answer(Answer::text("ok").after(Duration::from_secs(2)));
    let asked = world.conversation.count();
    start_again(&mut world).await;
    world.conversation.wait_for(asked + 10).await;
    let (code, took) = stop(&mut world).await;
    assert_eq!(code, 0, "after {took:?}");
    let answered = world.telegram.calls_of("sendMessage").len();
    assert!(answered < chats.len(), "nothing waited any more");
    world.conversation.answer(Answer::text("ok"));
    start_again(&mut world).await;
    until_each_read(&world, &chats, 1).await;
    world.assert_no_dead_letters().await;
}

async fn a_grace_that_runs_out_is_exit_1_and_loses_nothing(world: WorldBuilder) {
    let mut world = world.set("SHUTDOWN_GRACE", 2).set("CONVERSATION_SERVICE_TIMEOUT", 60).await;
    world.conversation.answer(Answer::Hang);
    let chats: Vec<i64> = (0..20).map(|_| world.user()).collect();
    say_to_all(&world, &chats, "hello").await;
    world.conversation.wait_for(20).await;
    let (code, took) = stop(&mut world).await;
    assert_eq!(code, 1);
    assert!(took < Duration::from_secs(2) + GOODBYE, "it took {took:?}");
    world.conversation.answer(Answer::text("ok"));
    start_again(&mut world).await;
    until_each_read(&world, &chats, 1).await;
    for chat in &chats {
        assert_eq!(world.telegram.texts(*chat), ["ok"]);
    }
    world.assert_no_dead_letters().await;
}

/// Posts texts of fresh chats until the connection is refused; the chats whose text was accepted.
async fn post_until_refused(world: &World) -> Vec<i64> {
    let url = format!("{}/webhook/telegram", world.ingress.base_url());
    let accepted = Mutex::new(Vec::new());
    let client = http_client();
    let post = async || {
        loop {
            let chat = world.user();
            let request = client.post(&url).header(SECRET_HEADER, &world.secret);
            match request.body(Update::text(chat, "hello").bytes()).send().await {
                Ok(answer) if answer.status() == 200 => accepted.lock().unwrap().push(chat),
                Ok(_) => {}
                Err(error) if error.is_connect() => return,
                // Its answer was lost: Telegram would post it again.
                Err(_) => {}
            }
            pause(Duration::from_millis(5)).await;
        }
    };
    tokio::join!(post(), post(), post(), post());
    accepted.into_inner().unwrap()
}

async fn what_is_accepted_while_it_stops_is_handled_once(world: WorldBuilder) {
    let mut world = world.set("SHUTDOWN_GRACE", 12).await;
    world.conversation.answer(Answer::text("ok").after(Duration::from_millis(200)));
    let early: Vec<i64> = (0..30).map(|_| world.user()).collect();
    say_to_all(&world, &early, "hello").await;
    world.ingress.term();
    let begun = Instant::now();
    let late = post_until_refused(&world).await;
    assert!(!late.is_empty(), "requests are taken for some seconds");
    assert_eq!(world.ingress.wait_exit().await, 0);
    assert!(begun.elapsed() < Duration::from_secs(12), "it took {:?}", begun.elapsed());
    world.ingress.start_again();
    world.ingress.wait_ready().await;
    let chats: Vec<i64> = early.into_iter().chain(late).collect();
    until_each_read(&world, &chats, 1).await;
    let calls = world.telegram.calls_of("sendMessage");
    let distinct: BTreeSet<i64> = calls.iter().filter_map(harness::Call::chat).collect();
    assert_eq!(calls.len(), distinct.len(), "nothing is repeated");
    world.assert_no_dead_letters().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_worker_takes_over_from_one_that_stops_under_load() {
    let mut world = World::distributed().await;
    let other = world.add_worker().await;
    world.conversation.answer(Answer::text("ok").after(Duration::from_millis(700)));
    let chats: Vec<i64> = (0..200).map(|_| world.user()).collect();
    say_to_all(&world, &chats[..150], "hello").await;
    world.conversation.wait_for(20).await;
    world.worker_mut().term();
    say_to_all(&world, &chats[150..], "hello").await;
    assert_eq!(world.worker_mut().wait_exit().await, 0);
    until_each_read(&world, &chats, 1).await;
    assert_eq!(world.telegram.calls_of("sendMessage").len(), chats.len(), "nothing is repeated");
    assert_eq!(world.conversation.count(), chats.len(), "no service was asked twice");
    drop(other);
}

/// Ctrl-Z in the midst of an export, or a debugger: it asks, and takes no answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_is_frozen_keeps_no_gateway() {
    let mut world = World::embedded().await;
    let mut tool = UnixStream::connect(world.worker_mut().data_dir().join("tgw.sock")).unwrap();
    tool.set_nonblocking(true).unwrap();
    let question = [&11_u32.to_be_bytes(), br#""CanReplay""#.as_slice()].concat();
    // Until nothing more is taken from it, since its answers lie there.
    let mut is_taken = true;
    while is_taken {
        is_taken = false;
        while tool.write_all(&question).is_ok() {
            is_taken = true;
        }
        pause(Duration::from_millis(300)).await;
    }
    let (code, took) = stop(&mut world).await;
    assert!(code == 0 && took < GRACE, "{code} after {took:?}");
}
