//! What changes or removes a message that is there already.

use serde_json::{Value, json};

use super::{Answer, ApiError, Params, charge, chat_id, files, formatted, keyboard};
use crate::state::World;
use crate::state::message::Stored;

const NOT_MODIFIED: &str = "message is not modified: specified new message content and reply markup \
    are exactly the same as a current content and reply markup of the message";

/// What editMessageMedia may replace.
const MEDIA: [&str; 5] = ["photo", "video", "audio", "document", "animation"];

pub(super) fn text(world: &World, params: &Params) -> Answer {
    let content = super::text(params)?;
    edit(world, params, |message| {
        if message.wire.get("text").is_none() {
            return Err(ApiError::bad_request("there is no text in the message to edit"));
        }
        message.set("text", Some(json!(content.text)));
        message.set("entities", Some(json!(content.entities)).filter(|_| !content.entities.is_empty()));
        Ok(())
    })
}

pub(super) fn caption(world: &World, params: &Params) -> Answer {
    let content = formatted(params, "caption")?;
    edit(world, params, |message| {
        message.set("caption", Some(json!(content.text)).filter(|_| !content.text.is_empty()));
        message
            .set("caption_entities", Some(json!(content.entities)).filter(|_| !content.entities.is_empty()));
        Ok(())
    })
}

pub(super) fn media(world: &World, params: &Params) -> Answer {
    let given =
        params.json("media").map_err(|()| ApiError::bad_request("can't parse input media JSON object"))?;
    let given = given.ok_or_else(|| ApiError::bad_request("input media is not specified"))?;
    let (kind, file, own) = files::input_media(params, given, false)?;
    let fields = files::message(&own, &kind, &file)?;
    edit(world, params, |message| {
        let held = |field: &&str| message.wire.contains_key(*field);
        if !MEDIA.iter().any(held) {
            return Err(ApiError::bad_request("there is no media in the message to edit"));
        }
        for field in MEDIA.into_iter().chain(["caption", "caption_entities"]) {
            message.set(field, None);
        }
        message.wire.extend(fields);
        message.media = Some(file.source);
        Ok(())
    })
}

pub(super) fn markup(world: &World, params: &Params) -> Answer {
    edit(world, params, |_| Ok(()))
}

/// Every edit sets the keyboard too: without one in the call, the old one goes.
fn edit(world: &World, params: &Params, change: impl FnOnce(&mut Stored) -> Result<(), ApiError>) -> Answer {
    let markup = keyboard::shown(keyboard::read(params)?);
    if params.text("inline_message_id").is_some() {
        // An inline message is in a chat that the bot cannot see.
        return Ok(Value::Bool(true));
    }
    let mut chats = world.chats();
    let chat_id = chat_id(&chats, params)?;
    let message_id = params.integer("message_id");
    let chat = chats.get_mut(chat_id);
    let message = chat.zip(message_id).and_then(|(chat, message_id)| chat.messages.get_mut(&message_id));
    let message = message.ok_or_else(|| ApiError::bad_request("message to edit not found"))?;
    if !message.from_bot {
        return Err(ApiError::bad_request("message can't be edited"));
    }
    let mut edited = message.clone();
    change(&mut edited)?;
    edited.set("reply_markup", markup);
    if edited.content() == message.content() {
        return Err(ApiError::bad_request(NOT_MODIFIED));
    }
    charge(world, chat_id)?;
    edited.edited_at_ms = Some(world.clock.now_ms());
    edited.set("edit_date", Some(json!(world.clock.now_seconds())));
    let wire = edited.wire.clone();
    *message = edited;
    drop(chats);
    world.changed(chat_id);
    Ok(Value::Object(wire))
}

pub(super) fn delete(world: &World, params: &Params) -> Answer {
    let mut chats = world.chats();
    let chat_id = chat_id(&chats, params)?;
    let message_id = params.integer("message_id");
    let chat = chats.get_mut(chat_id);
    let removed = chat.zip(message_id).and_then(|(chat, message_id)| chat.messages.remove(&message_id));
    drop(chats);
    world.changed(chat_id);
    match removed {
        Some(_) => Ok(Value::Bool(true)),
        None => Err(ApiError::bad_request("message to delete not found")),
    }
}
