//! What goes out next, and when: facts T1, T2, T3, T4 and T5. Pure: the time is handed in, nothing is sent.
//!
//! Updates wait in arrival order in the backlog. From there they are loaded into a lane per queue key,
//! as long as there is room for another key; only the head of a lane is ever on its way.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

/// The pending store of one bot, and its largest event (facts T4).
pub(crate) const MAX_PENDING: usize = 100_000;
const MAX_PENDING_BYTES: usize = 128 << 20;
const MAX_EVENT: usize = 512 << 10;
/// A longer Retry-After is cut to this (facts T3).
const MAX_RETRY_AFTER: u64 = 3600;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the pending store is full")]
    Full,
    #[error("the update is larger than 512 KiB")]
    TooLarge,
}

pub(crate) struct Update {
    pub update_id: i64,
    pub body: Bytes,
    pub expires_at: Instant,
    /// None: waits for nobody.
    pub key: Option<i64>,
}

/// An update to send now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub update_id: i64,
    pub body: Bytes,
    /// From 1.
    pub attempt: u32,
    lane: Lane,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Send(Job),
    /// Nothing before then, unless something is added or settled.
    Wait(Instant),
    Nothing,
}

/// How the webhook took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Accepted,
    Failed { retry_after: u64 },
}

/// How pauses grow. Telegram: 2 s first, then doubled, capped at a random 60-120 s (facts T2).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pauses {
    pub first: Duration,
    pub cap: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Lane {
    Key(i64),
    Alone(u64),
}

struct Entry {
    update: Update,
    lane: Lane,
    failures: u32,
    pause: Duration,
}

pub(crate) struct Queue {
    next_update_id: i64,
    backlog: VecDeque<Entry>,
    lanes: HashMap<Lane, VecDeque<Entry>>,
    /// Lanes whose head is not on its way, by when it may go.
    ready: BTreeSet<(Instant, u64, Lane)>,
    /// Tells apart what became ready at the same instant, and lanes of updates without a key.
    ticks: u64,
    pending: usize,
    bytes: usize,
}

impl Queue {
    pub fn new(first_update_id: i64) -> Self {
        Self {
            next_update_id: first_update_id,
            backlog: VecDeque::new(),
            lanes: HashMap::new(),
            ready: BTreeSet::new(),
            ticks: 0,
            pending: 0,
            bytes: 0,
        }
    }

    /// The id for the next update. Ids may have gaps (facts T8): one that is refused is not used again.
    pub fn take_update_id(&mut self) -> i64 {
        let id = self.next_update_id;
        self.next_update_id = id.saturating_add(1);
        id
    }

    pub fn add(&mut self, update: Update) -> Result<(), Refused> {
        let size = update.body.len();
        if size > MAX_EVENT {
            return Err(Refused::TooLarge);
        }
        if self.pending >= MAX_PENDING || self.bytes + size > MAX_PENDING_BYTES {
            return Err(Refused::Full);
        }
        self.next_update_id = self.next_update_id.max(update.update_id.saturating_add(1));
        self.pending += 1;
        self.bytes += size;
        let lane = update.key.map_or_else(|| Lane::Alone(self.tick()), Lane::Key);
        self.backlog.push_back(Entry { update, lane, failures: 0, pause: Duration::ZERO });
        Ok(())
    }

    /// Updates that are not delivered yet, those on their way included.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// The next update to send. `max_keys` lanes may be loaded at once (facts T5).
    pub fn take(&mut self, now: Instant, max_keys: usize) -> Next {
        loop {
            self.load(now, max_keys);
            let Some(&(at, tick, lane)) = self.ready.first() else {
                return Next::Nothing;
            };
            if at > now {
                return Next::Wait(at);
            }
            self.ready.remove(&(at, tick, lane));
            let Some(head) = self.lanes.get(&lane).and_then(VecDeque::front) else {
                continue;
            };
            if head.update.expires_at <= now {
                self.drop_head(lane, now);
                continue;
            }
            let (update_id, body) = (head.update.update_id, head.update.body.clone());
            return Next::Send(Job { update_id, body, attempt: head.failures + 1, lane });
        }
    }

    /// Ends a job that `take` gave out.
    pub fn settle(&mut self, job: &Job, outcome: Outcome, now: Instant, pauses: Pauses) {
        let head = self.lanes.get_mut(&job.lane).and_then(VecDeque::front_mut);
        // Gone when the pending updates were dropped, or taken by getUpdates, meanwhile.
        let Some(head) = head.filter(|head| head.update.update_id == job.update_id) else {
            return;
        };
        let Outcome::Failed { retry_after } = outcome else {
            return self.drop_head(job.lane, now);
        };
        let delay = match (retry_after, head.failures) {
            // The first failure is tried again at once (facts T2).
            (0, 0) => Duration::ZERO,
            (0, _) => {
                head.pause = (head.pause * 2).max(pauses.first).min(pauses.cap);
                head.pause
            }
            (seconds, _) => Duration::from_secs(seconds.min(MAX_RETRY_AFTER)),
        };
        head.failures += 1;
        if now + delay > head.update.expires_at {
            return self.drop_head(job.lane, now);
        }
        let tick = self.tick();
        self.ready.insert((now + delay, tick, job.lane));
    }

    /// Forgets every pending update (drop_pending_updates).
    pub fn clear(&mut self) {
        *self = Self { ticks: self.ticks, ..Self::new(self.next_update_id) };
    }

    /// Takes every loaded update back, as when the webhook goes away: the next one starts afresh.
    pub fn unload(&mut self) {
        self.ready.clear();
        let mut entries: Vec<Entry> = self.lanes.drain().flat_map(|(_, lane)| lane).collect();
        entries.extend(self.backlog.drain(..));
        entries.sort_by_key(|entry| entry.update.update_id);
        self.backlog = entries.into();
    }

    /// getUpdates: those before `offset` are confirmed and forgotten, the first `limit` others returned.
    /// With a negative offset, all but that many from the end are forgotten.
    pub fn poll(&mut self, offset: i64, limit: usize, now: Instant) -> Vec<Bytes> {
        self.unload();
        let keep_last =
            offset.checked_neg().and_then(|count| usize::try_from(count).ok()).filter(|&count| count > 0);
        let skipped = keep_last.map_or(0, |count| self.backlog.len().saturating_sub(count));
        let entries = std::mem::take(&mut self.backlog);
        let wanted = |(index, entry): &(usize, Entry)| {
            *index >= skipped && entry.update.update_id >= offset && entry.update.expires_at > now
        };
        self.backlog = entries.into_iter().enumerate().filter(wanted).map(|(_, entry)| entry).collect();
        self.pending = self.backlog.len();
        self.bytes = self.backlog.iter().map(|entry| entry.update.body.len()).sum();
        self.backlog.iter().take(limit).map(|entry| entry.update.body.clone()).collect()
    }

    fn load(&mut self, now: Instant, max_keys: usize) {
        while self.lanes.len() < max_keys {
            let Some(entry) = self.backlog.pop_front() else {
                return;
            };
            let lane = entry.lane;
            let entries = self.lanes.entry(lane).or_default();
            entries.push_back(entry);
            if entries.len() == 1 {
                let tick = self.tick();
                self.ready.insert((now, tick, lane));
            }
        }
    }

    /// The head of the lane is done with; the next of the lane may go.
    fn drop_head(&mut self, lane: Lane, now: Instant) {
        let Some(entries) = self.lanes.get_mut(&lane) else {
            return;
        };
        if let Some(entry) = entries.pop_front() {
            self.pending -= 1;
            self.bytes -= entry.update.body.len();
        }
        if entries.is_empty() {
            self.lanes.remove(&lane);
        } else {
            let tick = self.tick();
            self.ready.insert((now, tick, lane));
        }
    }

    fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
