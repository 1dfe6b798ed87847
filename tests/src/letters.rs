//! Looks at a deployment's dead letters over AMQP, without taking any: all are read unacked on a
//! connection of its own, which returns them when it closes.

use std::collections::BTreeMap;
use std::time::Duration;

use lapin::message::BasicGetMessage;
use lapin::options::BasicGetOptions;
use lapin::types::AMQPValue;
use serde_json::Value;

use crate::amqp::{channel, goodbye};
use crate::wait::wait_for;

/// Through a closing connection the broker needs a moment to make the letters visible again.
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub struct Letter {
    /// The update's bytes, as Telegram sent them.
    pub update: Vec<u8>,
    /// What may follow the update: what is still to be sent.
    pub rest: Vec<u8>,
    headers: BTreeMap<String, AMQPValue>,
}

impl Letter {
    /// Service, telegram, poison, expired or malformed.
    #[must_use]
    pub fn reason(&self) -> String {
        self.text("tgw-reason").unwrap_or_default()
    }

    #[must_use]
    pub fn text(&self, header: &str) -> Option<String> {
        match self.headers.get(header)? {
            AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
            AMQPValue::ShortString(text) => Some(text.as_str().to_owned()),
            _ => None,
        }
    }

    #[must_use]
    pub fn number(&self, header: &str) -> Option<i64> {
        match *self.headers.get(header)? {
            AMQPValue::LongLongInt(number) => Some(number),
            AMQPValue::LongInt(number) => Some(number.into()),
            AMQPValue::LongUInt(number) => Some(number.into()),
            AMQPValue::ShortInt(number) => Some(number.into()),
            AMQPValue::ShortUInt(number) => Some(number.into()),
            AMQPValue::ShortShortInt(number) => Some(number.into()),
            AMQPValue::ShortShortUInt(number) => Some(number.into()),
            _ => None,
        }
    }

    /// The update as JSON, `null` where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.update).unwrap_or_default()
    }
}

/// All letters of a deployment, in the order of their queue; none where the queue does not exist yet.
pub async fn dead_letters(amqp_url: &str, prefix: &str) -> Vec<Letter> {
    let (connection, channel) = channel(amqp_url).await;
    let queue = format!("{prefix}.dead");
    let mut letters = Vec::new();
    // An error here is a queue that is not declared: the channel then closes and the connection with it.
    while let Ok(Some(got)) = channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await {
        letters.push(letter(got));
    }
    goodbye(&connection).await.ok();
    letters
}

/// Waits until there are `count` letters, and returns them. More than that is an error.
pub async fn wait_dead_letters(amqp_url: &str, prefix: &str, count: usize) -> Vec<Letter> {
    let letters = wait_for(&format!("{count} dead letters"), DEADLINE, || async {
        let letters = dead_letters(amqp_url, prefix).await;
        (letters.len() >= count).then_some(letters)
    })
    .await;
    assert_eq!(letters.len(), count, "more dead letters than expected: {letters:#?}");
    letters
}

fn letter(got: BasicGetMessage) -> Letter {
    let delivery = got.delivery;
    let headers = delivery.properties.headers().clone().unwrap_or_default();
    let headers =
        headers.inner().iter().map(|(key, value)| (key.as_str().to_owned(), value.clone())).collect();
    let mut letter = Letter { update: delivery.data, rest: Vec::new(), headers };
    if let Some(length) = letter.number("tgw-update-bytes") {
        let length = usize::try_from(length).expect("a length");
        letter.rest = letter.update.split_off(length);
    }
    letter
}
