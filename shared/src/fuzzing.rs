//! What must hold of whatever comes in from outside: raw updates, messages of the broker, records on disk.
//! One place for it, which the fuzz targets of `fuzz/` and the tests on stable Rust both call. No part of
//! the product: it is built for these two alone.
//!
//! A property that does not hold panics, as a fuzzer expects it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(test)]
#[path = "../../fuzz/stable.rs"]
mod stable;

use std::fmt;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::queue::rabbitmq::wire;
use crate::queue::{Envelope, partition_of, record};
use crate::update::{MAX_BODY_BYTES, Malformed, Peek, peek};

/// A raw update. What is taken is read as serde_json itself reads it, and what serde_json reads as an
/// update is taken.
pub fn check_peek(data: &[u8]) {
    let peeked = peek(data);
    let tree = serde_json::from_slice::<Tree>(data);
    match (&peeked, &tree) {
        (Ok(peek), Ok(tree)) => agrees(peek, tree),
        (Ok(peek), Err(_)) => assert!(i64::try_from(peek.update_id).is_ok()),
        (Err(Malformed::TooLarge), _) => assert!(data.len() > MAX_BODY_BYTES),
        (Err(Malformed::NotAnObject), Ok(tree)) => assert!(!matches!(tree, Tree::Object(_))),
        (Err(Malformed::NoUpdateId), Ok(tree)) => assert_eq!(tree.get("update_id").and_then(id_of), None),
        // serde_json's own bound of nesting is as deep as ours, give or take one.
        (Err(Malformed::TooDeep), _) => {}
        (Err(error), Ok(_)) => panic!("{error}, and yet serde_json reads it"),
        (Err(_), Err(_)) => {}
    }
    if let Ok(peek) = peeked {
        let envelope = Envelope::received(peek, None, None, Bytes::copy_from_slice(data));
        assert!(envelope.partition(7) < 7 && partition_of(i64::MIN, 1) == 0);
        passes(&envelope);
    }
}

fn agrees(peek: &Peek, tree: &Tree) {
    let Tree::Object(members) = tree else { panic!("no object was taken") };
    assert_eq!(Some(peek.update_id), tree.get("update_id").and_then(id_of));
    let other = members.iter().find(|(name, _)| name != "update_id");
    let kind: String = other.map(|(name, _)| name.chars().take(64).collect()).unwrap_or_default();
    assert_eq!(peek.kind, kind);
    let id = |holder: Option<&Tree>| holder.and_then(|holder| holder.get("id")).and_then(Tree::i64);
    let content = other.map(|(_, content)| content);
    let of = |name: &str| content.and_then(|content| content.get(name));
    let lane = id(of("chat"))
        .or_else(|| id(of("message").and_then(|message| message.get("chat"))))
        .or_else(|| id(of("voter_chat")))
        .or_else(|| id(of("from")))
        .or_else(|| id(of("user")));
    // `-0` is an integer to us and a float to serde_json.
    assert!(peek.lane == lane || peek.lane == Some(0), "{:?} {lane:?}", peek.lane);
}

/// A message of the broker, and a record on disk. What is read is written and read again, and is the same;
/// what is no update comes back as it was.
pub fn check_envelope(data: &[u8]) {
    let (properties, body) = message(data);
    let _ = wire::returns(&properties);
    match wire::read_envelope(&properties, body.clone()) {
        Ok(envelope) => {
            assert_eq!(envelope.body, body);
            assert!(i64::try_from(envelope.update_id).is_ok(), "an update_id has 63 bits");
            passes(&envelope);
        }
        Err(bytes) => assert_eq!(bytes, body),
    }
    check_record(Bytes::copy_from_slice(data));
    // Random bytes never have the right checksum: the same as a head and a body behind a good one.
    let (head, body) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len()));
    check_record(record::frame(head, &[body]).unwrap().into());
}

fn check_record(record: Bytes) {
    match record::to_update(record.clone()) {
        Ok(envelope) => passes(&envelope),
        Err(bytes) => assert_eq!(bytes, record),
    }
    if let Some(letter) = record::to_letter(record) {
        assert_eq!(record::to_letter(record::of_letter(&letter).unwrap().into()).as_ref(), Some(&letter));
        let _ = (wire::letter_properties(&letter), wire::letter_body(&letter), letter.id());
    }
}

/// An envelope goes through either queue unchanged.
fn passes(envelope: &Envelope) {
    let record = record::of_update(envelope).unwrap();
    assert_eq!(record::to_update(record.into()).as_ref(), Ok(envelope));
    if i64::try_from(envelope.update_id).is_ok() {
        let sent = wire::envelope_properties(envelope);
        assert_eq!(wire::read_envelope(&sent, envelope.body.clone()).as_ref(), Ok(envelope));
    }
}

/// The headers that such a message may have.
const NAMES: [&str; 8] = [
    "tgw-kind",
    "tgw-received",
    "tgw-lane",
    "tgw-bot",
    "tgw-replay",
    "traceparent",
    "x-delivery-count",
    "tgw-version",
];

/// A message made of bytes: a line `m` with its id, `k` with its type, `c` with what it is correlated by, `a` with its
/// application, and lines of a header's number, its type and its value; after an empty line the
/// body. So the seeds can be read, and a fuzzer finds its way.
fn message(data: &[u8]) -> (BasicProperties, Bytes) {
    let end = data.windows(2).position(|pair| pair == b"\n\n").unwrap_or(data.len());
    let body = Bytes::copy_from_slice(data.get(end + 2..).unwrap_or_default());
    let mut headers = FieldTable::default();
    let mut properties = BasicProperties::default();
    for line in data[..end].split(|byte| *byte == b'\n').take(32) {
        let [name, value @ ..] = line else { continue };
        // A short string has at most 255 bytes, and a stray byte becomes three.
        let text = String::from_utf8_lossy(&value[..value.len().min(80)]).into_owned();
        properties = match name {
            b'm' => properties.with_message_id(text.into()),
            b'k' => properties.with_type(text.into()),
            b'c' => properties.with_correlation_id(text.into()),
            b'a' => properties.with_app_id(text.into()),
            _ => {
                if let [kind, value @ ..] = value {
                    headers.insert(NAMES[usize::from(*name) % NAMES.len()].into(), value_of(*kind, value));
                }
                properties
            }
        };
    }
    (properties.with_headers(headers), body)
}

fn value_of(kind: u8, value: &[u8]) -> AMQPValue {
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok()).unwrap_or(-1);
    match kind {
        b'l' => AMQPValue::LongLongInt(number),
        b'I' => AMQPValue::LongInt(number as i32),
        b'i' => AMQPValue::LongUInt(number as u32),
        b's' => AMQPValue::ShortInt(number as i16),
        b'b' => AMQPValue::ShortShortInt(number as i8),
        b't' => AMQPValue::Boolean(number == 0),
        b'T' => AMQPValue::Timestamp(number as u64),
        b'd' => AMQPValue::Double(number as f64),
        b'S' => AMQPValue::LongString(value.into()),
        b'x' => AMQPValue::ByteArray(value.into()),
        b'F' => AMQPValue::FieldTable(FieldTable::default()),
        _ => AMQPValue::Void,
    }
}

/// JSON as serde_json reads it, with every member in its order: a `Value` has the last of a name, and here
/// as there the first counts.
enum Tree {
    Object(Vec<(String, Tree)>),
    Number(serde_json::Number),
    Other,
}

impl Tree {
    fn get(&self, field: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().find(|(name, _)| name == field).map(|(_, value)| value)
    }

    fn i64(&self) -> Option<i64> {
        match self {
            Self::Number(number) => number.as_i64(),
            _ => None,
        }
    }
}

fn id_of(tree: &Tree) -> Option<u64> {
    tree.i64().and_then(|id| u64::try_from(id).ok())
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Tree::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        while seq.next_element::<Tree>()?.is_some() {}
        Ok(Tree::Other)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Number(number.into()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_comes_as_an_update_is_read_as_serde_json_reads_it() {
        stable::run("peek", check_peek);
    }

    #[test]
    fn whatever_comes_out_of_a_queue_is_read_and_written_alike() {
        stable::run("envelope", check_envelope);
    }
}
