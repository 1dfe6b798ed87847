//! Contract 5, SIGHUP: a table is read again on a live worker, under load. The new one takes effect, a broken one
//! changes nothing, and no update is lost, doubled or out of order through it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness::{
    Answer, Figures, LATENCY, LONG, Ledger, Load, Part, Proxy, Redis, Update, World, WorldBuilder,
    over_both_worlds, pause, wait_for, wait_until,
};
use serde_json::Value;
use tempfile::NamedTempFile;

over_both_worlds!(a_route_added_by_sighup_takes_effect_under_load_and_loses_nothing);

/// Accepted updates of which nothing was heard for so long are lost.
const PATIENCE: Duration = Duration::from_secs(25);

/// Of each chat: 80 updates a second, which a debug build on a busy machine can handle without a backlog for the new
/// command to wait behind.
const EVERY: Duration = Duration::from_millis(200);

/// What is wrong here is logged, and of the second thing not what it is.
const BROKEN: &str = r#"
[[routes]]
command = "no slash"
reply = "x"
[services.weather]
url = "http://weather"
bearer = ["hunter2"]
"#;

/// What one more chat reads, while the others are in the ledger's books.
type Read = Arc<Mutex<Vec<String>>>;

/// The conversation, and a command for each version up to this one.
fn table(version: usize) -> String {
    let command = |at| format!("[[routes]]\ncommand = \"/v{at}\"\nreply = \"version {at}\"\n");
    let conversation = "[[routes]]\ntext = true\nservice = \"conversation\"\n";
    (1..=version).map(command).collect::<String>() + conversation
}

/// Each answer carries a number of its own, so that two answers to one update can be told apart.
fn answer_slowly(world: &World) {
    let nonce = AtomicU64::new(1);
    world.conversation.keep_nothing();
    world.conversation.answer_with(move |request| {
        let Ok(update) = request.body()["message"].as_str().unwrap_or_default().parse::<i64>() else {
            return Answer::text("a text of no chat under load");
        };
        let part = Part { update, number: 1, of: 1, nonce: nonce.fetch_add(1, Ordering::Relaxed) };
        Answer::text(&part.text()).after(Duration::from_millis(20 + (update * 37).unsigned_abs() % 60))
    });
}

fn keep_books(world: &World, asking: i64) -> (Arc<Ledger>, Read) {
    let (ledger, read) = (Arc::new(Ledger::default()), Read::default());
    let (seen, heard) = (ledger.clone(), read.clone());
    world.telegram.watch(LATENCY, move |call| match call.chat() {
        // Others are the signs that somebody is typing.
        _ if call.method != "sendMessage" => {}
        Some(chat) if chat == asking => heard.lock().unwrap().push(call.text().to_owned()),
        chat => seen.sent(chat.unwrap_or_default(), call.text()),
    });
    (ledger, read)
}

/// The worker waits a moment for its store before it begins.
#[tokio::test(flavor = "multi_thread")]
async fn a_sighup_that_comes_early_ends_nothing() {
    let redis = Redis::shared().await;
    let proxy = Proxy::to(redis.address()).await;
    proxy.cut();
    let url = proxy.before(redis.url(), redis.address());
    let mut world = World::distributed().redis(&url).without_waiting().await;
    world.worker().wait_log("it listens", |line| line["message"] == "the worker listens").await;
    world.worker_mut().hang_up();
    let read = |line: &Value| line["message"] == "the routes were read again and are in use";
    world.worker().wait_log("that the routes were read again", read).await;
    assert!(world.worker_mut().is_running());
}

async fn ask(world: &World, user: i64, command: &str, read: &Read) -> String {
    let before = read.lock().unwrap().len();
    world.accept(&Update::command(user, command)).await;
    wait_until(&format!("an answer to {command}"), LONG, || read.lock().unwrap().len() > before).await;
    read.lock().unwrap().last().unwrap().clone()
}

async fn a_route_added_by_sighup_takes_effect_under_load_and_loses_nothing(world: WorldBuilder) {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), table(1)).unwrap();
    let mut world = world.set("ROUTES_FILE", file.path().display()).await;
    let asking = world.user();
    let (ledger, read) = keep_books(&world, asking);
    answer_slowly(&world);
    let chats: Vec<i64> = (0..16).map(|_| world.user()).collect();
    let ingresses = [world.ingress.base_url()];
    let load = Load::start(&chats, EVERY, &ingresses, &world.secret, &ledger);

    for version in 2..=6 {
        let command = format!("/v{version}");
        assert_eq!(ask(&world, asking, &command, &read).await, "a text of no chat under load");
        // Broken at its end: what stands before it does not come into use either.
        std::fs::write(file.path(), table(version) + BROKEN).unwrap();
        world.worker_mut().hang_up();
        let broken = |line: &serde_json::Value| {
            line["level"] == "ERROR" && line["error"].as_str().is_some_and(|error| error.contains("no slash"))
        };
        wait_until("the broken file is told", LONG, || world.worker().logged(broken).len() == version - 1)
            .await;
        assert_eq!(ask(&world, asking, &command, &read).await, "a text of no chat under load");
        let last = format!("/v{}", version - 1);
        assert_eq!(ask(&world, asking, &last, &read).await, format!("version {}", version - 1));

        std::fs::write(file.path(), table(version)).unwrap();
        world.worker_mut().hang_up();
        let expected = format!("version {version}");
        wait_for("the new route is taken", LONG, || async {
            (ask(&world, asking, &command, &read).await == expected).then_some(())
        })
        .await;
        pause(Duration::from_millis(100)).await;
    }

    assert!(!world.worker().stdout().contains("hunter2"), "a secret in the log");
    load.stop(PATIENCE).await;
    ledger.settle(PATIENCE).await;
    ledger.note_without_store(world.worker());
    world.assert_no_dead_letters().await;
    let figures = Figures::of(&ledger, BTreeSet::new());
    println!("{figures}");
    let wrong = figures.wrong();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(figures.accepted > 100 && figures.duplicates == 0, "{figures}");
}
