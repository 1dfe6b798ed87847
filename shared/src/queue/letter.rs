//! A dead letter: an update that could not be handled, with all that an operator needs to judge it.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Envelope;
use super::envelope::Replayed;
use crate::clock;

/// Why an update died (the table in contract 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// A service timed out, failed or answered nonsense, also on the retry.
    Service,
    /// Telegram failed, also on the retry.
    Telegram,
    /// It killed its worker again and again.
    Poison,
    /// Its time was over before its turn came.
    Expired,
    /// It is no update, or another bot's.
    Malformed,
}

impl Reason {
    pub const ALL: [Self; 5] = [Self::Service, Self::Telegram, Self::Poison, Self::Expired, Self::Malformed];

    /// Of each its word.
    pub const WORDS: [&str; 5] = {
        let (mut words, mut at) = ([""; 5], 0);
        while at < words.len() {
            words[at] = Self::ALL[at].as_str();
            at += 1;
        }
        words
    };

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Telegram => "telegram",
            Self::Poison => "poison",
            Self::Expired => "expired",
            Self::Malformed => "malformed",
        }
    }
}

impl Reason {
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// What a letter carries. Its version is the envelope's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    pub reason: Reason,
    /// What went wrong, in words that hold nothing of the message, no token and no secret.
    pub error: String,
    /// None where the body is no update.
    pub update_id: Option<u64>,
    pub bot: Option<u64>,
    pub kind: String,
    pub lane: Option<i64>,
    pub chat_id: Option<i64>,
    pub user_id: Option<i64>,
    pub route: Option<String>,
    pub service: Option<String>,
    /// How often its handling was begun.
    pub attempts: u32,
    pub received_ms: u64,
    pub first_failed_ms: u64,
    pub last_failed_ms: u64,
    /// How often it was replayed before it died this time.
    pub replays: u32,
    /// When and by whom it was replayed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayed: Option<Replayed>,
    pub traceparent: Option<String>,
    /// The update as Telegram sent it; empty where it was too large to keep.
    #[serde(skip)]
    pub body: Bytes,
    /// What is still to be sent (reason `telegram`): a plan in the worker's own format.
    #[serde(skip)]
    pub rest: Option<Bytes>,
}

impl Letter {
    /// The letter of bytes that are no update; empty where they are not kept.
    pub fn malformed(error: String, bot: Option<u64>, traceparent: Option<String>, body: Bytes) -> Self {
        let now = clock::now_ms();
        Self {
            reason: Reason::Malformed,
            error,
            update_id: None,
            bot,
            kind: String::new(),
            lane: None,
            chat_id: None,
            user_id: None,
            route: None,
            service: None,
            attempts: 0,
            received_ms: now,
            first_failed_ms: now,
            last_failed_ms: now,
            replays: 0,
            replayed: None,
            traceparent,
            body,
            rest: None,
        }
    }

    /// The update once more, under the next replay's number: the same for whoever replays this letter, so that it
    /// runs once however often that is broken off. None where there is no update in it.
    pub fn again(&self, by: &str) -> Option<Envelope> {
        let replay = self.replays.checked_add(1)?;
        let update_id = self.update_id.filter(|_| self.reason != Reason::Malformed)?;
        let Self { bot, lane, received_ms, first_failed_ms, .. } = *self;
        let replayed = Replayed { at_ms: clock::now_ms(), by: by.to_owned(), first_failed_ms };
        Some(Envelope {
            update_id,
            bot,
            kind: self.kind.clone(),
            lane,
            received_ms,
            replay,
            replayed: Some(replayed),
            traceparent: self.traceparent.clone(),
            body: self.body.clone(),
        })
    }

    /// The same for every copy of one death, so that a copy which a crash leaves behind can be told.
    pub fn id(&self) -> String {
        match self.update_id {
            Some(update_id) => format!("{}-{update_id}-{}", self.bot.unwrap_or(0), self.replays),
            None if self.body.is_empty() => format!("malformed-{}", uuid::Uuid::new_v4()),
            None => format!("malformed-{}", uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, &self.body)),
        }
    }
}
