//! What a partition's lanes have in hand: what waits, what was started, since when; and whether more can be handed out.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use shared::queue::late_acks;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::LaneKey;

pub(super) struct Hand<J> {
    /// What waits for its lane. A lane that works and has nothing more to do is empty; one that does not is not here.
    waiting: HashMap<LaneKey, VecDeque<(Arrival, J)>>,
    /// Lanes whose head waits for what belongs to it.
    pub gathering: HashMap<LaneKey, Arc<Notify>>,
    started: HashMap<u64, Started>,
    /// How many jobs are in `waiting`, and in `started`: looked at as each one ends.
    waiting_jobs: usize,
    started_jobs: usize,
    /// The number of the next to be started.
    next: u64,
    /// How many have arrived.
    arrived: u64,
    /// How many are being done or kept, or wait for a permit: those that end by themselves and make room.
    pub busy: usize,
    pub supply: Supply,
    /// As many can be in hand, as far as is known: no more are handed out until one has ended.
    room: usize,
    /// From so many on it can be that none is handed out: what has ended and is not acked yet counts too.
    full: usize,
    /// When more could be handed out than before.
    made_room: Option<Instant>,
}

/// When a job arrived, and as which.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    pub at: Instant,
    number: u64,
}

impl Arrival {
    pub fn later(self, other: Self) -> Self {
        if other.number > self.number { other } else { self }
    }
}

/// One that was started, alone or with others that belong to it.
struct Started {
    since: Instant,
    jobs: usize,
}

/// Whether jobs are handed out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Supply {
    Flows,
    /// Not before a renewal, which comes when no more than so many are in hand.
    Paused(usize),
    /// Not before all that is in hand has come again.
    Renews,
}

impl<J> Default for Hand<J> {
    fn default() -> Self {
        Self {
            waiting: HashMap::new(),
            gathering: HashMap::new(),
            started: HashMap::new(),
            waiting_jobs: 0,
            started_jobs: 0,
            next: 0,
            arrived: 0,
            busy: 0,
            supply: Supply::Flows,
            room: usize::MAX,
            full: usize::MAX,
            made_room: None,
        }
    }
}

impl<J> Hand<J> {
    /// Puts a job at the end of its lane, or before the first that it `belongs_before`, or gives it back where it is the
    /// first of one: that has to be driven.
    pub fn push(
        &mut self,
        key: Option<LaneKey>,
        job: J,
        belongs_before: Option<impl Fn(&J, &J) -> bool>,
    ) -> (Arrival, Option<J>) {
        self.arrived += 1;
        let arrival = Arrival { at: Instant::now(), number: self.arrived };
        let Some(key) = key else { return (arrival, Some(job)) };
        match self.waiting.entry(key) {
            Entry::Occupied(mut lane) => {
                let lane = lane.get_mut();
                let place = belongs_before
                    .and_then(|before| lane.iter().position(|(_, waiting)| before(&job, waiting)));
                lane.insert(place.unwrap_or(lane.len()), (arrival, job));
                self.waiting_jobs += 1;
            }
            Entry::Vacant(lane) => {
                lane.insert(VecDeque::new());
                return (arrival, Some(job));
            }
        }
        if let Some(head) = self.gathering.get(&key) {
            head.notify_one();
        }
        (arrival, None)
    }

    pub fn count(&self) -> usize {
        self.started_jobs + self.waiting_jobs
    }

    pub fn oldest(&self) -> Option<Instant> {
        let waiting = self.waiting.values().flatten().map(|(arrival, _)| arrival.at);
        waiting.chain(self.started.values().map(|started| started.since)).min()
    }

    pub fn start(&mut self, since: Instant) -> u64 {
        (self.next, self.started_jobs) = (self.next + 1, self.started_jobs + 1);
        self.started.insert(self.next, Started { since, jobs: 1 });
        self.next
    }

    /// After a renewal it is not there: then those that come again are what is in hand of it.
    pub fn count_one_more(&mut self, number: u64, since: Instant) {
        let started = self.started.entry(number).or_insert(Started { since, jobs: 0 });
        (started.since, started.jobs) = (started.since.min(since), started.jobs + 1);
        self.started_jobs += 1;
    }

    pub fn ended(&mut self, number: u64) {
        if self.count() >= self.full {
            self.made_room = Some(Instant::now());
        }
        self.busy = self.busy.saturating_sub(1);
        let ended = self.started.remove(&number).map_or(0, |ended| ended.jobs);
        self.started_jobs -= ended;
    }

    pub fn has_room_for(&mut self, jobs: usize) {
        (self.supply, self.room, self.made_room) = (Supply::Flows, jobs, Some(Instant::now()));
        self.full = jobs - late_acks(jobs);
    }

    /// What was not started is forgotten, and given back to be dropped.
    pub fn renew(&mut self) -> Vec<VecDeque<(Arrival, J)>> {
        self.started.clear();
        (self.started_jobs, self.waiting_jobs) = (0, 0);
        self.supply = Supply::Renews;
        self.waiting.values_mut().map(std::mem::take).collect()
    }

    /// Until when what follows that one may not have been handed out: until now, where nothing is handed out at the moment
    /// and that will change without what is gathered here; never where a hand full of others has come since.
    pub fn kept_out_until(&self, last: Arrival) -> Option<Instant> {
        if self.arrived.saturating_sub(last.number) >= self.room as u64 {
            return None;
        }
        let waits_for = |jobs: usize| self.count() > jobs && self.busy > 0;
        let is_kept_out = match self.supply {
            Supply::Renews => true,
            Supply::Paused(jobs) => self.count() <= jobs || waits_for(jobs),
            Supply::Flows => waits_for(self.full.saturating_sub(1)),
        };
        if is_kept_out { Some(Instant::now()) } else { self.made_room }
    }

    /// The lane's first, which goes on to exist.
    pub fn pop(&mut self, key: LaneKey) -> Option<(Arrival, J)> {
        let first = self.waiting.get_mut(&key)?.pop_front()?;
        self.waiting_jobs -= 1;
        Some(first)
    }

    pub fn put_first(&mut self, key: LaneKey, since: Arrival, job: J) {
        if let Some(lane) = self.waiting.get_mut(&key) {
            lane.push_front((since, job));
            self.waiting_jobs += 1;
        }
    }

    /// The lane's next job; an empty lane ceases to exist.
    pub fn next_of(&mut self, key: LaneKey) -> Option<(Arrival, J)> {
        let next = self.pop(key);
        if next.is_none() {
            self.waiting.remove(&key);
        }
        next
    }

    /// Whether no lane exists.
    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        let started: usize = self.started.values().map(|started| started.jobs).sum();
        let waiting: usize = self.waiting.values().map(VecDeque::len).sum();
        assert_eq!((self.started_jobs, self.waiting_jobs), (started, waiting), "counted and there");
        self.waiting.is_empty() && self.gathering.is_empty()
    }
}
