//! RabbitMQ's letters as seen by who looks while another tool has them in hand: that one is asked (`board`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use shared::program::Failure;
use shared::queue::Letter;
use shared::queue::rabbitmq::{Settings, Visitor};
use tokio::time::Instant;
use uuid::Uuid;

use super::board::{Asked, Content, Head, Purpose, Told, VERSION, Want};
use super::entry::{Entry, Place};
use super::spill::Spill;
use crate::output::note;

/// So long it is waited for who only looks, takes the letters or gives them back: a hundred thousand take ten seconds.
const SHORT: Duration = Duration::from_secs(60);

/// And so long for one who was asked and has just ended, or has a desk and is silent.
const SILENT: Duration = Duration::from_secs(12);

/// And so long for a lock without a desk: one that is left of a tool that was killed is gone by then.
const NO_DESK: Duration = Duration::from_millis(1500);

/// Letters that are asked for at once.
const LETTERS: usize = 512;

/// Who has the letters, as far as can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// He answers, and shows them or not just now.
    Known { by: Purpose, shows: bool },
    /// He is frozen, or has just ended.
    Silent,
    /// He has no desk, or is of a version that is not understood.
    Unknown,
}

/// What to do about him.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Ask,
    TryAgain,
    GiveUp,
}

/// What is done for `purpose`, `after` the holder was first found to be so.
pub fn next(purpose: Purpose, holder: Holder, after: Duration) -> Next {
    let patience = match (purpose, holder) {
        (Purpose::Look, Holder::Known { shows: true, .. }) => return Next::Ask,
        (Purpose::Look, Holder::Known { .. }) | (_, Holder::Known { by: Purpose::Look, .. }) => SHORT,
        (_, Holder::Known { .. }) => Duration::ZERO,
        (_, Holder::Silent) => SILENT,
        (_, Holder::Unknown) => NO_DESK,
    };
    if after < patience { Next::TryAgain } else { Next::GiveUp }
}

pub struct Beside {
    visitor: Visitor,
    spill: Spill,
}

impl Beside {
    pub async fn begin(settings: &Settings) -> Result<Self, Failure> {
        let visitor = Visitor::begin(settings).await.map_err(|error| Failure::Failed(error.to_string()))?;
        Ok(Self { visitor, spill: Spill::new()? })
    }

    /// Whom the letters are with.
    pub async fn meet(&mut self) -> Holder {
        // The first page is asked for again where it matters.
        match self.ask(Want::Heads { round: None, from: usize::MAX }).await {
            Ok(Told { by, told: Content::Soon, .. }) => Holder::Known { by, shows: false },
            Ok(Told { by, told: Content::Heads { .. }, .. }) => Holder::Known { by, shows: true },
            Ok(_) | Err(Unheard::Strange) => Holder::Unknown,
            Err(Unheard::Silent) => Holder::Silent,
        }
    }

    /// All heads, and for those that `keep` wants the bytes. None where he has ended meanwhile, or took the letters anew:
    /// to be tried again from the beginning.
    pub async fn read(&mut self, keep: impl Fn(&Entry) -> bool) -> Result<Option<Vec<Arc<Entry>>>, Failure> {
        self.spill.clear()?;
        let (mut entries, mut from, mut round) = (Vec::new(), 0, None);
        loop {
            let Ok(Told { told: Content::Heads { round: told, heads, next }, .. }) =
                self.ask(Want::Heads { round, from }).await
            else {
                return Ok(None);
            };
            entries.extend(heads.into_iter().map(entry));
            round = Some(told);
            match next {
                Some(next) => from = next,
                None => break self.fetch(told, entries, keep).await,
            }
        }
    }

    /// What is gone meanwhile is left out.
    async fn fetch(
        &mut self,
        round: Uuid,
        mut entries: Vec<(usize, Entry)>,
        keep: impl Fn(&Entry) -> bool,
    ) -> Result<Option<Vec<Arc<Entry>>>, Failure> {
        let mut wanted: Vec<usize> =
            entries.iter().filter(|(_, entry)| keep(entry)).map(|(number, _)| *number).collect();
        // From the end, which is where a vector is taken from.
        wanted.reverse();
        let mut kept = HashMap::new();
        while !wanted.is_empty() {
            let numbers: Vec<usize> = wanted.iter().rev().take(LETTERS).copied().collect();
            let Ok(Told { told: Content::Letters(letters), .. }) =
                self.ask(Want::Letters { round, numbers }).await
            else {
                return Ok(None);
            };
            if letters.is_empty() {
                return Ok(None);
            }
            for (number, carried) in letters {
                wanted.pop();
                let letter = carried.and_then(|carried| carried.letter().ok());
                kept.insert(number, letter.map(|letter| self.spill.keep(&letter)).transpose()?);
            }
        }
        self.spill.flush()?;
        let without = kept.values().filter(|kept| kept.is_none()).count();
        if without > 0 {
            note(&format!("gone meanwhile, or too much for the other tool to show: {without}"));
        }
        entries.retain_mut(|(number, entry)| match kept.get(number) {
            Some(Some(at)) => {
                entry.kept = Some(*at);
                true
            }
            Some(None) => false,
            None => true,
        });
        Ok(Some(entries.into_iter().map(|(_, entry)| Arc::new(entry)).collect()))
    }

    pub fn letter(&self, entry: &Entry) -> Result<Letter, Failure> {
        self.spill.letter(entry)
    }

    async fn ask(&mut self, want: Want) -> Result<Told, Unheard> {
        let words = serde_json::to_vec(&Asked { v: VERSION, want }).map_err(|_| Unheard::Strange)?;
        let answer = self.visitor.ask(&words).await.map_err(|error| {
            tracing::debug!(%error, "who has the letters does not answer");
            Unheard::Silent
        })?;
        let told = serde_json::from_slice::<Told>(&answer).ok();
        told.filter(|told| told.v <= VERSION).ok_or(Unheard::Strange)
    }
}

/// Why nothing is heard of him.
enum Unheard {
    Silent,
    /// He is of a later version.
    Strange,
}

/// Since when a holder is as he is.
#[derive(Default)]
pub struct Met(Option<(Holder, Instant)>);

impl Met {
    pub fn since(&mut self, holder: Holder) -> Duration {
        let since = self.0.filter(|(met, _)| *met == holder).map_or_else(Instant::now, |(_, since)| since);
        self.0 = Some((holder, since));
        since.elapsed()
    }
}

fn entry(head: Head) -> (usize, Entry) {
    let mut entry = Entry::new(head.id, head.letter, Place::Elsewhere);
    entry.places = vec![Place::Elsewhere; head.copies.clamp(1, 1000)];
    (entry.update_bytes, entry.has_rest) = (head.update_bytes, head.has_rest);
    (head.number, entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_looks_waits_for_nobody_who_shows_and_who_changes_waits_for_who_looks() {
        let known = |by, shows| Holder::Known { by, shows };
        let (now, soon, late) = (Duration::ZERO, Duration::from_secs(5), Duration::from_secs(61));
        let cases = [
            (Purpose::Look, known(Purpose::Change, true), late, Next::Ask),
            (Purpose::Look, known(Purpose::Change, false), soon, Next::TryAgain),
            (Purpose::Look, known(Purpose::Look, false), soon, Next::TryAgain),
            (Purpose::Look, known(Purpose::Look, false), late, Next::GiveUp),
            (Purpose::Look, Holder::Unknown, now, Next::TryAgain),
            (Purpose::Look, Holder::Unknown, soon, Next::GiveUp),
            (Purpose::Change, known(Purpose::Look, false), soon, Next::TryAgain),
            (Purpose::Change, known(Purpose::Look, true), soon, Next::TryAgain),
            (Purpose::Change, known(Purpose::Change, true), now, Next::GiveUp),
            (Purpose::Change, known(Purpose::Another, true), now, Next::GiveUp),
            (Purpose::Change, Holder::Unknown, soon, Next::GiveUp),
            (Purpose::Look, Holder::Silent, soon, Next::TryAgain),
            (Purpose::Change, Holder::Silent, late, Next::GiveUp),
        ];
        for (purpose, holder, after, expected) in cases {
            assert_eq!(next(purpose, holder, after), expected, "{purpose:?} {holder:?} {after:?}");
        }
    }
}
