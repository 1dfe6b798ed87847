//! What the bot asks about itself, its updates, a chat, a file.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Answer, ApiError, Params, chat_id};
use crate::state::World;

/// Telegram's own longest wait of getUpdates, in seconds.
const LONGEST_POLL: i64 = 50;

pub(super) fn me(world: &World) -> Value {
    let mut me = world.bot();
    me["can_join_groups"] = json!(true);
    me["can_read_all_group_messages"] = json!(false);
    me["supports_inline_queries"] = json!(false);
    me["can_connect_to_business"] = json!(false);
    me["has_main_web_app"] = json!(false);
    me
}

pub(super) async fn updates(world: &World, params: &Params) -> Answer {
    let offset = params.integer("offset").unwrap_or(0);
    let limit = params.integer("limit").unwrap_or(100).clamp(1, 100) as usize;
    let timeout = params.integer("timeout").unwrap_or(0).clamp(0, LONGEST_POLL) as u64;
    let deadline = Instant::now() + Duration::from_secs(timeout);
    loop {
        // Asked before the look, so that what arrives after it is noticed.
        let arrived = world.arrived.notified();
        if world.webhook().target.is_some() {
            return Err(ApiError::conflict(
                "can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
            ));
        }
        let bodies = world.queue().poll(offset, limit, Instant::now());
        if !bodies.is_empty() || Instant::now() >= deadline {
            // What is no JSON went into the queue as it came; a poll has no way to show it.
            let parsed = bodies.iter().filter_map(|body| serde_json::from_slice(body).ok());
            return Ok(Value::Array(parsed.collect()));
        }
        tokio::time::timeout_at(deadline.into(), arrived).await.ok();
    }
}

pub(super) fn chat(world: &World, params: &Params) -> Answer {
    let mut chats = world.chats();
    let chat_id = chat_id(&chats, params)?;
    Ok(chats.open(chat_id).wire())
}

pub(super) fn file(params: &Params) -> Answer {
    let file_id = params.text("file_id").filter(|id| !id.is_empty());
    let file_id = file_id.ok_or_else(|| ApiError::bad_request("file_id not specified"))?;
    Ok(json!({"file_id": file_id, "file_unique_id": file_id, "file_path": format!("files/{file_id}")}))
}
