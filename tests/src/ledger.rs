//! The books of a fault run: what Telegram was told is safe, what the chats read, and when a part was
//! killed. It is written by the fakes and the poster, and knows the gateway only through them.
//! What it all comes to is reckoned in `figures`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::Process;
use crate::wait::pause;

/// One part of an answer, as a chat read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub update: i64,
    /// From 1 to `of`.
    pub number: u32,
    pub of: u32,
    /// Which of the service's answers to this update it belongs to: it answers differently each time.
    pub nonce: u64,
}

impl Part {
    /// The text that stands for it on its way.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{} {}/{} {}", self.update, self.number, self.of, self.nonce)
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let update = words.next()?.parse().ok()?;
        let (number, of) = words.next()?.split_once('/')?;
        let (number, of) = (number.parse().ok()?, of.parse().ok()?);
        Some(Self { update, number, of, nonce: words.next()?.parse().ok()? })
    }
}

/// What was done to the deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    KillIngress,
    KillWorker,
    KillBroker,
    KillRedis,
    /// SIGTERM, which takes nothing with it.
    StopIngress,
    StopWorker,
    /// SIGSTOP, and at another time SIGCONT: what it had begun overlaps its successor (invariant I4).
    FreezeWorker,
    ThawWorker,
}

impl Fault {
    #[must_use]
    pub fn is_kill(self) -> bool {
        matches!(self, Self::KillIngress | Self::KillWorker | Self::KillBroker | Self::KillRedis)
    }

    /// Whether a message can go out twice for it: between Telegram's answer and the record of it stand
    /// the worker, Redis and the broker (contract 3.8).
    #[must_use]
    pub fn doubles(self) -> bool {
        !matches!(self, Self::KillIngress | Self::StopIngress | Self::StopWorker)
    }
}

#[derive(Debug, Default)]
pub struct Ledger(Mutex<Book>);

#[derive(Debug, Default)]
pub(crate) struct Book {
    /// By update_id.
    pub accepted: BTreeMap<i64, Accepted>,
    /// By update_id; for each, in the order in which they came.
    pub sends: HashMap<i64, Vec<Send>>,
    /// The sends that were late: a chat had read a later part by then.
    pub out_of_order: Vec<(i64, Part)>,
    /// What no part of an answer is: an apology, for example.
    pub others: Vec<String>,
    pub faults: Vec<(Fault, Instant)>,
    /// When what was killed ran again: for the trace only.
    pub recoveries: Vec<(Fault, Instant)>,
    /// While Redis was down, and for as long as a worker may take to notice that it is back; and when a
    /// worker said that it was.
    pub store_away: Vec<(Instant, Instant)>,
    pub refused: BTreeMap<u16, usize>,
    pub unanswered: usize,
    pub slowest_200: Duration,
    /// The last part that each chat read for the first time.
    latest: HashMap<i64, (i64, u32)>,
    /// Updates of which every part was read.
    whole: usize,
    /// Messages of any kind.
    heard: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepted {
    pub chat: i64,
    pub at: Instant,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Send {
    pub part: Part,
    pub chat: i64,
    pub at: Instant,
}

impl Ledger {
    /// The webhook said 200: from here on the update is the gateway's to answer.
    pub fn accepted(&self, update: i64, chat: i64, took: Duration) {
        let mut book = self.book();
        book.slowest_200 = book.slowest_200.max(took);
        book.accepted.insert(update, Accepted { chat, at: Instant::now() });
    }

    /// All that are the gateway's to answer: update_id and chat, in the order of the ids.
    #[must_use]
    pub fn all_accepted(&self) -> Vec<(i64, i64)> {
        self.book().accepted.iter().map(|(update, accepted)| (*update, accepted.chat)).collect()
    }

    /// The webhook said something else.
    pub fn refused(&self, status: u16) {
        *self.book().refused.entry(status).or_default() += 1;
    }

    /// No answer: whoever was to give it is dead.
    pub fn unanswered(&self) {
        self.book().unanswered += 1;
    }

    /// A chat read something.
    pub fn sent(&self, chat: i64, text: &str) {
        let mut book = self.book();
        book.heard += 1;
        let Some(part) = Part::parse(text) else {
            return book.others.push(text.to_owned());
        };
        let before = book.sends.entry(part.update).or_default();
        let is_first = before.iter().all(|send| send.part.number != part.number);
        before.push(Send { part, chat, at: Instant::now() });
        if !is_first {
            return;
        }
        let numbers = before.iter().map(|send| send.part.number).collect::<HashSet<_>>();
        let whole = numbers.len() == usize::try_from(part.of).expect("a few parts");
        book.whole += usize::from(whole);
        let latest = book.latest.entry(chat).or_insert((part.update, part.number));
        if (part.update, part.number) < *latest {
            book.out_of_order.push((chat, part));
        } else {
            *latest = (part.update, part.number);
        }
    }

    /// At the very moment before it happens.
    pub fn fault(&self, fault: Fault) {
        self.book().faults.push((fault, Instant::now()));
    }

    /// What `fault` took away runs again.
    pub fn recovered(&self, fault: Fault) {
        self.book().recoveries.push((fault, Instant::now()));
    }

    pub fn store_was_away(&self, from: Instant, until: Instant) {
        self.book().store_away.push((from, until));
    }

    /// Notes when a worker said that it was without the store: Redis need not be killed for that, since on a busy
    /// machine it can take longer than a worker waits.
    pub fn note_without_store(&self, worker: &Process) {
        let says_so =
            |line: &Value| line["message"].as_str().is_some_and(|text| text.starts_with("the store is away"));
        for from in worker.logged(says_so) {
            // It rests for a second after each call that failed.
            self.store_was_away(from, from + Duration::from_secs(1));
        }
    }

    /// Until every accepted update is answered, or nothing has come for `patience`; and then until nothing has for
    /// 2 s, so that copies are counted too.
    pub async fn settle(&self, patience: Duration) {
        let (mut heard, mut since) = (0, Instant::now());
        loop {
            pause(Duration::from_millis(100)).await;
            let (now, (accepted, answered)) = (self.heard(), self.progress());
            if now != heard {
                (heard, since) = (now, Instant::now());
            }
            let patience = if answered >= accepted { Duration::from_secs(2) } else { patience };
            if since.elapsed() > patience {
                return;
            }
        }
    }

    /// How many were accepted, and how many answered whole so far.
    #[must_use]
    pub fn progress(&self) -> (usize, usize) {
        let book = self.book();
        (book.accepted.len(), book.whole)
    }

    /// How many messages the chats read so far.
    #[must_use]
    pub fn heard(&self) -> usize {
        self.book().heard
    }

    #[must_use]
    pub fn kills(&self) -> usize {
        self.book().faults.iter().filter(|(fault, _)| fault.is_kill()).count()
    }

    /// Everything that is in the books, a line each, in the order of time: ms since the first, what, chat,
    /// update and part. For whoever looks for the cause of a failure.
    #[must_use]
    pub fn trace(&self) -> String {
        let book = self.book();
        let mut events: Vec<(Instant, String)> = Vec::new();
        events.extend(book.faults.iter().map(|(fault, at)| (*at, format!("{fault:?}"))));
        events.extend(book.recoveries.iter().map(|(fault, at)| (*at, format!("{fault:?} is over"))));
        events.extend(book.accepted.iter().map(|(update, it)| (it.at, format!("200 {} {update}", it.chat))));
        let sends = book.sends.values().flatten();
        events.extend(sends.map(|send| (send.at, format!("sent {} {}", send.chat, send.part.text()))));
        events.sort();
        let Some((first, _)) = events.first().cloned() else { return String::new() };
        events.iter().map(|(at, what)| format!("{} {what}\n", (*at - first).as_millis())).collect()
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().expect("nothing panics while it writes")
    }
}
