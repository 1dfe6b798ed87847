//! A replay of what is still to be sent, where the queue is on RabbitMQ and the store in the file of `tgw run`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use harness::{Answer, ProcessBuilder, Rabbit, Update, World, pause};
use serde_json::{Value, json};

/// Exit code, stdout, stderr.
type Ended = (i32, String, String);

async fn ended(command: ProcessBuilder) -> Ended {
    let mut process = command.start();
    let code = process.wait_exit().await;
    (code, process.stdout(), process.stderr())
}

async fn wait_letter(world: &World) -> Value {
    for _ in 0..100 {
        let (code, stdout, stderr) = ended(world.command(&["dead", "list", "--json"])).await;
        assert_eq!(code, 0, "{stderr}");
        let letters: Vec<Value> = serde_json::from_str(&stdout).unwrap();
        if let [letter] = &letters[..] {
            return letter.clone();
        }
        pause(Duration::from_millis(100)).await;
    }
    panic!("never a letter in the list");
}

/// On RabbitMQ, with its own file for a store; an answer of three messages has died after its first.
async fn with_a_rest() -> (World, i64) {
    let rabbit = Rabbit::shared().await.url();
    let world = World::embedded().set("AMQP_URL", rabbit).await;
    let parts: Vec<Value> =
        (1..=3).map(|n| json!({"type": "text", "content": format!("part {n}")})).collect();
    world.conversation.answer(Answer::Json(json!(parts)));
    world.telegram.script("sendMessage", 1, Answer::Json(json!({"ok": true, "result": {"message_id": 1}})));
    world.telegram.fail("sendMessage", 2, 500, "Internal Server Error", Value::Null);
    let user = world.user();
    world.accept(&Update::text(user, "hello")).await;
    world.telegram.wait_calls("sendMessage", 3).await;
    let letter = wait_letter(&world).await;
    assert_eq!((&letter["reason"], &letter["still_to_send"]), (&json!("telegram"), &json!(true)));
    (world, user)
}

async fn assert_the_rest_alone_is_sent(world: &World) {
    world.telegram.wait_calls("sendMessage", 5).await;
    let texts: Vec<_> =
        world.telegram.calls_of("sendMessage").iter().map(|call| call.text().to_owned()).collect();
    assert_eq!(texts, ["part 1", "part 2", "part 2", "part 2", "part 3"]);
    assert_eq!(world.conversation.count(), 1, "no service is asked again");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_running_process_keeps_the_rest() {
    let (world, _) = with_a_rest().await;
    let (code, stdout, stderr) = ended(world.command(&["dead", "replay", "--all"])).await;
    assert_eq!((code, stdout.as_str()), (0, "replayed: 1 of 1\n  telegram: 1\n"), "{stderr}");
    assert_the_rest_alone_is_sent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_no_process_the_rest_is_kept_in_its_file() {
    let (mut world, _) = with_a_rest().await;
    world.ingress.kill9();
    world.ingress.wait_exit().await;
    let (code, _, stderr) = ended(world.command(&["dead", "replay", "--all"])).await;
    assert!(code == 0 && stderr.contains("the store is "), "{code} {stderr}");
    world.ingress.start_again();
    world.ingress.wait_ready().await;
    assert_the_rest_alone_is_sent(&world).await;
}

/// A file of a gateway that ran here before is not the store of workers that have Redis.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_left_behind_is_not_taken_for_the_workers_store() {
    let world = World::distributed().await;
    world.accept(&Update::text(world.user(), "late").date(harness::now() - 100_000)).await;
    world.wait_dead("expired", 1).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tgw.redb"), "").unwrap();
    let replay = world.command(&["dead", "replay", "--all", "--redis-port", "1"]);
    let replay = replay.env("DATA_DIR", folder.path().display()).env("REDIS_URL", "");
    // With a port of Redis nothing is guessed; without any the workers are asked.
    assert_eq!(ended(replay).await.0, 1);
    let replay = world.command(&["dead", "replay", "--all"]);
    let replay = replay.env("DATA_DIR", folder.path().display()).env("REDIS_URL", "");
    let (_, _, stderr) = ended(replay).await;
    assert!(!stderr.contains("the store is /"), "{stderr}");
    assert_eq!(std::fs::metadata(folder.path().join("tgw.redb")).unwrap().len(), 0, "it was opened");
}
