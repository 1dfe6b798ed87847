//! Large tables: an update is compared with a handful of rows, however many there are.

use std::cell::Cell;
use std::hint::black_box;
use std::time::Instant;

use super::Table;
use super::tests::update;
use crate::incoming::Incoming;

thread_local! {
    /// How many rows were compared with an update.
    pub(super) static COMPARED: Cell<usize> = const { Cell::new(0) };
}

/// A table of so many rows, as many of each sort, and an update for the last of each sort.
fn large(rows: usize) -> (Table, Vec<Incoming>) {
    let mut toml = String::new();
    for row in 0..rows / 5 {
        for conditions in [
            format!("command = \"/c{row}\""),
            format!("callback = \"C{row}\""),
            format!("text = \"(?i)\\\\bword{row}\\\\b\""),
            format!("kind = \"kind_{}\"", letters(row)),
            format!("command = \"/l{row}\"\nlanguage = \"de\""),
        ] {
            toml += &format!("[[routes]]\n{conditions}\nreply = \"x\"\n");
        }
    }
    let last = rows / 5 - 1;
    let text = |text: &str| update("message", "private", &format!(r#""text":"{text}""#));
    let mut speaking = text(&format!("/l{last}"));
    speaking.user.as_mut().unwrap().language_code = Some("de".to_owned());
    let updates = vec![
        text(&format!("/c{last} now")),
        update("callback_query", "private", &format!("C{last}:1")),
        text(&format!("what does WORD{last} mean?")),
        update(&format!("kind_{}", letters(last)), "private", r#""x":1"#),
        speaking,
        text("nothing that any row takes"),
    ];
    (Table::parse(&toml, "large.toml", &|_| None).unwrap(), updates)
}

/// A kind's name has no digits.
fn letters(number: usize) -> String {
    number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
}

#[test]
fn an_update_is_compared_with_as_few_rows_of_a_large_table_as_of_a_small_one() {
    let compared = |rows: usize| -> Vec<usize> {
        let (table, updates) = large(rows);
        let one = |update: &Incoming| {
            COMPARED.set(0);
            assert_eq!(
                table.find(update, None).is_some(),
                !update.text.as_ref().is_some_and(|it| it.plain.starts_with("nothing"))
            );
            COMPARED.get()
        };
        updates.iter().map(one).collect()
    };
    let (small, large) = (compared(50), compared(5_000));
    // The last pattern is `word999`: the words of 9 and 99 are in it too.
    assert!(small.iter().zip(&large).all(|(small, large)| *large <= small + 2), "{small:?} {large:?}");
    assert!(large.iter().all(|compared| *compared <= 3), "{large:?}");
}

/// `cargo test --release -p tgw-worker --lib -- --ignored --nocapture a_lookup`. No bound: it says how long, whatever
/// the machine.
#[test]
#[ignore = "measures"]
fn a_lookup_in_a_large_table_takes() {
    for rows in [50, 5_000] {
        let (table, updates) = large(rows);
        for (sort, update) in
            ["command", "callback", "pattern", "kind", "language", "nothing"].iter().zip(&updates)
        {
            let begun = Instant::now();
            for _ in 0..100_000 {
                black_box(table.find(black_box(update), None));
            }
            println!("{rows} rows, {sort}: {:.2} µs", begun.elapsed().as_secs_f64() * 10.0);
        }
    }
}
