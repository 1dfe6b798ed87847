//! `tgw dead`: an operator sees what failed, and replays it; nothing is lost, done twice or worn out by that.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use harness::{
    Answer, LONG, ProcessBuilder, Redis, Update, World, WorldBuilder, over_both_worlds, pause, wait_for,
};
use serde_json::{Value, json};

over_both_worlds!(
    a_replay_answers_late_and_a_second_death_tells_of_it,
    a_replay_answers_a_callback_only_as_the_service_says,
    what_is_still_to_be_sent_is_all_that_a_replay_sends,
    letters_are_chosen_by_what_they_carry,
    an_export_comes_back_by_an_import,
    a_letter_without_an_update_is_refused,
    looking_wears_nothing_out_and_takes_nothing,
    a_replay_that_is_killed_ten_times_answers_everybody_once,
    one_tool_at_a_time_holds_the_letters_and_ctrl_c_ends_it_cleanly,
    ctrl_c_at_its_question_discards_nothing_and_gives_the_letters_back,
);

/// Exit code, stdout, stderr.
type Ended = (i32, String, String);

async fn ended(command: ProcessBuilder) -> Ended {
    let mut process = command.start();
    let code = process.wait_exit().await;
    (code, process.stdout(), process.stderr())
}

/// Calls commands where the deployment is.
async fn calls(world: &mut World, commands: &[&[&str]]) -> Vec<Ended> {
    let mut told = Vec::new();
    for arguments in commands {
        told.push(ended(world.command(&[&["dead"], *arguments].concat())).await);
    }
    told
}

async fn call(world: &mut World, arguments: &[&str]) -> Ended {
    calls(world, &[arguments]).await.remove(0)
}

async fn list(world: &mut World, arguments: &[&str]) -> Vec<Value> {
    let (code, stdout, stderr) = call(world, &[&["list", "--json"], arguments].concat()).await;
    assert_eq!(code, 0, "{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

/// The list, when it is as long as that.
async fn wait_listed(world: &mut World, count: usize) -> Vec<Value> {
    for _ in 0..100 {
        let letters = list(world, &[]).await;
        if letters.len() == count {
            return letters;
        }
        pause(Duration::from_millis(100)).await;
    }
    panic!("never {count} letters in the list");
}

fn broken(calls: usize) -> Vec<Answer> {
    (0..calls).map(|_| Answer::Status(500, json!({}))).collect()
}

/// A message that dies at once, with no call made.
fn expired(user: i64) -> Update {
    Update::text(user, "a question").date(harness::now() - 100_000)
}

async fn a_replay_answers_late_and_a_second_death_tells_of_it(world: WorldBuilder) {
    let mut world = world.await;
    let user = world.user();
    world.conversation.answer_first(broken(4));
    world.conversation.answer(Answer::text("the answer"));
    let update = Update::text(user, "a question");
    world.accept(&update).await;
    world.telegram.wait_texts(user, 1).await;
    let first = wait_listed(&mut world, 1).await.remove(0);
    assert_eq!(
        (&first["reason"], &first["kind"], &first["replays"]),
        (&json!("service"), &json!("message"), &json!(0))
    );
    assert_eq!((&first["update_id"], &first["user_id"]), (&json!(update.update_id()), &json!(user)));
    assert_eq!((&first["route"], &first["service"]), (&json!("text"), &json!("conversation")));
    let (code, stdout, stderr) = call(&mut world, &["replay", "--all", "--by", "ann"]).await;
    assert_eq!((code, stdout.as_str()), (0, "replayed: 1 of 1\n  service: 1\n"), "{stderr}");
    // The service failed twice more: it died again, and nobody was told a second time.
    world.conversation.wait_for(4).await;
    let second = wait_listed(&mut world, 1).await.remove(0);
    assert_eq!((&second["replays"], &second["replayed_by"]), (&json!(1), &json!("ann")));
    assert_eq!(second["first_failed"], first["first_failed"]);
    assert_ne!((&second["last_failed"], &second["id"]), (&first["last_failed"], &first["id"]));
    assert_eq!(world.telegram.texts(user).len(), 1, "one apology");
    let (code, ..) = call(&mut world, &["replay", "--id", second["id"].as_str().unwrap()]).await;
    assert_eq!(code, 0);
    assert_eq!(world.telegram.wait_texts(user, 2).await[1], "the answer");
    assert_eq!(list(&mut world, &[]).await, Vec::<Value>::new());
}

async fn a_replay_answers_a_callback_only_as_the_service_says(world: WorldBuilder) {
    let mut world = world.await;
    let user = world.user();
    world.matching.answer_first(broken(4));
    for data in ["SKIP:1", "SKIP:2"] {
        world.accept(&Update::callback(user, data)).await;
    }
    wait_listed(&mut world, 2).await;
    assert_eq!(world.telegram.calls_of("answerCallbackQuery").len(), 2, "empty ones");
    world.matching.answer_with(|request| match request.body()["target_user_id"] == "1" {
        true => Answer::text("late"),
        false => Answer::Json(
            json!({"messages": [{"type": "text", "content": "later"}], "answer": {"text": "noted"}}),
        ),
    });
    assert_eq!(call(&mut world, &["replay", "--all"]).await.0, 0);
    let texts = world.telegram.wait_texts(user, 4).await;
    assert_eq!(texts[2..], ["late", "later"]);
    let answers = world.telegram.wait_calls("answerCallbackQuery", 3).await;
    assert_eq!((answers.len(), answers[2].text()), (3, "noted"));
}

async fn what_is_still_to_be_sent_is_all_that_a_replay_sends(world: WorldBuilder) {
    let mut world = world.await;
    let user = world.user();
    let parts: Vec<Value> =
        (1..=3).map(|n| json!({"type": "text", "content": format!("part {n}")})).collect();
    world.conversation.answer(Answer::Json(json!(parts)));
    world.telegram.script("sendMessage", 1, Answer::Json(json!({"ok": true, "result": {"message_id": 1}})));
    world.telegram.fail("sendMessage", 2, 500, "Internal Server Error", Value::Null);
    world.accept(&Update::text(user, "hello")).await;
    world.telegram.wait_calls("sendMessage", 3).await;
    let letter = wait_listed(&mut world, 1).await.remove(0);
    assert_eq!((&letter["reason"], &letter["still_to_send"]), (&json!("telegram"), &json!(true)));
    let (code, ..) = call(&mut world, &["replay", "--reason", "telegram"]).await;
    assert_eq!(code, 0);
    world.telegram.wait_calls("sendMessage", 5).await;
    let texts: Vec<_> =
        world.telegram.calls_of("sendMessage").iter().map(|call| call.text().to_owned()).collect();
    assert_eq!(texts, ["part 1", "part 2", "part 2", "part 2", "part 3"]);
    assert_eq!(world.conversation.count(), 1, "no service is asked again");
}

async fn letters_are_chosen_by_what_they_carry(world: WorldBuilder) {
    let mut world = world.await;
    let (ann, bob) = (world.user(), world.user());
    for user in [ann, bob, bob] {
        world.accept(&expired(user)).await;
    }
    wait_listed(&mut world, 3).await;
    let bobs = bob.to_string();
    let conditions: [(&[&str], usize); 9] = [
        (&["--reason", "expired"], 3),
        (&["--reason", "service,telegram"], 0),
        (&["--user", &bobs], 2),
        (&["--chat", &bobs, "--limit", "1"], 1),
        (&["--since", "1h"], 3),
        (&["--until", "1h"], 0),
        (&["--kind", "callback_query"], 0),
        (&["--error", "its TIME was|^its time"], 3),
        (&["--error", "^nothing$"], 0),
    ];
    let lists: Vec<Vec<&str>> =
        conditions.iter().map(|(condition, _)| [&["list", "--json"], *condition].concat()).collect();
    let lists: Vec<&[&str]> = lists.iter().map(Vec::as_slice).collect();
    for ((code, stdout, _), (condition, count)) in calls(&mut world, &lists).await.into_iter().zip(conditions)
    {
        let letters: Vec<Value> = serde_json::from_str(&stdout).unwrap();
        assert_eq!((code, letters.len()), (0, count), "{condition:?}");
    }
    let wrong: [&[&str]; 4] =
        [&["replay"], &["discard"], &["list", "--error", "("], &["list", "--since", "soon"]];
    for (told, wrong) in calls(&mut world, &wrong).await.iter().zip(wrong) {
        assert_eq!(told.0, 2, "{wrong:?}");
    }
    let (code, stdout, _) = call(&mut world, &["replay", "--all", "--dry-run"]).await;
    assert_eq!((code, stdout.as_str()), (0, "would replay: 3 of 3\n  expired: 3\n"));
    let (code, stdout, _) = call(&mut world, &["discard", "--user", &bobs, "--yes"]).await;
    assert_eq!((code, stdout.as_str()), (0, "discarded: 2\n"));
    assert_eq!(call(&mut world, &["discard", "--all"]).await.0, 2, "nobody is there to agree");
    let left = list(&mut world, &[]).await;
    assert_eq!((left.len(), &left[0]["user_id"]), (1, &json!(ann)));
    let id = left[0]["id"].as_str().unwrap();
    let (code, stdout, _) = call(&mut world, &["show", id]).await;
    assert!(code == 0 && !stdout.contains("a question") && stdout.contains("(10 characters)"), "{stdout}");
    assert!(call(&mut world, &["show", id, "--show-text"]).await.1.contains("a question"));
    assert_eq!(call(&mut world, &["show", "no-such-id"]).await.0, 1);
}

async fn an_export_comes_back_by_an_import(world: WorldBuilder) {
    let mut world = world.await;
    world.conversation.answer(Answer::text("late"));
    let user = world.user();
    world.accept(&expired(user)).await;
    let before = wait_listed(&mut world, 1).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("letters.jsonl");
    let file = file.to_str().unwrap();
    assert_eq!(call(&mut world, &["export", "--out", file]).await.0, 0);
    // One that is there already stays one.
    assert_eq!(call(&mut world, &["import", file]).await.0, 0);
    assert_eq!(list(&mut world, &[]).await, before);
    assert_eq!(call(&mut world, &["discard", "--all", "--yes"]).await.0, 0);
    assert_eq!(list(&mut world, &[]).await.len(), 0);
    assert_eq!(call(&mut world, &["import", file]).await.0, 0);
    assert_eq!(list(&mut world, &[]).await, before);
    std::fs::write(file, "{}\n").unwrap();
    assert_eq!(call(&mut world, &["import", file]).await.0, 2);
    assert_eq!(call(&mut world, &["replay", "--all"]).await.0, 0);
    world.telegram.wait_texts(user, 1).await;
}

async fn a_letter_without_an_update_is_refused(world: WorldBuilder) {
    let mut world = world.await;
    assert_eq!(world.post_bytes(b"no update".to_vec()).await.status, 200);
    wait_listed(&mut world, 1).await;
    let (code, stdout, _) = call(&mut world, &["replay", "--all", "--json"]).await;
    let told: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &told["refused"], &told["replayed"]), (3, &json!(1), &json!(0)));
    assert_eq!(list(&mut world, &["--reason", "malformed"]).await.len(), 1);
}

/// A deployment with so many letters, each of a chat of its own.
async fn with_letters(world: WorldBuilder, count: usize) -> (World, Vec<i64>) {
    let mut world = world.await;
    world.conversation.answer(Answer::text("late"));
    let users: Vec<i64> = (0..count).map(|_| world.user()).collect();
    for &user in &users {
        world.accept(&expired(user)).await;
    }
    wait_listed(&mut world, count).await;
    (world, users)
}

async fn looking_wears_nothing_out_and_takes_nothing(world: WorldBuilder) {
    let (mut world, _) = with_letters(world, 5).await;
    let before = list(&mut world, &[]).await;
    for look in 0..30 {
        assert_eq!(list(&mut world, &[]).await, before, "look {look}");
    }
}

/// More than one channel's prefetch, so that the last ones come while nobody waits for them.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_is_whole_each_time_and_a_few_of_it_can_be_taken() {
    const COUNT: usize = 45_000;
    let mut world = World::distributed().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("letters.jsonl");
    let line = |n: usize| {
        json!({"id": "", "reason": "expired", "error": "late", "update_id": n, "bot": world.bot_id, "kind": "message",
            "lane": n, "chat_id": n, "user_id": n, "attempts": 1, "received_ms": 1, "first_failed_ms": 1,
            "last_failed_ms": 1, "replays": 0, "update_base64": "e30="})
    };
    let lines: String = (0..COUNT).map(|n| format!("{}\n", line(n))).collect();
    std::fs::write(&file, lines).unwrap();
    let (code, stdout, stderr) = call(&mut world, &["import", file.to_str().unwrap()]).await;
    assert_eq!((code, stdout), (0, format!("imported: {COUNT} of {COUNT}\n")), "{stderr}");
    for _ in 0..3 {
        assert_eq!(list(&mut world, &[]).await.len(), COUNT);
    }
    assert_eq!(call(&mut world, &["discard", "--limit", "3", "--yes"]).await.0, 0);
    let left = list(&mut world, &[]).await;
    assert_eq!((left.len(), &left[0]["update_id"]), (COUNT - 3, &json!(3)));
}

async fn a_replay_that_is_killed_ten_times_answers_everybody_once(world: WorldBuilder) {
    let (mut world, users) = with_letters(world, 120).await;
    for kill in 0..10_u64 {
        let mut replay = world.command(&["dead", "replay", "--all", "--rate", "200/s"]).start();
        pause(Duration::from_millis(150 + kill * 23)).await;
        replay.kill9();
    }
    let (code, _, stderr) = call(&mut world, &["replay", "--all", "--wait"]).await;
    assert_eq!(code, 0, "{stderr}");
    for &user in &users {
        world.telegram.wait_texts(user, 1).await;
    }
    wait_for("every run has ended", LONG, || async {
        let partitions = world.metric("tgw_partition_updates", &[]).await;
        (partitions < 0.5).then_some(())
    })
    .await;
    let sent: BTreeMap<i64, usize> =
        users.iter().map(|&user| (user, world.telegram.texts(user).len())).collect();
    assert!(sent.values().all(|&count| count == 1), "{sent:?}");
    assert_eq!(list(&mut world, &[]).await.len(), 0);
}

async fn one_tool_at_a_time_holds_the_letters_and_ctrl_c_ends_it_cleanly(world: WorldBuilder) {
    let (mut world, _) = with_letters(world, 10).await;
    let mut replay = world.command(&["dead", "replay", "--all", "--rate", "1/s"]).start();
    world.conversation.wait_for(1).await;
    for second in [&["replay", "--all"][..], &["discard", "--all", "--yes"]] {
        let (code, stdout, stderr) = call(&mut world, second).await;
        assert_eq!((code, stdout.as_str()), (1, ""));
        assert!(stderr.contains("another tool has the dead letters"), "{stderr}");
    }
    let mut waiting = world.command(&["dead", "list", "--json", "--wait"]).start();
    waiting.wait_stderr("waits for another tool, which has the dead letters in hand").await;
    replay.interrupt();
    assert_eq!(replay.wait_exit().await, 3, "{}", replay.stderr());
    assert_eq!(waiting.wait_exit().await, 0, "{}", waiting.stderr());
    let left: Vec<Value> = serde_json::from_str(&waiting.stdout()).unwrap();
    let replayed = 10 - left.len();
    assert!(replay.stdout().starts_with(&format!("replayed: {replayed} of 10\n")), "{}", replay.stdout());
}

async fn ctrl_c_at_its_question_discards_nothing_and_gives_the_letters_back(world: WorldBuilder) {
    let (mut world, _) = with_letters(world, 3).await;
    let ask = async |world: &World, keys: &str| {
        let mut discard = world.command(&["dead", "discard", "--all"]).in_terminal().start();
        discard.wait_stdout("discard 3 letters for ever? [y/N]").await;
        discard.type_keys(keys);
        (discard.wait_exit().await, discard.stdout())
    };
    let (code, told) = ask(&world, "\u{3}").await;
    assert!(code == 1 && told.contains("stopped") && told.contains("nothing was discarded"), "{code} {told}");
    assert_eq!(list(&mut world, &[]).await.len(), 3);
    let (code, told) = ask(&world, "y\r").await;
    assert!(code == 0 && told.contains("discarded: 3"), "{code} {told}");
    assert_eq!(list(&mut world, &[]).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_of_what_is_never_written_to_its_end_ends_with_ctrl_c() {
    let world = World::embedded().await;
    let mut import = world.command(&["dead", "import", "-"]).in_terminal().start();
    import.wait_stdout("letters are read from the terminal until Ctrl-D").await;
    import.type_keys("\u{3}");
    let code = import.wait_exit().await;
    let told = import.stdout();
    assert!(
        code == 1 && told.contains("stopped before all was read: none of it is imported"),
        "{code} {told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_queues_letters_are_there_with_and_without_its_process() {
    let (mut world, users) = with_letters(World::embedded(), 3).await;
    let socket = world.ingress.data_dir().join("tgw.sock");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&socket), 0o600);
    let running = list(&mut world, &[]).await;
    world.ingress.kill9();
    world.ingress.wait_exit().await;
    // The socket of a dead process is in nobody's way.
    assert!(socket.exists());
    assert_eq!(list(&mut world, &[]).await, running);
    let (code, ..) = call(&mut world, &["replay", "--all"]).await;
    assert_eq!(code, 0);
    world.ingress.start_again();
    world.ingress.wait_ready().await;
    for user in users {
        world.telegram.wait_texts(user, 1).await;
    }
    assert_eq!(list(&mut world, &[]).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_nothing_is_replayed() {
    let redis = Redis::private().await;
    let (mut world, _) = with_letters(World::distributed().redis(redis.url()), 1).await;
    drop(redis);
    let (code, _, stderr) = call(&mut world, &["replay", "--all"]).await;
    assert!(code == 1 && stderr.contains("Redis is away"), "{code} {stderr}");
    assert_eq!(list(&mut world, &[]).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_how_far_a_replay_is() {
    let world = World::distributed().await;
    world.conversation.answer(Answer::text("late"));
    for _ in 0..6 {
        world.accept(&expired(world.user())).await;
    }
    world.wait_dead("expired", 6).await;
    let replay = world.command(&["dead", "replay", "--all", "--rate", "4/s"]);
    let mut replay = replay.in_terminal().start();
    assert_eq!(replay.wait_exit().await, 0, "{}", replay.stdout());
    let shown = replay.stdout();
    let bars = shown.matches(" of 6, ").count();
    assert!(bars >= 3 && shown.contains(" to go"), "{shown}");
    // It is gone when the sum is told.
    let last = shown.rsplit('\u{1b}').next().unwrap_or_default();
    assert!(last.contains("replayed: 6 of 6\r\n  expired: 6\r\n") && !last.contains(" to go"), "{shown}");
}
