//! `method`: any method of the Bot API, with what the update knows filled in where the method takes it and
//! the service did not say (contract 4). The Bot API ignores parameters that it does not know, so a name too
//! many in a list costs nothing; a name too few costs the service one parameter.

use serde_json::{Map, Value};

use super::{AnswerError, Call};
use crate::incoming::Incoming;

/// Methods that take a `chat_id`, in lower case, by how they begin.
const CHAT_METHODS: &[&str] = &[
    "send",
    "copymessage",
    "forwardmessage",
    "editmessage",
    "deletemessage",
    "stopmessage",
    "stoppoll",
    "pinchat",
    "unpinchat",
    "unpinall",
    "banchat",
    "unbanchat",
    "restrictchat",
    "promotechat",
    "setchat",
    "deletechat",
    "getchat",
    "leavechat",
    "exportchat",
    "createchat",
    "editchat",
    "revokechat",
    "approvechat",
    "declinechat",
    "createforum",
    "editforum",
    "closeforum",
    "reopenforum",
    "deleteforum",
    "editgeneralforum",
    "closegeneralforum",
    "reopengeneralforum",
    "hidegeneralforum",
    "unhidegeneralforum",
    "setmessagereaction",
    "setgamescore",
    "getgamehighscores",
    "getuserchatboosts",
    "verifychat",
    "removechatverification",
    "approvesuggestedpost",
    "declinesuggestedpost",
];

/// Those of them that mean something without one as well.
const CHAT_OPTIONAL: &[&str] = &[
    "sendgift",
    "sendchecklist",
    "setchatmenubutton",
    "getchatmenubutton",
    "setgamescore",
    "getgamehighscores",
];

/// Methods that change a message: on a callback, the one whose button was pressed.
const PRESSED_METHODS: &[&str] =
    &["editmessage", "stopmessage", "setgamescore", "getgamehighscores", "stoppoll"];

/// Methods that need a message and do well with the one that the update is about.
const MESSAGE_METHODS: &[&str] = &["deletemessage", "pinchatmessage", "setmessagereaction"];

pub(super) fn call(
    incoming: &Incoming,
    method: &str,
    params: &Map<String, Value>,
) -> Result<Call, AnswerError> {
    let mut call = Call { method: method.to_owned(), params: params.clone() };
    let name = method.to_ascii_lowercase();
    if let Some(field) = query_field(&name) {
        let callback = incoming.callback.as_ref().map(|callback| callback.id.as_str());
        let id = if field == "callback_query_id" { callback } else { incoming.query_id.as_deref() };
        fill(&mut call, field, id);
        return Ok(call);
    }
    if !begins(&name, CHAT_METHODS) || call.params.contains_key("inline_message_id") {
        return Ok(call);
    }
    fill_message(&mut call, &name, incoming);
    if !call.params.contains_key("inline_message_id") {
        fill_chat(&mut call, &name, incoming)?;
    }
    Ok(call)
}

/// What the answer to a query must name.
fn query_field(method: &str) -> Option<&'static str> {
    match method {
        "answercallbackquery" => Some("callback_query_id"),
        "answerinlinequery" => Some("inline_query_id"),
        "answerprecheckoutquery" => Some("pre_checkout_query_id"),
        "answershippingquery" => Some("shipping_query_id"),
        _ => None,
    }
}

/// A message is filled in only where the service named neither a message nor another chat.
fn fill_message(call: &mut Call, name: &str, incoming: &Incoming) {
    let named = ["message_id", "message_ids", "chat_id"].iter().any(|field| call.params.contains_key(*field));
    let pressed = incoming.callback.as_ref().filter(|_| begins(name, PRESSED_METHODS));
    if named || (pressed.is_none() && !MESSAGE_METHODS.contains(&name)) {
        return;
    }
    match pressed.and_then(|callback| callback.inline_message_id.as_deref()) {
        Some(inline) => fill(call, "inline_message_id", Some(inline)),
        None => fill(call, "message_id", incoming.message_id),
    }
}

fn fill_chat(call: &mut Call, name: &str, incoming: &Incoming) -> Result<(), AnswerError> {
    // A gift goes to a user or to a chat, never to both.
    let elsewhere = name == "sendgift" && call.params.contains_key("user_id");
    if call.params.contains_key("chat_id") || elsewhere {
        return Ok(());
    }
    match incoming.chat {
        Some(chat) => fill(call, "chat_id", Some(chat.id)),
        None if CHAT_OPTIONAL.contains(&name) => return Ok(()),
        None => return Err(AnswerError::NoChat(call.method.clone())),
    }
    if name.starts_with("send") {
        fill(call, "message_thread_id", incoming.thread);
    }
    Ok(())
}

fn fill(call: &mut Call, field: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        call.params.entry(field).or_insert_with(|| value.into());
    }
}

fn begins(name: &str, starts: &[&str]) -> bool {
    starts.iter().any(|start| name.starts_with(start))
}
