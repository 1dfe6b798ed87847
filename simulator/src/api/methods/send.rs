//! sendMessage, and what all methods that put a message into a chat have in common.

use serde_json::{Map, Value, json};

use super::{Answer, ApiError, Params, charge, chat_id, keyboard, text};
use crate::state::World;
use crate::state::chats::Chats;
use crate::state::message::Stored;

const ACTIONS: [&str; 11] = [
    "typing",
    "upload_photo",
    "record_video",
    "upload_video",
    "record_voice",
    "upload_voice",
    "upload_document",
    "choose_sticker",
    "find_location",
    "record_video_note",
    "upload_video_note",
];

pub(super) fn message(world: &World, params: &Params) -> Answer {
    let content = text(params)?;
    let mut fields = Map::from_iter([("text".to_owned(), json!(content.text))]);
    if !content.entities.is_empty() {
        fields.insert("entities".to_owned(), json!(content.entities));
    }
    put(world, params, fields, None)
}

/// Puts a message of the bot with these fields into the chat, and returns it as Telegram shows it.
pub(super) fn put(
    world: &World,
    params: &Params,
    fields: Map<String, Value>,
    media: Option<String>,
) -> Answer {
    let markup = keyboard::shown(keyboard::read(params)?);
    let mut chats = world.chats();
    let chat_id = chat_id(&chats, params)?;
    let replied = replied(&chats, chat_id, params)?;
    charge(world, chat_id)?;
    let date = world.clock.now_seconds();
    let mut wire = chats.open(chat_id).header(date);
    wire.insert("from".to_owned(), world.bot());
    wire.extend(fields);
    let mut message = Stored::new(wire, true, world.clock.now_ms());
    message.media = media;
    message.set("reply_markup", markup);
    message.set("reply_to_message", replied);
    let message_id = chats.add(chat_id, message);
    let chat = chats.open(chat_id);
    let wire = chat.messages.get(&message_id).map(|message| message.wire.clone());
    drop(chats);
    world.changed(chat_id);
    Ok(Value::Object(wire.unwrap_or_default()))
}

/// The message that is replied to, without what it replied to itself.
fn replied(chats: &Chats, chat_id: i64, params: &Params) -> Result<Option<Value>, ApiError> {
    let parameters = params.json("reply_parameters");
    let parameters =
        parameters.map_err(|()| ApiError::bad_request("can't parse reply parameters JSON object"))?;
    let nested = parameters.as_ref().and_then(|parameters| parameters["message_id"].as_i64());
    let Some(message_id) = nested.or_else(|| params.integer("reply_to_message_id")) else {
        return Ok(None);
    };
    if let Some(message) = chats.get(chat_id).and_then(|chat| chat.messages.get(&message_id)) {
        let mut wire = message.wire.clone();
        wire.remove("reply_to_message");
        return Ok(Some(Value::Object(wire)));
    }
    let nested = parameters.is_some_and(|parameters| parameters["allow_sending_without_reply"] == true);
    match nested || params.flag("allow_sending_without_reply") {
        true => Ok(None),
        false => Err(ApiError::bad_request("message to be replied not found")),
    }
}

pub(super) fn action(world: &World, params: &Params) -> Answer {
    let mut chats = world.chats();
    let chat_id = chat_id(&chats, params)?;
    let action = params.text("action").unwrap_or_default().to_ascii_lowercase();
    if !ACTIONS.contains(&action.as_str()) {
        return Err(ApiError::bad_request("wrong parameter action in request"));
    }
    chats.open(chat_id).show_action(&action, world.clock.now_ms());
    drop(chats);
    world.changed(chat_id);
    Ok(Value::Bool(true))
}

/// copyMessage returns the new id, forwardMessage the new message.
pub(super) fn copy(world: &World, params: &Params, forward: bool) -> Answer {
    let from = params.integer("from_chat_id").zip(params.integer("message_id"));
    let source = {
        let chats = world.chats();
        let message = from.and_then(|(chat_id, message_id)| chats.get(chat_id)?.messages.get(&message_id));
        message.cloned()
    };
    let complaint = if forward { "message to forward not found" } else { "message to copy not found" };
    let source = source.ok_or_else(|| ApiError::bad_request(complaint))?;
    let own = ["message_id", "chat", "date", "from", "edit_date", "reply_markup", "reply_to_message"];
    let fields = source.wire.into_iter().filter(|(name, _)| !own.contains(&name.as_str())).collect();
    let message = put(world, params, fields, source.media)?;
    Ok(if forward { message } else { json!({"message_id": message["message_id"]}) })
}
