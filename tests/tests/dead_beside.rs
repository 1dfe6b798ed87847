//! Looking at the dead letters while another tool has them: it tells what is still there, disturbs nobody, and a tool
//! that can't be asked keeps them to itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use harness::{
    Answer, LONG, ProcessBuilder, Rabbit, Update, World, WorldBuilder, goodbye, over_both_worlds, wait_for,
    wait_until,
};
use serde_json::{Value, json};

over_both_worlds!(
    who_looks_beside_a_replay_sees_what_is_still_there,
    those_who_look_at_once_all_see_all,
    a_replay_waits_for_who_only_looks,
);

/// What a tool says that waits.
const WAITS: &str = "waits for another tool, which has the dead letters in hand";

/// Exit code, stdout, stderr.
type Ended = (i32, String, String);

async fn ended(command: ProcessBuilder) -> Ended {
    let mut process = command.start();
    let code = process.wait_exit().await;
    (code, process.stdout(), process.stderr())
}

async fn call(world: &World, arguments: &[&str]) -> Ended {
    ended(world.command(&[&["dead"], arguments].concat())).await
}

async fn list(world: &World) -> Vec<Value> {
    let (code, stdout, stderr) = call(world, &["list", "--json"]).await;
    assert_eq!(code, 0, "{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

fn ids(letters: &[Value]) -> BTreeSet<String> {
    letters.iter().map(|letter| letter["id"].as_str().unwrap().to_owned()).collect()
}

fn expired(user: i64) -> Update {
    Update::text(user, "a question").date(harness::now() - 100_000)
}

/// A deployment with so many letters, each of a chat of its own.
async fn with_letters(world: WorldBuilder, count: usize) -> (World, Vec<i64>) {
    let world = world.await;
    world.conversation.answer(Answer::text("late"));
    let users: Vec<i64> = (0..count).map(|_| world.user()).collect();
    for &user in &users {
        world.accept(&expired(user)).await;
    }
    world.wait_dead("expired", count).await;
    (world, users)
}

async fn who_looks_beside_a_replay_sees_what_is_still_there(world: WorldBuilder) {
    let (world, users) = with_letters(world, 40).await;
    let before = list(&world).await;
    // Two of them are nobody's business: the replay does not choose them.
    let chosen: Vec<String> = users[2..].iter().map(ToString::to_string).collect();
    let mut replay = world.command(&["dead", "replay", "--rate", "3/s", "--user", &chosen.join(",")]).start();
    world.conversation.wait_for(1).await;
    let seen = list(&world).await;
    assert!(seen.len() < before.len() && seen.len() > 2, "{} of {}", seen.len(), before.len());
    assert!(ids(&seen).is_subset(&ids(&before)));
    let full = before.iter().find(|letter| letter["id"] == seen[0]["id"]).unwrap();
    assert_eq!(&seen[0], full, "nothing of a letter is left out");
    // The others' bytes are there too.
    let left = before.iter().find(|letter| letter["user_id"] == json!(users[0])).unwrap();
    let id = left["id"].as_str().unwrap();
    let (code, stdout, stderr) = call(&world, &["show", id, "--show-text"]).await;
    assert!(code == 0 && stdout.contains("a question"), "{code} {stdout} {stderr}");
    let (code, stdout, stderr) = call(&world, &["export"]).await;
    assert_eq!(code, 0, "{stderr}");
    let exported: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(ids(&exported).is_subset(&ids(&seen)) && exported.len() >= 2, "{}", exported.len());
    assert!(exported.iter().all(|line| line["update_base64"].as_str().unwrap().len() > 100));
    let (code, stdout, _) = call(&world, &["replay", "--all", "--dry-run"]).await;
    assert!(code == 0 && stdout.starts_with("would replay: "), "{stdout}");
    // Who wants to change something is told, and the replay is none the worse for all of that.
    let (code, _, stderr) = call(&world, &["discard", "--all", "--yes"]).await;
    assert!(code == 1 && stderr.contains("another tool has the dead letters"), "{code} {stderr}");
    assert!(replay.is_running(), "the looks took place beside it");
    assert_eq!(replay.wait_exit().await, 0, "{}", replay.stderr());
    assert_eq!(replay.stdout(), "replayed: 38 of 38\n  expired: 38\n");
    for &user in &users[2..] {
        assert_eq!(world.telegram.wait_texts(user, 1).await.len(), 1);
    }
    let after = list(&world).await;
    let left: BTreeSet<_> = after.iter().map(|letter| letter["user_id"].as_i64().unwrap()).collect();
    assert_eq!(left, BTreeSet::from([users[0], users[1]]));
}

async fn those_who_look_at_once_all_see_all(world: WorldBuilder) {
    let (world, _) = with_letters(world, 5).await;
    let alone = call(&world, &["list", "--json"]).await;
    let mut looking: Vec<_> = (0..6).map(|_| world.command(&["dead", "list", "--json"]).start()).collect();
    for look in &mut looking {
        let code = look.wait_exit().await;
        assert_eq!((code, look.stdout()), (0, alone.1.clone()), "{}", look.stderr());
    }
}

async fn a_replay_waits_for_who_only_looks(world: WorldBuilder) {
    let (world, users) = with_letters(world, 5).await;
    let mut looking: Vec<_> =
        (0..4).map(|_| world.command(&["dead", "list", "--json", "--watch", "1"]).start()).collect();
    for user in users {
        let (code, _, stderr) = call(&world, &["replay", "--user", &user.to_string()]).await;
        assert_eq!(code, 0, "{stderr}");
    }
    for look in &mut looking {
        let empty = || look.stdout().lines().last() == Some("[]");
        wait_until("the watch sees that none is left", LONG, empty).await;
        look.interrupt();
        assert_eq!(look.wait_exit().await, 0, "{}", look.stderr());
    }
}

/// As one of an earlier version does.
#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_answers_nothing_keeps_the_letters_to_itself() {
    let (world, _) = with_letters(World::distributed(), 2).await;
    let lock = Rabbit::shared().await.lock(&format!("{}.dead.lock", world.prefix)).await;
    for arguments in [&["list"][..], &["export"], &["replay", "--all"]] {
        let (code, stdout, stderr) = call(&world, arguments).await;
        assert_eq!((code, stdout.as_str()), (1, ""));
        assert!(stderr.contains("another tool has the dead letters in hand: try again"), "{stderr}");
    }
    let mut waiting = world.command(&["dead", "list", "--json", "--wait"]).start();
    waiting.wait_stderr(WAITS).await;
    goodbye(&lock).await.unwrap();
    assert_eq!(waiting.wait_exit().await, 0, "{}", waiting.stderr());
    assert_eq!(serde_json::from_str::<Vec<Value>>(&waiting.stdout()).unwrap().len(), 2);
}

/// It waits for half a minute until they are given back.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_letters_that_somebody_keeps_ends_with_ctrl_c() {
    let (world, _) = with_letters(World::distributed(), 2).await;
    let (rabbit, lock) = (Rabbit::shared().await, format!("{}.dead.lock", world.prefix));
    let _stranger = rabbit.consume(&format!("{}.dead", world.prefix)).await;
    for arguments in [&["dead", "list"][..], &["dead", "discard", "--all", "--yes"]] {
        let mut look = world.command(arguments).start();
        wait_for("it has the lock", LONG, || async { rabbit.is_held(&lock).await.then_some(()) }).await;
        look.interrupt();
        assert_eq!(look.wait_exit().await, 1, "{}", look.stderr());
        assert!(look.stderr().contains("stopped before all dead letters were read"), "{}", look.stderr());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_waits_for_its_turn_ends_cleanly_too() {
    let (world, _) = with_letters(World::distributed(), 1).await;
    let mut watch = world.command(&["dead", "list", "--json", "--watch", "2", "--wait"]).start();
    wait_until("the watch shows the letters", LONG, || watch.stdout().lines().count() == 1).await;
    // It gave them back before it printed, and asks again in two seconds.
    let _lock = Rabbit::shared().await.lock(&format!("{}.dead.lock", world.prefix)).await;
    watch.wait_stderr(WAITS).await;
    watch.interrupt();
    assert_eq!(watch.wait_exit().await, 0, "{}", watch.stderr());
}

/// With no process running the file is the tool's; others look by its window.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_a_file_that_nobody_has_open_can_be_looked_at() {
    let (mut world, users) = with_letters(World::embedded(), 12).await;
    world.ingress.kill9();
    world.ingress.wait_exit().await;
    let before = list(&world).await;
    let mut replay = world.command(&["dead", "replay", "--all", "--rate", "2/s"]).start();
    let mut seen = before.clone();
    while seen.len() == before.len() {
        assert!(replay.is_running(), "it was never seen at work: {}", replay.stderr());
        seen = list(&world).await;
    }
    assert!(!seen.is_empty() && ids(&seen).is_subset(&ids(&before)), "{}", seen.len());
    let (code, stdout, _) = call(&world, &["show", seen.last().unwrap()["id"].as_str().unwrap()]).await;
    assert!(code == 0 && stdout.contains("(10 characters)"), "{stdout}");
    assert_eq!(replay.wait_exit().await, 0, "{}", replay.stderr());
    assert!(!world.ingress.data_dir().join("tgw-dead.sock").exists());
    world.ingress.start_again();
    world.ingress.wait_ready().await;
    for user in users {
        world.telegram.wait_texts(user, 1).await;
    }
}
