//! How a service knows that it is the gateway that asks: headers, a bearer token, signed requests. Values come
//! from the environment (`${VARIABLES}`), and no error shows one.

use std::collections::BTreeMap;

use super::reader::{Entry, Reader, Section};

/// The shortest secret that is worth its name, in bytes.
pub const SHORTEST_SECRET: usize = 16;

/// The gateway's own: a service could not rely on them if a table might set them too.
const OURS: [&str; 6] =
    ["content-type", "x-request-id", "idempotency-key", "traceparent", "x-tgw-timestamp", "x-tgw-signature"];

/// Of the connection, which the HTTP client looks after.
const CONNECTION: [&str; 4] = ["connection", "content-length", "transfer-encoding", "upgrade"];

/// Whether it can be sent behind `Authorization: Bearer`.
pub fn is_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

pub fn is_secret(secret: &str) -> bool {
    secret.len() >= SHORTEST_SECRET
}

/// `bearer = "${WEATHER_TOKEN}"`.
pub(super) fn bearer(reader: &mut Reader<'_>, section: Section<'_>) -> Option<String> {
    let Entry { value, span } = reader.secret(section, "bearer")?;
    if !is_token(&value) {
        reader.refuse_unseen("bearer", span.start, "must be a token: plain ASCII without spaces");
        return None;
    }
    let headers = section.get("headers").and_then(|headers| headers.get_ref().as_table());
    let mut names = headers.into_iter().flat_map(|headers| headers.keys());
    if names.any(|name| name.get_ref().eq_ignore_ascii_case("authorization")) {
        reader.refuse_unseen("bearer", span.start, "the headers have an Authorization too: take one away");
        return None;
    }
    Some(value)
}

/// `sign = "${WEATHER_SECRET}"`.
pub(super) fn sign(reader: &mut Reader<'_>, section: Section<'_>) -> Option<String> {
    let Entry { value, span } = reader.secret(section, "sign")?;
    if is_secret(&value) {
        return Some(value);
    }
    let expected = format!("must be a secret of {SHORTEST_SECRET} bytes or more");
    reader.refuse_unseen("sign", span.start, expected);
    None
}

pub(super) fn headers(reader: &mut Reader<'_>, section: Section<'_>) -> BTreeMap<String, String> {
    let Some(headers) = reader.secret_section(section, "headers") else {
        return BTreeMap::new();
    };
    let mut read = BTreeMap::new();
    for (name, value) in headers.table.iter() {
        let at = value.span().start;
        let name = name.get_ref().as_ref();
        let lower = name.to_ascii_lowercase();
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            // A whole header that was written for a name has its value behind the colon.
            let name = name.split(':').next().unwrap_or_default();
            reader.refuse_unseen(name, at, "is not the name of a header");
        } else if OURS.contains(&lower.as_str()) || CONNECTION.contains(&lower.as_str()) {
            reader.refuse_unseen(name, at, "is a header that the gateway sets itself: take it away");
        } else if let Some(Entry { value, .. }) = reader.secret(headers, name) {
            if value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)) {
                read.insert(name.to_owned(), value);
            } else {
                reader.refuse_unseen(name, at, "must be plain ASCII on one line");
            }
        }
    }
    read
}
