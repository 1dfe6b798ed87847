//! A lens on raw JSON: look a field up without building a tree, and take "not there" and "of another
//! type" for the same answer, `None`. An update with wrong types inside is no error (contract 9), it just
//! matches nothing. Nothing here recurses over the input, so depth costs no stack.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON value as it came, not yet looked into.
#[derive(Clone, Copy, Debug)]
pub struct Json<'a>(&'a RawValue);

/// The members of a JSON object, in their order.
#[derive(Debug)]
pub struct Object<'a>(Vec<(Cow<'a, [u8]>, Json<'a>)>);

impl<'a> Json<'a> {
    /// The whole text as one value. Errors where it is not JSON.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<&RawValue>(text).map(Self)
    }

    /// The value's own text, byte for byte.
    pub fn raw(self) -> &'a RawValue {
        self.0
    }

    pub fn is_object(self) -> bool {
        self.0.get().starts_with('{')
    }

    pub fn is_array(self) -> bool {
        self.0.get().starts_with('[')
    }

    pub fn object(self) -> Option<Object<'a>> {
        let mut source = serde_json::Deserializer::from_str(self.0.get());
        source.deserialize_map(Members).ok().map(Object)
    }

    pub fn array(self) -> Option<Vec<Json<'a>>> {
        let mut source = serde_json::Deserializer::from_str(self.0.get());
        source.deserialize_seq(Elements).ok()
    }

    /// The string, unescaped; a lone surrogate reads as U+FFFD.
    pub fn string(self) -> Option<Cow<'a, str>> {
        let mut source = serde_json::Deserializer::from_str(self.0.get());
        match source.deserialize_bytes(Text).ok()? {
            Cow::Borrowed(bytes) => Some(String::from_utf8_lossy(bytes)),
            Cow::Owned(bytes) => Some(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())),
        }
    }

    pub fn is_string(self) -> bool {
        self.0.get().starts_with('"')
    }

    pub fn i64(self) -> Option<i64> {
        self.0.get().parse().ok()
    }

    pub fn u64(self) -> Option<u64> {
        self.0.get().parse().ok()
    }

    pub fn bool(self) -> Option<bool> {
        self.0.get().parse().ok()
    }

    /// `field` of this value, if this is an object that has it.
    pub fn get(self, field: &str) -> Option<Json<'a>> {
        self.object()?.get(field)
    }
}

impl<'a> Object<'a> {
    /// The first member of that name.
    pub fn get(&self, field: &str) -> Option<Json<'a>> {
        self.0.iter().find(|(key, _)| key.as_ref() == field.as_bytes()).map(|(_, value)| *value)
    }

    pub fn has(&self, field: &str) -> bool {
        self.get(field).is_some()
    }

    /// Names and values in their order; a lone surrogate in a name reads as U+FFFD.
    pub fn members(&self) -> impl Iterator<Item = (Cow<'_, str>, Json<'a>)> {
        self.0.iter().map(|(key, value)| (String::from_utf8_lossy(key), *value))
    }
}

/// Keys are read as bytes: serde_json refuses a lone surrogate in a string, and lets it through here.
struct Key<'a>(Cow<'a, [u8]>);

impl<'de> serde::Deserialize<'de> for Key<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_bytes(Text).map(Key)
    }
}

struct Text;

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, [u8]>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a string")
    }

    fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(bytes))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(Cow::Owned(bytes.to_vec()))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text.as_bytes()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.as_bytes().to_vec()))
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(Cow<'de, [u8]>, Json<'de>)>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(8);
        while let Some((key, value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
            members.push((key.0, Json(value)));
        }
        Ok(members)
    }
}

struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<Json<'de>>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(value) = seq.next_element::<&'de RawValue>()? {
            elements.push(Json(value));
        }
        Ok(elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Json<'_> {
        Json::parse(text).unwrap()
    }

    #[test]
    fn a_field_of_another_type_reads_as_absent() {
        let json = parse(r#"{"a":"x","b":1.5,"c":null,"d":{"e":-7}}"#);
        assert_eq!(json.get("a").unwrap().i64(), None);
        assert_eq!(json.get("b").unwrap().i64(), None);
        assert!(json.get("c").unwrap().object().is_none());
        assert!(json.get("d").unwrap().string().is_none());
        assert_eq!(json.get("d").and_then(|d| d.get("e")).and_then(Json::i64), Some(-7));
        assert!(parse("5").get("a").is_none());
    }

    #[test]
    fn a_lone_surrogate_is_let_through_in_keys_and_texts() {
        let json = parse(r#"{"\ud800":1,"text":"a\ud83d"}"#);
        let text = json.get("text").unwrap();
        assert_eq!(text.raw().get(), r#""a\ud83d""#);
        assert!(text.string().unwrap().starts_with('a'));
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
        let text = format!(r#"{{"a":{deep},"b":2}}"#);
        assert_eq!(parse(&text).get("b").and_then(Json::i64), Some(2));
    }
}
