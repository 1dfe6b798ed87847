//! Finds updates in the bytes of a damaged file, with no help from its structure: each record begins in a way
//! that hardly anything else does, and has a checksum over all of it.
//!
//! A file that a crash left behind and that was damaged since may have no whole commit, and then the database
//! can't open it at all. What is found this way may have been removed already: the broker gets it once more, and
//! it is found to have been seen. Better twice than never.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
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

/// What is older was delivered long ago, unless the broker was away for a week.
const OLDEST_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// What is passed over where the disk can't be read.
const SECTOR: u64 = 4096;

/// What was found.
pub(super) enum Found {
    Update(Envelope),
    Letter,
    /// It begins as the record of this update does, and is not whole; without a body.
    Bad(Envelope),
}

/// Calls `found` with every sound update and letter in the file, and its record. An error is `found`'s: what
/// can't be read is passed over.
pub(super) fn scan<E>(path: &Path, mut found: impl FnMut(Found, &[u8]) -> Result<(), E>) -> Result<(), E> {
    scan_with_places(path, |what, _, record| match what {
        Found::Bad(_) => Ok(()),
        sound => found(sound, record),
    })
}

/// The same with what is damaged, and with the offset at which each begins.
pub(super) fn scan_with_places<E>(
    path: &Path,
    found: impl FnMut(Found, u64, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let Ok(file) = File::open(path) else { return Ok(()) };
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    scan_all(file, length, found)
}

/// How a step of reading ended.
enum Step {
    /// What comes next follows on it.
    More,
    /// Nothing does: a sector can't be read.
    Gap,
    End,
}

fn scan_all<E>(
    mut source: impl Read + Seek,
    length: u64,
    mut found: impl FnMut(Found, u64, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let (mut window, mut place) = (Vec::new(), 0);
    loop {
        let begins = place - window.len() as u64;
        let step = read(&mut source, length, &mut place, &mut window);
        // A record that begins in the last part of the window may go on in the next.
        let kept = if let Step::More = step { LONGEST } else { 0 };
        let end = window.len().saturating_sub(kept);
        let mut at = 0;
        while at < end {
            at += match record_at(&window[at..]) {
                Some((what, length)) => {
                    found(what, begins + at as u64, &window[at..at + length])?;
                    length
                }
                None => 1,
            };
        }
        window.drain(..at);
        match step {
            Step::More => {}
            Step::Gap => window.clear(),
            Step::End => return Ok(()),
        }
    }
}

/// Reads on from `place`, and passes over a sector that can't be read.
fn read(source: &mut (impl Read + Seek), length: u64, place: &mut u64, window: &mut Vec<u8>) -> Step {
    if *place >= length {
        return Step::End;
    }
    let before = window.len();
    let reading = source.seek(SeekFrom::Start(*place));
    let outcome = reading.and_then(|_| source.by_ref().take(STEP as u64).read_to_end(window));
    *place += (window.len() - before) as u64;
    match outcome {
        Ok(0) => Step::End,
        Ok(_) => Step::More,
        Err(_) => {
            *place += SECTOR;
            Step::Gap
        }
    }
}

/// The record that begins here, if one does, and its length.
fn record_at(bytes: &[u8]) -> Option<(Found, usize)> {
    if let Some(end) = record::looks_like_a_letter(bytes) {
        let letter = record::to_letter(Bytes::copy_from_slice(bytes.get(..end)?))?;
        return is_young(letter.received_ms).then_some((Found::Letter, end));
    }
    let body_at = record::looks_like_an_update(bytes)?;
    let Some((envelope, end)) = update_at(bytes, body_at) else {
        let head = record::head_of_an_update(bytes)?;
        return is_young(head.received_ms).then_some((Found::Bad(head), body_at));
    };
    is_young(envelope.received_ms).then_some((Found::Update(envelope), end))
}

fn update_at(bytes: &[u8], body_at: usize) -> Option<(Envelope, usize)> {
    let mut body = serde_json::Deserializer::from_slice(bytes.get(body_at..)?).into_iter::<IgnoredAny>();
    body.next()?.ok()?;
    let end = body_at + body.byte_offset();
    (end..=end + TAIL).find_map(|end| {
        let record = Bytes::copy_from_slice(bytes.get(..end)?);
        record::to_update(record).ok().map(|envelope| (envelope, end))
    })
}

fn is_young(received_ms: u64) -> bool {
    clock::now_ms().saturating_sub(received_ms) < OLDEST_MS
}

#[cfg(test)]
mod tests {
    use std::io::{self, Cursor};

    use super::*;
    use crate::queue::Letter;

    fn envelope(update_id: u64, body: &str) -> Envelope {
        Envelope {
            update_id,
            bot: Some(3),
            kind: "message".to_owned(),
            lane: Some(4),
            received_ms: clock::now_ms(),
            replay: 0,
            replayed: None,
            traceparent: None,
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    /// Stands for a letter.
    const LETTER: u64 = 999;

    #[test]
    fn letters_are_found_whatever_they_hold() {
        let letter = |body: &'static [u8]| Letter::malformed("x".to_owned(), None, None, body.into());
        let mut bytes = vec![0; 77];
        for body in [&b"not json \xff"[..], b"", b"{\"letter\":"] {
            bytes.extend(record::of_letter(&letter(body)).unwrap());
            bytes.extend(b"\x01\x01garbage");
        }
        assert_eq!(found_in(&bytes).iter().map(|it| it.update_id).collect::<Vec<_>>(), [LETTER; 3]);
    }

    fn found_in(bytes: &[u8]) -> Vec<Envelope> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let mut found = Vec::new();
        let collect = |what: Found, _: &[u8]| {
            match what {
                Found::Update(envelope) => found.push(envelope),
                Found::Letter => found.push(envelope(LETTER, "")),
                Found::Bad(_) => {}
            }
            Ok::<_, ()>(())
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

    /// A disk with a bad sector.
    struct Bad {
        disk: Cursor<Vec<u8>>,
        sector: u64,
    }

    impl Read for Bad {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let (from, bad) = (self.disk.position(), self.sector..self.sector + SECTOR);
            if bad.contains(&from) {
                return Err(io::Error::other("a bad sector"));
            }
            let most = if from < bad.start { (bad.start - from) as usize } else { out.len() };
            let length = most.min(out.len());
            self.disk.read(&mut out[..length])
        }
    }

    impl Seek for Bad {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.disk.seek(to)
        }
    }

    #[test]
    fn what_is_before_and_behind_a_bad_sector_is_found() {
        let records = |ids: std::ops::Range<u64>| -> Vec<u8> {
            ids.flat_map(|id| record::of_update(&envelope(id, "{}")).unwrap()).collect()
        };
        let mut disk = records(0..20);
        let sector = disk.len() as u64;
        disk.extend(vec![0; SECTOR as usize]);
        disk.extend(records(20..40));
        let (length, mut ids) = (disk.len() as u64, Vec::new());
        let collect = |what: Found, _: u64, _: &[u8]| {
            if let Found::Update(envelope) = what {
                ids.push(envelope.update_id);
            }
            Ok::<_, ()>(())
        };
        scan_all(Bad { disk: Cursor::new(disk), sector }, length, collect).unwrap();
        assert_eq!(ids, (0..40).collect::<Vec<_>>());
    }

    #[test]
    fn what_the_disk_does_not_give_is_passed_over() {
        // A folder can be opened, and not read.
        let folder = tempfile::TempDir::new().unwrap();
        assert_eq!(scan(folder.path(), |_, _| Err("it found something")), Ok(()));
        assert_eq!(scan(&folder.path().join("none"), |_, _| Err("it found something")), Ok(()));
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
