//! Talking to a deployment, and to many chats at once while something happens to it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::http::Answer;
use crate::updates::Update;
use crate::wait::{LONG, pause, wait_for};
use crate::world::World;

/// What the service is asked for a text of `user`.
pub async fn say(world: &World, user: i64, text: &str) -> Value {
    let before = world.conversation.count();
    world.accept(&Update::text(user, text)).await;
    world.conversation.wait_for(before + 1).await[before].body()
}

/// A service names this user, so that the session tells whether Redis was asked.
pub async fn introduce(world: &World, user: i64, name: &str) {
    let named = Answer::Json(json!({"type": "text", "content": "hello", "user_id": name}));
    world.conversation.answer_first([named]);
    say(world, user, "hello").await;
    world.telegram.wait_texts(user, 1).await;
}

pub async fn until_known(world: &World, user: i64, name: &str) {
    wait_for("the session is back", LONG, || async {
        let body = say(world, user, "do you know me?").await;
        pause(Duration::from_millis(200)).await;
        (body["user_id"] == name).then_some(())
    })
    .await;
}

/// All chats' texts are answered while `harm` is done to Redis. How often any was answered again, and how
/// often a service was asked again.
pub async fn under_load(world: &World, harm: impl AsyncFnOnce()) -> (usize, usize) {
    let asked_before = world.conversation.count();
    world.conversation.answer(Answer::text("ok").after(Duration::from_millis(150)));
    let chats: Vec<i64> = (0..30).map(|_| world.user()).collect();
    let say_all = async |text: &str| {
        for chat in &chats {
            world.accept(&Update::text(*chat, text)).await;
        }
    };
    say_all("before").await;
    world.conversation.wait_for(asked_before + 5).await;
    tokio::join!(harm(), say_all("meanwhile"));
    say_all("after").await;
    for chat in &chats {
        world.telegram.wait_texts(*chat, 3).await;
    }
    // What comes twice comes before this.
    say_all("last").await;
    for chat in &chats {
        wait_for("the last answer", LONG, || async {
            let texts = world.conversation.bodies();
            texts
                .iter()
                .any(|body| body["telegram_user_id"] == *chat && body["message"] == "last")
                .then_some(())
        })
        .await;
        world.telegram.wait_texts(*chat, 4).await;
    }
    world.assert_no_dead_letters().await;
    let answers: usize = chats.iter().map(|chat| world.telegram.sent(*chat).len()).sum();
    (answers - 4 * chats.len(), world.conversation.count() - asked_before - 4 * chats.len())
}
