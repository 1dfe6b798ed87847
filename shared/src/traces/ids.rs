//! Ids of traces: drawn by lot, unless the one who begins a trace has a better one.

use std::cell::Cell;

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

thread_local! {
    /// Only while a span is being made, which is done in one go.
    static CHOSEN: Cell<Option<TraceId>> = const { Cell::new(None) };
}

/// What `make` makes begins the trace of that id, where it begins one.
pub(super) fn with_trace_id<T>(id: u128, make: impl FnOnce() -> T) -> T {
    CHOSEN.set(Some(TraceId::from(id)));
    let made = make();
    CHOSEN.set(None);
    made
}

#[derive(Debug, Default)]
pub(super) struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        CHOSEN.take().filter(|id| *id != TraceId::INVALID).unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}
