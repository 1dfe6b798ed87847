//! A whole deployment for one test: the gateway's processes, a fake of everything it talks to, and
//! names that no other test uses. Two kinds, distributed and embedded, with the same face.

use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderValue};

use crate::client::http_client;
use crate::letters::{Letter, wait_dead_letters};
use crate::process::{Process, ProcessBuilder};
use crate::service::FakeService;
use crate::telegram::FakeTelegram;
use crate::updates::{Update, fresh};
use crate::wait::{LONG, wait_for};
use crate::world_builder::WorldBuilder;

pub const SECRET_HEADER: &str = "X-Telegram-Bot-Api-Secret-Token";

/// The ready deployment. What it started ends with it.
#[derive(Debug)]
pub struct World {
    pub telegram: FakeTelegram,
    pub conversation: FakeService,
    pub matching: FakeService,
    pub notification: FakeService,
    pub profile: FakeService,
    /// What takes the webhook: the ingress, or the whole gateway.
    pub ingress: Process,
    /// What handles updates, where that is another process.
    pub worker: Option<Process>,
    /// More of them, from [`World::add_worker`] and [`World::add_ingress`].
    pub(crate) worker_plan: Option<ProcessBuilder>,
    pub(crate) ingress_plan: ProcessBuilder,
    pub prefix: String,
    pub token: String,
    pub bot_id: i64,
    pub secret: String,
    pub amqp_url: Option<String>,
}

/// What the webhook answered.
#[derive(Debug)]
pub struct Posted {
    pub status: u16,
    pub headers: HeaderMap<HeaderValue>,
    pub body: String,
    pub took: Duration,
}

impl World {
    /// An ingress and a worker over RabbitMQ and Redis. `.await` starts it.
    #[must_use]
    pub fn distributed() -> WorldBuilder {
        WorldBuilder::new(false)
    }

    /// `tgw run` on its embedded queue and store. `.await` starts it.
    #[must_use]
    pub fn embedded() -> WorldBuilder {
        WorldBuilder::new(true)
    }

    /// A user, and so a private chat, that no other test knows.
    #[must_use]
    pub fn user(&self) -> i64 {
        40_000_000 + fresh()
    }

    /// Posts an update as Telegram does; the status.
    pub async fn post(&self, update: &Update) -> u16 {
        self.post_bytes(update.bytes()).await.status
    }

    /// Posts an update and expects it to be taken.
    pub async fn accept(&self, update: &Update) {
        assert_eq!(self.post(update).await, 200, "not accepted: {}", update.value());
    }

    pub async fn post_bytes(&self, body: Vec<u8>) -> Posted {
        self.post_as(Some(&self.secret), body).await
    }

    /// With this secret, or none.
    pub async fn post_as(&self, secret: Option<&str>, body: Vec<u8>) -> Posted {
        post_to(&self.ingress, secret, body).await
    }

    /// What handles updates.
    #[must_use]
    pub fn worker(&self) -> &Process {
        self.worker.as_ref().unwrap_or(&self.ingress)
    }

    pub fn worker_mut(&mut self) -> &mut Process {
        self.worker.as_mut().unwrap_or(&mut self.ingress)
    }

    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.worker_plan.is_none()
    }

    /// One more worker of the same deployment (distributed only).
    pub async fn add_worker(&self) -> Process {
        let mut worker = self.worker_plan.clone().expect("the embedded gateway has no workers").start();
        worker.wait_ready().await;
        worker
    }

    /// One more ingress of the same deployment (distributed only).
    pub async fn add_ingress(&self) -> Process {
        assert!(!self.is_embedded(), "the embedded gateway is one process");
        let mut ingress = self.ingress_plan.clone().start();
        ingress.wait_ready().await;
        ingress
    }

    /// For what is started from now on.
    pub fn set(&mut self, name: &str, value: impl ToString) {
        let value = value.to_string();
        self.ingress_plan = self.ingress_plan.clone().env(name, &value);
        self.worker_plan = self.worker_plan.take().map(|plan| plan.env(name, &value));
    }

    /// An operator's command with this deployment's settings, on the machine where it runs.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> ProcessBuilder {
        let plan = self.worker_plan.as_ref().unwrap_or(&self.ingress_plan);
        let command = plan.command("tgw", arguments);
        if self.is_embedded() { command.env("DATA_DIR", self.ingress.data_dir().display()) } else { command }
    }

    /// What an ingress is started with from now on.
    #[must_use]
    pub fn ingress_plan(&self) -> ProcessBuilder {
        self.ingress_plan.clone()
    }

    /// With what was set meanwhile.
    pub async fn restart_ingress(&mut self) {
        self.ingress.restart_as(self.ingress_plan.clone()).await;
    }

    /// A metric of the deployment: the sum over its processes.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let mut sum = self.ingress.metrics().await.sum(name, labels);
        if let Some(worker) = &self.worker {
            sum += worker.metrics().await.sum(name, labels);
        }
        sum
    }

    /// Until the metric is at least `value`.
    pub async fn wait_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let what = format!("{name} {labels:?} is at least {value}");
        wait_for(&what, LONG, || async { (self.metric(name, labels).await >= value).then_some(()) }).await;
    }

    /// Until so many dead letters of this reason are there, and no other; the letters. The embedded queue's file is
    /// its process's alone, so there only the count is seen, and the list is empty.
    pub async fn wait_dead(&self, reason: &str, count: usize) -> Vec<Letter> {
        let wanted = u32::try_from(count).expect("a small number");
        self.wait_metric("tgw_dead_letters_total", &[("reason", reason)], f64::from(wanted)).await;
        let Some(url) = self.amqp_url.as_ref().filter(|_| !self.is_embedded()) else {
            return Vec::new();
        };
        let letters = wait_dead_letters(url, &self.prefix, count).await;
        for letter in &letters {
            assert_eq!(letter.reason(), reason, "{letter:?}");
        }
        letters
    }

    /// No dead letter so far, by the gateway's own count.
    pub async fn assert_no_dead_letters(&self) {
        let dead = self.metric("tgw_dead_letters_total", &[]).await;
        assert!(dead.abs() < f64::EPSILON, "{dead} dead letters where none belongs");
    }
}

/// Posts to any ingress.
pub async fn post_to(ingress: &Process, secret: Option<&str>, body: Vec<u8>) -> Posted {
    let url = format!("{}/webhook/telegram", ingress.base_url());
    let mut request = http_client().post(url).header("Content-Type", "application/json").body(body);
    if let Some(secret) = secret {
        request = request.header(SECRET_HEADER, secret);
    }
    let begun = Instant::now();
    let answer = request.send().await.expect("the webhook answers");
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = answer.text().await.expect("a whole answer");
    Posted { status, headers, body, took: begun.elapsed() }
}
