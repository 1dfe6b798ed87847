//! The dead letters of what died: one for an update, and one for each part of an album, so that a replay has all of
//! them again, side by side.

use bytes::Bytes;
use shared::clock;
use shared::queue::{Letter, Reason};
use shared::traces::Span;

use crate::handle::outcome::Death;
use crate::job::{Group, Update};

/// Which letters are owed for a death.
pub(super) fn letters(group: &Group, death: &Death, span: &Span) -> Vec<Letter> {
    // What Telegram failed to take is an answer to the whole album, and all of it goes with the first part.
    let parts = if death.reason == Reason::Telegram { 1 } else { usize::MAX };
    let mut letters: Vec<Letter> =
        group.updates().take(parts).map(|update| letter(update, death, span)).collect();
    if let (Some(first), Some(rest)) = (letters.first_mut(), &death.rest) {
        first.rest = Some(Bytes::from(rest.0.clone()));
    }
    letters
}

fn letter(update: &Update, death: &Death, span: &Span) -> Letter {
    let Update { envelope, incoming, key, .. } = update;
    let now = clock::now_ms();
    Letter {
        reason: death.reason,
        error: death.error.clone(),
        update_id: Some(envelope.update_id),
        bot: Some(key.bot),
        kind: envelope.kind.clone(),
        lane: envelope.lane,
        chat_id: incoming.chat.map(|chat| chat.id),
        user_id: incoming.user.as_ref().map(|user| user.id),
        route: death.route.clone(),
        service: death.service.clone(),
        attempts: death.attempts,
        received_ms: envelope.received_ms,
        first_failed_ms: envelope.replayed.as_ref().map_or(now, |replayed| replayed.first_failed_ms),
        last_failed_ms: now,
        replays: envelope.replay,
        replayed: envelope.replayed.clone(),
        // A replay hangs under the run that died.
        traceparent: span.traceparent().or_else(|| envelope.traceparent.clone()),
        body: envelope.body.clone(),
        rest: None,
    }
}
