//! Invariant I6: no token, secret, message text or name in what a process writes, at the most talkative
//! level, whatever goes wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use harness::{
    Answer, LONG, MESSAGES_TOKEN, Process, Update, World, WorldBuilder, over_both_worlds, post_message,
    wait_until,
};
use serde_json::{Value, json};

over_both_worlds!(nothing_private_is_written_at_the_most_talkative_level);

const TEXT: &str = "zebratext";
const NAME: &str = "Zebraname";
const DATA: &str = "zebradata";
const REPLY: &str = "zebrareply";

fn private(update: Update, kind: &str) -> Update {
    let person =
        json!({"id": 4_711, "is_bot": false, "first_name": NAME, "last_name": NAME, "username": NAME});
    update.set(&format!("/{kind}/from"), person)
}

/// Every way through the gateway: answers, failures of each side, refusals, nonsense.
async fn go_through_everything(world: &World) {
    let user = world.user();
    let text = |text: &str| private(Update::text(user, &format!("{TEXT} {text}")), "message");
    world.conversation.answer(Answer::text(REPLY));
    world.accept(&text("well")).await;
    world.accept(&private(Update::command(user, &format!("/start {TEXT}")), "message")).await;
    world.accept(&private(Update::callback(user, &format!("ACCEPT:{DATA}")), "callback_query")).await;
    world.accept(&private(Update::callback(user, DATA), "callback_query")).await;
    world.accept(&private(Update::edited(user, TEXT), "edited_message")).await;
    world.telegram.wait_texts(user, 3).await;

    // A service that fails, and one that answers nonsense with what it was told.
    world.conversation.answer(Answer::Raw("text/html", format!("<p>{REPLY} {TEXT} {NAME}</p>").into_bytes()));
    world.accept(&text("nonsense")).await;
    world.telegram.wait_texts(user, 4).await;
    world.conversation.answer(Answer::Status(500, json!({"error": TEXT})));
    world.accept(&text("failing")).await;
    world.telegram.wait_texts(user, 5).await;

    // Telegram that fails, refuses, closes.
    world.conversation.answer(Answer::text(REPLY));
    world.telegram.fail("sendMessage", 2, 500, "Internal Server Error", Value::Null);
    world.accept(&text("unsendable")).await;
    world.telegram.wait_texts(user, 7).await;
    world.telegram.script("sendMessage", 2, Answer::Close);
    world.accept(&text("closed on")).await;
    world.telegram.wait_texts(user, 9).await;
    world.telegram.fail("sendMessage", 1, 403, "Forbidden: bot was blocked by the user", Value::Null);
    world.accept(&text("blocked")).await;
    world.telegram.wait_texts(user, 10).await;

    // What services send of their own accord, and what of it is not taken.
    let other = world.user();
    let said = |content: &str| json!({"chat_id": other, "type": "text", "content": content});
    world.message(Some(DATA), &said(REPLY)).await.id();
    world.telegram.wait_texts(other, 1).await;
    assert_eq!(world.message(Some(DATA), &said(TEXT)).await.status, 422);
    assert_eq!(
        world.message(None, &json!({"user_id": NAME, "type": "text", "content": TEXT})).await.status,
        404
    );
    assert_eq!(world.message(None, &json!({"chat_id": REPLY, "type": TEXT})).await.status, 400);
    let stranger =
        post_message(world.worker(), "zebrasecret", None, said(TEXT).to_string().into_bytes()).await;
    assert_eq!(stranger.status, 401);

    // What the webhook turns away.
    let wrong = world.post_as(Some("zebrasecret"), text("unauthentic").bytes()).await;
    assert_eq!(wrong.status, 200);
    let broken = text("broken").bytes();
    assert_eq!(world.post_bytes(broken[..broken.len() - 2].to_vec()).await.status, 200);
    world.wait_metric("tgw_dead_letters_total", &[], 5.0).await;
}

fn assert_nothing_private(process: &Process, metrics: &str, world: &World) {
    let written = format!("{}{}{metrics}", process.stdout(), process.stderr());
    let token_secret = world.token.split_once(':').unwrap().1;
    let amqp_password = "guest:guest";
    for private in
        [TEXT, NAME, DATA, REPLY, token_secret, MESSAGES_TOKEN, &*world.secret, "zebrasecret", amqp_password]
    {
        if let Some(line) = written.lines().find(|line| line.contains(private)) {
            panic!("{private} is written: {line}");
        }
    }
}

async fn nothing_private_is_written_at_the_most_talkative_level(world: WorldBuilder) {
    let mut world = world.set("LOG_LEVEL", "trace").set("MESSAGES_TOKEN", MESSAGES_TOKEN).await;
    go_through_everything(&world).await;
    let ingress_metrics = world.ingress.metrics().await.0;
    let worker_metrics = world.worker().metrics().await.0;
    world.telegram.refuse_token(true);
    world.accept(&Update::text(world.user(), TEXT)).await;
    world.worker().wait_ready_is(503).await;

    let logs = world.worker().logs();
    assert!(
        logs.iter().any(|line| line["level"] == "TRACE" || line["level"] == "DEBUG"),
        "the level took effect"
    );
    assert_nothing_private(&world.ingress, &ingress_metrics, &world);
    assert_nothing_private(world.worker(), &worker_metrics, &world);

    // A line is one JSON object with the fields that every line has.
    for line in world.ingress.stdout().lines().chain(world.worker().stdout().lines()) {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        for field in ["time", "level", "name", "message"] {
            assert!(line[field].is_string(), "{field} is missing in {line}");
        }
    }
    world.worker_mut().term();
    wait_until("it ends", LONG, || !world.worker_mut().is_running()).await;
    assert_nothing_private(world.worker(), "", &world);
}
