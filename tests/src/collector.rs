//! A fake collector of traces: OTLP over HTTP, the spans kept as a test wants to read them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::http::{Answer, Handler, Request, Server};
use crate::wait::{LONG, wait_until};

/// One span, its ids in hex as a `traceparent` has them.
#[derive(Clone, Debug)]
pub struct TraceSpan {
    /// The process's name: `service.name`.
    pub process: String,
    pub name: String,
    pub trace: String,
    pub id: String,
    /// Empty where it is the first of its trace.
    pub parent: String,
    /// Spans that it is linked to.
    pub links: Vec<String>,
    pub attributes: BTreeMap<String, String>,
    pub failed: bool,
    /// Nanoseconds since the epoch.
    pub begun: u64,
    pub ended: u64,
}

impl TraceSpan {
    /// An attribute; empty where it has none of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// Takes every span until told otherwise.
#[derive(Debug)]
pub struct FakeCollector {
    server: Server,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    requests: Vec<Request>,
    answer: Answer,
}

impl FakeCollector {
    pub async fn start() -> Self {
        let taken = Answer::Raw("application/x-protobuf", Vec::new());
        let state = Arc::new(Mutex::new(State { requests: Vec::new(), answer: taken }));
        let seen = state.clone();
        let handler: Handler = Arc::new(move |request| {
            let mut state = seen.lock().expect("nobody panics with it");
            state.requests.push(request);
            state.answer.clone()
        });
        Self { server: Server::start(handler).await, state }
    }

    /// The endpoint, as the setting has it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// From now on every request is answered so.
    pub fn answer(&self, answer: Answer) {
        self.state().answer = answer;
    }

    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// All spans so far.
    #[must_use]
    pub fn spans(&self) -> Vec<TraceSpan> {
        self.requests().iter().flat_map(spans_of).collect()
    }

    /// Waits until so many spans of that name are there, and returns all spans.
    pub async fn wait_for(&self, name: &str, count: usize) -> Vec<TraceSpan> {
        let is = |span: &TraceSpan| span.name == name;
        wait_until(&format!("{count} spans {name}"), LONG, || {
            self.spans().into_iter().filter(is).count() >= count
        })
        .await;
        self.spans()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }
}

fn spans_of(request: &Request) -> Vec<TraceSpan> {
    assert_eq!((&*request.method, &*request.path), ("POST", "/v1/traces"));
    let export = ExportTraceServiceRequest::decode(&*request.raw).expect("spans in protobuf");
    let mut spans = Vec::new();
    for resource in export.resource_spans {
        let about = attributes(&resource.resource.unwrap_or_default().attributes);
        let process = about.get("service.name").cloned().unwrap_or_default();
        let all = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.extend(all.map(|span| read(&process, span)));
    }
    spans
}

fn read(process: &str, span: Span) -> TraceSpan {
    TraceSpan {
        process: process.to_owned(),
        name: span.name,
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
        attributes: attributes(&span.attributes),
        // STATUS_CODE_ERROR
        failed: span.status.is_some_and(|status| status.code == 2),
        begun: span.start_time_unix_nano,
        ended: span.end_time_unix_nano,
    }
}

fn attributes(all: &[KeyValue]) -> BTreeMap<String, String> {
    let value = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    all.iter().map(|pair| (pair.key.clone(), value(pair))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
