//! Sends what the queue gives out to the webhook, over kept-alive HTTP/1.1 connections (facts T6, T7),
//! at most `max_connections` at once. What an answer means for the update is decided by the queue.

use std::future::Future;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use rand::RngExt as _;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, redirect};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Delivery;
use super::queue::{Job, Next, Outcome, Pauses};
use crate::state::webhook::Target;
use crate::state::{World, now_ms, now_seconds};

const SECRET: &str = "X-Telegram-Bot-Api-Secret-Token";
/// The pause between attempts is capped at a random time in this range (facts T2), in seconds.
const PAUSE_CAP: std::ops::RangeInclusive<u64> = 60..=120;
/// Telegram closes a connection that was idle for so long (facts T7).
const IDLE: Duration = Duration::from_secs(60);

pub(crate) struct Sender {
    world: Arc<World>,
    client: Client,
}

impl Sender {
    pub fn new(world: Arc<World>) -> Result<Self, reqwest::Error> {
        install_crypto();
        let client = Client::builder()
            .http1_only()
            .no_proxy()
            // A redirect is an answer outside 200..299, so a failure (facts T2).
            .redirect(redirect::Policy::none())
            .pool_idle_timeout(IDLE)
            .timeout(world.settings.delivery_timeout)
            .build()?;
        Ok(Self { world, client })
    }

    /// Delivers until `stop` is cancelled; what is pending then is forgotten with the simulator.
    pub async fn run(self, stop: CancellationToken) {
        let mut on_their_way = JoinSet::new();
        loop {
            let next_at = self.send_all_ready(&mut on_their_way);
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.world.wake.notified() => (),
                _ = on_their_way.join_next(), if !on_their_way.is_empty() => (),
                () = sleep_until(next_at) => (),
            }
        }
    }

    /// Starts what may start now; returns when to look again, if no event comes first.
    fn send_all_ready(&self, on_their_way: &mut JoinSet<()>) -> Option<Instant> {
        while on_their_way.try_join_next().is_some() {}
        let target = self.world.webhook().target.clone()?;
        while on_their_way.len() < target.max_connections {
            match self.world.queue().take(Instant::now(), 2 * target.max_connections) {
                Next::Send(job) => on_their_way.spawn(self.send(target.clone(), job)),
                Next::Wait(at) => return Some(at),
                Next::Nothing => return None,
            };
        }
        None
    }

    /// One attempt, from the request to the queue's learning how it ended.
    fn send(&self, target: Target, job: Job) -> impl Future<Output = ()> + Send + use<> {
        let (world, client) = (self.world.clone(), self.client.clone());
        async move {
            let (at_ms, begun) = (now_ms(), Instant::now());
            let answer = post(&client, &target, &job).await;
            let duration_ms = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
            world.deliveries().add(|seq| Delivery {
                seq,
                at_ms,
                update_id: job.update_id,
                attempt: job.attempt,
                status: answer.as_ref().ok().map(|answer| answer.status),
                error: answer.as_ref().err().cloned(),
                duration_ms,
            });
            if let Some(error) = answer.as_ref().map_or_else(|error| Some(error.clone()), Answer::complaint) {
                tracing::debug!(update_id = job.update_id, attempt = job.attempt, error, "not delivered");
                world.webhook().last_error = Some((now_seconds(), error));
            }
            let outcome = answer.map_or(Outcome::Failed { retry_after: 0 }, |answer| answer.outcome());
            let cap = Duration::from_secs(rand::rng().random_range(PAUSE_CAP));
            let pauses = Pauses { first: world.settings.first_pause, cap };
            world.queue().settle(&job, outcome, Instant::now(), pauses);
        }
    }
}

struct Answer {
    status: u16,
    reason: &'static str,
    retry_after: u64,
}

impl Answer {
    fn accepted(&self) -> bool {
        (200..300).contains(&self.status)
    }

    fn outcome(&self) -> Outcome {
        match self.accepted() {
            true => Outcome::Accepted,
            false => Outcome::Failed { retry_after: self.retry_after },
        }
    }

    /// What getWebhookInfo says about it (facts T11).
    fn complaint(&self) -> Option<String> {
        (!self.accepted())
            .then(|| format!("Wrong response from the webhook: {} {}", self.status, self.reason))
    }
}

async fn post(client: &Client, target: &Target, job: &Job) -> Result<Answer, String> {
    let mut request =
        client.post(&target.url).header(CONTENT_TYPE, "application/json").body(job.body.clone());
    if let Some(secret) = &target.secret {
        request = request.header(SECRET, secret);
    }
    let response = request.send().await.map_err(|error| complaint(&error))?;
    if !readable(&response) {
        return Err("Wrong response from the webhook: unsupported content-encoding".to_owned());
    }
    let status = response.status();
    let (reason, retry_after) = (status.canonical_reason().unwrap_or(""), retry_after(&response));
    // Read to its end, or the connection could not be used again.
    response.bytes().await.map_err(|error| complaint(&error))?;
    Ok(Answer { status: status.as_u16(), reason, retry_after })
}

/// An answer in an encoding that Telegram does not know is a failure, whatever its status (facts T6).
fn readable(response: &Response) -> bool {
    let encoding = response.headers().get(CONTENT_ENCODING).map(|value| value.as_bytes());
    encoding.is_none_or(|encoding| [&b""[..], b"identity", b"gzip", b"deflate"].contains(&encoding))
}

/// Whole seconds only; a date is not understood (facts T3).
fn retry_after(response: &Response) -> u64 {
    let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    header.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

fn complaint(error: &reqwest::Error) -> String {
    let text = match () {
        () if error.is_timeout() => "Read timeout expired",
        () if error.is_connect() => "Connection refused",
        () => "Webhook connection closed",
    };
    text.to_owned()
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// reqwest is built without a TLS provider of its own; another part of the process may have chosen one.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().ok();
    });
}
