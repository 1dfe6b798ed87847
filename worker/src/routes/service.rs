//! `[services.NAME]`: how a service is reached and how it is guarded (contract 9, "A service's limits").

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::BUILTIN_SERVICES;
use super::auth;
use super::reader::{Reader, Section};

const KEYS: &[&str] =
    &["url", "timeout", "concurrency", "retry", "breaker", "headers", "bearer", "sign", "http2"];

#[derive(Clone, PartialEq, Eq)]
pub struct ServiceConfig {
    /// None for a built-in service whose URL is a setting.
    pub url: Option<String>,
    /// None: `default_timeout`, or the setting of a built-in one.
    pub timeout: Option<Duration>,
    /// Calls at once, per worker.
    pub concurrency: u32,
    /// The breaker opens when `breaker_percent` of at least `breaker_calls` calls in `breaker_window` fail,
    /// and lets one through after `breaker_rest`.
    pub breaker_calls: u32,
    pub breaker_percent: u32,
    pub breaker_window: Duration,
    pub breaker_rest: Duration,
    /// Whether a failed call is made once more, after `retry_min` to `retry_max`.
    pub retry: bool,
    pub retry_min: Duration,
    pub retry_max: Duration,
    pub headers: BTreeMap<String, String>,
    /// The token of `Authorization: Bearer`.
    pub bearer: Option<String>,
    /// The secret that requests are signed with.
    pub sign: Option<String>,
    /// True: HTTP/2 from the first byte on. False: HTTP/1.1. None: HTTP/2 where TLS negotiates it.
    pub http2: Option<bool>,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            url: None,
            timeout: None,
            concurrency: 512,
            breaker_calls: 20,
            breaker_percent: 50,
            breaker_window: Duration::from_secs(10),
            breaker_rest: Duration::from_secs(5),
            retry: true,
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_millis(300),
            headers: BTreeMap::new(),
            bearer: None,
            sign: None,
            http2: None,
        }
    }
}

impl ServiceConfig {
    /// How long a call may take where nobody says otherwise (contract 4).
    pub fn default_timeout(service: &str) -> Duration {
        match service {
            "matching" | "notification" | "user_profile" => Duration::from_secs(3),
            _ => Duration::from_secs(5),
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>, name: &str, section: Section<'_>) -> Self {
        reader.only(section, KEYS);
        let mut config = Self {
            url: read_url(reader, section),
            timeout: reader.duration(section, "timeout"),
            headers: auth::headers(reader, section),
            bearer: auth::bearer(reader, section),
            sign: auth::sign(reader, section),
            http2: reader.boolean(section, "http2"),
            ..Self::default()
        };
        if section.get("url").is_none() && !BUILTIN_SERVICES.contains(&name) {
            reader.refuse_unseen("url", section.at, format!("is missing: where is the service {name}?"));
        }
        if let Some(calls) = reader.integer(section, "concurrency", 1..65_537) {
            config.concurrency = calls;
        }
        config.read_breaker(reader, section);
        config.read_retry(reader, section);
        config
    }

    fn read_breaker(&mut self, reader: &mut Reader<'_>, section: Section<'_>) {
        let Some(breaker) = reader.section(section, "breaker") else {
            return;
        };
        reader.only(breaker, &["calls", "percent", "window", "rest"]);
        self.breaker_calls = reader.integer(breaker, "calls", 1..1_000_001).unwrap_or(self.breaker_calls);
        self.breaker_percent = reader.integer(breaker, "percent", 1..101).unwrap_or(self.breaker_percent);
        self.breaker_window = reader.duration(breaker, "window").unwrap_or(self.breaker_window);
        self.breaker_rest = reader.duration(breaker, "rest").unwrap_or(self.breaker_rest);
    }

    /// `retry = false`, or `retry = { min = "100ms", max = "300ms" }`.
    fn read_retry(&mut self, reader: &mut Reader<'_>, section: Section<'_>) {
        let Some(found) = section.get("retry") else { return };
        if !found.get_ref().is_table() {
            self.retry = reader.boolean(section, "retry").unwrap_or(self.retry);
            return;
        }
        let Some(pause) = reader.section(section, "retry") else {
            return;
        };
        reader.only(pause, &["min", "max"]);
        self.retry_min = reader.duration(pause, "min").unwrap_or(self.retry_min);
        self.retry_max = reader.duration(pause, "max").unwrap_or(self.retry_max);
        if self.retry_min > self.retry_max {
            reader.refuse("retry", &found.span(), "min must not be over max");
        }
    }
}

/// A header's value is often a secret, so only names are shown; of a token and a secret nothing is.
impl fmt::Debug for ServiceConfig {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = out.debug_struct("ServiceConfig");
        out.field("timeout", &self.timeout)
            .field("concurrency", &self.concurrency)
            .field("retry", &self.retry);
        out.field("headers", &self.headers.keys().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

fn read_url(reader: &mut Reader<'_>, section: Section<'_>) -> Option<String> {
    let found = section.get("url")?;
    let (at, written) = (found.span().start, found.get_ref().as_str().unwrap_or_default());
    let expected = match reader.filled(found) {
        // `sample:` is the demo's own sample of a built-in service, as in the settings.
        Ok(value) if value == "sample:" || shared::settings::http_url(&value).is_some() => {
            return Some(value);
        }
        Ok(_) => "must be an address such as \"http://weather:8080/ask\"".to_owned(),
        Err(expected) => expected,
    };
    reader.refuse_address("url", at, written, expected);
    None
}
