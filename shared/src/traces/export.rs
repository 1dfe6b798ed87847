//! From an ended span to the collector: a bounded queue, and a task that sends what has gathered.
//!
//! The SDK's own batches are left aside for what they don't tell: how many spans were dropped, and their end takes as long as the
//! collector does. Here both are in our hand, on the runtime that is there, in place of a thread of its own.

use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter as _, SpanProcessor};
use reqwest::redirect::Policy;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::settings::Target;
use crate::events;
use crate::program::Failure;

/// Ended spans that wait to be sent; with about half a KiB each, 2 MiB. What comes when it is full is dropped (I5).
const WAITING: usize = 4096;

/// Spans of one request, as OpenTelemetry's own exporters have it.
const BATCH: usize = 512;

/// What has ended is sent after this at the latest.
const BEAT: Duration = Duration::from_secs(1);

/// One request with its retries: what OpenTelemetry has for `OTEL_EXPORTER_OTLP_TIMEOUT`.
const EXPORT: Duration = Duration::from_secs(10);

/// Puts ended spans where `send` finds them.
#[derive(Debug)]
pub(super) struct Queue(mpsc::Sender<SpanData>);

pub(super) fn queue() -> (Queue, mpsc::Receiver<SpanData>) {
    let (spans_in, spans) = mpsc::channel(WAITING);
    (Queue(spans_in), spans)
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        // Never waits: an update matters more than its trace.
        if span.span_context.is_sampled() && self.0.try_send(span).is_err() {
            events::spans_dropped();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// What speaks to the collector. Nothing is sent yet.
pub(super) fn exporter(target: Target, resource: &Resource) -> Result<SpanExporter, Failure> {
    let client = reqwest::Client::builder()
        .timeout(EXPORT)
        // Where it leads may be nobody to show the headers to.
        .redirect(Policy::none())
        .build()
        .map_err(|_| Failure::Failed("no HTTP client for traces".to_owned()))?;
    let built = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(target.url)
        .with_timeout(EXPORT)
        .with_headers(target.headers)
        .build();
    // Of what OTEL_EXPORTER_OTLP_... the exporter reads by itself.
    let mut exporter = built.map_err(|error| Failure::Refused(format!("traces can't be sent: {error}")))?;
    exporter.set_resource(resource);
    Ok(exporter)
}

/// Sends what ends, batch after batch, until `stop`, and then what is left.
pub(super) async fn send(
    mut spans: mpsc::Receiver<SpanData>,
    exporter: SpanExporter,
    stop: CancellationToken,
) {
    let mut well = true;
    loop {
        let batch = gather(&mut spans, &stop).await;
        let count = batch.len() as u64;
        if count == 0 && stop.is_cancelled() {
            return;
        }
        if count == 0 {
            continue;
        }
        // The exporter's own time-out leaves its last try out.
        let sent = tokio::time::timeout(EXPORT, exporter.export(batch)).await;
        let failed = sent.map_or(Some("no answer in time".to_owned()), |sent| sent.err().map(told));
        events::spans_sent(count, failed.is_none());
        match &failed {
            None if !well => events::collector_takes_again(),
            Some(why) if well => events::collector_takes_none(why),
            _ => {}
        }
        well = failed.is_none();
    }
}

/// Why, in the exporter's own words, which hold neither the address nor what the collector said.
fn told(error: OTelSdkError) -> String {
    match error {
        OTelSdkError::InternalFailure(why) => why,
        other => other.to_string(),
    }
}

/// What ends within a beat, or until a batch is full; after `stop` what is there.
async fn gather(spans: &mut mpsc::Receiver<SpanData>, stop: &CancellationToken) -> Vec<SpanData> {
    let mut batch = Vec::new();
    let full = async {
        let mut room = BATCH;
        while room > 0 {
            match spans.recv_many(&mut batch, room).await {
                0 => break,
                count => room -= count,
            }
        }
    };
    // Over, stopped or full: what is in the batch is sent.
    let _ = stop.run_until_cancelled(tokio::time::timeout(BEAT, full)).await;
    while batch.len() < BATCH
        && let Ok(span) = spans.try_recv()
    {
        batch.push(span);
    }
    batch
}

#[cfg(test)]
mod tests {
    use opentelemetry::InstrumentationScope;
    use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId};
    use prometheus::TextEncoder;

    use super::*;

    fn span(flags: TraceFlags) -> SpanData {
        let now = std::time::SystemTime::now();
        SpanData {
            span_context: SpanContext::new(
                TraceId::from(1),
                SpanId::from(1),
                flags,
                false,
                Default::default(),
            ),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: "x".into(),
            start_time: now,
            end_time: now,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_drops_at_once_and_batches_are_bounded() {
        let (queue, mut spans) = queue();
        queue.on_end(span(TraceFlags::NOT_SAMPLED));
        (0..WAITING + 3).for_each(|_| queue.on_end(span(TraceFlags::SAMPLED)));
        let told = TextEncoder::new().encode_to_string(&prometheus::gather()).unwrap();
        // Nothing else in this process makes spans.
        let dropped = "\ntgw_trace_spans_total{outcome=\"dropped\"} 3\n";
        assert!(told.contains(dropped), "each one dropped is counted: {told}");
        let stop = CancellationToken::new();
        assert_eq!(gather(&mut spans, &stop).await.len(), BATCH);
        stop.cancel();
        let mut rest = 0;
        loop {
            let batch = gather(&mut spans, &stop).await;
            rest += batch.len();
            if batch.is_empty() {
                break;
            }
        }
        assert_eq!(rest, WAITING - BATCH);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lonely_span_is_sent_within_a_beat() {
        let (queue, mut spans) = queue();
        queue.on_end(span(TraceFlags::SAMPLED));
        let begun = tokio::time::Instant::now();
        assert_eq!(gather(&mut spans, &CancellationToken::new()).await.len(), 1);
        assert!(begun.elapsed() <= BEAT);
    }
}
