//! Messages that services send later, or of their own accord: `POST /v1/messages`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use harness::{
    Answer, Gate, LONG, MESSAGES_TOKEN, Proxy, Rabbit, Redis, Update, World, WorldBuilder, http_client,
    over_both_worlds, post_message, wait_for, wait_until,
};
use serde_json::{Value, json};

over_both_worlds!(
    a_service_that_answers_202_sends_its_answer_later,
    a_button_whose_service_answers_202_stops_loading,
    a_user_is_notified_by_the_internal_id_that_a_service_gave,
    messages_are_what_an_answers_are_and_keep_their_order,
    a_repeat_under_one_key_reaches_the_chat_once,
    a_message_that_was_taken_survives_kill_9,
    what_is_not_right_is_refused_and_says_why,
    nobody_may_post_where_no_token_is_set,
    what_telegram_fails_becomes_a_letter_and_a_replay_sends_the_rest,
);

fn with_token(world: WorldBuilder) -> WorldBuilder {
    world.set("MESSAGES_TOKEN", MESSAGES_TOKEN)
}

fn text(chat: i64, content: &str) -> Value {
    json!({"chat_id": chat, "type": "text", "content": content})
}

async fn a_service_that_answers_202_sends_its_answer_later(world: WorldBuilder) {
    let world = with_token(world).await;
    let user = world.user();
    // Whatever stands in it is no message.
    let body = json!({"status": "queued", "type": "job"});
    world.conversation.answer_first([Answer::Status(202, body), Answer::Status(202, json!(null))]);
    for n in [1, 2] {
        world.accept(&Update::text(user, "a hard question")).await;
        world.wait_metric("tgw_updates_total", &[("outcome", "answered")], f64::from(n)).await;
    }
    assert!(world.telegram.sent(user).is_empty());
    assert_eq!(world.conversation.count(), 2, "202 is no failure");
    let request_id = world.conversation.bodies()[0]["request_id"].clone();
    let answer =
        json!({"chat_id": user, "request_id": request_id, "messages": [{"type": "text", "content": "42"}]});
    world.message(None, &answer).await.id();
    assert_eq!(world.telegram.wait_texts(user, 1).await, ["42"]);
    let log = "an update is done";
    let done = |line: &Value| line["message"] == log && line["request_id"] == request_id;
    wait_until("its log lines name the request", LONG, || world.worker().logged(done).len() == 2).await;
    world.assert_no_dead_letters().await;
}

async fn a_button_whose_service_answers_202_stops_loading(world: WorldBuilder) {
    let world = with_token(world).await;
    let user = world.user();
    world.matching.answer(Answer::Status(202, json!({})));
    world.accept(&Update::callback(user, "ACCEPT:17")).await;
    let stopped = world.telegram.wait_calls("answerCallbackQuery", 1).await;
    assert!(stopped[0].params["text"].is_null());
    world.wait_metric("tgw_updates_total", &[("outcome", "answered")], 1.0).await;
    assert!(world.telegram.sent(user).is_empty());
}

async fn a_user_is_notified_by_the_internal_id_that_a_service_gave(world: WorldBuilder) {
    let world = with_token(world).await;
    let (anna, other) = (world.user(), world.user());
    let name = format!("anna-{}", world.prefix);
    let to = |user_id: &str| json!({"user_id": user_id, "messages": {"type": "text", "content": user_id}});
    assert_eq!(world.message(None, &to(&name)).await.status, 404);
    let answer = json!({"type": "text", "content": "welcome", "user_id": name});
    world.conversation.answer(Answer::Json(answer));
    world.accept(&Update::text(anna, "hello")).await;
    world.telegram.wait_texts(anna, 1).await;
    world.message(None, &to(&name)).await.id();
    assert_eq!(world.telegram.wait_texts(anna, 2).await[1], name);
    // The gateway's own name for somebody, who need not have written.
    let own = format!("user_{other}");
    world.message(None, &to(&own)).await.id();
    assert_eq!(world.telegram.wait_texts(other, 1).await, [own]);
    // She has another one by now.
    assert_eq!(world.message(None, &to(&format!("user_{anna}"))).await.status, 404);
}

async fn messages_are_what_an_answers_are_and_keep_their_order(world: WorldBuilder) {
    let world = with_token(world).await;
    let group = -world.user();
    let buttons = json!([[{"text": "Yes", "callback_data": "ACCEPT:1"}]]);
    let messages = json!([
        {"type": "text", "content": "x".repeat(5000)},
        {"type": "text", "content": "<b>Match?</b>", "parse_mode": "HTML", "buttons": buttons},
        {"type": "method", "method": "sendDice", "params": {"emoji": "🎲"}},
    ]);
    let body = json!({"chat_id": group, "message_thread_id": 9, "messages": messages});
    world.message(None, &body).await.id();
    let dice = world.telegram.wait_calls("sendDice", 1).await.remove(0);
    assert_eq!((dice.chat(), &dice.params["message_thread_id"]), (Some(group), &json!(9)));
    let sent: Vec<_> =
        world.telegram.sent(group).into_iter().filter(|call| call.method == "sendMessage").collect();
    assert_eq!(sent.iter().map(|call| call.text().len()).collect::<Vec<_>>(), [4096, 904, 13]);
    assert_eq!(sent[2].keyboard(), buttons);
    let chat = world.user();
    for n in 0..20 {
        world.message(None, &text(chat, &n.to_string())).await.id();
    }
    let texts = world.telegram.wait_texts(chat, 20).await;
    assert_eq!(texts, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
}

async fn a_repeat_under_one_key_reaches_the_chat_once(world: WorldBuilder) {
    let world = with_token(world).await;
    let chat = world.user();
    let key = format!("order-17/{}", world.prefix);
    let once = text(chat, "once");
    let (first, second) = tokio::join!(world.message(Some(&key), &once), world.message(Some(&key), &once));
    world.telegram.wait_texts(chat, 1).await;
    let third = world.message(Some(&key), &once).await;
    assert_eq!((first.id(), first.id()), (second.id(), third.id()));
    let another = world.message(Some(&key), &text(chat, "another")).await;
    assert_eq!((another.status, another.error()), (422, "this Idempotency-Key was given to another message"));
    // Behind them in the same lane.
    world.message(Some(&format!("{key}2")), &text(chat, "twice")).await.id();
    assert_eq!(world.telegram.wait_texts(chat, 2).await, ["once", "twice"]);
    world.wait_metric("tgw_updates_total", &[("outcome", "seen")], 2.0).await;
    assert_eq!(world.telegram.texts(chat), ["once", "twice"]);
}

async fn a_message_that_was_taken_survives_kill_9(world: WorldBuilder) {
    let mut world = with_token(world).await;
    let chat = world.user();
    let gate = Gate::default();
    world.conversation.answer_first([gate.holds(Answer::text("first"))]);
    world.accept(&Update::text(chat, "a lane that waits")).await;
    world.conversation.wait_for(1).await;
    for n in 0..5 {
        world.message(None, &text(chat, &n.to_string())).await.id();
    }
    assert!(world.telegram.sent(chat).is_empty());
    world.worker_mut().kill9();
    world.conversation.answer(Answer::text("first"));
    gate.open();
    world.worker_mut().start_again();
    world.worker_mut().wait_ready().await;
    assert_eq!(world.telegram.wait_texts(chat, 6).await, ["first", "0", "1", "2", "3", "4"]);
    world.wait_metric("tgw_updates_total", &[("outcome", "answered")], 6.0).await;
    assert_eq!(world.telegram.sent(chat).len(), 6);
}

async fn what_is_not_right_is_refused_and_says_why(world: WorldBuilder) {
    let world = with_token(world).await;
    let chat = world.user();
    let good = text(chat, "hello").to_string().into_bytes();
    for token in ["", "wrong", &MESSAGES_TOKEN[1..], &format!("{MESSAGES_TOKEN}x")] {
        let refused = post_message(world.worker(), token, None, good.clone()).await;
        assert_eq!((refused.status, &refused.headers["www-authenticate"]), (401, &"Bearer".parse().unwrap()));
    }
    for (body, named) in [
        (json!({"type": "text", "content": "to nobody"}), "chat_id or user_id"),
        (json!({"chat_id": chat}), "messages is missing"),
        (json!({"chat_id": chat, "type": "hologram"}), "unknown type hologram"),
        (json!({"chat_id": chat, "type": "delete"}), "no message that deleteMessage"),
        (json!({"chat_id": chat, "type": "none"}), "nothing to send"),
        (json!({"chat_id": chat, "messages": []}), "nothing to send"),
        (json!({"chat_id": chat, "type": "text", "content": "a", "priority": "urgent"}), "priority must be"),
    ] {
        let refused = world.message(None, &body).await;
        assert_eq!(refused.status, 400, "{body}");
        assert!(refused.error().contains(named), "{body}: {}", refused.error());
    }
    let not_json = post_message(world.worker(), MESSAGES_TOKEN, None, b"{".to_vec()).await;
    assert!(not_json.status == 400 && not_json.error().contains("not JSON"), "{not_json:?}");
    let long_key = world.message(Some(&"k".repeat(256)), &text(chat, "a")).await;
    assert!(long_key.status == 400 && long_key.error().contains("Idempotency-Key"), "{long_key:?}");
    let nobody = world.message(None, &json!({"user_id": "nobody", "type": "text", "content": "a"})).await;
    assert_eq!(nobody.status, 404);
    let large = world.message(None, &text(chat, &"x".repeat(1024 * 1024))).await;
    assert_eq!(large.status, 413);
    let get = http_client().get(format!("{}/v1/messages", world.worker().base_url())).send().await.unwrap();
    assert_eq!(get.status(), 405);
    // Nothing of all that was queued.
    world.message(None, &text(chat, "hello")).await.id();
    assert_eq!(world.telegram.wait_texts(chat, 1).await, ["hello"]);
    assert!((world.metric("tgw_messages_total", &[]).await - 1.0).abs() < 0.5);
    assert!((world.metric("tgw_messages_refused_total", &[("why", "stranger")]).await - 4.0).abs() < 0.5);
}

async fn nobody_may_post_where_no_token_is_set(world: WorldBuilder) {
    let world = world.await;
    for token in ["", MESSAGES_TOKEN] {
        let body = text(world.user(), "hello").to_string().into_bytes();
        let refused = post_message(world.worker(), token, None, body).await;
        assert_eq!((refused.status, refused.error()), (403, "set MESSAGES_TOKEN to switch this on"));
    }
}

async fn what_telegram_fails_becomes_a_letter_and_a_replay_sends_the_rest(world: WorldBuilder) {
    let world = with_token(world).await;
    let chat = world.user();
    let messages: Vec<_> = (1..=3).map(|n| json!({"type": "text", "content": n.to_string()})).collect();
    let gate = Gate::default();
    world.telegram.script(
        "sendMessage",
        1,
        gate.holds(Answer::Json(json!({"ok": true, "result": {"message_id": 1}}))),
    );
    world.message(None, &json!({"chat_id": chat, "messages": messages, "priority": "reply"})).await.id();
    world.telegram.wait_texts(chat, 1).await;
    world.telegram.fail("sendMessage", 2, 500, "Internal Server Error", Value::Null);
    gate.open();
    world.wait_dead("telegram", 1).await;
    assert_eq!(world.telegram.texts(chat), ["1", "2", "2"]);
    let mut list = world.command(&["dead", "list", "--json"]).start();
    assert_eq!(list.wait_exit().await, 0);
    let letters: Value = serde_json::from_str(&list.stdout()).unwrap();
    assert_eq!((&letters[0]["kind"], &letters[0]["reason"]), (&json!("tgw.reply"), &json!("telegram")));
    let mut replay = world.command(&["dead", "replay", "--all"]).start();
    assert_eq!(replay.wait_exit().await, 0, "{}", replay.stderr());
    assert_eq!(world.telegram.wait_texts(chat, 5).await[3..], ["2", "3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_or_the_store_can_not_take_may_come_again() {
    let (rabbit, redis) = (Rabbit::shared().await, Redis::shared().await);
    let broker = Proxy::to(rabbit.address()).await;
    let store = Proxy::to(redis.address()).await;
    let world = with_token(World::distributed())
        .rabbit(&broker.before(rabbit.url(), rabbit.address()))
        .redis(&store.before(redis.url(), redis.address()))
        .await;
    let chat = world.user();
    store.cut();
    for (key, body) in [
        (None, json!({"user_id": format!("user_{chat}"), "type": "text", "content": "a"})),
        (Some("a key"), text(chat, "a")),
    ] {
        let refused = world.message(key, &body).await;
        assert_eq!((refused.status, &refused.headers["retry-after"]), (503, &"2".parse().unwrap()));
        assert!(refused.error().contains("the store is away"), "{refused:?}");
    }
    // What needs no store is taken.
    world.message(None, &text(chat, "b")).await.id();
    assert_eq!(world.telegram.wait_texts(chat, 1).await, ["b"]);
    store.resume();
    broker.cut();
    let refused = wait_for("the queue takes nothing", LONG, || async {
        let answer = world.message(None, &text(chat, "c")).await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert_eq!(refused.headers["retry-after"], "2");
    broker.resume();
    wait_for("the queue takes messages again", LONG, || async {
        (world.message(Some("a key"), &text(chat, "d")).await.status == 202).then_some(())
    })
    .await;
    wait_until("it is sent", LONG, || world.telegram.texts(chat).contains(&"d".to_owned())).await;
}
