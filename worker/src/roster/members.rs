//! Who works, as far as this worker has heard: without a clock of its own and without a broker, so that a test
//! can play both.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::words::Words;
use super::{Id, Member, share_of};

/// One that was not heard for so long is out (design 3).
const SILENCE: Duration = Duration::from_secs(3);

/// For so long the words of one that was found gone are taken for its last ones, still on their way.
const BURIED: Duration = Duration::from_secs(2);

/// Before a worker has listened for this long it does not know who else is there.
const LISTEN: Duration = Duration::from_millis(300);

/// A broker that lets nobody be heard is no reason not to work.
const PATIENCE: Duration = Duration::from_secs(2);

/// What this worker should have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    pub partitions: BTreeSet<u16>,
    /// Nobody is heard: what is free is taken, and nothing given up.
    pub alone: bool,
}

impl Share {
    /// Of a worker that there can be no other beside.
    pub fn whole(partitions: u16) -> Self {
        Self { partitions: (0..partitions).collect(), alone: false }
    }
}

pub struct Members {
    pub me: Member,
    partitions: u16,
    others: HashMap<Uuid, (Member, Instant)>,
    gone: HashMap<Uuid, Instant>,
    started: Instant,
    /// Since when it is connected.
    connected: Option<Instant>,
    /// When it last heard itself.
    echo: Option<Instant>,
    share: Share,
}

impl Members {
    pub fn new(id: Id, partitions: u16, now: Instant) -> Self {
        Self {
            me: Member { id, takes: false, held: BTreeSet::new() },
            partitions,
            others: HashMap::new(),
            gone: HashMap::new(),
            started: now,
            connected: None,
            echo: None,
            share: Share::default(),
        }
    }

    pub fn words(&self, now: Instant) -> Words {
        let gone = self.gone.iter().filter(|(_, since)| now - **since < BURIED);
        Words::new(self.me.clone(), gone.map(|(name, _)| *name).collect())
    }

    pub fn connected(&mut self, now: Instant) {
        self.connected = Some(now);
    }

    pub fn disconnected(&mut self) {
        self.connected = None;
    }

    /// True if somebody waits for an answer: a newcomer, or one who takes this worker for dead.
    pub fn heard(&mut self, words: Words, now: Instant) -> bool {
        let Words { id, takes, held, gone, .. } = words;
        if id == self.me.id {
            self.echo = Some(now);
            return false;
        }
        for name in &gone {
            self.found_gone(*name, now);
        }
        if self.gone.get(&id.name).is_some_and(|since| now - *since < BURIED) {
            return false;
        }
        self.gone.remove(&id.name);
        let new = self.others.insert(id.name, (Member { id, takes, held }, now)).is_none();
        new || gone.contains(&self.me.id.name)
    }

    /// True if that is news.
    pub fn found_gone(&mut self, name: Uuid, now: Instant) -> bool {
        let news = name != self.me.id.name && self.others.remove(&name).is_some();
        if news {
            self.gone.insert(name, now);
        }
        news
    }

    /// Who is to be watched: the next in rank, so that each is watched by one, whoever died before.
    pub fn neighbour(&self) -> Option<Uuid> {
        let mut ids: Vec<Id> = self.others.values().map(|(member, _)| member.id).collect();
        ids.sort_unstable();
        let next = ids.iter().find(|id| **id > self.me.id).or(ids.first());
        next.map(|id| id.name)
    }

    /// The workers that are known, with this one.
    pub fn count(&self) -> usize {
        1 + self.others.len()
    }

    /// What this worker should have by now.
    pub fn share(&mut self, now: Instant) -> Share {
        self.others.retain(|_, (_, heard)| now - *heard < SILENCE);
        self.gone.retain(|_, since| now - *since < BURIED);
        let hears = self.connected.is_some() && self.echo.is_some_and(|echo| now - echo < SILENCE);
        let listened = self.connected.is_some_and(|since| now - since >= LISTEN);
        if hears && (listened || !self.share.partitions.is_empty()) {
            let others = self.others.values().map(|(member, _)| member.clone());
            let all: Vec<Member> = others.chain([self.me.clone()]).collect();
            self.share = Share { partitions: share_of(self.me.id, &all, self.partitions), alone: false };
        } else if !hears && self.has_waited(now) {
            self.share = Share { partitions: (0..self.partitions).collect(), alone: true };
        }
        self.share.clone()
    }

    /// Whether it is too late to wait for somebody to be heard.
    fn has_waited(&self, now: Instant) -> bool {
        let since = self.echo.map_or(self.started + PATIENCE, |echo| echo + SILENCE);
        now >= since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(rank: u64) -> Id {
        Id { since_ms: rank, name: Uuid::from_u128(u128::from(rank)) }
    }

    fn words(rank: u64, held: impl IntoIterator<Item = u16>) -> Words {
        Words::new(Member { id: id(rank), takes: true, held: held.into_iter().collect() }, Vec::new())
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// The first of several workers on 8 partitions, connected and heard by itself.
    fn first(now: Instant) -> Members {
        let mut members = Members::new(id(1), 8, now);
        members.me.takes = true;
        members.connected(now);
        members.heard(members.words(now), now);
        members
    }

    #[test]
    fn a_newcomer_listens_before_it_takes() {
        let now = Instant::now();
        let mut members = first(now);
        assert_eq!(members.share(now), Share::default());
        assert!(members.heard(words(2, 0..8), now + ms(100)), "who is heard for the first time is answered");
        assert_eq!(members.share(now + ms(300)).partitions.len(), 4);
    }

    #[test]
    fn who_is_silent_for_3_s_is_out() {
        let now = Instant::now();
        let mut members = first(now);
        members.heard(words(2, 4..8), now);
        let at = now + ms(2900);
        members.heard(members.words(at), at);
        assert_eq!(members.share(at).partitions, (0..4).collect());
        assert_eq!(members.share(now + ms(3000)).partitions, (0..8).collect());
    }

    #[test]
    fn who_is_found_gone_is_out_at_once_whoever_found_it() {
        let now = Instant::now();
        let mut members = first(now);
        members.heard(words(2, 3..6), now);
        members.heard(words(3, 6..8), now);
        assert_eq!(members.share(now + ms(300)).partitions.len(), 3);
        let mut third = words(3, 6..8);
        third.gone.push(id(2).name);
        members.heard(third, now + ms(400));
        // Its last words, still on their way.
        members.heard(words(2, 3..6), now + ms(410));
        assert_eq!(members.share(now + ms(410)).partitions.len(), 4);
        assert_eq!(members.words(now + ms(410)).gone, [id(2).name]);
        // It was not dead: its connection was.
        members.heard(words(2, 3..6), now + ms(2500));
        assert_eq!(members.count(), 3);
    }

    #[test]
    fn who_is_taken_for_dead_says_that_it_lives() {
        let now = Instant::now();
        let mut members = first(now);
        members.heard(words(2, []), now);
        let mut mistaken = words(2, []);
        mistaken.gone.push(id(1).name);
        assert!(members.heard(mistaken, now + ms(10)));
    }

    #[test]
    fn each_watches_the_next() {
        let now = Instant::now();
        let mut members = first(now);
        assert_eq!(members.neighbour(), None);
        members.heard(words(3, []), now);
        members.heard(words(2, []), now);
        assert_eq!(members.neighbour(), Some(id(2).name));
        let mut last = Members::new(id(9), 8, now);
        last.heard(words(3, []), now);
        last.heard(words(2, []), now);
        assert_eq!(last.neighbour(), Some(id(2).name));
    }

    #[test]
    fn a_worker_that_hears_nobody_takes_what_is_free() {
        let now = Instant::now();
        let mut members = Members::new(id(1), 8, now);
        members.me.takes = true;
        assert_eq!(members.share(now + ms(1900)), Share::default());
        let alone = Share { partitions: (0..8).collect(), alone: true };
        assert_eq!(members.share(now + ms(2000)), alone);
        // Heard again, it gives up what is not its own.
        members.connected(now + ms(2100));
        members.heard(members.words(now), now + ms(2100));
        members.heard(words(2, []), now + ms(2150));
        assert_eq!(members.share(now + ms(2400)).partitions.len(), 4);
    }

    #[test]
    fn a_lost_connection_changes_nothing_for_3_s() {
        let now = Instant::now();
        let mut members = first(now);
        members.heard(words(2, []), now);
        let share = members.share(now + ms(300));
        members.disconnected();
        assert_eq!(members.share(now + ms(2900)), share);
        assert!(members.share(now + ms(3000)).alone);
    }
}
