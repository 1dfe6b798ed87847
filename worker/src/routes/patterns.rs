//! The rows with a text pattern. Trying them one after the other would make thousands of them slow, so each
//! pattern that begins or ends with known words is tried only where the text holds these: one pass finds the
//! words of all patterns at once.

use std::collections::HashMap;

use aho_corasick::AhoCorasick;
use regex_syntax::hir::Hir;
use regex_syntax::hir::literal::{ExtractKind, Extractor, Literal};

/// A pattern may begin in at most so many ways; more are no words but a class of characters.
const WAYS: usize = 32;
/// Bytes of a word that are looked for. More would tell hardly more, and cost memory.
const WORD: usize = 12;
/// Shorter ones stand in nearly every text.
const SHORTEST: usize = 2;

/// Places in the table's rows, the most specific first.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    rows: Vec<usize>,
    words: Option<AhoCorasick>,
    /// Which of `rows` have the word of that number.
    owners: Vec<Vec<usize>>,
    /// Of `rows`: those that no word is known of.
    always: Vec<usize>,
}

impl Patterns {
    /// `rows` are places, each with its pattern.
    pub fn new(rows: &[(usize, &str)]) -> Self {
        let mut found = HashMap::<Vec<u8>, Vec<usize>>::new();
        let mut always = Vec::new();
        for (at, (_, pattern)) in rows.iter().enumerate() {
            match words(pattern) {
                None => always.push(at),
                Some(words) => words.into_iter().for_each(|word| found.entry(word).or_default().push(at)),
            }
        }
        let rows: Vec<usize> = rows.iter().map(|(row, _)| *row).collect();
        let (words, owners): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        if words.is_empty() {
            return Self { always: (0..rows.len()).collect(), rows, ..Self::default() };
        }
        match AhoCorasick::builder().ascii_case_insensitive(true).build(words) {
            Ok(words) => Self { rows, words: Some(words), owners, always },
            // Too many for its numbers: then there is no short way.
            Err(_) => Self { always: (0..rows.len()).collect(), rows, ..Self::default() },
        }
    }

    /// The rows whose pattern could be in one of these texts, in the order of `rows`: all that are in it, and few
    /// that are not.
    pub fn possible<'t>(&self, texts: impl Iterator<Item = &'t str>) -> impl Iterator<Item = usize> {
        let mut possible = self.always.clone();
        if let Some(words) = &self.words {
            for text in texts {
                let found = words.find_overlapping_iter(text);
                possible
                    .extend(found.filter_map(|word| self.owners.get(word.pattern().as_usize())).flatten());
            }
            possible.sort_unstable();
            possible.dedup();
        }
        possible.into_iter().filter_map(|at| self.rows.get(at).copied())
    }
}

/// Words, in lower case, one of which stands in every text that the pattern is in, however that writes them;
/// none where there are no such words.
fn words(pattern: &str) -> Option<Vec<Vec<u8>>> {
    let hir = regex_syntax::parse(pattern).ok()?;
    let of = |kind| words_of(&hir, kind);
    let shortest = |words: &Vec<Vec<u8>>| words.iter().map(Vec::len).min().unwrap_or_default();
    [of(ExtractKind::Prefix), of(ExtractKind::Suffix)].into_iter().flatten().max_by_key(shortest)
}

fn words_of(hir: &Hir, kind: ExtractKind) -> Option<Vec<Vec<u8>>> {
    let found = Extractor::new().kind(kind.clone()).limit_total(WAYS).extract(hir);
    let cut = |literal: &Literal| {
        let bytes = literal.as_bytes();
        let part = match kind {
            ExtractKind::Suffix => bytes.get(bytes.len().saturating_sub(WORD)..),
            _ => bytes.get(..WORD.min(bytes.len())),
        };
        part.unwrap_or_default().to_ascii_lowercase()
    };
    let mut words: Vec<Vec<u8>> = found.literals()?.iter().map(cut).collect();
    words.sort();
    words.dedup();
    // A pattern that can't be in any text has none at all.
    (words.iter().all(|word| word.len() >= SHORTEST) && !words.is_empty()).then_some(words)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    fn possible(patterns: &[&str], text: &str) -> Vec<usize> {
        let rows: Vec<_> = patterns.iter().enumerate().map(|(at, pattern)| (at, *pattern)).collect();
        Patterns::new(&rows).possible([text].into_iter()).collect()
    }

    #[test]
    fn only_patterns_whose_words_are_there_are_possible() {
        let patterns = [
            r"(?i)\bweather in (.+)",
            "^(hi|hello)",
            "bike$",
            "(.+) please",
            "x",
            r"\d+",
            "",
            "(?i)straße",
            "[a-z]+ing",
            r"[^\s\S]",
        ];
        for (text, expected) in [
            // Without known words a pattern is always possible.
            ("not known", vec![4, 5, 6, 9]),
            ("WEATHER in Rome", vec![0, 4, 5, 6, 9]),
            ("oh hello", vec![1, 4, 5, 6, 9]),
            ("hello, a BIKE please", vec![1, 2, 3, 4, 5, 6, 9]),
            ("STRASSE Straße", vec![4, 5, 6, 7, 9]),
        ] {
            assert_eq!(possible(&patterns, text), expected, "{text}");
        }
    }

    const PATTERNS: [&str; 18] = [
        "(?i)weather",
        "(?i)kiss",
        "(?i)ſ+k",
        "(?i)größe|size",
        "^(ab|a|b)+$",
        "a{2,5}b",
        "(?:foo|bar)baz",
        "foo.*bar",
        "(?s).*end$",
        r"\bcat\b",
        "a?bc",
        "(a|)bc",
        "x*yz",
        "[ab]{3}",
        "(?-u:ab)c",
        "(?m)^line$",
        "(?i:AB)c",
        r"\p{Greek}{2}",
    ];

    proptest! {
        #[test]
        fn no_pattern_that_is_in_a_text_is_left_out(
            parts in proptest::collection::vec(
                prop::sample::select(vec![
                    "a", "b", "c", "K", "i", "s", "ſ", "\u{212a}", "weather", "WEATHER", "foo", "bar", "baz", "end",
                    "\n", "line", " ", "cat", "yz", "x", "GRÖSSE", "Größe", "size", "αβ", "ab", "AB",
                ]),
                0..12,
            )
        ) {
            let text = parts.concat();
            let possible = possible(&PATTERNS, &text);
            prop_assert!(possible.is_sorted());
            for (at, pattern) in PATTERNS.iter().enumerate() {
                if Regex::new(pattern).unwrap().is_match(&text) {
                    prop_assert!(possible.contains(&at), "{pattern} in {text:?}");
                }
            }
        }
    }
}
