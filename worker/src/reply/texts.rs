//! What the gateway itself says to a user, and how: the apology, the notice of the rate limit, and the
//! callback's answer that stops a button's spinner.

use super::Call;
use super::answer::Toast;
use crate::incoming::{Chat, Incoming};

pub const APOLOGY: &str = "Something went wrong on our side. Please try again in a minute.";

pub const TOO_FAST: &str = "You're sending messages too fast, please slow down 🙂";

/// The longest text of a callback's answer, in code points (facts T13).
const TOAST_LIMIT: usize = 200;

/// The apology: a message in the chat; where a callback has none, its answer, as an alert (contract 9).
pub fn apology(incoming: &Incoming) -> Option<Call> {
    match incoming.chat.filter(|_| incoming.has_chat_to_apologize()) {
        Some(chat) => Some(say(incoming, chat, APOLOGY)),
        None => {
            let toast = Toast { text: Some(APOLOGY.to_owned()), show_alert: true, ..Toast::default() };
            answer_callback(incoming, Some(&toast))
        }
    }
}

/// The notice of the rate limit: a callback's answer, else a message (contract 3.3).
pub fn notice(incoming: &Incoming) -> Option<Call> {
    let toast = Toast { text: Some(TOO_FAST.to_owned()), ..Toast::default() };
    match answer_callback(incoming, Some(&toast)) {
        Some(call) => Some(call),
        None => incoming.chat.map(|chat| say(incoming, chat, TOO_FAST)),
    }
}

/// The answer to the update's callback, if it is one: what the service says, or empty. A text that is too
/// long is shortened: a toast cannot be split, and Telegram would refuse it whole.
pub fn answer_callback(incoming: &Incoming, toast: Option<&Toast>) -> Option<Call> {
    let callback = incoming.callback.as_ref()?;
    let params = toast.map(|toast| toast.more.clone()).unwrap_or_default();
    let call = Call { method: "answerCallbackQuery".to_owned(), params };
    let mut call = call.with("callback_query_id", callback.id.as_str());
    let text = toast.and_then(|toast| toast.text.as_deref()).map(str::trim).filter(|text| !text.is_empty());
    if let Some(text) = text {
        call = call.with("text", shortened(text));
    }
    if toast.is_some_and(|toast| toast.show_alert) {
        call = call.with("show_alert", true);
    }
    Some(call)
}

fn say(incoming: &Incoming, chat: Chat, text: &str) -> Call {
    let call = Call::new("sendMessage").with("chat_id", chat.id).with("text", text);
    match incoming.thread {
        Some(thread) => call.with("message_thread_id", thread),
        None => call,
    }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= TOAST_LIMIT {
        return text.to_owned();
    }
    let kept: String = text.chars().take(TOAST_LIMIT - 1).collect();
    format!("{}…", kept.trim_end())
}
