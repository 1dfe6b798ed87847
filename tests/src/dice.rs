//! Chance that can be had again: a run prints the seed of its dice, and the same seed throws the same.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

/// Chooses who dies when.
#[derive(Debug)]
pub struct Dice(StdRng);

impl Dice {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// A seed that no run before had.
    #[must_use]
    pub fn fresh_seed() -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
        // Short enough to be typed.
        u64::try_from(since.as_micros() % 1_000_000_000).expect("nine digits")
    }

    /// One of `0..count`.
    pub fn below(&mut self, count: usize) -> usize {
        self.0.random_range(0..count)
    }

    /// Between the two.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        self.0.random_range(least..=most)
    }

    pub fn shuffle<T>(&mut self, cards: &mut [T]) {
        cards.shuffle(&mut self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_throws_the_same_and_another_does_not() {
        let throws = |seed| {
            let mut dice = Dice::new(seed);
            (0..8).map(|_| dice.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(throws(7), throws(7));
        assert_ne!(throws(7), throws(8));
    }
}
