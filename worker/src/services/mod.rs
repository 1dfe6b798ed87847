//! The internal services: the only room that calls them. One retry, a time-out per call, a limit of calls
//! at once and a breaker per service (contract 4 and 9).

pub mod body;
mod breaker;
pub mod http;
pub mod request;
mod signature;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};
use reqwest::{Method, Version};
use shared::clock;
use shared::traces::{Kind, Span};
use tokio::sync::Semaphore;

use crate::connections::Connections;
use crate::events;
use crate::fence::Fence;
use crate::reply::Answer;
use crate::routes::ServiceConfig;
use crate::spans;
use breaker::{Breaker, Limits, Pass};
use http::Http;
use signature::{SIGNATURE_HEADER, Signer, TIME_HEADER};

/// No answer is longer: at 4096 characters a message this is hundreds of them.
const LARGEST_ANSWER: usize = 1024 * 1024;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Accepted: the answer comes later, as a message of its own.
const LATER: u16 = 202;

/// Why a service gave no answer that can be used. Never holds any of what it said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("no connection")]
    NoConnection,
    #[error("the connection broke")]
    Broken,
    #[error("HTTP {0}")]
    Status(u16),
    #[error("an answer of over {LARGEST_ANSWER} bytes")]
    TooLarge,
    #[error("an answer that can't be used: {0}")]
    Nonsense(String),
    #[error("its breaker is open")]
    BreakerOpen,
    #[error("it is not set up")]
    Unknown,
}

/// One request, apart from whom it goes to.
#[derive(Clone, Debug)]
pub struct Request {
    pub body: Bytes,
    /// Also the Idempotency-Key: the same for every repeat of any kind.
    pub request_id: String,
    /// What it is told of the trace where the call has no span.
    pub traceparent: String,
}

/// A service that has an address.
pub struct Placed {
    pub name: String,
    pub url: reqwest::Url,
    pub timeout: Duration,
    pub config: ServiceConfig,
}

/// All services of the table.
pub struct Services {
    known: HashMap<String, Service>,
}

struct Service {
    http: reqwest::Client,
    /// What is the same in all requests: the address, the table's own headers, the bearer token (or user and password of
    /// the address), and what a body is.
    template: reqwest::Request,
    timeout: Duration,
    retry: Option<(Duration, Duration)>,
    signer: Option<Signer>,
    slots: Semaphore,
    connections: Connections,
    breaker: Mutex<Breaker>,
}

impl Services {
    pub fn new(known: Vec<Placed>) -> Result<Self, reqwest::Error> {
        let http = Http::new()?;
        let service = |it: Placed| {
            events::service_begun(&it.name);
            let client = http.client(it.config.http2).clone();
            Ok((it.name, Service::new(client, it.url, it.timeout, &it.config)?))
        };
        Ok(Self { known: known.into_iter().map(service).collect::<Result<_, _>>()? })
    }

    /// Whether it has an address: of a built-in one that no route names, nobody has to tell it.
    pub fn knows(&self, name: &str) -> bool {
        self.known.contains_key(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.known.keys().map(String::as_str)
    }

    /// Asks a service, and once more if that fails. Each call is a span under `span`, and what the service is told of
    /// the trace is that.
    pub async fn call(
        &self,
        name: &str,
        request: &Request,
        fence: &Fence,
        span: &Span,
    ) -> Result<Answer, ServiceError> {
        let service = self.known.get(name).ok_or(ServiceError::Unknown)?;
        let first = service.call(name, request, fence, span).await;
        match (&first, service.retry) {
            (Err(error), Some((least, most))) if *error != ServiceError::BreakerOpen => {
                events::service_retries(name, error, &request.request_id);
                tokio::time::sleep(rand::random_range(least..=most)).await;
                service.call(name, request, fence, span).await
            }
            _ => first,
        }
    }
}

impl Service {
    fn new(
        http: reqwest::Client,
        url: reqwest::Url,
        timeout: Duration,
        config: &ServiceConfig,
    ) -> Result<Self, reqwest::Error> {
        let limits = Limits {
            calls: config.breaker_calls,
            percent: config.breaker_percent,
            window: config.breaker_window,
            rest: config.breaker_rest,
        };
        let connections = Connections::default();
        if config.http2 == Some(true) {
            connections.speaks(Version::HTTP_2);
        }
        let template = http.post(url).headers(headers(config)).build()?;
        Ok(Self {
            http,
            template,
            timeout,
            retry: config.retry.then_some((config.retry_min, config.retry_max)),
            signer: config.sign.as_deref().map(Signer::new),
            slots: Semaphore::new(config.concurrency as usize),
            connections,
            breaker: Mutex::new(Breaker::new(limits)),
        })
    }

    async fn call(
        &self,
        name: &str,
        request: &Request,
        fence: &Fence,
        span: &Span,
    ) -> Result<Answer, ServiceError> {
        // The semaphore is never closed; a permit that can't be had would just mean no limit.
        let _slot = self.slots.acquire().await;
        let _connection = self.connections.take_behind(fence).await;
        let Some(pass) = self.lock_breaker().may_call(Instant::now()) else {
            events::service_called(
                name,
                Some(&ServiceError::BreakerOpen),
                Duration::ZERO,
                &request.request_id,
            );
            return Err(ServiceError::BreakerOpen);
        };
        let begun = Instant::now();
        let span = span.child("call", Kind::Client);
        span.service(name);
        let exchange = tokio::time::timeout(self.timeout, self.exchange(request, &span));
        let result = exchange.await.unwrap_or(Err(ServiceError::Timeout(self.timeout)));
        spans::called(span, result.as_ref().err());
        self.tell_breaker(name, pass, result.is_err());
        events::service_called(name, result.as_ref().err(), begun.elapsed(), &request.request_id);
        result
    }

    async fn exchange(&self, request: &Request, span: &Span) -> Result<Answer, ServiceError> {
        let asked = self.request(request, span).map_err(|_| ServiceError::Broken)?;
        let mut response = self.http.execute(asked).await.map_err(broken)?;
        self.connections.speaks(response.version());
        let status = response.status().as_u16();
        if !(200..300).contains(&status) {
            return Err(ServiceError::Status(status));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                return Err(ServiceError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        // Its body is read all the same, so that the connection serves the next call, and is nobody's message.
        if status == LATER {
            return Ok(Answer::default());
        }
        Answer::parse(status, None, &body).map_err(|error| ServiceError::Nonsense(error.to_string()))
    }

    /// An error where what is to be a header's value can't be one.
    fn request(&self, request: &Request, span: &Span) -> Result<reqwest::Request, InvalidHeaderValue> {
        let mut asked = reqwest::Request::new(Method::POST, self.template.url().clone());
        let id = HeaderValue::try_from(&request.request_id)?;
        let traceparent = span.traceparent();
        let traceparent = HeaderValue::try_from(traceparent.as_ref().unwrap_or(&request.traceparent))?;
        let headers = asked.headers_mut();
        headers.clone_from(self.template.headers());
        headers.append(&REQUEST_ID, id.clone());
        headers.append(&IDEMPOTENCY_KEY, id);
        headers.append(&TRACEPARENT, traceparent);
        let signer = self.signer.as_ref();
        if let Some((time, signature)) =
            signer.and_then(|signer| signer.headers(clock::now_ms() / 1000, &request.body))
        {
            headers.append(TIME_HEADER, time);
            headers.append(SIGNATURE_HEADER, signature);
        }
        *asked.body_mut() = Some(request.body.clone().into());
        Ok(asked)
    }

    fn tell_breaker(&self, name: &str, pass: Pass, failed: bool) {
        let (before, after) = {
            let mut breaker = self.lock_breaker();
            let before = breaker.is_open();
            breaker.ended(Instant::now(), pass, failed);
            (before, breaker.is_open())
        };
        if before != after {
            events::breaker_changed(name, after);
        }
    }

    fn lock_breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What goes with every request. Both were checked when the table was read. Marked as sensitive, a value is
/// printed by no library, and kept out of HTTP/2's tables of headers.
fn headers(config: &ServiceConfig) -> HeaderMap {
    let header = |(name, value): (&String, &String)| {
        Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
    };
    let bearer =
        config.bearer.as_deref().and_then(|token| HeaderValue::try_from(format!("Bearer {token}")).ok());
    let bearer = bearer.map(|bearer| (AUTHORIZATION, bearer));
    let sensitive = |(name, mut value): (HeaderName, HeaderValue)| {
        value.set_sensitive(true);
        (name, value)
    };
    let content = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
    config.headers.iter().filter_map(header).chain(bearer).map(sensitive).chain([content]).collect()
}

/// reqwest's own errors name the address, which may hold a key.
fn broken(error: reqwest::Error) -> ServiceError {
    if error.is_connect() { ServiceError::NoConnection } else { ServiceError::Broken }
}
