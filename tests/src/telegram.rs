//! A fake Bot API: records every call, answers like Telegram, fails on cue. It knows none of Telegram's
//! delivery rules: the tests post updates themselves. For those rules there is the simulator.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::{Answer, Handler, Request, Server};
use crate::updates::now;
use crate::wait::{LONG, wait_until};

/// A call of a Bot API method.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: String,
    pub params: Value,
    pub at: Instant,
}

impl Call {
    #[must_use]
    pub fn text(&self) -> &str {
        self.params["text"].as_str().unwrap_or_default()
    }

    /// The inline keyboard's rows; both forms that Telegram takes are read.
    #[must_use]
    pub fn keyboard(&self) -> Value {
        let markup = &self.params["reply_markup"];
        let parsed = markup.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
        parsed.as_ref().unwrap_or(markup)["inline_keyboard"].clone()
    }

    #[must_use]
    pub fn chat(&self) -> Option<i64> {
        let id = &self.params["chat_id"];
        id.as_i64().or_else(|| id.as_str()?.parse().ok())
    }
}

#[derive(Debug)]
pub struct FakeTelegram {
    server: Server,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    scripts: HashMap<String, VecDeque<Answer>>,
    token_refused: bool,
    last_message_id: i64,
    watcher: Option<Watcher>,
}

/// Sees each call instead of its being kept; answers come so much later.
type Watcher = (Duration, Box<dyn Fn(&Call) + Send>);

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("calls", &self.calls.len()).finish_non_exhaustive()
    }
}

impl FakeTelegram {
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let seen = state.clone();
        let handler: Handler = Arc::new(move |request| seen.lock().expect("nothing panics").answer(&request));
        Self { server: Server::start(handler).await, state }
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// The next `times` calls of `method` get `answer`.
    pub fn script(&self, method: &str, times: usize, answer: Answer) {
        let mut state = self.state();
        state.scripts.entry(method.into()).or_default().extend(std::iter::repeat_n(answer, times));
    }

    /// The next `times` calls of `method` fail as Telegram fails.
    pub fn fail(&self, method: &str, times: usize, status: u16, description: &str, parameters: Value) {
        self.script(method, times, failure(status, description, parameters));
    }

    /// Whether every call gets 401 from now on, as after the token was revoked.
    pub fn refuse_token(&self, refused: bool) {
        self.state().token_refused = refused;
    }

    /// From now on every call is answered after `latency`, shown to `seen` and not kept: for a load that
    /// goes on for hours.
    pub fn watch(&self, latency: Duration, seen: impl Fn(&Call) + Send + 'static) {
        self.state().watcher = Some((latency, Box::new(seen)));
    }

    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    #[must_use]
    pub fn calls_of(&self, method: &str) -> Vec<Call> {
        self.state().calls.iter().filter(|call| call.method == method).cloned().collect()
    }

    pub async fn wait_calls(&self, method: &str, count: usize) -> Vec<Call> {
        let what = format!("{count} calls of {method}");
        wait_until(&what, LONG, || self.calls_of(method).len() >= count).await;
        self.calls_of(method)
    }

    /// The sendMessage calls to a chat, those that failed on cue included.
    #[must_use]
    pub fn sent(&self, chat: i64) -> Vec<Call> {
        let mut calls = self.calls_of("sendMessage");
        calls.retain(|call| call.chat() == Some(chat));
        calls
    }

    #[must_use]
    pub fn texts(&self, chat: i64) -> Vec<String> {
        self.sent(chat).iter().map(|call| call.text().to_owned()).collect()
    }

    /// Waits for `count` sendMessage calls to a chat, and returns their texts.
    pub async fn wait_texts(&self, chat: i64, count: usize) -> Vec<String> {
        let what = format!("{count} messages to chat {chat}");
        wait_until(&what, LONG, || self.sent(chat).len() >= count).await;
        self.texts(chat)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics")
    }
}

impl State {
    fn answer(&mut self, request: &Request) -> Answer {
        let (token, method) = split_path(&request.path);
        let call = Call { method: method.into(), params: parameters(request), at: request.at };
        let answer = match self.scripts.get_mut(method).and_then(VecDeque::pop_front) {
            _ if self.token_refused => failure(401, "Unauthorized", Value::Null),
            Some(scripted) => scripted,
            None => self.success(token, &call),
        };
        match &self.watcher {
            Some((latency, seen)) => {
                seen(&call);
                answer.after(*latency)
            }
            None => {
                self.calls.push(call);
                answer
            }
        }
    }

    fn success(&mut self, token: &str, call: &Call) -> Answer {
        let result = match call.method.as_str() {
            "getMe" => {
                let id: i64 = token.split(':').next().and_then(|id| id.parse().ok()).unwrap_or_default();
                json!({"id": id, "is_bot": true, "first_name": "T", "username": "sample_bot"})
            }
            "getWebhookInfo" => json!({"url": "https://bot.example.com/", "pending_update_count": 0}),
            method if method.starts_with("send") || method.starts_with("edit") => {
                self.last_message_id += 1;
                json!({"message_id": self.last_message_id, "date": now(), "text": call.params["text"],
                       "chat": {"id": call.params["chat_id"], "type": "private"}})
            }
            _ => json!(true),
        };
        Answer::Json(json!({"ok": true, "result": result}))
    }
}

/// `/bot<token>/<method>`; a query string is no part of the method.
fn split_path(path: &str) -> (&str, &str) {
    let path = path.split('?').next().unwrap_or_default();
    path.strip_prefix("/bot").and_then(|rest| rest.split_once('/')).unwrap_or(("", path))
}

fn parameters(request: &Request) -> Value {
    if request.raw.is_empty() { json!({}) } else { request.body() }
}

fn failure(status: u16, description: &str, parameters: Value) -> Answer {
    let mut body = json!({"ok": false, "error_code": status, "description": description});
    if !parameters.is_null() {
        body["parameters"] = parameters;
    }
    Answer::Status(status, body)
}
