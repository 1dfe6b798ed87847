//! The format on disk, of the embedded queue and of the spool: a version, a checksum of all that follows, the length of the head, the head as JSON,
//! then the bytes that Telegram sent, untouched. A letter has the length of its rest in its head, and the
//! rest before the body. The checksum is for what is saved from a damaged file: redb's own is gone then.
//!
//! A file outlives the program that wrote it: what was ever written must parse for ever.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Envelope, Letter, PublishError};

const VERSION: u8 = 1;
/// The version, and the checksum (u64) and the head's length (u32), both little-endian.
const PREFIX: usize = 1 + SUM + LENGTH;
const SUM: usize = 8;
const LENGTH: usize = 4;

#[derive(Serialize)]
struct LetterHead<'a> {
    letter: &'a Letter,
    rest: Option<usize>,
    body: usize,
}

#[derive(Deserialize)]
struct OwnedLetterHead {
    letter: Letter,
    rest: Option<usize>,
    /// The length of the body, which the first records did not have.
    body: Option<usize>,
}

pub(crate) fn of_update(envelope: &Envelope) -> Result<Vec<u8>, PublishError> {
    frame(&serde_json::to_vec(envelope).map_err(unwritable)?, &[&envelope.body])
}

pub(crate) fn of_letter(letter: &Letter) -> Result<Vec<u8>, PublishError> {
    let head = LetterHead { letter, rest: letter.rest.as_ref().map(Bytes::len), body: letter.body.len() };
    let rest = letter.rest.as_deref().unwrap_or_default();
    frame(&serde_json::to_vec(&head).map_err(unwritable)?, &[rest, &letter.body])
}

/// The update, or all of the record's bytes where it holds none.
pub(crate) fn to_update(record: Bytes) -> Result<Envelope, Bytes> {
    let Some((head, body)) = unframe(&record) else {
        return Err(record);
    };
    match serde_json::from_slice::<Envelope>(&head) {
        Ok(envelope) => Ok(Envelope { body, ..envelope }),
        Err(_) => Err(record),
    }
}

/// Where the body begins of the update whose record may begin with these bytes. Quick: it is asked of every
/// byte of a damaged file.
pub(crate) fn looks_like_an_update(bytes: &[u8]) -> Option<usize> {
    looks_like(bytes, b"{\"update_id\":")
}

/// What the head says of an update whose record begins with these bytes, sound or not.
pub(crate) fn head_of_an_update(bytes: &[u8]) -> Option<Envelope> {
    let head_ends = looks_like_an_update(bytes)?;
    serde_json::from_slice(bytes.get(PREFIX..head_ends)?).ok()
}

/// Where the letter ends whose record may begin with these bytes.
pub(crate) fn looks_like_a_letter(bytes: &[u8]) -> Option<usize> {
    let head_ends = looks_like(bytes, b"{\"letter\":")?;
    let head: OwnedLetterHead = serde_json::from_slice(bytes.get(PREFIX..head_ends)?).ok()?;
    head_ends.checked_add(head.rest.unwrap_or(0))?.checked_add(head.body?)
}

fn looks_like(bytes: &[u8], head_begins: &[u8]) -> Option<usize> {
    let head = bytes.get(PREFIX..).filter(|head| bytes[0] == VERSION && head.starts_with(head_begins))?;
    let length = bytes.get(1 + SUM..PREFIX)?.first_chunk::<LENGTH>()?;
    let length = u32::from_le_bytes(*length) as usize;
    (length <= head.len()).then_some(PREFIX + length)
}

pub(crate) fn to_letter(record: Bytes) -> Option<Letter> {
    let (head, mut body) = unframe(&record)?;
    let OwnedLetterHead { letter, rest, .. } = serde_json::from_slice(&head).ok()?;
    if rest.is_some_and(|length| length > body.len()) {
        return None;
    }
    let rest = rest.map(|length| body.split_to(length));
    Some(Letter { rest, body, ..letter })
}

pub(crate) fn frame(head: &[u8], parts: &[&[u8]]) -> Result<Vec<u8>, PublishError> {
    let length = u32::try_from(head.len()).map_err(unwritable)?;
    let mut record =
        Vec::with_capacity(PREFIX + head.len() + parts.iter().map(|part| part.len()).sum::<usize>());
    record.push(VERSION);
    record.extend_from_slice(&[0; SUM]);
    record.extend_from_slice(&length.to_le_bytes());
    record.extend_from_slice(head);
    parts.iter().for_each(|part| record.extend_from_slice(part));
    let (before, summed) = record.split_at_mut(1 + SUM);
    before[1..].copy_from_slice(&checksum(summed).to_le_bytes());
    Ok(record)
}

fn unframe(record: &Bytes) -> Option<(Bytes, Bytes)> {
    let (version, rest) = record.split_first()?;
    let (sum, summed) = rest.split_first_chunk::<SUM>()?;
    let (length, rest) = summed.split_first_chunk::<LENGTH>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let is_whole =
        *version == VERSION && u64::from_le_bytes(*sum) == checksum(summed) && length <= rest.len();
    is_whole.then(|| (record.slice(PREFIX..PREFIX + length), record.slice(PREFIX + length..)))
}

/// FNV's mixing over words of 8 bytes: enough against chance, and no crate more.
fn checksum(bytes: &[u8]) -> u64 {
    let mixed = |sum: u64, word: u64| (sum ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    let (words, rest) = bytes.as_chunks::<8>();
    let sum = words.iter().fold(0xcbf2_9ce4_8422_2325, |sum, word| mixed(sum, u64::from_le_bytes(*word)));
    rest.iter().fold(mixed(sum, bytes.len() as u64), |sum, byte| mixed(sum, u64::from(*byte)))
}

fn unwritable(error: impl std::fmt::Display) -> PublishError {
    PublishError::Disk(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::Reason;
    use super::*;

    fn update() -> Envelope {
        Envelope {
            update_id: 7,
            bot: Some(99),
            kind: "message".to_owned(),
            lane: Some(-100_123),
            received_ms: 1_790_000_000_000,
            replay: 2,
            replayed: None,
            traceparent: None,
            body: Bytes::from_static(b"{\"update_id\":7}\xff"),
        }
    }

    fn letter() -> Letter {
        Letter {
            reason: Reason::Telegram,
            error: "502".to_owned(),
            update_id: Some(7),
            bot: None,
            kind: "message".to_owned(),
            lane: Some(5),
            chat_id: Some(5),
            user_id: None,
            route: Some("text".to_owned()),
            service: None,
            attempts: 3,
            received_ms: 1,
            first_failed_ms: 2,
            last_failed_ms: 3,
            replays: 0,
            replayed: None,
            traceparent: None,
            body: Bytes::from_static(b"body"),
            rest: Some(Bytes::from_static(b"rest")),
        }
    }

    fn record(head: &str, tail: &[u8]) -> Bytes {
        Bytes::from(frame(head.as_bytes(), &[tail]).unwrap())
    }

    #[test]
    fn the_checksum_stays_what_it_is() {
        let sums = ["", "a", "12345678", "123456789"].map(|text| checksum(text.as_bytes()));
        let known = [11980420378357379550, 11780151653291640345, 11397600941147953747, 4853123864311810299];
        assert_eq!(sums, known, "changing this makes every record on every disk a damaged one");
    }

    /// Written by version 1: files like these are on people's disks.
    const UPDATE_1: &str = r#"{"update_id":7,"bot":99,"kind":"message","lane":-100123,"received_ms":1790000000000,"replay":2,"traceparent":null}"#;
    const LETTER_1: &str = r#"{"letter":{"reason":"telegram","error":"502","update_id":7,"bot":null,"kind":"message","lane":5,"chat_id":5,"user_id":null,"route":"text","service":null,"attempts":3,"received_ms":1,"first_failed_ms":2,"last_failed_ms":3,"replays":0,"traceparent":null},"rest":4}"#;

    #[test]
    fn records_of_version_1_are_read_for_ever() {
        assert_eq!(to_update(record(UPDATE_1, b"{\"update_id\":7}\xff")), Ok(update()));
        assert_eq!(to_letter(record(LETTER_1, b"restbody")), Some(letter()));
    }

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(to_update(of_update(&update()).unwrap().into()), Ok(update()));
        assert_eq!(to_letter(of_letter(&letter()).unwrap().into()), Some(letter()));
        let bare = Letter { rest: None, body: Bytes::new(), ..letter() };
        assert_eq!(to_letter(of_letter(&bare).unwrap().into()), Some(bare));
    }

    #[test]
    fn what_is_no_record_comes_back_whole() {
        let whole = of_update(&update()).unwrap();
        for end in 0..PREFIX + UPDATE_1.len() {
            let torn = Bytes::copy_from_slice(&whole[..end]);
            assert_eq!(to_update(torn.clone()), Err(torn));
        }
        let newer: Bytes = [&[9], &whole[1..]].concat().into();
        assert_eq!(to_update(newer.clone()), Err(newer));
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            assert!(to_update(changed.into()).is_err(), "byte {at} changed");
        }
        assert_eq!(to_letter(record(LETTER_1, b"r")), None);
    }
}
