//! A lens on raw JSON: look a field up without building a tree, and take "not there" and "of another
//! type" for the same answer, `None`. An update with wrong types inside is no error (contract 9), it just
//! matches nothing. Nothing here recurses over the input, so depth costs no stack.
//!
//! Whether a text is JSON is asked once, of serde_json. Within one that is, values are found by their ends alone, so
//! that a field three levels down is not parsed three times (docs/performance-changes.md).

use std::borrow::Cow;
use std::fmt;

use memchr::{memchr, memchr2};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON value as it came, not yet looked into: the text of one value, without space around it. There is no way to
/// one but through serde_json, so that it is known to be JSON.
#[derive(Clone, Copy, Debug)]
pub struct Json<'a>(&'a str);

/// As many members as most messages and answers have.
const FEW: usize = 16;

/// The members of a JSON object, in their order, for who asks for many of them.
#[derive(Debug)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

impl<'a> Json<'a> {
    /// The whole text as one value. Errors where it is not JSON.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<&RawValue>(text).map(|value| Self(value.get()))
    }

    /// The value's own text, byte for byte.
    pub fn text(self) -> &'a str {
        self.0
    }

    pub fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    pub fn is_array(self) -> bool {
        self.0.starts_with('[')
    }

    pub fn object(self) -> Option<Object<'a>> {
        self.is_object().then(|| {
            let mut members = Vec::with_capacity(FEW);
            members.extend(self.members());
            Object(members)
        })
    }

    pub fn array(self) -> Option<Vec<Json<'a>>> {
        self.is_array().then(|| self.within().collect())
    }

    /// The string, unescaped; a lone surrogate reads as U+FFFD.
    pub fn string(self) -> Option<Cow<'a, str>> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        if memchr(b'\\', inner.as_bytes()).is_none() {
            return Some(Cow::Borrowed(inner));
        }
        let mut source = serde_json::Deserializer::from_str(self.0);
        source.deserialize_bytes(Unescaped).ok().map(Cow::Owned)
    }

    pub fn is_string(self) -> bool {
        self.0.starts_with('"')
    }

    pub fn i64(self) -> Option<i64> {
        self.0.parse().ok()
    }

    pub fn u64(self) -> Option<u64> {
        self.0.parse().ok()
    }

    pub fn bool(self) -> Option<bool> {
        self.0.parse().ok()
    }

    /// The first member of that name, if this is an object that has one. Reads no further than that.
    pub fn get(self, field: &str) -> Option<Json<'a>> {
        self.members().find(|(name, _)| name == field).map(|(_, value)| value)
    }

    /// Names and values in their order; none of what is no object.
    fn members(self) -> impl Iterator<Item = (Cow<'a, str>, Json<'a>)> {
        let mut within = if self.is_object() { self.within() } else { Within { text: "", at: 0 } };
        std::iter::from_fn(move || Some((within.name()?, within.next()?)))
    }

    /// What is in an array or an object.
    fn within(self) -> Within<'a> {
        Within { text: self.0.get(1..self.0.len() - 1).unwrap_or_default(), at: 0 }
    }
}

impl<'a> Object<'a> {
    /// The whole text as one object; none where it is JSON and no object. Errors where it is not JSON. Its members are
    /// found while it is asked whether it is JSON.
    pub fn parse(text: &'a str) -> Result<Option<Self>, serde_json::Error> {
        match serde_json::from_str(text) {
            Ok(object) => Ok(Some(object)),
            Err(_) => Json::parse(text).map(Json::object),
        }
    }

    /// Names and values in their order; a lone surrogate in a name reads as U+FFFD.
    pub fn members(&self) -> impl Iterator<Item = (&str, Json<'a>)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), *value))
    }

    /// The first member of that name.
    pub fn get(&self, field: &str) -> Option<Json<'a>> {
        self.0.iter().find(|(name, _)| name == field).map(|(_, value)| *value)
    }

    pub fn has(&self, field: &str) -> bool {
        self.get(field).is_some()
    }
}

/// The inside of an array or an object: values one after the other; an object's are names and values in turn.
struct Within<'a> {
    text: &'a str,
    /// Where the next one is looked for.
    at: usize,
}

impl<'a> Iterator for Within<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Json<'a>> {
        let start = self.start()?;
        self.at = end_of_value(self.text.as_bytes(), start);
        self.text.get(start..self.at).map(Json)
    }
}

impl<'a> Within<'a> {
    /// The next value, which is a string.
    fn name(&mut self) -> Option<Cow<'a, str>> {
        let inner = self.text.get(self.start()? + 1..)?;
        let end = memchr2(b'"', b'\\', inner.as_bytes())?;
        if inner.as_bytes().get(end) == Some(&b'\\') {
            return self.next()?.string();
        }
        self.at = self.text.len() - inner.len() + end + 1;
        inner.get(..end).map(Cow::Borrowed)
    }

    /// Where the next value begins.
    fn start(&self) -> Option<usize> {
        let json = self.text.as_bytes();
        let mut at = self.at;
        while is_between(*json.get(at)?) {
            at += 1;
        }
        Some(at)
    }
}

/// What stands between values.
fn is_between(byte: u8) -> bool {
    matches!(byte, b',' | b':' | b' ' | b'\n' | b'\r' | b'\t')
}

/// Where the value ends that begins at `at`.
fn end_of_value(json: &[u8], mut at: usize) -> usize {
    match json.get(at) {
        Some(b'"') => end_of_string(json, at + 1),
        Some(b'{' | b'[') => end_of_container(json, at + 1),
        _ => {
            while json.get(at).is_some_and(|byte| !is_between(*byte)) {
                at += 1;
            }
            at
        }
    }
}

/// Where the string ends that `at` is in.
fn end_of_string(json: &[u8], mut at: usize) -> usize {
    while let Some(found) = json.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        match json.get(at) {
            Some(b'\\') => at += 2,
            _ => return at + 1,
        }
    }
    json.len()
}

/// Where the array or object ends that `at` is in.
fn end_of_container(json: &[u8], mut at: usize) -> usize {
    let mut open = 1_usize;
    while let Some(byte) = json.get(at) {
        at += 1;
        match byte {
            b'"' => at = end_of_string(json, at),
            b'{' | b'[' => open += 1,
            b'}' | b']' if open == 1 => return at,
            b'}' | b']' => open -= 1,
            _ => {}
        }
    }
    json.len()
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_map(Members).map(Self)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(Cow<'de, str>, Json<'de>)>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(4);
        while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            members.push((Json(name.get()).string().unwrap_or_default(), Json(value.get())));
        }
        Ok(members)
    }
}

/// Reads a string as bytes: serde_json refuses a lone surrogate in a string, and lets it through here.
struct Unescaped;

impl Visitor<'_> for Unescaped {
    type Value = String;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<String, E> {
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests;
