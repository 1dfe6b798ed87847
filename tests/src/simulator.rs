//! The simulator of Telegram as a process of its own, which holds the bot to Telegram's limits; driven by its
//! control side.

use serde_json::{Value, json};

use crate::client::http_client;
use crate::ports::free_port;
use crate::process::Process;
use crate::wait::{LONG, wait_for};

#[derive(Debug)]
pub struct Simulator {
    _process: Process,
    url: String,
    /// One for all requests: a load makes many.
    client: reqwest::Client,
}

/// A call of the bot, as the simulator wrote it down.
#[derive(Clone, Debug)]
pub struct Journaled {
    pub method: String,
    pub chat: i64,
    pub text: String,
    /// Milliseconds since the epoch.
    pub at_ms: u64,
    /// None while it is not answered.
    pub status: Option<u16>,
    /// In seconds, where it was refused with 429.
    pub retry_after: Option<u64>,
}

impl Simulator {
    /// With Telegram's limits.
    pub async fn start() -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let process = Process::of("telegram-simulator").env("TELEGRAM_SIMULATOR_LISTEN", &address);
        let process = process.arg("--limits").start();
        let simulator = Self { _process: process, url: format!("http://{address}"), client: http_client() };
        let bot = simulator.control("bot");
        let asked = || async { simulator.client.get(&bot).send().await.ok().map(drop) };
        wait_for("the simulator listens", LONG, asked).await;
        simulator
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// As the bot's owner does.
    pub async fn set_webhook(&self, token: &str, url: &str, secret: &str) {
        let webhook = json!({"url": url, "secret_token": secret, "max_connections": 100});
        let answer = self.post(&format!("{}/bot{token}/setWebhook", self.url), &webhook).await;
        assert_eq!(answer["ok"], true, "{answer}");
    }

    /// A user writes.
    pub async fn message(&self, chat: i64, text: &str) {
        self.post(&self.control("message"), &json!({"chat_id": chat, "text": text})).await;
    }

    /// They press a button of the bot's message.
    pub async fn press(&self, chat: i64, message: i64, data: &str) {
        let press = json!({"chat_id": chat, "message_id": message, "data": data});
        self.post(&self.control("press"), &press).await;
    }

    /// What a chat holds, as the control side shows it.
    pub async fn chat(&self, chat: i64) -> Value {
        let shown = self.client.get(self.control(&format!("chats/{chat}"))).send().await;
        let shown = shown.expect("the simulator runs").bytes().await.unwrap_or_default();
        serde_json::from_slice(&shown).unwrap_or_default()
    }

    /// Every call to the chat gets 429 from now on, for so many seconds.
    pub async fn punish(&self, chat: i64, seconds: u64) {
        self.post(&self.control("punish"), &json!({"chat_id": chat, "seconds": seconds})).await;
    }

    /// All calls since the one before `after`.
    pub async fn calls(&self, mut after: u64) -> Vec<Journaled> {
        let mut calls = Vec::new();
        loop {
            let page = format!("{}?after={after}&limit=5000", self.control("calls"));
            let page = self.client.get(page).send().await.expect("the simulator runs");
            let page = page.bytes().await.expect("its journal");
            let page: Vec<Value> = serde_json::from_slice(&page).expect("its journal");
            let Some(last) = page.last() else { return calls };
            after = last["seq"].as_u64().expect("a number");
            calls.extend(page.iter().map(|call| Journaled {
                method: call["method"].as_str().unwrap_or_default().to_owned(),
                chat: call["chat_id"].as_i64().unwrap_or_default(),
                text: call["params"]["text"].as_str().unwrap_or_default().to_owned(),
                at_ms: call["at_ms"].as_u64().unwrap_or_default(),
                status: call["status"].as_u64().map(|status| status as u16),
                retry_after: retry_after(&call["description"]),
            }));
        }
    }

    /// What the bot gave with its last call of that method.
    pub async fn last(&self, method: &str) -> Value {
        let page = self.client.get(self.control("calls")).send().await.expect("the simulator runs");
        let page = page.bytes().await.expect("its journal");
        let calls: Vec<Value> = serde_json::from_slice(&page).expect("its journal");
        let last = calls.into_iter().rev().find(|call| call["method"] == method);
        last.map(|mut call| call["params"].take()).expect("it was called")
    }

    /// What the bot wrote in a chat, as its reader sees it.
    pub async fn texts(&self, chat: i64) -> Vec<String> {
        let chat =
            self.client.get(self.control(&format!("chats/{chat}"))).send().await.expect("the simulator runs");
        let chat: Value = serde_json::from_slice(&chat.bytes().await.expect("a chat")).unwrap_or_default();
        let messages = chat["messages"].as_array().cloned().unwrap_or_default();
        let of_bot = messages.iter().filter(|message| message["from"] == "bot");
        of_bot.map(|message| message["text"].as_str().unwrap_or_default().to_owned()).collect()
    }

    fn control(&self, what: &str) -> String {
        format!("{}/control/{what}", self.url)
    }

    async fn post(&self, url: &str, body: &Value) -> Value {
        let answer = self
            .client
            .post(url)
            .header("Content-Type", "application/json")
            .body(body.to_string())
            .send()
            .await
            .expect("the simulator runs");
        let status = answer.status();
        let answer = answer.bytes().await.unwrap_or_default();
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        assert!(status.is_success(), "{url}: {status} {answer}");
        answer
    }
}

fn retry_after(description: &Value) -> Option<u64> {
    description.as_str()?.strip_prefix("Too Many Requests: retry after ")?.parse().ok()
}
