//! What a fault run comes to, reckoned from its ledger: lost, out of order, refused, doubled, mixed.
//!
//! How many duplicates there may be is defined from outside. A message goes out twice where a part dies
//! between Telegram's answer and the gateway's record of it (contract 3.8). So a send is *in flight* at a
//! fault if it reached Telegram at most [`WIRE`] after it (it was written before, and read by the fake
//! after), or was answered at most [`RECORD`] before it (its record may not have been written). The sum of
//! those over all kills of worker, broker and Redis is the bound. Beyond that each single duplicate has to be
//! of a message that was in flight at one of them, or was the last that its chat had read by then, at most
//! [`STALLED`] before: a chat's next message is not sent before the record of this one, and a machine whose
//! cores are all taken can stall for longer than any window that makes a good bound. Else it is *unexplained*.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::{self, Display};
use std::time::{Duration, Instant};

use crate::ledger::{Book, Fault, Ledger, Part, Send};

/// What the fake Telegram takes for an answer.
pub const LATENCY: Duration = Duration::from_millis(20);
/// From the worker's writing of a request to the fake's reading of it, on a busy machine.
const WIRE: Duration = Duration::from_millis(50);
/// From Telegram's answer to the record of it and the ack at the broker, on a busy machine.
const RECORD: Duration = Duration::from_millis(100);

/// The same on a machine that others keep busy too.
const STALLED: Duration = Duration::from_secs(1);
/// From a question to the store to the send that its answer leads to, or from a send to the record of it.
const STORE: Duration = Duration::from_millis(500);

#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub faults: BTreeMap<Fault, usize>,
    pub accepted: usize,
    pub lost: Vec<i64>,
    pub out_of_order: Vec<(i64, Part)>,
    /// By status.
    pub refused: BTreeMap<u16, usize>,
    pub unanswered: usize,
    pub duplicates: usize,
    /// The same, by chat.
    pub doubled: BTreeMap<i64, usize>,
    pub bound: usize,
    pub unexplained: Vec<i64>,
    /// Updates of which a chat read parts of two answers.
    pub mixed: Vec<i64>,
    /// The same for updates of which a part was sent while the store was away: redelivered, such an update may
    /// be handled again (contract 3.8, last sentence).
    pub mixed_without_store: usize,
    /// The same for duplicates that no kill explains.
    pub unexplained_without_store: usize,
    /// Dead letters of updates, by update_id.
    pub dead: BTreeSet<i64>,
    /// Of these, those whose answer was read too.
    pub dead_and_done: usize,
    /// What chats read that was no answer of the service.
    pub others: Vec<String>,
    pub slowest_200: Duration,
    pub longest: Duration,
}

impl Figures {
    /// `dead` are the update_ids of the dead letters.
    #[must_use]
    pub fn of(ledger: &Ledger, dead: BTreeSet<i64>) -> Self {
        let book = ledger.book();
        let mut figures = Self {
            accepted: book.accepted.len(),
            out_of_order: book.out_of_order.clone(),
            refused: book.refused.clone(),
            unanswered: book.unanswered,
            others: book.others.clone(),
            slowest_200: book.slowest_200,
            dead,
            ..Self::default()
        };
        for (fault, _) in &book.faults {
            *figures.faults.entry(*fault).or_default() += 1;
        }
        let moments = Moments::of(&book);
        for send in book.sends.values().flatten() {
            figures.bound += moments.in_flight(send);
        }
        for (update, accepted) in &book.accepted {
            let sends = book.sends.get(update).map_or(&[][..], Vec::as_slice);
            match whole(sends) {
                Some(at) => figures.longest = figures.longest.max(at.saturating_duration_since(accepted.at)),
                None if figures.dead.contains(update) => {}
                None => figures.lost.push(*update),
            }
            if sends.iter().any(|send| send.chat != accepted.chat) {
                figures.others.push(format!("the answer to {update} in another chat"));
            }
        }
        for (update, sends) in &book.sends {
            figures.look_at(*update, sends, &moments, &book.store_away);
        }
        figures
    }

    fn look_at(&mut self, update: i64, sends: &[Send], moments: &Moments, store_away: &[(Instant, Instant)]) {
        if !sends.is_empty() && self.dead.contains(&update) {
            self.dead_and_done += 1;
        }
        // It was asked about shortly before a send, and told of it shortly after.
        let is_away =
            |at: Instant| store_away.iter().any(|(from, until)| at + STORE >= *from && at <= *until + STORE);
        let without_store = sends.iter().any(|send| is_away(send.at));
        let mut by_part: HashMap<u32, Vec<&Send>> = HashMap::new();
        sends.iter().for_each(|send| by_part.entry(send.part.number).or_default().push(send));
        for copies in by_part.values().filter(|copies| copies.len() > 1) {
            self.duplicates += copies.len() - 1;
            *self.doubled.entry(copies[0].chat).or_default() += copies.len() - 1;
            match copies.iter().any(|send| moments.explain(send)) {
                true => {}
                false if without_store => self.unexplained_without_store += 1,
                false => self.unexplained.push(update),
            }
        }
        let nonces: HashSet<u64> = sends.iter().map(|send| send.part.nonce).collect();
        match (nonces.len(), without_store) {
            (0 | 1, _) => {}
            (_, true) => self.mixed_without_store += 1,
            (_, false) => self.mixed.push(update),
        }
    }

    #[must_use]
    pub fn kills(&self) -> usize {
        self.faults.iter().filter(|(fault, _)| fault.is_kill()).map(|(_, count)| count).sum()
    }

    fn count(&self, fault: Fault) -> usize {
        self.faults.get(&fault).copied().unwrap_or_default()
    }

    /// What must not be, in words; none if all is well.
    #[must_use]
    pub fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut none = |what: &str, count: usize, which: &dyn fmt::Debug| {
            if count > 0 {
                wrong.push(format!("{count} {what}: {}", shortened(&format!("{which:?}"))));
            }
        };
        none("lost", self.lost.len(), &self.lost);
        none("out of order", self.out_of_order.len(), &self.out_of_order);
        none("answers of the webhook that were not 200", self.refused.values().sum(), &self.refused);
        none("duplicates that no kill explains", self.unexplained.len(), &self.unexplained);
        none("mixtures of two answers", self.mixed.len(), &self.mixed);
        none("dead letters", self.dead.len(), &self.dead);
        none("messages that no service sent", self.others.len(), &self.others);
        // What a store that was away explains is in no kill's bound.
        let of_kills = self.duplicates - self.unexplained_without_store;
        if of_kills > self.bound {
            wrong.push(format!("{of_kills} duplicates where {} may be", self.bound));
        }
        wrong
    }
}

impl Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Fault::*;
        writeln!(
            f,
            "kill -9         {} (ingress {}, worker {}, broker {}, Redis {}); SIGTERM {}; frozen {}",
            self.kills(),
            self.count(KillIngress),
            self.count(KillWorker),
            self.count(KillBroker),
            self.count(KillRedis),
            self.count(StopIngress) + self.count(StopWorker),
            self.count(FreezeWorker),
        )?;
        writeln!(f, "accepted        {} updates; {} posts got no answer", self.accepted, self.unanswered)?;
        writeln!(f, "lost            {}", self.lost.len())?;
        writeln!(f, "out of order    {}", self.out_of_order.len())?;
        writeln!(f, "not 200         {}", self.refused.values().sum::<usize>())?;
        writeln!(
            f,
            "duplicates      {} of at most {} in flight at the kills; {} unexplained, {} while Redis was away",
            self.duplicates,
            self.bound,
            self.unexplained.len(),
            self.unexplained_without_store
        )?;
        writeln!(
            f,
            "mixed answers   {}; {} more while Redis was away",
            self.mixed.len(),
            self.mixed_without_store
        )?;
        writeln!(f, "dead letters    {}; {} of them answered too", self.dead.len(), self.dead_and_done)?;
        writeln!(f, "slowest 200     {:.2} s", self.slowest_200.as_secs_f64())?;
        write!(f, "accept to send  at most {:.1} s", self.longest.as_secs_f64())
    }
}

/// The moments at which a message in flight may come to go out twice, and when each chat read something.
struct Moments {
    /// Ascending, as all here.
    faults: Vec<Instant>,
    chats: HashMap<i64, Vec<Instant>>,
}

impl Moments {
    fn of(book: &Book) -> Self {
        let faults = book.faults.iter().filter(|(fault, _)| fault.doubles()).map(|(_, at)| *at).collect();
        let mut chats: HashMap<i64, Vec<Instant>> = HashMap::new();
        book.sends.values().flatten().for_each(|send| chats.entry(send.chat).or_default().push(send.at));
        chats.values_mut().for_each(|times| times.sort());
        Self { faults, chats }
    }

    /// At how many faults it was in flight.
    fn in_flight(&self, send: &Send) -> usize {
        self.between(send.at.checked_sub(WIRE).unwrap_or(send.at), send.at + LATENCY + RECORD)
    }

    /// Whether it can have gone out again for a fault.
    fn explain(&self, send: &Send) -> bool {
        let times = self.chats.get(&send.chat).map_or(&[][..], Vec::as_slice);
        let next = times.get(times.partition_point(|time| *time <= send.at));
        let until = send.at + LATENCY + STALLED;
        let last_until = next.map_or(until, |next| until.min(*next));
        self.in_flight(send) > 0 || self.between(send.at, last_until) > 0
    }

    fn between(&self, from: Instant, until: Instant) -> usize {
        let end = self.faults.partition_point(|moment| *moment <= until);
        end.saturating_sub(self.faults.partition_point(|moment| *moment < from))
    }
}

/// When the last of all parts was read for the first time; none while one is missing.
fn whole(sends: &[Send]) -> Option<Instant> {
    let of = sends.first()?.part.of;
    let firsts = (1..=of).map(|number| sends.iter().find(|send| send.part.number == number));
    firsts.map(|first| first.map(|send| send.at)).collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// Enough to look further, on one line.
fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(300).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAT: i64 = 9;

    fn part(update: i64, number: u32, of: u32, nonce: u64) -> String {
        Part { update, number, of, nonce }.text()
    }

    /// A ledger of updates 1 to 3, each accepted, where the chat read `texts`.
    fn figures(texts: &[String]) -> Figures {
        figures_of(texts, |_| ())
    }

    fn figures_of(texts: &[String], also: impl Fn(&Ledger)) -> Figures {
        let ledger = Ledger::default();
        (1..=3).for_each(|update| ledger.accepted(update, CHAT, Duration::ZERO));
        texts.iter().for_each(|text| ledger.sent(CHAT, text));
        also(&ledger);
        Figures::of(&ledger, BTreeSet::new())
    }

    fn one(update: i64) -> String {
        part(update, 1, 1, 5)
    }

    #[test]
    fn a_run_without_a_fault_is_clean() {
        let all = [one(1), one(2), one(3)];
        assert_eq!(figures(&all).wrong(), Vec::<String>::new());
    }

    #[test]
    fn what_was_accepted_and_not_wholly_sent_is_lost() {
        assert_eq!(figures(&[one(1), one(3)]).lost, [2]);
        assert_eq!(figures(&[one(1), part(2, 1, 2, 5), one(3)]).lost, [2]);
        assert!(!figures(&[one(1)]).wrong().is_empty());
    }

    #[test]
    fn a_first_send_behind_a_later_one_is_out_of_order_and_a_copy_is_not() {
        assert_eq!(figures(&[one(1), one(3), one(2)]).out_of_order.len(), 1);
        assert_eq!(figures(&[one(1), one(2), one(1), one(3)]).out_of_order.len(), 0);
        let parts = [one(1), part(2, 2, 2, 5), part(2, 1, 2, 5), one(3)];
        assert_eq!(figures(&parts).out_of_order.len(), 1);
    }

    #[test]
    fn a_copy_is_explained_by_a_kill_close_to_it_and_by_nothing_else() {
        let texts = [one(1), one(2), one(2), one(3)];
        let alone = figures(&texts);
        assert_eq!((alone.duplicates, alone.bound, alone.unexplained.len()), (1, 0, 1));
        assert_eq!(alone.wrong().len(), 2);
        let killed = figures_of(&texts, |ledger| ledger.fault(Fault::KillWorker));
        assert_eq!((killed.duplicates, killed.bound, killed.unexplained.len()), (1, 4, 0));
        let ingress = figures_of(&texts, |ledger| ledger.fault(Fault::KillIngress));
        assert_eq!((ingress.bound, ingress.unexplained.len()), (0, 1));
        let begun = Instant::now();
        let away = figures_of(&texts, |ledger| ledger.store_was_away(begun, Instant::now()));
        assert_eq!((away.duplicates, away.bound, away.unexplained_without_store), (1, 0, 1));
        assert_eq!(away.wrong(), Vec::<String>::new());
    }

    #[test]
    fn parts_of_two_answers_are_a_mixture_unless_the_store_was_away() {
        let texts = [one(1), part(2, 1, 2, 5), part(2, 2, 2, 6), one(3)];
        let begun = Instant::now();
        assert_eq!(figures(&texts).mixed, [2]);
        let away = figures_of(&texts, |ledger| ledger.store_was_away(begun, Instant::now()));
        assert_eq!((away.mixed.len(), away.mixed_without_store), (0, 1));
    }
}
