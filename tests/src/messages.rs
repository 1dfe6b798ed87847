//! Messages as a service posts them to a worker.

use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::Value;

use crate::client::http_client;
use crate::process::Process;
use crate::world::World;

/// For `MESSAGES_TOKEN`.
pub const MESSAGES_TOKEN: &str = "MESSAGES-TOKEN-of-the-tests";

/// What was answered.
#[derive(Debug)]
pub struct Receipt {
    pub status: u16,
    pub headers: HeaderMap<HeaderValue>,
    pub body: Value,
}

impl Receipt {
    /// The id of a message; that it was taken is sure then.
    #[allow(clippy::must_use_candidate, reason = "asked also to see that it was taken")]
    pub fn id(&self) -> String {
        assert_eq!(self.status, 202, "{}", self.body);
        self.body["id"].as_str().expect("an id").to_owned()
    }

    #[must_use]
    pub fn error(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }
}

/// Posts to a worker, or to `tgw run`.
pub async fn post_message(to: &Process, token: &str, key: Option<&str>, body: Vec<u8>) -> Receipt {
    try_message(to, token, key, body).await.expect("the endpoint answers")
}

/// The same, where nobody may be there.
pub async fn try_message(
    to: &Process,
    token: &str,
    key: Option<&str>,
    body: Vec<u8>,
) -> reqwest::Result<Receipt> {
    let mut request = http_client().post(format!("{}/v1/messages", to.base_url())).body(body);
    request =
        request.header("Content-Type", "application/json").header("Authorization", format!("Bearer {token}"));
    if let Some(key) = key {
        request = request.header("Idempotency-Key", key);
    }
    let answer = request.send().await?;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = serde_json::from_str(&answer.text().await?).unwrap_or_default();
    Ok(Receipt { status, headers, body })
}

impl World {
    /// Posts a message as a service of this deployment, which has to have `MESSAGES_TOKEN`.
    pub async fn message(&self, key: Option<&str>, body: &Value) -> Receipt {
        post_message(self.worker(), MESSAGES_TOKEN, key, body.to_string().into_bytes()).await
    }
}
