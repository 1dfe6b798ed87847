//! A door to the pure parts of an update's way through the worker, for the benchmarks and the count of allocations in
//! `bench/`. No part of the product: only they are built with it.

use bytes::Bytes;

use crate::incoming::Incoming;
use crate::reply::{Answer, calls};
use crate::routes::Table;

/// An update, read as it is when it comes from the queue.
pub struct Read(Incoming);

/// The built-in table of routes, or a large one.
pub struct Routes(Table);

pub fn read(body: Bytes) -> Read {
    Read(Incoming::from_bytes(body))
}

impl Routes {
    pub fn builtin() -> Self {
        Self(Table::builtin())
    }

    /// None where the text is no table.
    pub fn parse(text: &str) -> Option<Self> {
        Table::parse(text, "large.toml", &|_| None).ok().map(Self)
    }

    /// Whether a route takes it.
    pub fn find(&self, update: &Read) -> bool {
        self.0.find(&update.0, Some("the_bot")).is_some()
    }
}

/// How many calls of the Bot API a service's answer comes to, each with its parameters as bytes.
pub fn format(update: &Read, answer: &[u8]) -> usize {
    let answer = Answer::parse(200, Some("application/json"), answer);
    let calls = answer.and_then(|answer| calls(&answer, &update.0)).unwrap_or_default();
    calls.iter().filter(|call| serde_json::to_vec(&call.params).is_ok()).count()
}

/// The same for a text of any length, which is split where it has to be.
pub fn split(update: &Read, text: &str) -> usize {
    calls(&Answer::fixed(text), &update.0).map_or(0, |calls| calls.len())
}
