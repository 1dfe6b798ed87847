//! The log: one JSON object a line on stdout (contract 7), or text for a person at a terminal.
//!
//! Libraries speak only from WARN up, and lapin not at all: it logs a returned message with its payload,
//! which is users' text (facts L5). What they have to say reaches us as errors, and we log those.

use std::fmt;

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::clock;
use crate::settings::{LogFormat, Logs};

/// Our own crates, which log at the level that was asked for.
const OURS: [&str; 6] = ["shared", "ingress", "worker", "tgw", "tgw_ingress", "tgw_worker"];

/// Where the lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// Begins to log. Does nothing where something else in this process has begun already.
pub fn start(logs: Logs, stream: Stream) {
    let ours = OURS.map(|name| format!("{name}={}", logs.level)).join(",");
    let filter = EnvFilter::new(format!("warn,lapin=off,{ours}"));
    let writer = move || -> Box<dyn std::io::Write> {
        match stream {
            Stream::Stdout => Box::new(std::io::stdout()),
            Stream::Stderr => Box::new(std::io::stderr()),
        }
    };
    // What can't be written is not told on stderr, which may be as closed: that would be a panic, and its log another one.
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).log_internal_errors(false);
    let begun = match logs.format {
        LogFormat::Json => builder.event_format(JsonLines).try_init(),
        LogFormat::Text => builder.with_target(false).try_init(),
    };
    if begun.is_err() {
        tracing::debug!("logging had begun before");
    }
    std::panic::set_hook(Box::new(|panic| {
        // Only where it was: a panic's own words can quote the text that it stumbled over.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a panic");
    }));
}

struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let Fields { message, rest } = fields;
        let (message, rest) = (String::from_utf8_lossy(&message), String::from_utf8_lossy(&rest));
        let (time, level) = (clock::rfc3339(clock::now_ms()), event.metadata().level());
        let message = if message.is_empty() { "\"\"" } else { &message };
        // None of the first three has a character that JSON escapes. One by one, which costs less than a pattern.
        let start = ["{\"time\":\"", &time, "\",\"level\":\"", level.as_str(), "\",\"name\":\""];
        start.into_iter().try_for_each(|part| out.write_str(part))?;
        name(event.metadata().target(), |part| out.write_str(part))?;
        ["\",\"message\":", message, &rest, "}\n"].into_iter().try_for_each(|part| out.write_str(part))
    }
}

/// The part of the program that speaks, with dots: every part has its words in a file `events`, which says nothing.
fn name(target: &str, mut put: impl FnMut(&str) -> fmt::Result) -> fmt::Result {
    let target = target.strip_suffix("::events").unwrap_or(target);
    let modules = target.split(':').filter(|module| !module.is_empty());
    for (at, module) in modules.enumerate() {
        if at > 0 {
            put(".")?;
        }
        put(module)?;
    }
    Ok(())
}

/// An event's fields as JSON, in their order, numbers as numbers; the message apart.
struct Fields {
    message: Vec<u8>,
    /// Each with a comma before it.
    rest: Vec<u8>,
}

/// Most lines are shorter, by bytes of their message and of all else.
impl Default for Fields {
    fn default() -> Self {
        Self { message: Vec::with_capacity(128), rest: Vec::with_capacity(384) }
    }
}

impl Fields {
    fn put(&mut self, field: &Field, value: &(impl Serialize + ?Sized)) {
        // Neither a text nor a number can fail, nor a vector that is written to.
        if field.name() == "message" {
            self.message.clear();
            serde_json::to_writer(&mut self.message, value).ok();
            return;
        }
        // A field's name is a Rust name: nothing in it is escaped.
        for part in [",\"", field.name(), "\":"] {
            self.rest.extend_from_slice(part.as_bytes());
        }
        serde_json::to_writer(&mut self.rest, value).ok();
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, &value);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_one_json_object_with_the_fields_of_the_contract() {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber =
            tracing_subscriber::fmt().event_format(JsonLines).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(request_id = "r", telegram_user_id = 7, latency_ms = 12, "two\nlines");
        });
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1);
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["message"], "two\nlines");
        assert_eq!((&line["telegram_user_id"], &line["latency_ms"]), (&7.into(), &12.into()));
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
        assert_eq!(line["name"], "shared.telemetry.tests");
    }
}
