//! The fuzzing that needs no fuzzer: the seeds as they are, seeds that were changed in the ways in which a
//! fuzzer changes them, and random bytes. A test includes this file and hands it what must hold.

use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestRunner;

/// What a change may put in: where parsers of JSON, TOML and text go wrong.
const TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "\\",
    "\\u0000",
    "\\ud800",
    "null",
    "true",
    "-1",
    "0",
    "-0",
    "1e999",
    "1.5",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "\n",
    "\n\n",
    "\r",
    "\t",
    " ",
    "=",
    "[[",
    "'",
    "'''",
    "#",
    "${",
    "${HOST}",
    "$$",
    "<b>",
    "&amp;",
    "*",
    "/",
    "@",
    "🙂",
    "é",
    "\u{feff}",
    "\u{200d}",
    "(?i)",
    "update_id",
    "chat",
    "id",
    "type",
    "content",
    "messages",
];

#[derive(Clone, Debug)]
enum Change {
    Cut(Index, usize),
    Put(Index, Vec<u8>),
    Set(Index, u8),
    Again(Index, usize, usize),
    /// From there on, another seed from its own there.
    Splice(Index, Index, Index),
}

/// Calls `check` with all of it. What fails is shown as it is, to become a seed.
pub(super) fn run(target: &str, check: fn(&[u8])) {
    let seeds = seeds(target);
    seeds.iter().for_each(|seed| check(seed));
    let changed = (any::<Index>(), vec(change(), 1..8)).prop_map(|(at, changes)| {
        changes.iter().fold(at.get(&seeds).clone(), |bytes, change| apply(change, bytes, &seeds))
    });
    let random = vec(any::<u8>(), 0..300);
    let inputs = prop_oneof![8 => changed, 1 => random];
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() });
    let shown = |bytes: Vec<u8>| {
        let text = bytes.escape_ascii().to_string();
        std::panic::catch_unwind(|| check(&bytes)).map_err(|_| TestCaseError::fail(text))
    };
    if let Err(error) = runner.run(&inputs, shown) {
        panic!("{target}: {error}");
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let files = std::fs::read_dir(&folder).expect("the seeds are part of the project");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("it can be listed").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no seeds in {}", folder.display());
    paths.iter().map(|path| std::fs::read(path).expect("it can be read")).collect()
}

fn change() -> impl Strategy<Value = Change> {
    let token = prop_oneof![
        4 => select(TOKENS).prop_map(|token| token.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 1..6),
        1 => (select(TOKENS), 1..300_usize).prop_map(|(token, times)| token.repeat(times).into_bytes()),
    ];
    prop_oneof![
        2 => (any::<Index>(), 1..20_usize).prop_map(|(at, length)| Change::Cut(at, length)),
        4 => (any::<Index>(), token).prop_map(|(at, token)| Change::Put(at, token)),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        1 => (any::<Index>(), 1..60_usize, 1..200_usize).prop_map(|(at, length, times)| Change::Again(at, length, times)),
        1 => any::<(Index, Index, Index)>().prop_map(|(at, seed, there)| Change::Splice(at, seed, there)),
    ]
}

fn apply(change: &Change, mut bytes: Vec<u8>, seeds: &[Vec<u8>]) -> Vec<u8> {
    let place = |at: &Index, length: usize| at.index(length + 1);
    match change {
        Change::Cut(at, length) => {
            let at = place(at, bytes.len());
            bytes.drain(at..(at + length).min(bytes.len()));
        }
        Change::Put(at, token) => {
            let at = place(at, bytes.len());
            bytes.splice(at..at, token.iter().copied());
        }
        Change::Set(at, byte) => {
            let at = place(at, bytes.len());
            bytes.splice(at..(at + 1).min(bytes.len()), [*byte]);
        }
        Change::Again(at, length, times) => {
            let at = place(at, bytes.len());
            let part = bytes[at..(at + length).min(bytes.len())].repeat(*times);
            bytes.splice(at..at, part);
        }
        Change::Splice(at, seed, there) => {
            let other = seed.get(seeds);
            bytes.truncate(place(at, bytes.len()));
            bytes.extend_from_slice(&other[place(there, other.len())..]);
        }
    }
    bytes
}
