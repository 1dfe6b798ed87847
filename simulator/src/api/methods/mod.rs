//! What each method does. A method is a function from its parameters to Telegram's answer. One that has none here is
//! answered `true` if that is all it ever says, and else 501: a lie would be found out far from here.

mod bot;
mod callback;
mod edit;
mod files;
mod many;
mod media;
mod poll;
mod profile;
mod send;
mod webhook;

use std::time::{Duration, Instant};

use serde_json::Value;

use super::errors::ApiError;
use super::params::Params;
use super::{Answer, Reply, keyboard, known};
use crate::formatting::{self, Formatted};
use crate::state::World;
use crate::state::chats::Chats;

/// Text and caption, in code points after the marks are taken out (facts T13).
const MAX_TEXT: usize = 4096;
const MAX_CAPTION: usize = 1024;

/// `at` is when the call came in: what it waits for is counted from there.
pub(super) async fn run(
    world: &World,
    method: &'static str,
    params: &Params,
    at: Instant,
) -> Result<Reply, ApiError> {
    let answer = match method {
        "setWebhook" => return webhook::set(world, params),
        "deleteWebhook" => return Ok(webhook::delete(world, params)),
        "getWebhookInfo" => return Ok(webhook::info(world)),
        "getMe" => Ok(bot::me(world)),
        "getUpdates" => bot::updates(world, params, at).await,
        "getChat" => bot::chat(world, params),
        "getFile" => bot::file(params),
        "sendMessage" => send::message(world, params),
        "sendChatAction" => send::action(world, params),
        "copyMessage" | "forwardMessage" => send::copy(world, params, method == "forwardMessage"),
        "editMessageText" => edit::text(world, params),
        "editMessageCaption" => edit::caption(world, params),
        "editMessageReplyMarkup" => edit::markup(world, params),
        "editMessageMedia" => edit::media(world, params),
        "deleteMessage" => edit::delete(world, params),
        "deleteMessages" => many::delete(world, params),
        "copyMessages" | "forwardMessages" => many::copy(world, params, method == "forwardMessages"),
        "sendMediaGroup" => many::album(world, params),
        "answerCallbackQuery" => callback::answer(world, params),
        _ => match (profile::part(method), media::kind(method)) {
            (Some(part), _) => profile::run(world, params, part),
            (_, Some(kind)) => media::send(world, params, kind),
            _ if known::says_true(method) => acknowledge(world, params),
            _ => Err(ApiError::not_simulated(method)),
        },
    };
    answer.map(Reply::from)
}

/// What the method does is seen by nobody here, but whom it names must be there.
fn acknowledge(world: &World, params: &Params) -> Answer {
    if params.text("chat_id").is_some() {
        chat_id(&world.chats(), params)?;
    }
    Ok(Value::Bool(true))
}

/// The chat that the call names, if the bot may write to it.
fn chat_id(chats: &Chats, params: &Params) -> Result<i64, ApiError> {
    let text = params.text("chat_id").filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| ApiError::bad_request("chat_id is empty"))?;
    let chat_id = text.trim().parse().ok().filter(|&id| id != 0 && !chats.missing.contains(&id));
    let chat_id = chat_id.ok_or_else(|| ApiError::bad_request("chat not found"))?;
    match chat_id {
        it if chats.deactivated.contains(&it) => Err(ApiError::deactivated()),
        it if chats.blocked.contains(&it) => Err(ApiError::blocked()),
        it => Ok(it),
    }
}

/// Holds the bot to facts T14, if the simulator was told to: a chat that gets too much is punished (facts T15).
fn charge(world: &World, chat_id: i64) -> Result<(), ApiError> {
    if !world.settings.limit_sending {
        return Ok(());
    }
    let now = world.clock.now();
    let charged = world.limits().charge(chat_id, now);
    charged.map_err(|seconds| {
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
