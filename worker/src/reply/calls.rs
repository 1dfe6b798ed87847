//! From an answer's messages to calls of the Bot API, in their order. Where a message goes is the update's
//! chat (and its forum topic); what cannot be sent there is an error before anything is sent.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::answer::Answer;
use super::message::{MediaKind, Message, ReplyTo, Style, Writing};
use super::split::{CAPTION_LIMIT, Markup, TEXT_LIMIT, split};
use super::{AnswerError, Call, method};
use crate::incoming::Incoming;

/// The calls that bring an answer to the update's chat. The callback's own answer is not among them: it is
/// sent at once and not in the chat's order (facts T18), see `answer_callback`.
pub fn calls(answer: &Answer, incoming: &Incoming) -> Result<Vec<Call>, AnswerError> {
    let mut calls = Vec::with_capacity(answer.messages.len());
    for message in &answer.messages {
        match message {
            Message::Text(writing) => send_text(&mut calls, incoming, writing)?,
            Message::Edit { writing, message_id } => edit(&mut calls, incoming, writing, *message_id)?,
            Message::Delete { message_id } => calls.push(delete(incoming, *message_id)?),
            Message::Media { kind, media, caption, style } => {
                send_media(&mut calls, incoming, *kind, media, caption.as_ref(), style)?;
            }
            Message::Location { latitude, longitude, style } => {
                let call = styled(to_chat("sendLocation", incoming)?, style, incoming, Place::WHOLE)?;
                calls.push(call.with("latitude", *latitude).with("longitude", *longitude));
            }
            Message::Method { method, params } => calls.push(method::call(incoming, method, params)?),
            Message::None => {}
        }
    }
    Ok(calls)
}

/// Which piece of a message a call is: a reply hangs on the first, buttons on the last.
#[derive(Clone, Copy)]
struct Place {
    first: bool,
    last: bool,
}

impl Place {
    const WHOLE: Self = Self { first: true, last: true };
}

fn send_text(calls: &mut Vec<Call>, incoming: &Incoming, writing: &Writing) -> Result<(), AnswerError> {
    let pieces = split(&writing.text, TEXT_LIMIT, Markup::of(writing.parse_mode.as_deref()));
    send_pieces(calls, incoming, writing, &pieces, true)
}

/// `whole` is whether these are all the pieces: what follows an edit or a caption replies to nothing.
fn send_pieces(
    calls: &mut Vec<Call>,
    incoming: &Incoming,
    writing: &Writing,
    pieces: &[Cow<'_, str>],
    whole: bool,
) -> Result<(), AnswerError> {
    for (index, piece) in pieces.iter().enumerate() {
        let place = Place { first: whole && index == 0, last: index + 1 == pieces.len() };
        let call = written(to_chat("sendMessage", incoming)?, "text", piece, writing);
        calls.push(styled(call, &writing.style, incoming, place)?);
    }
    Ok(())
}

/// Edits the message whose button was pressed, or the one that is named; where there is neither, it is a new
/// message (contract 4). What does not fit follows as new messages.
fn edit(
    calls: &mut Vec<Call>,
    incoming: &Incoming,
    writing: &Writing,
    message_id: Option<i64>,
) -> Result<(), AnswerError> {
    let callback = incoming.callback.as_ref();
    let inline = callback.and_then(|callback| callback.inline_message_id.as_deref());
    let pressed = incoming.message_id.filter(|_| callback.is_some());
    let call = match (message_id.or(pressed), inline) {
        (Some(id), _) => {
            let chat = incoming.chat.ok_or_else(|| AnswerError::NoChat("editMessageText".to_owned()))?;
            Call::new("editMessageText").with("chat_id", chat.id).with("message_id", id)
        }
        (None, Some(inline)) => Call::new("editMessageText").with("inline_message_id", inline),
        (None, None) => return send_text(calls, incoming, writing),
    };
    let pieces = split(&writing.text, TEXT_LIMIT, Markup::of(writing.parse_mode.as_deref()));
    let Some((first, others)) = pieces.split_first() else {
        return Ok(());
    };
    let mut call = written(call, "text", first, writing);
    if let Some(buttons) = writing.style.buttons.as_ref().filter(|_| others.is_empty()) {
        call = call.with("reply_markup", keyboard(buttons));
    }
    calls.push(call);
    send_pieces(calls, incoming, writing, others, false)
}

/// Deletes the message that is named, else the one that the update is about.
fn delete(incoming: &Incoming, message_id: Option<i64>) -> Result<Call, AnswerError> {
    let method = "deleteMessage";
    let chat = incoming.chat.ok_or_else(|| AnswerError::NoChat(method.to_owned()))?;
    let id = message_id.or(incoming.message_id).ok_or_else(|| AnswerError::NoMessage(method.to_owned()))?;
    Ok(Call::new(method).with("chat_id", chat.id).with("message_id", id))
}

/// A caption has less room than a text (facts T13): what does not fit follows as a message.
fn send_media(
    calls: &mut Vec<Call>,
    incoming: &Incoming,
    kind: MediaKind,
    media: &str,
    caption: Option<&Writing>,
    style: &Style,
) -> Result<(), AnswerError> {
    let call = to_chat(kind.method(), incoming)?.with(kind.name(), media);
    let Some(caption) = caption else {
        calls.push(styled(call, style, incoming, Place::WHOLE)?);
        return Ok(());
    };
    let pieces = split(&caption.text, CAPTION_LIMIT, Markup::of(caption.parse_mode.as_deref()));
    let (first, others) = pieces.split_first().unwrap_or((&Cow::Borrowed(""), &[]));
    let place = Place { first: true, last: others.is_empty() };
    calls.push(styled(written(call, "caption", first, caption), style, incoming, place)?);
    send_pieces(calls, incoming, caption, others, false)
}

/// A call that sends something to the update's chat, in its topic.
fn to_chat(method: &str, incoming: &Incoming) -> Result<Call, AnswerError> {
    let chat = incoming.chat.ok_or_else(|| AnswerError::NoChat(method.to_owned()))?;
    let call = Call::new(method).with("chat_id", chat.id);
    Ok(match incoming.thread {
        Some(thread) => call.with("message_thread_id", thread),
        None => call,
    })
}

fn written(call: Call, field: &str, text: &str, writing: &Writing) -> Call {
    let call = call.with(field, text);
    match &writing.parse_mode {
        Some(mode) => call.with("parse_mode", mode.as_str()),
        None => call,
    }
}

fn styled(mut call: Call, style: &Style, incoming: &Incoming, place: Place) -> Result<Call, AnswerError> {
    if style.silent {
        call = call.with("disable_notification", true);
    }
    if let Some(reply_to) = style.reply_to.filter(|_| place.first) {
        let id = match reply_to {
            ReplyTo::Message(id) => Some(id),
            ReplyTo::This => incoming.message_id,
        };
        let id = id.ok_or_else(|| AnswerError::NoMessage("a reply".to_owned()))?;
        call = call.with("reply_parameters", json!({"message_id": id}));
    }
    if let Some(buttons) = style.buttons.as_ref().filter(|_| place.last) {
        call = call.with("reply_markup", keyboard(buttons));
    }
    Ok(call)
}

fn keyboard(buttons: &Value) -> Value {
    json!({"inline_keyboard": buttons})
}
