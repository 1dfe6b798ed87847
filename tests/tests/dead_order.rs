//! A replay keeps a chat's order, whatever the order in which its letters lie, and takes only the route that was named.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use harness::{Answer, LONG, ProcessBuilder, Update, World, WorldBuilder, over_both_worlds, wait_for};
use serde_json::Value;

over_both_worlds!(a_chats_letters_are_replayed_in_the_order_of_their_updates);

async fn ended(command: ProcessBuilder) -> (i32, String, String) {
    let mut process = command.start();
    let code = process.wait_exit().await;
    (code, process.stdout(), process.stderr())
}

async fn dead(world: &World, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = ended(world.command(&[&["dead"], arguments].concat())).await;
    assert_eq!(code, 0, "{arguments:?}: {stderr}");
    stdout
}

async fn a_chats_letters_are_replayed_in_the_order_of_their_updates(world: WorldBuilder) {
    let world = world.await;
    world.conversation.answer(Answer::text("late"));
    world.profile.answer(Answer::text("late"));
    let user = world.user();
    let texts: Vec<String> = (0..20).map(|n| format!("question {n}")).collect();
    for text in &texts {
        world.accept(&Update::text(user, text).date(harness::now() - 100_000)).await;
    }
    world.accept(&Update::command(user, "/start").date(harness::now() - 100_000)).await;
    world.wait_dead("expired", texts.len() + 1).await;
    // Buried anew, the last one first.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("letters.jsonl");
    let file = file.to_str().unwrap();
    dead(&world, &["export", "--out", file]).await;
    dead(&world, &["discard", "--all", "--yes"]).await;
    let reversed: Vec<String> =
        std::fs::read_to_string(file).unwrap().lines().rev().map(|line| format!("{line}\n")).collect();
    std::fs::write(file, reversed.concat()).unwrap();
    dead(&world, &["import", file]).await;
    let told = dead(&world, &["replay", "--route", "text"]).await;
    assert!(told.starts_with("replayed: 20 of 20\n"), "{told}");
    world.conversation.wait_for(texts.len()).await;
    let asked: Vec<Value> = world.conversation.bodies().iter().map(|body| body["message"].clone()).collect();
    assert_eq!(asked, texts);
    let left: Vec<Value> = serde_json::from_str(&dead(&world, &["list", "--json"]).await).unwrap();
    assert_eq!((left.len(), left[0]["route"].as_str()), (1, Some("command:/start")));
    dead(&world, &["replay", "--route", "command:/start"]).await;
    wait_for("the command is answered", LONG, || async {
        (world.telegram.texts(user).len() == texts.len() + 1).then_some(())
    })
    .await;
}
