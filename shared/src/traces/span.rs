//! One span. It ends when it is dropped.

use std::time::{Duration, SystemTime};

use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{Link, SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;

use super::{TRACER, ids};

/// Who is on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nobody.
    Internal,
    /// Who asks us.
    Server,
    /// Whom we ask.
    Client,
    /// A queue that we put something into.
    Producer,
    /// A queue that we have something from.
    Consumer,
}

/// An open span, or nothing where traces are off. Nothing but ids, the route, the service and the outcome can be put into it.
#[derive(Default)]
pub struct Span(Option<Context>);

impl Span {
    /// A span of the trace that a W3C `traceparent` names; the first of a new one where that is missing or
    /// is none.
    pub fn begin(name: &'static str, kind: Kind, traceparent: Option<&str>) -> Self {
        if TRACER.get().is_none() {
            return Self(None);
        }
        Self::make(builder(name, kind), || parent(traceparent))
    }

    /// Likewise, where the id of a new trace is `own`: the same for every try of the same thing.
    pub fn begin_own(
        name: &'static str,
        kind: Kind,
        traceparent: Option<&str>,
        own: impl FnOnce() -> u128,
    ) -> Self {
        if TRACER.get().is_none() {
            return Self(None);
        }
        ids::with_trace_id(own(), || Self::begin(name, kind, traceparent))
    }

    /// Likewise for what is done once more: linked to the run before, which is what `traceparent` names.
    pub fn begin_again(
        name: &'static str,
        kind: Kind,
        traceparent: Option<&str>,
        own: impl FnOnce() -> u128,
    ) -> Self {
        if TRACER.get().is_none() {
            return Self(None);
        }
        let before = parent(traceparent);
        let link = Link::with_context(before.span().span_context().clone());
        let linked = before.span().span_context().is_valid().then(|| vec![link]);
        let builder = SpanBuilder { links: linked, ..builder(name, kind) };
        ids::with_trace_id(own(), || Self::make(builder, || before))
    }

    /// A part of this one.
    pub fn child(&self, name: &'static str, kind: Kind) -> Self {
        let Some(context) = &self.0 else { return Self(None) };
        Self::make(builder(name, kind), || context.clone())
    }

    /// Likewise for what is over: from `since_ms` (since the epoch) until now. Nothing where the clocks of two machines
    /// differ so much that it would end before it began.
    pub fn over(
        name: &'static str,
        kind: Kind,
        traceparent: Option<&str>,
        since_ms: u64,
        own: impl FnOnce() -> u128,
    ) {
        if TRACER.get().is_none() {
            return;
        }
        let since = SystemTime::UNIX_EPOCH + Duration::from_millis(since_ms);
        if since <= SystemTime::now() {
            let builder = builder(name, kind).with_start_time(since);
            ids::with_trace_id(own(), || Self::make(builder, || parent(traceparent)));
        }
    }

    fn make(builder: SpanBuilder, parent: impl FnOnce() -> Context) -> Self {
        let Some(tracer) = TRACER.get() else { return Self(None) };
        let parent = parent();
        Self(Some(parent.with_span(tracer.build_with_context(builder, &parent))))
    }

    /// What names this span to somebody else, as the W3C writes it. None where traces are off.
    pub fn traceparent(&self) -> Option<String> {
        let span = self.0.as_ref()?.span();
        let context = span.span_context();
        let flags = context.trace_flags().to_u8();
        context.is_valid().then(|| format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id()))
    }

    /// Which update it is about.
    pub fn update(&self, update_id: u64) {
        // No id of Telegram's is larger.
        self.put("tgw.update_id", || (update_id as i64).into());
    }

    /// Which of its replays, where it is one.
    pub fn replay(&self, number: u32) {
        if number > 0 {
            self.put("tgw.replay", || i64::from(number).into());
        }
    }

    /// The id under which services and log know the update.
    pub fn request(&self, id: &str) {
        self.put("tgw.request_id", || id.to_owned().into());
    }

    /// The row of the table, by the name that the metrics have for it.
    pub fn route(&self, name: &str) {
        self.put("tgw.route", || name.to_owned().into());
    }

    pub fn service(&self, name: &str) {
        self.put("tgw.service", || name.to_owned().into());
    }

    /// What came of it: one of a few words.
    pub fn outcome(&self, word: &'static str) {
        self.put("tgw.outcome", || word.into());
    }

    /// Likewise, and that is an error.
    pub fn failed(&self, word: &'static str) {
        self.outcome(word);
        if let Some(context) = &self.0 {
            // Without words: an error's can hold anything.
            context.span().set_status(Status::error(""));
        }
    }

    /// It ends here.
    pub fn end(self) {}

    /// Likewise, as failed.
    pub fn end_failed(self, word: &'static str) {
        self.failed(word);
    }

    fn put(&self, name: &'static str, value: impl FnOnce() -> opentelemetry::Value) {
        if let Some(context) = &self.0 {
            let span = context.span();
            if span.is_recording() {
                span.set_attribute(KeyValue::new(name, value()));
            }
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(context) = &self.0 {
            context.span().end();
        }
    }
}

fn builder(name: &'static str, kind: Kind) -> SpanBuilder {
    SpanBuilder::from_name(name).with_kind(match kind {
        Kind::Internal => SpanKind::Internal,
        Kind::Server => SpanKind::Server,
        Kind::Client => SpanKind::Client,
        Kind::Producer => SpanKind::Producer,
        Kind::Consumer => SpanKind::Consumer,
    })
}

/// The context that a traceparent names; an empty one where it is none.
fn parent(traceparent: Option<&str>) -> Context {
    let nothing = Context::new();
    match traceparent {
        Some(given) => TraceContextPropagator::new().extract_with_context(&nothing, &Carrier(given)),
        None => nothing,
    }
}

struct Carrier<'a>(&'a str);

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == "traceparent").then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_that_is_none_names_no_parent() {
        let given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let named = parent(Some(given)).span().span_context().clone();
        assert_eq!(named.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert!(named.is_remote() && named.is_sampled());
        for none in [None, Some(""), Some("x"), Some(&given[..30]), Some(&given.replace(|_| true, "0"))] {
            assert!(!parent(none).span().span_context().is_valid(), "{none:?}");
        }
    }
}
