//! Traces: what became of an update, as spans over the processes that it went through, sent to a collector over
//! OTLP. Off unless `OTEL_EXPORTER_OTLP_ENDPOINT` is set, and then nothing here costs more than a look at it.
//!
//! Spans are made by hand and not of log lines: what may stand in one is what `Span` has a method for, and that is
//! neither a text nor a name, an address or a secret (invariant I6).

mod export;
mod ids;
mod settings;
mod span;

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::events;
use crate::program::{Failure, Stopped};

pub use settings::Settings;
pub use span::{Kind, Span};

/// What makes spans, once that was asked for.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// What is left at the end is waited for at most this long: a collector that hangs must not keep the process.
const LAST: Duration = Duration::from_secs(1);

/// Whether spans are made.
pub fn are_on() -> bool {
    TRACER.get().is_some()
}

/// The sending of spans, for as long as a program runs.
#[must_use = "the last spans are sent by `end`"]
pub struct Traces(Option<Sending>);

struct Sending {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Traces {
    /// Begins to make spans and to send them, where that was asked for. Within a runtime; no connection is made before there
    /// is a span to send. An error is a setting that the exporter does not know what to do with.
    pub fn start(settings: Settings) -> Result<Self, Failure> {
        let Some(target) = settings.target else { return Ok(Self(None)) };
        let resource = Resource::builder()
            .with_service_name(settings.service_name)
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attribute(KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()))
            .build();
        let exporter = export::exporter(target, &resource)?;
        let (queue, spans) = export::queue();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(settings.sampler)
            .with_id_generator(ids::Ids::default())
            .with_span_processor(queue)
            .build();
        if TRACER.set(provider.tracer("tgw")).is_err() {
            tracing::debug!("traces had begun before");
            return Ok(Self(None));
        }
        events::traces_on();
        let stop = CancellationToken::new();
        let task = tokio::spawn(export::send(spans, exporter, stop.clone()));
        Ok(Self(Some(Sending { stop, task })))
    }

    /// Sends what is left, for up to a second; not at all where the program did not end as it should, since its
    /// time is over then.
    pub async fn end(self, ended: &Result<Stopped, Failure>) {
        let Some(Sending { stop, mut task }) = self.0 else { return };
        stop.cancel();
        let time = if matches!(ended, Ok(Stopped::Clean)) { LAST } else { Duration::ZERO };
        if tokio::time::timeout(time, &mut task).await.is_err() {
            task.abort();
            events::traces_cut_off();
        }
    }
}
