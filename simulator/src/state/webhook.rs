//! The webhook that the bot set, the kinds of update that it wants, and what getWebhookInfo tells (facts T11).

use std::net::IpAddr;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::sync::oneshot;

pub(crate) const MAX_CONNECTIONS: usize = 100;
pub(crate) const DEFAULT_MAX_CONNECTIONS: usize = 40;
/// Kinds that Telegram sends only to a bot that names them.
const ON_REQUEST: [&str; 3] = ["chat_member", "message_reaction", "message_reaction_count"];
/// All kinds of version 10.0, in the order in which getWebhookInfo names them. What else a bot asks for is ignored.
#[rustfmt::skip]
const KINDS: [&str; 25] = [
    "message", "edited_message", "channel_post", "edited_channel_post", "inline_query", "chosen_inline_result",
    "callback_query", "shipping_query", "pre_checkout_query", "poll", "poll_answer", "my_chat_member",
    "chat_member", "chat_join_request", "chat_boost", "removed_chat_boost", "message_reaction",
    "message_reaction_count", "business_connection", "business_message", "edited_business_message",
    "deleted_business_messages", "purchased_paid_media", "managed_bot", "guest_message",
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub url: String,
    pub secret: Option<String>,
    pub max_connections: usize,
    /// A certificate of the bot's own came with it.
    pub certificate: bool,
    /// Tells apart what was set at different times.
    pub generation: u64,
}

#[derive(Default)]
pub(crate) struct Webhook {
    pub target: Option<Target>,
    generations: u64,
    /// Empty: all but those that are sent on request only.
    allowed_updates: Vec<String>,
    pub last_error: Option<(i64, String)>,
    /// A setWebhook that is not done yet: told when another one ends it.
    setting: Option<oneshot::Sender<()>>,
    /// When setWebhook may be called again (facts T10).
    pub next_set: Option<Instant>,
    /// Where the last connection led.
    pub ip_address: Option<IpAddr>,
}

impl Webhook {
    pub fn set(&mut self, url: String, secret: Option<String>, max_connections: usize, certificate: bool) {
        self.generations += 1;
        let host = reqwest::Url::parse(&url).ok().and_then(|url| url.host_str().map(str::to_owned));
        self.ip_address = host.and_then(|host| host.trim_matches(['[', ']']).parse().ok());
        self.last_error = None;
        let generation = self.generations;
        self.target = Some(Target { url, secret, max_connections, certificate, generation });
    }

    /// A setWebhook is in hand from now on; the one that was, is told.
    pub fn begin_setting(&mut self) -> oneshot::Receiver<()> {
        let (teller, told) = oneshot::channel();
        self.end_setting();
        self.setting = Some(teller);
        told
    }

    pub fn end_setting(&mut self) {
        if let Some(teller) = self.setting.take() {
            // An error says that it is done.
            teller.send(()).ok();
        }
    }

    /// Returns whether there was one.
    pub fn delete(&mut self) -> bool {
        self.last_error = None;
        self.target.take().is_some()
    }

    /// What a call names, if it names any: a list, empty for Telegram's own choice. Anything that is no list of
    /// names changes nothing.
    pub fn allow(&mut self, given: &Value) {
        let names =
            given.as_array().and_then(|names| names.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        let Some(names) = names else { return };
        let wanted = |kind: &&str| names.iter().any(|name| name.eq_ignore_ascii_case(kind));
        let kinds: Vec<_> = KINDS.into_iter().filter(wanted).collect();
        let usual = kinds.len() + ON_REQUEST.len() == KINDS.len()
            && !kinds.iter().any(|kind| ON_REQUEST.contains(kind));
        let kinds = if usual { Vec::new() } else { kinds };
        self.allowed_updates = kinds.into_iter().map(str::to_owned).collect();
    }

    pub fn allows(&self, kind: &str) -> bool {
        match self.allowed_updates.is_empty() {
            true => !ON_REQUEST.contains(&kind),
            false => self.allowed_updates.iter().any(|allowed| allowed == kind),
        }
    }

    pub fn info(&self, pending: usize) -> Value {
        let mut info = json!({
            "url": self.target.as_ref().map_or("", |target| target.url.as_str()),
            "has_custom_certificate": self.target.as_ref().is_some_and(|target| target.certificate),
            "pending_update_count": pending,
        });
        if let Some((date, message)) = &self.last_error {
            info["last_error_date"] = json!(date);
            info["last_error_message"] = json!(message);
        }
        if let Some(target) = &self.target {
            info["max_connections"] = json!(target.max_connections);
            let known = self.ip_address.map(|address| address.to_string());
            info["ip_address"] = json!(known.unwrap_or_else(|| "<unknown>".to_owned()));
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
        webhook.allow(&json!(["CHAT_member", "nonsense"]));
        assert!(webhook.allows("chat_member") && !webhook.allows("message"));
        assert_eq!(webhook.info(0)["allowed_updates"], json!(["chat_member"]));
    }

    #[test]
    fn an_empty_list_is_telegrams_own_choice_and_what_is_no_list_changes_nothing() {
        let mut webhook = Webhook::default();
        webhook.allow(&json!(["poll"]));
        for wrong in [json!("message"), json!({}), json!(["message", 1])] {
            webhook.allow(&wrong);
            assert!(webhook.allows("poll") && !webhook.allows("message"), "{wrong}");
        }
        for usual in [json!([]), json!(["nonsense"])] {
            webhook.allow(&json!(["poll"]));
            webhook.allow(&usual);
            assert!(webhook.allows("message") && !webhook.allows("chat_member"), "{usual}");
            assert_eq!(webhook.info(0).get("allowed_updates"), None);
        }
    }

    #[test]
    fn all_kinds_but_those_on_request_are_the_usual_ones() {
        let mut webhook = Webhook::default();
        let usual: Vec<_> = KINDS.into_iter().filter(|kind| !ON_REQUEST.contains(kind)).collect();
        webhook.allow(&json!(usual));
        assert_eq!(webhook.info(0).get("allowed_updates"), None);
        webhook.allow(&json!(KINDS));
        assert!(webhook.allows("chat_member") && webhook.allows("message"));
    }
}
