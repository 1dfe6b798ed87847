//! What Telegram says of the webhook (facts T11): how much waits there, and when it last failed to deliver.

use serde::Deserialize;
use serde_json::Map;

use super::{Telegram, error};

/// The webhook as Telegram sees it. Its address and the words of its last error are not for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    pub updates: i64,
    /// Unix time; 0 where it never failed.
    pub last_error: i64,
    /// Whether there is an address to post to.
    pub is_set: bool,
}

#[derive(Deserialize)]
struct Answer {
    result: Info,
}

#[derive(Deserialize)]
struct Info {
    url: String,
    #[serde(default)]
    pending_update_count: i64,
    #[serde(default)]
    last_error_date: i64,
}

impl Pending {
    fn read(body: &[u8]) -> Option<Self> {
        let Info { url, pending_update_count, last_error_date } =
            serde_json::from_slice::<Answer>(body).ok()?.result;
        Some(Self { updates: pending_update_count, last_error: last_error_date, is_set: !url.is_empty() })
    }
}

impl Telegram {
    /// Asks once; nothing where Telegram does not answer, refuses, or says something else.
    pub async fn pending(&self) -> Option<Pending> {
        let (status, retry_after, body) = self.exchange("getWebhookInfo", &Map::new()).await.ok()?;
        error::read(status, retry_after, &body).ok()?;
        Pending::read(&body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_without_errors_and_one_with_are_read() {
        let read = |text: &str| Pending::read(text.as_bytes());
        let well =
            r#"{"ok":true,"result":{"url":"","has_custom_certificate":false,"pending_update_count":3}}"#;
        assert_eq!(read(well), Some(Pending { updates: 3, last_error: 0, is_set: false }));
        let ill = r#"{"ok":true,"result":{"url":"https://a/","pending_update_count":0,"last_error_date":7}}"#;
        assert_eq!(read(ill), Some(Pending { updates: 0, last_error: 7, is_set: true }));
        assert_eq!(read(r#"{"ok":true,"result":true}"#), None);
    }
}
