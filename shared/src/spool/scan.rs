//! Finds updates in the bytes of a damaged file, with no help from its structure: each record begins in a way
//! that hardly anything else does, and has a checksum over all of it.
//!
//! A file that a crash left behind and that was damaged since may have no whole commit, and then the database
//! can't open it at all. What is found this way may have been removed already: the broker gets it once more, and
//! it is found to have been seen. Better twice than never.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use serde::de::IgnoredAny;

use crate::clock;
use crate::queue::{Envelope, record};
use crate::update::MAX_BODY_BYTES;

/// What is read at a time.
const STEP: usize = 8 * 1024 * 1024;

/// The longest record: a body, and a head that is far shorter than one.
const LONGEST: usize = 2 * MAX_BODY_BYTES;

/// White space that may follow a body, as Telegram sent it.
const TAIL: usize = 4;

/// What is older has expired, and was delivered long ago unless it was still waiting (facts T4).
const OLDEST_MS: u64 = 24 * 60 * 60 * 1000;

/// Calls `found` with every sound update in the file, and its record.
pub(super) fn scan<E: From<io::Error>>(
    path: &Path,
    mut found: impl FnMut(&Envelope, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut file = File::open(path)?;
    let mut window = Vec::new();
    loop {
        let read = file.by_ref().take(STEP as u64).read_to_end(&mut window)?;
        // A record that begins in the last part of the window may go on in the next.
        let end = if read == 0 { window.len() } else { window.len().saturating_sub(LONGEST) };
        let mut at = 0;
        while at < end {
            at += match record_at(&window[at..]) {
                Some((envelope, length)) => {
                    found(&envelope, &window[at..at + length])?;
                    length
                }
                None => 1,
            };
        }
        window.drain(..at.min(window.len()));
        if read == 0 {
            return Ok(());
        }
    }
}

/// The record that begins here, if one does, and its length.
fn record_at(bytes: &[u8]) -> Option<(Envelope, usize)> {
    let body_at = record::looks_like_an_update(bytes)?;
    let mut body = serde_json::Deserializer::from_slice(bytes.get(body_at..)?).into_iter::<IgnoredAny>();
    body.next()?.ok()?;
    let end = body_at + body.byte_offset();
    (end..=end + TAIL).find_map(|end| {
        let record = Bytes::copy_from_slice(bytes.get(..end)?);
        let envelope = record::to_update(record).ok()?;
        let is_young = clock::now_ms().saturating_sub(envelope.received_ms) < OLDEST_MS;
        is_young.then_some((envelope, end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(update_id: u64, body: &str) -> Envelope {
        Envelope {
            update_id,
            bot: Some(3),
            kind: "message".to_owned(),
            lane: Some(4),
            received_ms: clock::now_ms(),
            replay: 0,
            traceparent: None,
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    fn found_in(bytes: &[u8]) -> Vec<Envelope> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let mut found = Vec::new();
        let collect = |envelope: &Envelope, _: &[u8]| {
            found.push(envelope.clone());
            Ok::<_, io::Error>(())
        };
        scan(file.path(), collect).unwrap();
        found
    }

    #[test]
    fn records_are_found_between_anything() {
        let all =
            [envelope(1, r#"{"update_id":1}"#), envelope(2, "{\"a\":[1,{\"b\":2}]} \n"), envelope(3, "7")];
        let mut bytes = vec![1; 5000];
        for envelope in &all {
            bytes.extend(record::of_update(envelope).unwrap());
            bytes.extend(b"{\"update_id\":7,\x01\x01\x00 garbage");
        }
        assert_eq!(found_in(&bytes), all);
    }

    #[test]
    fn a_record_over_the_edge_of_a_window_is_found_once() {
        let body = format!(r#"{{"text":"{}"}}"#, "x".repeat(900_000));
        let all: Vec<_> = (0..30).map(|id| envelope(id, &body)).collect();
        let bytes: Vec<u8> = all.iter().flat_map(|it| record::of_update(it).unwrap()).collect();
        let ids: Vec<_> = found_in(&bytes).iter().map(|it| it.update_id).collect();
        assert_eq!(ids, (0..30).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_damaged_or_old_is_passed_over() {
        let whole = record::of_update(&envelope(1, r#"{"update_id":1,"text":"hello"}"#)).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x20;
            assert_eq!(found_in(&bytes), [], "byte {at}");
        }
        let old = Envelope { received_ms: 1_790_000_000_000, ..envelope(1, "{}") };
        assert_eq!(found_in(&record::of_update(&old).unwrap()), []);
    }
}
