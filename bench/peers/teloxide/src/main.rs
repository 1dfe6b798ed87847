//! A webhook in teloxide, after its own examples. It answers 200 as soon as an update is in its memory. The updates
//! of a chat are not kept in order, so that nothing waits: that is its fastest way.

use std::env::var;

use redis::AsyncCommands;
use redis::aio::ConnectionManager;
use serde::Deserialize;
use teloxide::error_handlers::LoggingErrorHandler;
use teloxide::prelude::*;
use teloxide::update_listeners::webhooks;

type HandlerResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// What every handler needs.
#[derive(Clone)]
struct Parts {
    store: ConnectionManager,
    http: reqwest::Client,
    service: String,
}

#[derive(Deserialize)]
struct Answer {
    content: String,
}

fn setting(name: &str) -> String {
    var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

#[tokio::main]
async fn main() {
    let bot = Bot::new(setting("BOT_TOKEN")).set_api_url(setting("API_URL").parse().unwrap());
    let store = redis::Client::open(setting("REDIS_URL")).unwrap().get_connection_manager().await.unwrap();
    let parts = Parts { store, http: reqwest::Client::new(), service: setting("SERVICE_URL") };
    let handler = Update::filter_message().endpoint(text);
    let mut dispatcher = Dispatcher::builder(bot.clone(), handler)
        .dependencies(dptree::deps![parts])
        .distribution_function(|_| None::<std::convert::Infallible>)
        .build();
    let address = setting("LISTEN_ADDR");
    let url = format!("https://{address}/webhook/telegram").parse().unwrap();
    let options = webhooks::Options::new(address.parse().unwrap(), url).secret_token(setting("SECRET"));
    let listener = webhooks::axum(bot, options).await.expect("Couldn't setup webhook");
    dispatcher
        .dispatch_with_listener(listener, LoggingErrorHandler::with_custom_text("An error from the update listener"))
        .await;
}

async fn allowed(store: &mut ConnectionManager, user: u64) -> redis::RedisResult<bool> {
    let key = format!("limit:{user}");
    let count: u64 = store.incr(&key, 1).await?;
    if count == 1 {
        let _: () = store.expire(&key, 1).await?;
    }
    Ok(count <= 10_000)
}

async fn text(bot: Bot, msg: Message, parts: Parts) -> HandlerResult {
    let (Some(user), Some(text)) = (&msg.from, msg.text()) else { return Ok(()) };
    let Parts { mut store, http, service } = parts;
    let (user, key) = (user.id.0, format!("session:{}", user.id));
    let session: Option<String> = store.get(&key).await?;
    let session = session.unwrap_or_else(|| format!("user_{user}"));
    let _: () = store.set_ex(&key, &session, 86_400).await?;
    if !allowed(&mut store, user).await? {
        return Ok(());
    }
    let asked = serde_json::json!({"user_id": session, "telegram_user_id": user, "message": text});
    let answer: Answer = http.post(service).json(&asked).send().await?.json().await?;
    bot.send_message(msg.chat.id, answer.content).await?;
    Ok(())
}
