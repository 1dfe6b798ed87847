//! What the other ingresses hold, as they announce it. Pure: the announcer tells it what it heard and when.
//!
//! Ingresses that lost the broker together come back at different moments, and each may hold updates of the
//! same chats. So each announces the lowest update_id of every bucket that it holds, and publishes its own only
//! up to the lowest of the others': all spools are drained as one, in update_id order.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// One that was not heard for so long is not waited for (design 4).
const SILENCE: Duration = Duration::from_secs(2);

/// One that was there before the broker went away is waited for so long after it came back: a try to connect may
/// hang for 5 s where packets are swallowed, and the next comes up to 1.5 s later.
const RETURN: Duration = Duration::from_secs(8);

/// One hears oneself too. Without that for so long, the broker is silent and not the others: they must not be
/// forgotten before the loss of the connection is noticed. Shorter than `SILENCE` less the longest pause between
/// two of a peer's words.
const ECHO: Duration = Duration::from_secs(1);

/// The version of what ingresses tell each other. A reader ignores a newer one, and so waits for nobody.
const VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Announcement {
    v: u32,
    /// The spool's name: the same after a restart, so that whoever was there before is known again.
    from: String,
    /// The process's, which is another one then.
    process: String,
    /// (bucket, lowest update_id) of every bucket that it holds.
    heads: Vec<(u16, u64)>,
    /// It is its last word.
    #[serde(default)]
    bye: bool,
}

impl Announcement {
    pub fn new(from: String, process: String, heads: Vec<(u16, u64)>, bye: bool) -> Self {
        Self { v: VERSION, from, process, heads, bye }
    }
}

struct Peer {
    /// Not waited for after this.
    until: Instant,
    /// It was heard on this connection.
    is_back: bool,
    heads: Vec<(u16, u64)>,
}

#[derive(Default)]
pub(super) struct Peers {
    /// This process's name, by which it knows its own words.
    process: String,
    others: HashMap<String, Peer>,
    /// Before this it is not known who is there: none while there is no connection.
    known_from: Option<Instant>,
    /// It has once known who is there.
    was_settled: bool,
    /// When its own words were heard last, on this connection; none while there is no connection.
    echo: Option<Instant>,
}

impl Peers {
    pub fn new(process: String) -> Self {
        Self { process, ..Self::default() }
    }

    pub fn connected(&mut self, now: Instant) {
        self.echo = Some(now);
        self.back(now);
    }

    /// The broker is heard again.
    fn back(&mut self, now: Instant) {
        // Who else is there only time tells, the first time; later those of before are waited for by name.
        let wait = if self.was_settled { Duration::ZERO } else { SILENCE };
        self.known_from = Some(now + wait);
        for peer in self.others.values_mut() {
            (peer.is_back, peer.until) = (false, now + RETURN);
        }
    }

    pub fn disconnected(&mut self, now: Instant) {
        self.echo = None;
        self.gone(now);
    }

    fn gone(&mut self, now: Instant) {
        self.was_settled |= self.known_from.is_some_and(|from| now >= from);
        self.known_from = None;
        self.others.values_mut().for_each(|peer| peer.is_back = false);
    }

    /// Nobody can be heard on this connection: it is as if it were alone.
    pub fn deaf(&mut self, now: Instant) {
        self.echo = None;
        self.others.clear();
        self.known_from = Some(now);
    }

    /// True if it was another ingress's.
    pub fn heard(&mut self, now: Instant, bytes: &[u8]) -> bool {
        let Ok(Announcement { v: VERSION, from, process, heads, bye }) = serde_json::from_slice(bytes) else {
            return false;
        };
        if process == self.process {
            if self.echo.is_some() && self.known_from.is_none() {
                self.back(now);
            }
            self.echo = self.echo.map(|_| now);
            return false;
        }
        if bye {
            self.others.remove(&from);
        } else {
            self.others.insert(from, Peer { until: now + SILENCE, is_back: true, heads });
        }
        true
    }

    /// Forgets who was silent for too long, unless it is the broker that is.
    pub fn tick(&mut self, now: Instant) {
        if self.known_from.is_some() && self.echo.is_some_and(|echo| now > echo + ECHO) {
            self.gone(now);
        }
        if self.known_from.is_some() {
            self.others.retain(|_, peer| now < peer.until);
        }
    }

    pub fn count(&self) -> usize {
        self.others.len()
    }

    /// Whether all who may hold something were heard.
    pub fn settled(&self, now: Instant) -> bool {
        self.known_from.is_some_and(|from| now >= from) && self.all_back()
    }

    /// One of those who were there before the connection was lost was not heard yet: until then older updates
    /// than a new one may be in its spool.
    pub fn are_awaited(&self) -> bool {
        !self.all_back()
    }

    fn all_back(&self) -> bool {
        self.others.values().all(|peer| peer.is_back)
    }

    /// The lowest update_id of each bucket that any other holds.
    pub fn heads(&self) -> HashMap<u16, u64> {
        let mut lowest = HashMap::new();
        for (bucket, head) in self.others.values().flat_map(|peer| &peer.heads) {
            lowest.entry(*bucket).and_modify(|low: &mut u64| *low = (*low).min(*head)).or_insert(*head);
        }
        lowest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(from: &str, heads: &[(u16, u64)]) -> Vec<u8> {
        serde_json::to_vec(&Announcement::new(from.to_owned(), from.to_owned(), heads.to_vec(), false))
            .unwrap()
    }

    fn second(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn the_lowest_of_all_others_counts() {
        let (mut peers, now) = (Peers::new("me".to_owned()), Instant::now());
        peers.connected(now);
        assert!(peers.heard(now, &says("a", &[(1, 10), (2, 20)])));
        assert!(peers.heard(now, &says("b", &[(1, 9), (3, 30)])));
        assert!(!peers.heard(now, &says("me", &[(1, 1)])), "its own words come back to it");
        assert!(!peers.heard(now, br#"{"v":2,"from":"c","process":"c","heads":[[1,0]]}"#));
        assert_eq!(peers.heads(), HashMap::from([(1, 9), (2, 20), (3, 30)]));
        peers.heard(now, &says("b", &[]));
        assert_eq!(peers.heads(), HashMap::from([(1, 10), (2, 20)]));
    }

    /// A peer that is quiet says something every 0.4 s, and so does this one.
    fn hears_all(peers: &mut Peers, now: Instant) {
        for name in ["me", "a"] {
            peers.heard(now, &says(name, &[(1, 5)]));
        }
    }

    #[test]
    fn a_broker_that_falls_silent_makes_nobody_forgotten() {
        let (mut peers, start) = (Peers::new("me".to_owned()), Instant::now());
        peers.connected(start);
        hears_all(&mut peers, second(start, 3.0));
        for tenth in 0..200 {
            peers.tick(second(start, 3.0 + f64::from(tenth) / 10.0));
        }
        assert_eq!(peers.count(), 1);
        assert!(peers.are_awaited() && !peers.settled(second(start, 23.0)));
        // It is heard again, on the same connection: the other one is waited for as after a loss.
        let back = second(start, 23.0);
        peers.heard(back, &says("me", &[]));
        peers.tick(back);
        assert!(peers.are_awaited() && !peers.settled(back));
        hears_all(&mut peers, back);
        assert!(!peers.are_awaited() && peers.settled(back));
    }

    #[test]
    fn where_nobody_can_be_heard_one_is_alone() {
        let (mut peers, start) = (Peers::new("me".to_owned()), Instant::now());
        peers.connected(start);
        hears_all(&mut peers, start);
        peers.disconnected(start);
        peers.deaf(start);
        assert!(peers.settled(start) && !peers.are_awaited() && peers.heads().is_empty());
        peers.tick(second(start, 60.0));
        assert!(peers.settled(second(start, 60.0)));
    }

    #[test]
    fn a_connection_that_did_not_last_teaches_nothing() {
        let (mut peers, start) = (Peers::new("me".to_owned()), Instant::now());
        peers.connected(start);
        peers.disconnected(second(start, 0.1));
        peers.connected(second(start, 1.0));
        assert!(!peers.settled(second(start, 2.9)) && peers.settled(second(start, 3.1)));
    }

    #[test]
    fn one_that_is_silent_is_not_waited_for_and_one_that_says_goodbye_not_at_all() {
        let (mut peers, start) = (Peers::new("me".to_owned()), Instant::now());
        peers.connected(start);
        peers.heard(start, &says("a", &[(1, 1)]));
        peers.heard(start, &says("b", &[(2, 2)]));
        let bye = Announcement::new("b".to_owned(), "b".to_owned(), Vec::new(), true);
        peers.heard(start, &serde_json::to_vec(&bye).unwrap());
        peers.heard(second(start, 1.8), &says("me", &[]));
        peers.tick(second(start, 1.9));
        assert_eq!(peers.heads(), HashMap::from([(1, 1)]));
        peers.tick(second(start, 2.1));
        assert!(peers.heads().is_empty() && peers.count() == 0);
    }

    #[test]
    fn after_the_first_connection_it_takes_a_while_to_know_who_is_there() {
        let (mut peers, start) = (Peers::new("me".to_owned()), Instant::now());
        assert!(!peers.settled(start));
        peers.connected(start);
        assert!(!peers.settled(second(start, 1.9)) && peers.settled(second(start, 2.1)));
        assert!(!peers.are_awaited(), "nobody is known, so new updates need not wait");
    }

    #[test]
    fn those_who_were_there_are_waited_for_when_the_broker_is_back() {
        let (mut peers, start) = (Peers::new("me".to_owned()), Instant::now());
        peers.connected(start);
        peers.heard(start, &says("a", &[]));
        peers.heard(start, &says("b", &[]));
        peers.disconnected(second(start, 10.0));
        assert!(!peers.settled(second(start, 60.0)));
        let back = second(start, 60.0);
        peers.tick(back);
        peers.connected(back);
        assert!(!peers.settled(back) && peers.are_awaited());
        for second_after in 1..8 {
            let now = back + Duration::from_secs(second_after);
            hears_all(&mut peers, now);
            peers.tick(now);
            assert!(!peers.settled(now) && peers.are_awaited(), "b may hold something older");
        }
        hears_all(&mut peers, second(back, 8.0));
        peers.tick(second(back, 8.1));
        assert!(peers.settled(second(back, 8.1)) && !peers.are_awaited());
        assert_eq!(peers.heads(), HashMap::from([(1, 5)]));
    }

    #[test]
    fn alone_one_begins_at_once_when_the_broker_is_back() {
        let (mut peers, start) = (Peers::new("me".to_owned()), Instant::now());
        peers.connected(start);
        peers.disconnected(second(start, 10.0));
        peers.connected(second(start, 60.0));
        assert!(peers.settled(second(start, 60.0)) && !peers.are_awaited());
    }
}
