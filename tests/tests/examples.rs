//! The services of examples/: each is started, and somebody in a chat of the simulated Telegram talks to it through the
//! gateway. One test body for all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use harness::{LONG, Language, Sample, Simulator, World, http_client, now, wait_for};
use ring::hmac;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_in_python_answers_a_chat() {
    talks_to(Language::Python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_in_typescript_answers_a_chat() {
    talks_to(Language::TypeScript).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_in_rust_answers_a_chat() {
    talks_to(Language::Rust).await;
}

/// All three are led to by the same table.
#[test]
fn the_samples_have_one_routing_table() {
    let table = |of: Language| std::fs::read_to_string(of.folder().join("routes.toml")).unwrap();
    let python = table(Language::Python);
    assert!(python == table(Language::TypeScript) && python == table(Language::Rust));
}

const SECRET: &str = "a-secret-of-the-two-of-us";
const CHAT: i64 = 42;

/// What the chat holds, when `seen` finds in it what it looks for.
async fn wait_chat<T>(telegram: &Simulator, what: &str, seen: impl Fn(&Value) -> Option<T>) -> T {
    wait_for(what, LONG, || async { seen(&telegram.chat(CHAT).await) }).await
}

/// The bot's message with that text.
fn said(chat: &Value, text: &str) -> Option<Value> {
    let messages = chat["messages"].as_array()?;
    messages.iter().rfind(|message| message["from"] == "bot" && message["text"] == text).cloned()
}

async fn talks_to(language: Language) {
    let (telegram, sample) = (Simulator::start().await, Sample::start(language, SECRET).await);
    let world = World::embedded()
        .set("TELEGRAM_API_URL", telegram.url())
        .set("ROUTES_FILE", language.folder().join("routes.toml").display())
        .set("VOTES_URL", sample.url())
        .set("VOTES_SECRET", SECRET)
        .await;
    let webhook = format!("{}/webhook/telegram", world.ingress.base_url());
    telegram.set_webhook(&world.token, &webhook, &world.secret).await;

    telegram.message(CHAT, "hello").await;
    wait_chat(&telegram, "an answer to a text", |chat| said(chat, "user_42 says: hello")).await;
    telegram.message(CHAT, "/vote").await;
    let poll = wait_chat(&telegram, "an answer to a command", |chat| said(chat, "Tea or coffee?")).await;
    assert_eq!(poll["buttons"][0][0]["text"], "Tea", "{poll}");
    let id = poll["message_id"].as_i64().unwrap();
    telegram.press(CHAT, id, "VOTE:tea").await;
    let edited = wait_chat(&telegram, "an edit", |chat| said(chat, "Tea: 1, coffee: 0")).await;
    assert_eq!((&edited["message_id"], &edited["edited"]), (&json!(id), &json!(true)), "{edited}");
    let told = |chat: &Value| {
        let answers = chat["answers"].as_array()?;
        answers.iter().any(|answer| answer["text"] == "One more for tea.").then_some(())
    };
    wait_chat(&telegram, "a word on the button", told).await;
    telegram.press(CHAT, id, "VOTE:coffee").await;
    wait_chat(&telegram, "another edit", |chat| said(chat, "Tea: 1, coffee: 1")).await;
    // The name that it gave comes back with whatever the user says next.
    telegram.message(CHAT, "and now?").await;
    wait_chat(&telegram, "a text under the new name", |chat| said(chat, "member-42 says: and now?")).await;
    world.assert_no_dead_letters().await;
    repeats_and_strangers(&sample).await;
}

/// What the gateway does on a bad day, and what others might: the same request again, and one that nobody signed.
async fn repeats_and_strangers(sample: &Sample) {
    let press = json!({"user_id": "member-42", "telegram_user_id": CHAT, "chat_id": CHAT, "kind": "callback_query",
                       "request_id": "0-1", "action": "VOTE", "param": "tea"});
    let body = press.to_string();
    let (status, first) = ask(sample, &body, "0-1", now(), SECRET).await;
    assert_eq!((status, &first["messages"][0]["content"]), (200, &json!("Tea: 2, coffee: 1")));
    assert_eq!(
        ask(sample, &body, "0-1", now(), SECRET).await,
        (200, first.clone()),
        "a repeat counts nothing"
    );
    for (at, secret) in [(now(), "another-secret-of-ours"), (now() - 400, SECRET), (now() + 400, SECRET)] {
        assert_eq!(ask(sample, &body, "0-2", at, secret).await.0, 401, "{at} {secret}");
    }
    // What failed is not remembered: the same key does its work the next time.
    let (status, _) = ask(sample, "no JSON", "0-3", now(), SECRET).await;
    assert!(status >= 400, "{status}");
    let (status, next) = ask(sample, &body, "0-3", now(), SECRET).await;
    assert_eq!((status, &next["messages"][0]["content"]), (200, &json!("Tea: 3, coffee: 1")));
}

/// Status and answer of a request that is signed as docs/services.md says.
async fn ask(sample: &Sample, body: &str, key: &str, at: i64, secret: &str) -> (u16, Value) {
    let signing = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = hmac::sign(&signing, format!("{at}.{body}").as_bytes());
    let hex: String = signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let request = http_client()
        .post(sample.url())
        .header("Content-Type", "application/json")
        .header("Idempotency-Key", key)
        .header("X-Tgw-Timestamp", at.to_string())
        .header("X-Tgw-Signature", format!("v1={hex}"))
        .body(body.to_owned());
    let answer = request.send().await.expect("the sample runs");
    let status = answer.status().as_u16();
    let body = answer.bytes().await.unwrap_or_default();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}
