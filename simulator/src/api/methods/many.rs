//! The methods that do to several messages what others do to one: albums, copies, deletions.

use serde_json::{Map, Value, json};

use super::{Answer, ApiError, Params, chat_id, files, send};
use crate::state::World;

const MAX_IDS: usize = 100;
const MAX_ALBUM: usize = 10;

pub(super) fn album(world: &World, params: &Params) -> Answer {
    let refused = |text: &str| ApiError::bad_request(text);
    let given = params.json("media").map_err(|()| refused("can't parse media JSON object"))?;
    let given = given.ok_or_else(|| refused("parameter \"media\" is required"))?;
    let Value::Array(given) = given else {
        return Err(refused("expected an Array of InputMedia"));
    };
    // All are read before the first is sent.
    let parts = given.into_iter().map(|media| {
        let (kind, file, own) = files::input_media(params, media, true)?;
        Ok((files::message(&own, &kind, &file)?, file.source))
    });
    let parts = parts.collect::<Result<Vec<_>, ApiError>>()?;
    if parts.is_empty() {
        return Err(refused("there are no messages to send"));
    }
    if parts.len() > MAX_ALBUM {
        return Err(refused("too many messages to send as an album"));
    }
    let mut params = params.fields().clone();
    // An album has no keyboard.
    params.remove("reply_markup");
    let (params, group) = (Params::of(params), rand::random::<u32>().to_string());
    let messages = parts.into_iter().map(|(mut fields, source)| {
        fields.insert("media_group_id".to_owned(), json!(group));
        send::put(world, &params, fields, Some(source))
    });
    Ok(Value::Array(messages.collect::<Result<_, _>>()?))
}

/// Those that are not there are left out; the ids of the new ones.
pub(super) fn copy(world: &World, params: &Params, forward: bool) -> Answer {
    let mut copies = Vec::new();
    for id in ids(params)? {
        let mut fields = params.fields().clone();
        fields.insert("message_id".to_owned(), json!(id));
        match send::copy(world, &Params::of(fields), forward) {
            Ok(message) => copies.push(json!({"message_id": message["message_id"]})),
            Err(error) if missing(&error) => (),
            Err(error) => return Err(error),
        }
    }
    Ok(Value::Array(copies))
}

/// The message, not its chat.
fn missing(error: &ApiError) -> bool {
    error.description.ends_with("not found") && !error.description.contains("chat")
}

/// Those that are not there are gone already.
pub(super) fn delete(world: &World, params: &Params) -> Answer {
    let ids = ids(params)?;
    let mut chats = world.chats();
    let chat_id = chat_id(&chats, params)?;
    if let Some(chat) = chats.get_mut(chat_id) {
        chat.messages.retain(|id, _| !ids.contains(id));
    }
    drop(chats);
    world.changed(chat_id);
    Ok(Value::Bool(true))
}

fn ids(params: &Params) -> Result<Vec<i64>, ApiError> {
    let refused = |text: &str| ApiError::bad_request(text);
    let given = params.json("message_ids").map_err(|()| refused("can't parse message_ids JSON object"))?;
    let given = given.ok_or_else(|| refused("message identifiers are not specified"))?;
    let given = given.as_array().ok_or_else(|| refused("expected an Array of message identifiers"))?;
    match given.len() {
        0 => return Err(refused("message identifiers are not specified")),
        1..=MAX_IDS => (),
        _ => return Err(refused("too many message identifiers specified")),
    }
    let id = |value: &Value| {
        let fields = Map::from_iter([("id".to_owned(), value.clone())]);
        let id = Params::of(fields).integer("id");
        let id = id.ok_or_else(|| refused("can't parse message identifier as a Number"))?;
        if id > 0 { Ok(id) } else { Err(refused("invalid message identifier specified")) }
    };
    given.iter().map(id).collect()
}
