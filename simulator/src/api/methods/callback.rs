//! answerCallbackQuery: ends a button's "loading", and shows the person a text (facts T18).

use serde_json::Value;

use super::{Answer, ApiError, Params};
use crate::state::World;
use crate::state::chats::ShownAnswer;

const TOO_OLD: &str = "query is too old and response timeout expired or query ID is invalid";
const MAX_TEXT: usize = 200;

pub(super) fn answer(world: &World, params: &Params) -> Answer {
    let text = params.text("text").filter(|text| !text.is_empty());
    if text.as_ref().is_some_and(|text| text.chars().count() > MAX_TEXT) {
        return Err(ApiError::bad_request("MESSAGE_TOO_LONG"));
    }
    let id = params.text("callback_query_id").unwrap_or_default();
    let mut chats = world.chats();
    let press = chats.callbacks.answer(&id, world.clock.now());
    let press = press.ok_or_else(|| ApiError::bad_request(TOO_OLD))?;
    let Some(chat_id) = press.chat_id else {
        return Ok(Value::Bool(true));
    };
    chats.open(chat_id).show_answer(ShownAnswer {
        callback_query_id: id,
        message_id: press.message_id,
        text,
        show_alert: params.flag("show_alert"),
        url: params.text("url").filter(|url| !url.is_empty()),
        at_ms: world.clock.now_ms(),
    });
    drop(chats);
    world.changed(chat_id);
    Ok(Value::Bool(true))
}
