//! What the bot asks about itself, its updates, a chat, a file.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Answer, ApiError, Params, chat_id};
use crate::state::World;

/// Telegram's own longest wait of getUpdates, in seconds.
const LONGEST_POLL: usize = 50;
const WEBHOOK_IS_ACTIVE: &str =
    "can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first";

pub(super) fn me(world: &World) -> Value {
    let mut me = world.bot();
    me["can_join_groups"] = json!(true);
    me["can_read_all_group_messages"] = json!(false);
    me["supports_inline_queries"] = json!(false);
    me["can_connect_to_business"] = json!(false);
    me["has_main_web_app"] = json!(false);
    me
}

pub(super) async fn updates(world: &World, params: &Params, now: Instant) -> Answer {
    if world.webhook().target.is_some() {
        return conflict(world, WEBHOOK_IS_ACTIVE).await;
    }
    let offset = params.integer("offset").unwrap_or(0);
    let limit = params.clamped("limit", 100, 1, 100);
    let timeout = Duration::from_secs(params.clamped("timeout", 0, 0, LONGEST_POLL) as u64);
    if let Ok(Some(allowed)) = params.json("allowed_updates") {
        world.webhook().allow(&allowed);
    }
    let (limit, timeout) = world.polling().begin(offset, limit, timeout, now);
    let bodies = world.queue().poll(offset, limit, now);
    if !bodies.is_empty() || timeout.is_zero() {
        return Ok(array(&bodies));
    }
    // What a negative offset said is done: what comes from now on stays.
    wait(world, offset.max(0), limit, now + timeout).await
}

async fn wait(world: &World, offset: i64, limit: usize, deadline: Instant) -> Answer {
    let mut told_to_go = world.polling().wait();
    loop {
        // Asked before the look, so that what arrives after it is noticed.
        let arrived = world.arrived.notified();
        let now = world.clock.now();
        let bodies = world.queue().poll(offset, limit, now);
        if !bodies.is_empty() || now >= deadline {
            return Ok(array(&bodies));
        }
        tokio::select! {
            biased;
            Ok(why) = &mut told_to_go => return conflict(world, why).await,
            () = arrived => (),
            () = world.clock.sleep_until(deadline) => (),
        }
    }
}

/// The first one is told at once; who runs into another within three seconds waits three more.
async fn conflict(world: &World, text: &str) -> Answer {
    let at = world.polling().conflict(world.clock.now());
    world.clock.sleep_until(at).await;
    Err(ApiError::conflict(text))
}

/// What is no JSON went into the queue as it came; a poll has no way to show it.
fn array(bodies: &[Bytes]) -> Value {
    let parsed = bodies.iter().filter_map(|body| serde_json::from_slice(body).ok());
    Value::Array(parsed.collect())
}

pub(super) fn chat(world: &World, params: &Params) -> Answer {
    let mut chats = world.chats();
    let chat_id = chat_id(&chats, params)?;
    let mut full = chats.open(chat_id).wire();
    // A ChatFullInfo has these whatever the chat; the colour follows from the id.
    full["accent_color_id"] = json!(chat_id.rem_euclid(7));
    full["max_reaction_count"] = json!(11);
    full["accepted_gift_types"] = json!({"unlimited_gifts": true, "limited_gifts": true, "unique_gifts": true,
        "premium_subscription": true, "gifts_from_channels": true});
    Ok(full)
}

pub(super) fn file(params: &Params) -> Answer {
    let file_id = params.text("file_id").filter(|id| !id.is_empty());
    let file_id = file_id.ok_or_else(|| ApiError::bad_request("file_id not specified"))?;
    Ok(json!({"file_id": file_id, "file_unique_id": file_id, "file_path": format!("files/{file_id}")}))
}
