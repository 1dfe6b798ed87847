//! Who else works, and what of the work is ours. Each worker says on a fanout exchange what it holds, and from what
//! all say each finds its own share (`shares`). It only steers: the lease keeps a partition to one owner.
//!
//! A worker that dies is missed by the one that watches it, within a quarter of a second, and that one tells the
//! others; one that is frozen is silent, and is out after 3 s.

mod members;
#[cfg(test)]
mod model;
mod shares;
mod words;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use shared::clock;
use shared::queue::rabbitmq::{Fanout, Heard, Hearing};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::events;
use members::Members;
pub use members::Share;
use shares::{Id, Member, share_of};
use words::Words;

/// How often a worker says something, if nothing changes (design 3).
const EVERY: Duration = Duration::from_secs(1);

/// How often it is looked who has become silent.
const LOOK: Duration = Duration::from_millis(100);

/// Between two words of one worker, so that many changes at once are told once.
const APART: Duration = Duration::from_millis(10);

/// What a roster needs to know of its own worker.
pub struct Own {
    pub partitions: u16,
    /// Whether it can take partitions at the moment.
    pub able: watch::Receiver<bool>,
    /// The partitions whose leases it has.
    pub held: watch::Receiver<BTreeSet<u16>>,
}

/// Keeps the share until `stop`, and then says for a while that it takes nothing more.
pub struct Roster {
    fanout: Fanout,
    own: Own,
    members: Members,
    share: watch::Sender<Share>,
    said: Option<Instant>,
    due: bool,
}

impl Roster {
    pub fn new(fanout: Fanout, own: Own) -> (Self, watch::Receiver<Share>) {
        let id = Id { since_ms: clock::now_ms(), name: fanout.name() };
        let members = Members::new(id, own.partitions, Instant::now());
        let (share, shares) = watch::channel(Share::default());
        (Self { fanout, own, members, share, said: None, due: true }, shares)
    }

    pub async fn run(mut self, stop: CancellationToken) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                heard = self.fanout.heard() => {
                    self.heard(heard);
                    // All that has come, and then the conclusions, once.
                    while let Some(heard) = self.fanout.heard().now_or_never() {
                        self.heard(heard);
                    }
                }
                Ok(()) = self.own.held.changed() => self.due = true,
                Ok(()) = self.own.able.changed() => self.due = true,
                () = stop.cancelled(), if self.members.me.takes => self.due = true,
                _ = look.tick() => {}
            }
            self.conclude(&stop);
        }
    }

    fn heard(&mut self, heard: Heard) {
        let now = Instant::now();
        match heard {
            Heard::Change(generation) if generation.hearing == Hearing::Connected => {
                self.members.connected(now);
                self.due = true;
            }
            Heard::Change(_) => self.members.disconnected(),
            Heard::Words(bytes) => {
                if let Some(words) = Words::from_bytes(&bytes) {
                    self.due |= self.members.heard(words, now);
                }
            }
            Heard::Gone(name) => self.due |= self.members.found_gone(name, now),
        }
    }

    fn conclude(&mut self, stop: &CancellationToken) {
        let now = Instant::now();
        self.members.me.held.clone_from(&self.own.held.borrow_and_update());
        self.members.me.takes = *self.own.able.borrow_and_update() && !stop.is_cancelled();
        let share = self.members.share(now);
        self.fanout.watch(self.members.neighbour());
        events::workers_known(self.members.count());
        let changed = self.share.send_if_modified(|known| std::mem::replace(known, share) != *known);
        if changed {
            events::share_changed(self.share.borrow().partitions.len(), self.members.count());
        }
        let since = self.said.map(|said| now - said);
        if since.is_none_or(|since| since >= EVERY || self.due && since >= APART) {
            self.fanout.say(self.members.words(now).to_bytes().into());
            (self.said, self.due) = (Some(now), false);
        }
    }
}
