//! What was measured: the values of each row for each who, round by round, and the machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::machine::Machine;

/// Minimum, median and maximum.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub least: f64,
    pub median: f64,
    pub most: f64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Results {
    pub machine: Machine,
    pub quick: bool,
    pub partitions: u16,
    /// By row, then by who, in the order of the rounds.
    values: BTreeMap<String, BTreeMap<String, Vec<f64>>>,
}

impl Results {
    pub fn new(machine: Machine, quick: bool, partitions: u16) -> Self {
        Self { machine, quick, partitions, values: BTreeMap::new() }
    }

    pub fn add(&mut self, row: &str, who: &str, value: f64) {
        eprintln!("{row:32} {who:28} {value:12.3}");
        self.values.entry(row.to_owned()).or_default().entry(who.to_owned()).or_default().push(value);
    }

    pub fn get(&self, row: &str, who: &str) -> Option<&[f64]> {
        Some(self.values.get(row)?.get(who)?)
    }

    pub fn spread(&self, row: &str, who: &str) -> Option<Spread> {
        self.get(row, who).and_then(spread)
    }

    /// Of two that were measured in turn: their ratios, round by round.
    pub fn ratios(&self, row: &str, who: &str, to: (&str, &str)) -> Option<Vec<f64>> {
        let (these, those) = (self.get(row, who)?, self.get(to.0, to.1)?);
        Some(these.iter().zip(those).map(|(this, that)| this / that).collect())
    }

    pub fn rows(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = &str>)> {
        self.values.iter().map(|(row, all)| (row.as_str(), all.keys().map(String::as_str)))
    }

    /// Both, where they are of parts of the table that were measured one after the other: a row that both have is
    /// the later one's.
    pub fn joined(mut self, later: Self) -> Self {
        self.values.extend(later.values);
        Self { quick: self.quick || later.quick, machine: later.machine, ..self }
    }

    pub fn save(&self, file: &str) {
        let text = serde_json::to_string_pretty(self).expect("numbers and names");
        std::fs::write(file, text + "\n").expect("the place takes files");
    }

    pub fn load(file: &str) -> Self {
        let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
    }
}

pub fn spread(values: &[f64]) -> Option<Spread> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (least, most) = (*sorted.first()?, *sorted.last()?);
    let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    Some(Spread { least, median: f64::midpoint(low, high), most })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_and_a_ratio_is_taken_round_by_round() {
        let mut results = Results::default();
        for (this, that) in [(1.0, 2.0), (9.0, 3.0), (4.0, 4.0)] {
            results.add("row", "this", this);
            results.add("other", "that", that);
        }
        let spread = results.spread("row", "this").unwrap();
        assert_eq!((spread.least, spread.median, spread.most), (1.0, 4.0, 9.0));
        assert_eq!(results.ratios("row", "this", ("other", "that")).unwrap(), [0.5, 3.0, 1.0]);
        assert_eq!(super::spread(&[1.0, 2.0]).unwrap().median, 1.5);
    }
}
