//! A dead letter as the commands see it: what it says of itself, and where its bytes lie.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use shared::clock::rfc3339;
use shared::queue::Letter;
use shared::queue::rabbitmq;

/// One letter, with all copies of it that a crash left behind.
#[derive(Debug)]
pub struct Entry {
    pub id: String,
    /// Without its bytes.
    pub letter: Letter,
    pub places: Vec<Place>,
    pub update_bytes: usize,
    pub has_rest: bool,
    /// Where in a temporary file its bytes are, if anybody asked for them.
    pub kept: Option<Kept>,
    /// It is back in its queue, or was removed.
    gone: AtomicBool,
}

/// Where one copy lies.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    RabbitMq(rabbitmq::Place),
    Embedded(u64),
    /// In another tool's hands.
    Elsewhere,
}

/// A stretch of the temporary file: the update, and right behind it what is still to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    pub at: u64,
    pub update: usize,
    pub rest: Option<usize>,
    /// In the file of those that nobody asked for.
    pub spare: bool,
}

impl Entry {
    pub fn new(id: String, letter: Letter, place: Place) -> Self {
        let (update_bytes, has_rest) = (letter.body.len(), letter.rest.is_some());
        let letter = Letter { body: bytes::Bytes::new(), rest: None, ..letter };
        Self {
            id,
            letter,
            places: vec![place],
            update_bytes,
            has_rest,
            kept: None,
            gone: AtomicBool::new(false),
        }
    }

    /// From now on nobody is shown it.
    pub fn goes(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// The order of every list: by update, so that a limit never takes a chat's later letter before an earlier one.
    pub fn order(&self) -> (u64, u32, u64, &str) {
        let update_id = self.letter.update_id.unwrap_or(u64::MAX);
        (update_id, self.letter.replays, self.letter.last_failed_ms, &self.id)
    }

    pub fn view(&self) -> View<'_> {
        let Letter { reason, error, kind, chat_id, user_id, route, service, attempts, .. } = &self.letter;
        let replayed = self.letter.replayed.as_ref();
        View {
            id: &self.id,
            update_id: self.letter.update_id,
            reason: reason.as_str(),
            error,
            kind,
            chat_id: *chat_id,
            user_id: *user_id,
            route: route.as_deref(),
            service: service.as_deref(),
            attempts: *attempts,
            first_failed: rfc3339(self.letter.first_failed_ms),
            last_failed: rfc3339(self.letter.last_failed_ms),
            received: rfc3339(self.letter.received_ms),
            replays: self.letter.replays,
            replayed_at: replayed.map(|replayed| rfc3339(replayed.at_ms)),
            replayed_by: replayed.map(|replayed| replayed.by.as_str()),
            bot: self.letter.bot,
            update_bytes: self.update_bytes,
            still_to_send: self.has_rest,
            traceparent: self.letter.traceparent.as_deref(),
        }
    }
}

/// What `--json` prints of a letter (contract 8, and what else it carries). Times are RFC 3339, UTC.
#[derive(Debug, Serialize)]
pub struct View<'a> {
    pub id: &'a str,
    pub update_id: Option<u64>,
    pub reason: &'static str,
    pub error: &'a str,
    pub kind: &'a str,
    pub chat_id: Option<i64>,
    pub user_id: Option<i64>,
    pub route: Option<&'a str>,
    pub service: Option<&'a str>,
    pub attempts: u32,
    pub first_failed: String,
    pub last_failed: String,
    pub received: String,
    pub replays: u32,
    pub replayed_at: Option<String>,
    pub replayed_by: Option<&'a str>,
    pub bot: Option<u64>,
    pub update_bytes: usize,
    pub still_to_send: bool,
    pub traceparent: Option<&'a str>,
}
