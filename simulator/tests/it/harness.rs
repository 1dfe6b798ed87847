//! A simulator on a free port, a bot's webhook on another, and a way to wait for what must come.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use simulator::{Application, Control, Settings};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const TOKEN: &str = "4242:test-token";
pub const SECRET: &str = "a_secret-1";
const DEADLINE: Duration = Duration::from_secs(10);

pub struct Bench {
    pub control: Control,
    pub base: String,
    pub http: Client,
    pub stop: CancellationToken,
    pub running: JoinHandle<Result<(), simulator::Error>>,
}

impl Bench {
    pub fn start() -> Self {
        Self::with(Settings::default())
    }

    pub fn with(settings: Settings) -> Self {
        let listen = "127.0.0.1:0".parse().unwrap();
        let application = Application::build(Settings { listen, threads: 1, ..settings }).unwrap();
        let (control, base) = (application.control(), format!("http://{}", application.address()));
        let stop = CancellationToken::new();
        let running = tokio::spawn(application.run(stop.clone()));
        let http = Client::builder().no_proxy().build().unwrap();
        Self { control, base, http, stop, running }
    }

    pub fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        let url = format!("{}{path}", self.base);
        self.http.post(url).header("Content-Type", "application/json").body(body.to_string())
    }

    /// A Bot API call: the status and the answer.
    pub async fn call(&self, method: &str, params: Value) -> (u16, Value) {
        send(self.post(&format!("/bot{TOKEN}/{method}"), &params)).await
    }

    /// A Bot API call that must go well: its result.
    pub async fn ok(&self, method: &str, params: Value) -> Value {
        let (status, answer) = self.call(method, params).await;
        assert_eq!((status, &answer["ok"]), (200, &json!(true)), "{method}: {answer}");
        answer["result"].clone()
    }

    /// A Bot API call that must be refused: the status and Telegram's text.
    pub async fn refused(&self, method: &str, params: Value) -> (u16, String) {
        let (status, answer) = self.call(method, params).await;
        assert_eq!((&answer["ok"], &answer["error_code"]), (&json!(false), &json!(status)), "{answer}");
        (status, answer["description"].as_str().unwrap().to_owned())
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, answer) = send(self.http.get(format!("{}{path}", self.base))).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    pub async fn set_webhook(&self, webhook: &Webhook) {
        self.ok("setWebhook", json!({"url": webhook.url, "secret_token": SECRET})).await;
    }
}

pub async fn send(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or(Value::Null))
}

/// Waits for a condition, and fails loudly when it does not come.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < DEADLINE, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What a request to the webhook brought.
#[derive(Clone)]
pub struct Received {
    pub update: Value,
    pub secret: Option<String>,
    pub content_type: Option<String>,
}

/// What the webhook answers.
#[derive(Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    /// The connection ends with it. No header: the server writes that one itself.
    pub close: bool,
}

/// A bot's webhook: remembers what comes, answers by script, else 200.
pub struct Webhook {
    pub url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    received: Mutex<Vec<Received>>,
    answers: Mutex<VecDeque<Reply>>,
    connections: AtomicUsize,
    /// Held while it is some: each request takes a permit before it is answered.
    gate: Mutex<Option<Arc<Semaphore>>>,
}

impl Webhook {
    pub fn start() -> Self {
        let state = Arc::new(State::default());
        let (shared, counted) = (state.clone(), state.clone());
        let server = HttpServer::new(move || {
            App::new().app_data(web::Data::from(shared.clone())).default_service(web::to(take))
        });
        let count = move |_: &dyn std::any::Any, _: &mut actix_web::dev::Extensions| {
            counted.connections.fetch_add(1, Ordering::Relaxed);
        };
        let server = server
            .on_connect(count)
            .workers(1)
            .keep_alive(Duration::from_secs(75))
            .disable_signals()
            .bind("127.0.0.1:0")
            .unwrap();
        let url = format!("http://{}/webhook", server.addrs()[0]);
        tokio::spawn(server.run());
        Self { url, state }
    }

    /// The next request is answered so; with seconds for Retry-After.
    pub fn answer(&self, status: u16, retry_after: Option<u64>) {
        let headers = retry_after.map(|seconds| ("Retry-After", seconds.to_string()));
        self.reply(Reply { status, headers: headers.into_iter().collect(), ..Reply::default() });
    }

    pub fn reply(&self, reply: Reply) {
        self.state.answers.lock().unwrap().push_back(reply);
    }

    /// How many connections it got in all.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// From now on requests wait until the returned semaphore has a permit for each.
    pub fn hold(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.state.gate.lock().unwrap() = Some(gate.clone());
        gate
    }

    pub fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }

    pub fn update_ids(&self) -> Vec<i64> {
        self.received().iter().map(|received| received.update["update_id"].as_i64().unwrap()).collect()
    }

    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        until(&format!("{count} updates have come"), || self.received().len() >= count).await;
        self.received()
    }
}

async fn take(request: HttpRequest, body: web::Bytes, state: web::Data<State>) -> HttpResponse {
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    state.received.lock().unwrap().push(Received {
        update: serde_json::from_slice(&body).unwrap(),
        secret: header("X-Telegram-Bot-Api-Secret-Token"),
        content_type: header("Content-Type"),
    });
    let gate = state.gate.lock().unwrap().clone();
    if let Some(gate) = gate {
        gate.acquire().await.unwrap().forget();
    }
    let reply = state.answers.lock().unwrap().pop_front();
    let reply = reply.unwrap_or(Reply { status: 200, ..Reply::default() });
    let mut response = HttpResponse::build(reply.status.try_into().unwrap());
    if reply.close {
        response.force_close();
    }
    for header in reply.headers {
        response.insert_header(header);
    }
    response.body(reply.body)
}
