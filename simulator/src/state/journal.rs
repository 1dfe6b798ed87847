//! A list of what happened, numbered from 1 and bounded: the oldest entries are forgotten first.
//! Used for the calls a bot made and for the deliveries it got.

use std::collections::VecDeque;

pub(crate) struct Journal<T> {
    entries: VecDeque<T>,
    /// The number of the oldest entry that is still known.
    first: u64,
    limit: usize,
}

impl<T: Clone> Journal<T> {
    pub fn new(limit: usize) -> Self {
        Self { entries: VecDeque::new(), first: 1, limit: limit.max(1) }
    }

    /// Adds the entry that `make` builds from its own number.
    pub fn add(&mut self, make: impl FnOnce(u64) -> T) -> u64 {
        let seq = self.first + self.entries.len() as u64;
        self.entries.push_back(make(seq));
        if self.entries.len() > self.limit {
            self.entries.pop_front();
            self.first += 1;
        }
        seq
    }

    /// None when it was forgotten, or never was.
    pub fn get_mut(&mut self, seq: u64) -> Option<&mut T> {
        let index = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        self.entries.get_mut(index)
    }

    /// Those with a number above `seq`, at most `limit`, oldest first.
    pub fn after(&self, seq: u64, limit: usize) -> Vec<T> {
        let skipped = usize::try_from((seq + 1).saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.entries.iter().skip(skipped).take(limit).cloned().collect()
    }

    /// Forgets all. Numbers go on: a reader that asks `after` its last one misses nothing.
    pub fn clear(&mut self) {
        self.first += self.entries.len() as u64;
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_and_numbers_go_on() {
        let mut journal = Journal::new(2);
        for _ in 0..3 {
            journal.add(|seq| seq);
        }
        assert_eq!(journal.after(0, 10), [2, 3]);
        assert_eq!(journal.after(2, 10), [3]);
        assert!(journal.get_mut(1).is_none());
        journal.clear();
        assert_eq!(journal.add(|seq| seq), 4);
        assert_eq!(journal.after(3, 10), [4]);
    }
}
