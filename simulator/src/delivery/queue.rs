//! What goes out next, and when: facts T1, T2, T3, T4 and T5. Pure: the time is handed in, nothing is sent.
//!
//! Updates wait in arrival order in the backlog. From there they are loaded into a lane per queue key,
//! as long as there is room for another key; only the head of a lane is ever on its way.

mod poll;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

/// The pending store of one bot, and its largest event (facts T4).
pub(crate) const MAX_PENDING: usize = 100_000;
const MAX_PENDING_BYTES: usize = 128 << 20;
const MAX_EVENT: usize = 512 << 10;
/// An offset so far before the next id is not from this run of ids.
const BEHIND: i64 = 2 * MAX_PENDING as i64;
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
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
    /// Tells this attempt apart from a later one of the same update.
    ticket: u64,
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
    /// When it was loaded, or may be tried again.
    ready_at: Option<Instant>,
    /// The ticket of the attempt that is on its way.
    ticket: Option<u64>,
}

/// Where ids begin (facts T8): above all that an offset of zero and the like could be taken for.
pub(crate) fn random_update_id() -> i64 {
    rand::random_range(BEHIND + 1..1_000_000_000)
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
    last_added: Option<Instant>,
    /// The webhook that may take updates.
    generation: u64,
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
            last_added: None,
            generation: 0,
        }
    }

    /// The id for the next update. Ids may have gaps: one that is refused is not used again. After a week of
    /// silence they start anew, at random (facts T8).
    pub fn take_update_id(&mut self, now: Instant) -> i64 {
        let silent = self.last_added.is_some_and(|last| now.saturating_duration_since(last) > WEEK);
        if silent && self.pending == 0 {
            self.next_update_id = random_update_id();
        }
        self.last_added = Some(now);
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
        self.backlog.push_back(Entry {
            update,
            lane,
            failures: 0,
            pause: Duration::ZERO,
            ready_at: None,
            ticket: None,
        });
        Ok(())
    }

    /// Updates that are not delivered yet, those on their way included.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// The next update to send. `max_keys` lanes may be loaded at once (facts T5). Nothing
    /// for a webhook that was followed by another.
    pub fn take(&mut self, generation: u64, now: Instant, max_keys: usize) -> Next {
        if generation != self.generation {
            return Next::Nothing;
        }
        self.load(now, max_keys);
        loop {
            let Some(&(at, tick, lane)) = self.ready.first() else {
                return Next::Nothing;
            };
            if at > now {
                return Next::Wait(at);
            }
            self.ready.remove(&(at, tick, lane));
            let ticket = self.tick();
            let Some(head) = self.lanes.get_mut(&lane).and_then(VecDeque::front_mut) else {
                continue;
            };
            head.ticket = Some(ticket);
            let (update_id, body) = (head.update.update_id, head.update.body.clone());
            return Next::Send(Job { update_id, body, attempt: head.failures + 1, lane, ticket });
        }
    }

    /// The head of the job's lane, if this job is what is on its way there. It is not when the pending updates
    /// were dropped meanwhile, or loaded anew for another webhook.
    fn sent(&mut self, job: &Job) -> Option<&mut Entry> {
        let head = self.lanes.get_mut(&job.lane).and_then(VecDeque::front_mut);
        head.filter(|head| head.ticket == Some(job.ticket))
    }

    /// Takes back a job that nobody tried.
    pub fn give_back(&mut self, job: &Job, now: Instant) {
        if let Some(head) = self.sent(job) {
            head.ticket = None;
            self.make_ready(now, job.lane);
        }
    }

    /// Ends a job that `take` gave out.
    pub fn settle(&mut self, job: &Job, outcome: Outcome, now: Instant, pauses: Pauses) {
        let Some(head) = self.sent(job) else {
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
        head.ticket = None;
        if now + delay > head.update.expires_at {
            return self.drop_head(job.lane, now);
        }
        self.make_ready(now + delay, job.lane);
    }

    /// Forgets every pending update (drop_pending_updates).
    pub fn clear(&mut self) {
        let (ticks, last_added, generation) = (self.ticks, self.last_added, self.generation);
        *self = Self { ticks, last_added, generation, ..Self::new(self.next_update_id) };
    }

    /// From now on this webhook takes updates, from the first one that is pending.
    pub fn start(&mut self, generation: u64) {
        self.unload();
        self.generation = generation;
    }

    /// Fills the lanes, and returns how many there are. What has expired by now is not loaded (facts T4); once
    /// loaded, an update is sent at least once, however long it waits for its turn.
    pub fn load(&mut self, now: Instant, max_keys: usize) -> usize {
        while self.lanes.len() < max_keys {
            let Some(mut entry) = self.backlog.pop_front() else {
                break;
            };
            if entry.update.expires_at < now {
                self.pending -= 1;
                self.bytes -= entry.update.body.len();
                continue;
            }
            entry.ready_at = Some(now);
            let lane = entry.lane;
            let entries = self.lanes.entry(lane).or_default();
            entries.push_back(entry);
            if entries.len() == 1 {
                self.make_ready(now, lane);
            }
        }
        self.keys()
    }

    /// How many keys are loaded.
    pub fn keys(&self) -> usize {
        self.lanes.len()
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
        match entries.front() {
            // It goes by when it was loaded: a busy key's next one is before what came later.
            Some(next) => {
                let ready_at = next.ready_at.unwrap_or(now);
                self.make_ready(ready_at, lane);
            }
            None => drop(self.lanes.remove(&lane)),
        }
    }

    fn make_ready(&mut self, at: Instant, lane: Lane) {
        let tick = self.tick();
        self.ready.insert((at, tick, lane));
    }

    fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }
}

#[cfg(test)]
mod tests;
