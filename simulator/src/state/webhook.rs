//! The webhook that the bot set, and what getWebhookInfo tells about it (facts T11).

use std::time::Instant;

use serde_json::{Value, json};

pub(crate) const DEFAULT_MAX_CONNECTIONS: usize = 40;
/// Kinds that Telegram sends only to a bot that names them.
const ON_REQUEST: [&str; 3] = ["chat_member", "message_reaction", "message_reaction_count"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub url: String,
    pub secret: Option<String>,
    pub max_connections: usize,
}

#[derive(Default)]
pub(crate) struct Webhook {
    pub target: Option<Target>,
    /// Empty: all but those that are sent on request only. Kept when a later call does not name any.
    pub allowed_updates: Vec<String>,
    pub last_error: Option<(i64, String)>,
    /// When setWebhook was last called (facts T10).
    pub last_set: Option<Instant>,
}

impl Webhook {
    pub fn allows(&self, kind: &str) -> bool {
        match self.allowed_updates.is_empty() {
            true => !ON_REQUEST.contains(&kind),
            false => self.allowed_updates.iter().any(|allowed| allowed == kind),
        }
    }

    pub fn info(&self, pending: usize) -> Value {
        let mut info = json!({
            "url": self.target.as_ref().map_or("", |target| target.url.as_str()),
            "has_custom_certificate": false,
            "pending_update_count": pending,
        });
        if let Some((date, message)) = &self.last_error {
            info["last_error_date"] = json!(date);
            info["last_error_message"] = json!(message);
        }
        if let Some(target) = &self.target {
            info["max_connections"] = json!(target.max_connections);
            info["ip_address"] = json!("127.0.0.1");
        }
        if !self.allowed_updates.is_empty() {
            info["allowed_updates"] = json!(self.allowed_updates);
        }
        info
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_nobody_knows_yet_is_sent_unless_the_bot_named_others() {
        let mut webhook = Webhook::default();
        assert!(webhook.allows("message") && webhook.allows("something_new"));
        assert!(!webhook.allows("chat_member"));
        webhook.allowed_updates = vec!["chat_member".to_owned()];
        assert!(webhook.allows("chat_member") && !webhook.allows("message"));
    }
}
