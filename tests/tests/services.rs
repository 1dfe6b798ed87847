//! Contract 4, the request: what each service is asked, word for word.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use harness::{FakeService, Request, Update, World, WorldBuilder, over_both_worlds};
use serde_json::{Value, json};
use uuid::Uuid;

over_both_worlds!(
    a_text_reaches_the_conversation_service,
    the_three_commands_reach_the_user_profile_service,
    the_four_buttons_reach_the_matching_service,
    a_block_and_an_unblock_reach_the_notification_service,
);

/// Posts the update and checks all of the request that is the same for every service; its body.
async fn asked(world: &World, service: &FakeService, update: &Update) -> Value {
    let before = service.count();
    world.accept(update).await;
    let request = service.wait_for(before + 1).await.remove(before);
    check_headers(&request);
    request.body()
}

fn check_headers(request: &Request) {
    let request_id = request.body()["request_id"].as_str().expect("a request_id").to_owned();
    let uuid = Uuid::parse_str(&request_id).expect("a UUID");
    assert_eq!(uuid.get_version_num(), 5);
    assert_eq!(request.method, "POST");
    assert_eq!(request.path, "/ask");
    assert_eq!(request.header("X-Request-Id"), Some(&*request_id));
    assert_eq!(request.header("Idempotency-Key"), Some(&*request_id));
    assert!(request.header("Content-Type").unwrap().starts_with("application/json"));
    let trace = request.header("traceparent").expect("a traceparent");
    let parts: Vec<&str> = trace.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    assert_eq!(lengths, [2, 32, 16, 2], "{trace}");
    assert!(parts.concat().bytes().all(|byte| byte.is_ascii_hexdigit()), "{trace}");
}

async fn a_text_reaches_the_conversation_service(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    let text = "Grüße 👋\n\"quoted\" \\ <b>&amp;</b> /start";
    let body = asked(&world, &world.conversation, &Update::text(user, text)).await;
    let expected = json!({"user_id": format!("user_{user}"), "telegram_user_id": user, "message": text,
                          "request_id": body["request_id"]});
    assert_eq!(body, expected);
    let next = asked(&world, &world.conversation, &Update::text(user, text)).await;
    assert_ne!(next["request_id"], body["request_id"]);
}

async fn the_three_commands_reach_the_user_profile_service(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    let cases = [
        ("/start", "/start", None),
        ("/help", "/help", None),
        ("/profile", "/profile", None),
        ("/start ref_42", "/start", Some("ref_42")),
        ("/Help@Sample_Bot   two  words ", "/help", Some("two  words")),
    ];
    for (text, command, args) in cases {
        let body = asked(&world, &world.profile, &Update::command(user, text)).await;
        let mut expected =
            json!({"telegram_user_id": user, "command": command, "request_id": body["request_id"]});
        if let Some(args) = args {
            expected["args"] = json!(args);
        }
        assert_eq!(body, expected, "{text}");
    }
    // Where Telegram sent no entities, a first word with a slash is a command too.
    let body = asked(&world, &world.profile, &Update::text(user, "/start")).await;
    assert_eq!(body["command"], "/start");
    assert_eq!(world.conversation.count(), 0);
}

async fn the_four_buttons_reach_the_matching_service(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    let cases = [
        ("CONNECT:id-77", "CONNECT", json!("id-77")),
        ("ACCEPT:5", "ACCEPT", json!("5")),
        ("REJECT:5", "REJECT", json!("5")),
        ("SKIP", "SKIP", Value::Null),
    ];
    for (data, action, target) in cases {
        let body = asked(&world, &world.matching, &Update::callback(user, data)).await;
        let expected = json!({"user_id": format!("user_{user}"), "action": action, "target_user_id": target,
                              "request_id": body["request_id"]});
        assert_eq!(body, expected, "{data}");
    }
}

async fn a_block_and_an_unblock_reach_the_notification_service(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    for (from, to, event) in [("member", "kicked", "blocked"), ("kicked", "member", "unblocked")] {
        let body = asked(&world, &world.notification, &Update::my_chat_member(user, from, to)).await;
        let expected = json!({"user_id": format!("user_{user}"), "telegram_user_id": user, "event": event,
                              "request_id": body["request_id"]});
        assert_eq!(body, expected);
    }
}
