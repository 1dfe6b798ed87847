//! Contract 5, and the rows of contract 3 about updates that are not for anybody or no longer wanted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write;

use harness::{Answer, FakeService, LONG, Update, WorldBuilder, now, over_both_worlds, wait_for};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

over_both_worlds!(
    what_no_route_takes_is_done,
    an_update_with_wrong_types_inside_is_done,
    a_message_older_than_a_day_is_a_dead_letter_and_no_call,
    a_table_of_ones_own_adds_a_command_a_button_and_a_fixed_reply,
    a_table_is_read_again_on_sighup_and_a_broken_one_changes_nothing,
    a_user_is_answered_in_their_language,
);

async fn what_no_route_takes_is_done(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    let updates = [
        Update::edited(user, "an edit has a route of its own or none"),
        Update::callback(user, "UNKNOWN:1"),
        Update::inline_query(user, "cats"),
        Update::of_kind("message_from_the_future", json!({"chat": {"id": user}})),
        Update::text(user, "x").set("/message/text", Value::Null),
    ];
    for update in &updates {
        world.accept(update).await;
    }
    world.accept(&Update::text(user, "hello")).await;
    assert_eq!(world.telegram.wait_texts(user, 1).await, ["ok"]);
    assert_eq!(world.conversation.count() + world.matching.count() + world.notification.count(), 1);
    world.assert_no_dead_letters().await;
}

async fn an_update_with_wrong_types_inside_is_done(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    let bodies = [
        json!({"update_id": 1}),
        json!({"update_id": 2, "message": null}),
        json!({"update_id": 3, "message": "a string"}),
        json!({"update_id": 4, "message": {"chat": {"id": "text"}, "from": [], "text": 5, "date": "yesterday"}}),
        json!({"update_id": 5, "callback_query": {"id": 5, "from": {"id": user}, "data": {}}}),
        json!({"update_id": 6, "my_chat_member": {"chat": user, "new_chat_member": 1}}),
        json!({"update_id": 7, "message": {"text": "nobody can be answered"}}),
        json!({"update_id": 8, "message": {"chat": {"id": user.to_string()}, "from": {"id": user}, "text": "hi"}}),
        // What only the gateway itself puts into its queues.
        json!({"update_id": 1_u64 << 62, "tgw.reply": {"v": 1, "chat": {"id": user}, "calls": [
            {"method": "sendMessage", "params": {"chat_id": user, "text": "told by a stranger"}}]}}),
    ];
    let count = bodies.len() as f64;
    for body in bodies {
        assert_eq!(world.post_bytes(body.to_string().into_bytes()).await.status, 200, "{body}");
    }
    world.wait_metric("tgw_updates_total", &[("outcome", "no_route")], count).await;
    world.accept(&Update::text(user, "hello")).await;
    assert_eq!(world.telegram.wait_texts(user, 1).await, ["ok"]);
    world.assert_no_dead_letters().await;
}

async fn a_message_older_than_a_day_is_a_dead_letter_and_no_call(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    let old = Update::text(user, "yesterday").date(now() - 24 * 3600 - 5);
    world.accept(&old).await;
    world.accept(&Update::text(user, "just in time").date(now() - 24 * 3600 + 120)).await;
    assert_eq!(world.telegram.wait_texts(user, 1).await, ["ok"]);
    for letter in world.wait_dead("expired", 1).await {
        assert_eq!(letter.json(), *old.value());
    }
    let messages: Vec<Value> =
        world.conversation.bodies().iter().map(|body| body["message"].clone()).collect();
    assert_eq!(messages, ["just in time"]);
}

async fn a_table_of_ones_own_adds_a_command_a_button_and_a_fixed_reply(world: WorldBuilder) {
    let (weather, polls) = (FakeService::start().await, FakeService::start().await);
    weather.answer(Answer::text("sunny"));
    let mut file = NamedTempFile::new().unwrap();
    write!(
        file,
        r#"
[services.weather]
url = "{}"
timeout = "2s"

[services.polls]
url = "${{POLLS_URL}}"

[[routes]]
command = "/weather"
service = "weather"

[[routes]]
callback = "VOTE"
service = "polls"

[[routes]]
command = "/rules"
reply = "Be kind."
"#,
        weather.url()
    )
    .unwrap();
    let world = world.set("ROUTES_FILE", file.path().display()).set("POLLS_URL", polls.url()).await;
    let user = world.user();

    world.accept(&Update::command(user, "/weather@sample_bot Berlin")).await;
    let body = weather.wait_for(1).await[0].body();
    let expected = json!({"user_id": format!("user_{user}"), "telegram_user_id": user, "chat_id": user,
                          "kind": body["kind"], "request_id": body["request_id"], "message": body["message"],
                          "command": "/weather", "args": "Berlin"});
    assert_eq!(body, expected);

    world.accept(&Update::callback(user, "VOTE:42")).await;
    let body = polls.wait_for(1).await[0].body();
    assert_eq!((&body["action"], &body["param"]), (&json!("VOTE"), &json!("42")));
    assert_eq!(body["kind"], "callback_query");

    world.accept(&Update::command(user, "/rules")).await;
    assert_eq!(world.telegram.wait_texts(user, 3).await, ["sunny", "ok", "Be kind."]);
}

async fn a_table_is_read_again_on_sighup_and_a_broken_one_changes_nothing(world: WorldBuilder) {
    let file = NamedTempFile::new().unwrap();
    let fixed = |reply: &str| format!("[[routes]]\ncommand = \"/rules\"\nreply = \"{reply}\"\n");
    std::fs::write(file.path(), fixed("old")).unwrap();
    let mut world = world.set("ROUTES_FILE", file.path().display()).await;
    let user = world.user();
    world.accept(&Update::command(user, "/rules")).await;
    assert_eq!(world.telegram.wait_texts(user, 1).await, ["old"]);

    std::fs::write(file.path(), "[[routes]\nnot a table").unwrap();
    world.worker_mut().hang_up();
    world.worker().wait_log("the broken file", |line| line["level"] == "ERROR").await;
    world.accept(&Update::command(user, "/rules")).await;
    assert_eq!(world.telegram.wait_texts(user, 2).await, ["old", "old"]);

    std::fs::write(file.path(), fixed("new")).unwrap();
    world.worker_mut().hang_up();
    wait_for("the new table is used", LONG, || async {
        let before = world.telegram.sent(user).len();
        world.accept(&Update::command(user, "/rules")).await;
        world.telegram.wait_texts(user, before + 1).await.contains(&"new".to_owned()).then_some(())
    })
    .await;
}

async fn a_user_is_answered_in_their_language(world: WorldBuilder) {
    let support = FakeService::start().await;
    support.answer(Answer::text("suporte"));
    let file = NamedTempFile::new().unwrap();
    let table = r#"
[services.support]
url = "${SUPPORT_URL}"

[[routes]]
command = "/start"
reply = { default = "Hello!", pt = "Olá!" }

[[routes]]
text = true
service = "conversation"

[[routes]]
text = true
language = "pt"
service = "support"
"#;
    std::fs::write(file.path(), table).unwrap();
    let world = world.set("ROUTES_FILE", file.path().display()).set("SUPPORT_URL", support.url()).await;
    for (code, start, text) in
        [(json!("pt-br"), "Olá!", "suporte"), (json!("de"), "Hello!", "ok"), (Value::Null, "Hello!", "ok")]
    {
        let user = world.user();
        let from = json!({"id": user, "is_bot": false, "first_name": "A", "language_code": code});
        world.accept(&Update::command(user, "/start").set("/message/from", from.clone())).await;
        world.accept(&Update::text(user, "help me").set("/message/from", from)).await;
        assert_eq!(world.telegram.wait_texts(user, 2).await, [start, text], "{code}");
    }
}
