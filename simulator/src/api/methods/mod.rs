//! What each method does. A method is a function from its parameters to Telegram's answer; a method
//! that has none here is answered `true`.

mod bot;
mod callback;
mod edit;
mod media;
mod send;
mod webhook;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::errors::ApiError;
use super::params::Params;
use super::{Answer, keyboard};
use crate::formatting::{self, Formatted};
use crate::state::World;
use crate::state::chats::Chats;

/// Text and caption, in code points after the marks are taken out (facts T13).
const MAX_TEXT: usize = 4096;
const MAX_CAPTION: usize = 1024;

pub(super) async fn run(world: &World, method: &'static str, params: &Params) -> Answer {
    match method {
        "getMe" => Ok(bot::me(world)),
        "getUpdates" => bot::updates(world, params).await,
        "getChat" => bot::chat(world, params),
        "getFile" => bot::file(params),
        "getMyCommands" => Ok(json!([])),
        "setWebhook" => webhook::set(world, params),
        "deleteWebhook" => Ok(webhook::delete(world, params)),
        "getWebhookInfo" => Ok(webhook::info(world)),
        "sendMessage" => send::message(world, params),
        "sendChatAction" => send::action(world, params),
        "copyMessage" | "forwardMessage" => send::copy(world, params, method == "forwardMessage"),
        "editMessageText" => edit::text(world, params),
        "editMessageCaption" => edit::caption(world, params),
        "editMessageReplyMarkup" => edit::markup(world, params),
        "deleteMessage" => edit::delete(world, params),
        "answerCallbackQuery" => callback::answer(world, params),
        _ => match media::kind(method) {
            Some(kind) => media::send(world, params, kind),
            None => Ok(Value::Bool(true)),
        },
    }
}

/// The chat that the call names, if the bot may write to it.
fn chat_id(chats: &Chats, params: &Params) -> Result<i64, ApiError> {
    let text = params.text("chat_id").filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| ApiError::bad_request("chat_id is empty"))?;
    let chat_id = text.trim().parse().ok().filter(|&id| id != 0 && !chats.missing.contains(&id));
    let chat_id = chat_id.ok_or_else(|| ApiError::bad_request("chat not found"))?;
    match chats.blocked.contains(&chat_id) {
        true => Err(ApiError::blocked()),
        false => Ok(chat_id),
    }
}

/// Holds the bot to facts T14, if the simulator was told to.
fn charge(world: &World, chat_id: i64) -> Result<(), ApiError> {
    if !world.settings.limit_sending {
        return Ok(());
    }
    let now = Instant::now();
    // Whoever goes on before the time that it was told is refused again (facts T15).
    world.limits().charge(chat_id, now).map_err(|seconds| {
        world.punishments().add(Some(chat_id), Duration::from_secs(seconds), now);
        ApiError::too_many(seconds)
    })
}

/// `text` or `caption`, with its marks read and its length checked. Missing is empty.
fn formatted(params: &Params, field: &str) -> Result<Formatted, ApiError> {
    let source = params.text(field).unwrap_or_default();
    let mode = params.text("parse_mode").unwrap_or_default();
    if !formatting::known(&mode) {
        return Err(ApiError::bad_request("unsupported parse_mode"));
    }
    let mut formatted = formatting::parse(&source, &mode)
        .map_err(|error| ApiError::bad_request(format!("can't parse entities: {error}")))?;
    let entities = if field == "text" { "entities" } else { "caption_entities" };
    if let Ok(Some(Value::Array(given))) = params.json(entities)
        && mode.is_empty()
    {
        formatted.entities = given;
    }
    let trimmed = formatted.text.trim_end().len();
    formatted.text.truncate(trimmed);
    let (limit, complaint) = match field {
        "text" => (MAX_TEXT, "message is too long"),
        _ => (MAX_CAPTION, "message caption is too long"),
    };
    match formatted.text.chars().count() > limit {
        true => Err(ApiError::bad_request(complaint)),
        false => Ok(formatted),
    }
}

/// The text of a message, which must not be empty.
fn text(params: &Params) -> Result<Formatted, ApiError> {
    let formatted = formatted(params, "text")?;
    match formatted.text.trim().is_empty() {
        true => Err(ApiError::bad_request("message text is empty")),
        false => Ok(formatted),
    }
}
