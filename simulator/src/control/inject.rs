//! From what a person does to the update that Telegram would make of it.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{ControlError, NewMessage, NewPress, Pressed, Sent};
use crate::delivery::keys;
use crate::delivery::queue::{Queue, Update};
use crate::formatting::leading_command;
use crate::state::World;
use crate::state::callbacks::Press;
use crate::state::chats::Chat;
use crate::state::message::Stored;

/// A deep link's payload may be so long (facts T13).
const MAX_PAYLOAD: usize = 64;

pub(super) fn message(world: &World, mut new: NewMessage) -> Result<Sent, ControlError> {
    if let Some(payload) = new.start.take() {
        new.text = Some(start(&payload)?);
    }
    let chat_id = new.chat_id;
    let mut chats = world.chats();
    let chat = chats.open(chat_id);
    introduce(chat, &new);
    let kind = if chat.kind == "channel" { "channel_post" } else { "message" };
    let wire = wire(chat, new, world.clock.now_seconds());
    let message_id = chats.add(chat_id, Stored::new(wire, false, world.clock.now_ms()));
    let wire = chats.open(chat_id).messages.get(&message_id).map(|message| message.wire.clone());
    // The chats stay locked until the update is queued, so that ids of both kinds rise together.
    let update_id = enqueue(world, kind, &Value::Object(wire.unwrap_or_default()))?;
    drop(chats);
    world.changed(chat_id);
    Ok(Sent { update_id, message_id })
}

/// What the person's app sends for a deep link. With a payload that Telegram does not know it would send nothing.
fn start(payload: &str) -> Result<String, ControlError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let fine = (1..=MAX_PAYLOAD).contains(&payload.len()) && payload.bytes().all(allowed);
    fine.then(|| format!("/start {payload}")).ok_or(ControlError::Payload)
}

/// What the message tells about its chat is remembered.
fn introduce(chat: &mut Chat, new: &NewMessage) {
    if let Some(kind) = &new.chat_type {
        chat.kind.clone_from(kind);
    }
    if let Some(name) = &new.first_name
        && chat.kind == "private"
    {
        chat.name.clone_from(name);
    }
}

fn wire(chat: &Chat, new: NewMessage, now: i64) -> Map<String, Value> {
    let mut wire = chat.header(new.date.unwrap_or(now));
    match chat.kind.as_str() {
        "channel" => wire.insert("sender_chat".to_owned(), chat.wire()),
        _ => wire.insert("from".to_owned(), user(chat, new.user_id, new.first_name, new.language_code)),
    };
    if let Some(text) = new.text {
        if let Some(command) = leading_command(&text) {
            wire.insert("entities".to_owned(), json!([command]));
        }
        wire.insert("text".to_owned(), json!(text));
    }
    wire.extend(new.extra);
    wire
}

fn user(chat: &Chat, id: Option<i64>, name: Option<String>, language: Option<String>) -> Value {
    let id = id.unwrap_or(chat.id.abs());
    let own_name = || {
        if id == chat.id { chat.name.clone() } else { format!("User {id}") }
    };
    let mut user = json!({"id": id, "is_bot": false, "first_name": name.unwrap_or_else(own_name)});
    user["language_code"] = json!(language.unwrap_or_else(|| "en".to_owned()));
    user
}

pub(super) fn press(world: &World, new: NewPress) -> Result<Pressed, ControlError> {
    let mut chats = world.chats();
    let chat = chats.open(new.chat_id);
    // A message too old to be known is shown with its chat, its id and date 0.
    let gone = || Map::from_iter([("chat".to_owned(), chat.wire()), ("date".to_owned(), json!(0))]);
    let mut message = chat.messages.get(&new.message_id).map_or_else(gone, |message| message.wire.clone());
    message.insert("message_id".to_owned(), json!(new.message_id));
    let callback_query_id = rand::random_range(1..i64::MAX).to_string();
    let query = json!({
        "id": callback_query_id,
        "from": user(chat, new.user_id, None, None),
        "message": message,
        "chat_instance": new.chat_id.to_string(),
        "data": new.data,
    });
    let press = Press { chat_id: Some(new.chat_id), message_id: Some(new.message_id) };
    chats.callbacks.add(callback_query_id.clone(), press, world.clock.now());
    let update_id = enqueue(world, "callback_query", &query)?;
    Ok(Pressed { update_id, callback_query_id })
}

pub(super) fn block(world: &World, user_id: i64, blocked: bool) -> Result<i64, ControlError> {
    let mut chats = world.chats();
    match blocked {
        true => chats.blocked.insert(user_id),
        false => chats.blocked.remove(&user_id),
    };
    let (old, new) = if blocked { ("member", "kicked") } else { ("kicked", "member") };
    let member = |status: &str| {
        let mut member = json!({"user": world.bot(), "status": status});
        if status == "kicked" {
            member["until_date"] = json!(0);
        }
        member
    };
    let chat = chats.open(user_id);
    let change = json!({
        "chat": chat.wire(),
        "from": user(chat, None, None, None),
        "date": world.clock.now_seconds(),
        "old_chat_member": member(old),
        "new_chat_member": member(new),
    });
    let update_id = enqueue(world, "my_chat_member", &change)?;
    drop(chats);
    world.changed(user_id);
    Ok(update_id)
}

pub(super) fn update(world: &World, body: &str) -> Result<i64, ControlError> {
    let envelope = keys::read(body).ok_or(ControlError::NotAnObject)?;
    remember(world, body, &envelope.kind);
    let mut queue = world.queue();
    let update_id = envelope.update_id.unwrap_or_else(|| queue.take_update_id(world.clock.now()));
    let body = if envelope.named { body.to_owned() } else { with_id(body, update_id) };
    add(world, &mut queue, update_id, &body)?;
    drop(queue);
    world.queue_changed();
    Ok(update_id)
}

/// The update's own bytes, with the id put in front of its first field.
fn with_id(body: &str, update_id: i64) -> String {
    let fields = body.trim_start().trim_start_matches('{');
    let comma = if fields.trim_start().starts_with('}') { "" } else { "," };
    format!("{{\"update_id\":{update_id}{comma}{fields}")
}

/// A message shows in its chat, and a button can be answered, however the update came in.
fn remember(world: &World, body: &str, kind: &str) {
    let Ok(mut update) = serde_json::from_str::<Value>(body) else {
        return;
    };
    let content = update[kind].take();
    let chat_id = content["chat"]["id"].as_i64();
    match (kind, chat_id, content) {
        ("message" | "channel_post", Some(chat_id), Value::Object(wire))
            if wire.contains_key("message_id") =>
        {
            world.chats().add(chat_id, Stored::new(wire, false, world.clock.now_ms()));
        }
        ("callback_query", _, content) => {
            let Some(id) = content["id"].as_str() else { return };
            let message = &content["message"];
            let (chat_id, message_id) = (message["chat"]["id"].as_i64(), message["message_id"].as_i64());
            let (press, now) = (Press { chat_id, message_id }, world.clock.now());
            world.chats().callbacks.add(id.to_owned(), press, now);
        }
        _ => (),
    }
}

fn enqueue(world: &World, kind: &str, content: &Value) -> Result<i64, ControlError> {
    let mut queue = world.queue();
    let update_id = queue.take_update_id(world.clock.now());
    // Written by hand: Telegram's first field is the id.
    let body = format!("{{\"update_id\":{update_id},\n\"{kind}\":{content}}}");
    add(world, &mut queue, update_id, &body)?;
    drop(queue);
    world.queue_changed();
    Ok(update_id)
}

/// An update that the bot does not want is not queued; its id is a gap (facts T8).
fn add(world: &World, queue: &mut Queue, update_id: i64, body: &str) -> Result<(), ControlError> {
    let envelope = keys::read(body).ok_or(ControlError::NotAnObject)?;
    if !world.webhook().allows(&envelope.kind) {
        return Ok(());
    }
    let expires_at = world.clock.now() + envelope.lifetime;
    let body = Bytes::copy_from_slice(body.as_bytes());
    Ok(queue.add(Update { update_id, body, expires_at, key: envelope.key })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_put_first_and_the_rest_stays_byte_for_byte() {
        assert_eq!(with_id(r#" {"x": "\ud800" }"#, 5), r#"{"update_id":5,"x": "\ud800" }"#);
        assert_eq!(with_id("{ }", 5), r#"{"update_id":5 }"#);
    }
}
