//! How getUpdates takes from the queue: by its offset, what is before it is confirmed. Nothing is loaded for it.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{BEHIND, Entry, Queue};

/// The bodies of one answer, in bytes.
const MAX_ANSWER: i64 = 4 << 20;
/// An offset so far beyond the next id is not from this run of ids either.
pub(super) const AHEAD: i64 = 10;

impl Queue {
    /// Takes every loaded update back, as when the webhook goes away: the next one starts afresh.
    pub(super) fn unload(&mut self) {
        self.ready.clear();
        if self.lanes.is_empty() {
            return;
        }
        let mut entries: Vec<Entry> = self.lanes.drain().flat_map(|(_, lane)| lane).collect();
        entries.extend(self.backlog.drain(..));
        entries.sort_by_key(|entry| entry.update.update_id);
        let afresh =
            |entry| Entry { failures: 0, pause: Duration::ZERO, ready_at: None, ticket: None, ..entry };
        self.backlog = entries.into_iter().map(afresh).collect();
    }

    /// getUpdates: those before `offset` are confirmed and forgotten, the first `limit` others returned, as many
    /// as fit into 4 MiB. With a negative offset, all but that many from the end are forgotten. An offset
    /// that is far from every id confirms nothing: the ids started anew since (facts T8).
    pub fn poll(&mut self, offset: i64, limit: usize, now: Instant) -> Vec<Bytes> {
        self.unload();
        let tail = self.next_update_id;
        let confirmed = Some(offset).filter(|&id| id > 0 && id <= tail + AHEAD && id >= tail - BEHIND);
        let keep_last = (offset < 0).then(|| usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX));
        let skipped = keep_last.map_or(0, |count| self.backlog.len().saturating_sub(count));
        self.backlog.drain(..skipped);
        let wanted = |entry: &Entry| {
            confirmed.is_none_or(|offset| entry.update.update_id >= offset) && entry.update.expires_at >= now
        };
        self.backlog.retain(wanted);
        self.pending = self.backlog.len();
        self.bytes = self.backlog.iter().map(|entry| entry.update.body.len()).sum();
        let mut left = MAX_ANSWER;
        let fits = |body: &Bytes| {
            left -= 50 + body.len() as i64;
            left > 0
        };
        self.backlog.iter().take(limit).map(|entry| entry.update.body.clone()).take_while(fits).collect()
    }
}
