//! Tells the other ingresses what this one holds, and hears what they hold.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::FutureExt as _;
use tokio_util::sync::CancellationToken;

use super::events;
use super::inner::Inner;
use super::peers::{Announcement, Peers};
use crate::queue::rabbitmq::{Fanout, Generation, Heard, Hearing};

/// How often an ingress that holds something says so (design 4).
const HOLDING: Duration = Duration::from_millis(200);

/// One that holds nothing is heard every so many of these, so that it is waited for when all come back.
const QUIET: u32 = 2;

/// Between two announcements of a change; while others wait for one's word, this is their pace.
const APART: Duration = Duration::from_millis(10);

/// How long the goodbye has to get on its way.
const GOODBYE: Duration = Duration::from_millis(50);

pub(super) struct Announcer {
    inner: Arc<Inner>,
    fanout: Fanout,
    peers: Peers,
    process: String,
    said: Option<Instant>,
    generation: Generation,
    /// What the others held when it was last looked.
    elsewhere: HashMap<u16, u64>,
}

impl Announcer {
    pub fn new(inner: Arc<Inner>, fanout: Fanout) -> Self {
        let process = uuid::Uuid::new_v4().to_string();
        inner.settled.store(false, Ordering::Relaxed);
        // Only the first of a spool's announcers counts, and there is no second.
        inner.generation.set(fanout.generation()).ok();
        let (peers, generation) = (Peers::new(process.clone()), Generation::default());
        Self { inner, fanout, peers, process, said: None, generation, elsewhere: HashMap::new() }
    }

    /// Until `stop`; then it says goodbye, so that nobody waits for it.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = 0_u32;
        let mut tick = tokio::time::interval(HOLDING);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => {
                    self.say(true);
                    return tokio::time::sleep(GOODBYE).await;
                }
                heard = self.fanout.heard() => {
                    self.heard(heard);
                    // All that has come, and then the conclusions, once.
                    while let Some(heard) = self.fanout.heard().now_or_never() {
                        self.heard(heard);
                    }
                }
                _ = tick.tick() => {
                    ticks = ticks.wrapping_add(1);
                    if ticks.is_multiple_of(QUIET) || !self.inner.index.heads().is_empty() {
                        self.say(false);
                    }
                }
                () = self.inner.announce.notified(), if self.may_speak() => self.say(false),
            }
            self.conclude();
        }
    }

    fn heard(&mut self, heard: Heard) {
        let now = Instant::now();
        match heard {
            Heard::Change(generation) => {
                self.peers.disconnected(now);
                match generation.hearing {
                    Hearing::Lost => {}
                    Hearing::Connected => {
                        self.peers.connected(now);
                        self.say(false);
                    }
                    Hearing::Deaf => self.peers.deaf(now),
                }
                self.generation = generation;
            }
            Heard::Words(bytes) => drop(self.peers.heard(now, &bytes)),
            // Nobody is watched.
            Heard::Gone(_) => {}
        }
    }

    /// A change is told at once where somebody may wait for it.
    fn may_speak(&self) -> bool {
        self.peers.count() > 0 && self.said.is_none_or(|said| said.elapsed() >= APART)
    }

    fn say(&mut self, bye: bool) {
        let heads = self.inner.index.heads().into_iter().map(|(bucket, head)| (bucket, head.update_id));
        let words = Announcement::new(self.inner.name.clone(), self.process.clone(), heads.collect(), bye);
        if let Ok(bytes) = serde_json::to_vec(&words) {
            self.fanout.say(bytes.into());
        }
        self.said = Some(Instant::now());
    }

    /// What is known of the others, for the drain and for new updates.
    fn conclude(&mut self) {
        let now = Instant::now();
        self.peers.tick(now);
        events::peers(self.peers.count());
        let elsewhere = self.peers.heads();
        let news = elsewhere != self.elsewhere;
        if news {
            self.inner.index.set_elsewhere(&elsewhere);
            self.elsewhere = elsewhere;
        }
        self.inner.awaits.store(self.peers.are_awaited(), Ordering::Relaxed);
        self.inner.concluded.store(self.generation.number, Ordering::Release);
        let settled = self.peers.settled(now);
        if self.inner.settled.swap(settled, Ordering::Relaxed) != settled || news {
            self.inner.changed.notify_one();
        }
    }
}
