//! "typing…" in the chat of who waits for a slow service, until it has answered.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use tokio::time::sleep;

use super::Attempt;
use crate::incoming::{ChatKind, Incoming};
use crate::reply::Call;
use crate::telegram::Telegram;

/// A service that answers sooner is not slow.
const AFTER: Duration = Duration::from_millis(500);

/// The sign goes out by itself after 5 s (facts T13).
const AGAIN: Duration = Duration::from_millis(4500);

/// What somebody waits for an answer to.
const KINDS: [&str; 3] = ["message", "edited_message", "callback_query"];

/// Does the work, and shows that somebody is at it where that takes long.
pub async fn while_waiting<T>(
    attempt: &Attempt<'_>,
    telegram: &Telegram,
    work: impl Future<Output = T>,
) -> T {
    // Nobody sits and waits for a replay.
    let sign = sign(attempt.incoming).filter(|_| attempt.envelope.replay == 0);
    let Some(sign) = sign else { return work.await };
    tokio::select! {
        biased;
        done = work => done,
        never = show(telegram, sign) => match never {},
    }
}

async fn show(telegram: &Telegram, sign: Call) -> Infallible {
    sleep(AFTER).await;
    loop {
        // Beside the service's call, and to its end: broken off it would be shown all the same, and cost a connection.
        let (telegram, sign) = (telegram.clone(), sign.clone());
        tokio::spawn(async move { telegram.hint(&sign).await });
        sleep(AGAIN).await;
    }
}

fn sign(incoming: &Incoming) -> Option<Call> {
    let chat = incoming.chat.filter(|chat| chat.kind != ChatKind::Channel)?;
    if !KINDS.contains(&incoming.kind.as_str()) || incoming.membership.is_some() {
        return None;
    }
    let call = Call::new("sendChatAction").with("chat_id", chat.id).with("action", "typing");
    Some(match incoming.thread {
        Some(thread) => call.with("message_thread_id", thread),
        None => call,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(update: &str) -> Option<Call> {
        sign(&Incoming::read(update.as_bytes()))
    }

    #[test]
    fn who_wrote_in_a_topic_sees_the_sign_there() {
        let chat = r#""chat":{"id":-5,"type":"supergroup"}"#;
        let update = format!(
            r#"{{"update_id":1,"message":{{"message_id":2,{chat},"message_thread_id":9,"is_topic_message":true,"text":"a"}}}}"#
        );
        let call = of(&update).unwrap();
        assert_eq!((&call.params["chat_id"], &call.params["message_thread_id"]), (&(-5).into(), &9.into()));
    }

    #[test]
    fn a_channel_and_an_inline_query_see_none() {
        assert!(
            of(r#"{"update_id":1,"channel_post":{"chat":{"id":-5,"type":"channel"},"text":"a"}}"#).is_none()
        );
        assert!(of(r#"{"update_id":1,"message":{"chat":{"id":-5,"type":"channel"},"text":"a"}}"#).is_none());
        assert!(of(r#"{"update_id":1,"inline_query":{"id":"1","from":{"id":5},"query":"a"}}"#).is_none());
    }
}
