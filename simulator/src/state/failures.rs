//! Rules by which the Bot API side fails on cue. Pure: a rule is matched here and carried out in `api`.

use serde::{Deserialize, Serialize};

/// What to do to calls that match. Rules are tried in the order in which they were given.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// None: any method. Compared without case, as Telegram does.
    #[serde(default)]
    pub method: Option<String>,
    #[serde(default)]
    pub chat_id: Option<i64>,
    /// How often it applies; None (JSON null): until a reset. Once, if not said.
    #[serde(default = "once")]
    pub times: Option<u64>,
    /// None: the call is answered as usual, perhaps after `delay_ms`.
    #[serde(default)]
    pub status: Option<u16>,
    /// None: Telegram's usual text for the status.
    #[serde(default)]
    pub description: Option<String>,
    /// Seconds, in `parameters` and as a header. Without a status it means 429.
    #[serde(default)]
    pub retry_after: Option<u64>,
    #[serde(default)]
    pub delay_ms: Option<u64>,
    /// Without a status it means 400.
    #[serde(default)]
    pub migrate_to_chat_id: Option<i64>,
    /// Drop the connection without an answer.
    #[serde(default)]
    pub close: bool,
    /// Carry the call out first, then fail: the caller cannot know (facts T17).
    #[serde(default)]
    pub after: bool,
}

fn once() -> Option<u64> {
    Some(1)
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            method: None,
            chat_id: None,
            times: once(),
            status: None,
            description: None,
            retry_after: None,
            delay_ms: None,
            migrate_to_chat_id: None,
            close: false,
            after: false,
        }
    }
}

impl Rule {
    fn matches(&self, method: &str, chat_id: Option<i64>) -> bool {
        let method_fits = self.method.as_deref().is_none_or(|named| named.eq_ignore_ascii_case(method));
        method_fits && (self.chat_id.is_none() || self.chat_id == chat_id)
    }

    /// The status to answer with; None when the call is to be answered as usual.
    pub(crate) fn failure_status(&self) -> Option<u16> {
        self.status
            .or(self.retry_after.map(|_| 429))
            .or(self.migrate_to_chat_id.map(|_| 400))
            .filter(|status| !(200..300).contains(status))
    }
}

#[derive(Default)]
pub(crate) struct Failures {
    rules: Vec<Rule>,
}

impl Failures {
    pub fn add(&mut self, rule: Rule) {
        if rule.times != Some(0) {
            self.rules.push(rule);
        }
    }

    /// The first rule that fits, counted down.
    pub fn take(&mut self, method: &str, chat_id: Option<i64>) -> Option<Rule> {
        let index = self.rules.iter().position(|rule| rule.matches(method, chat_id))?;
        let rule = &mut self.rules[index];
        let taken = rule.clone();
        if let Some(times) = &mut rule.times {
            *times -= 1;
            if *times == 0 {
                self.rules.remove(index);
            }
        }
        Some(taken)
    }

    pub fn clear(&mut self) {
        self.rules.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: &str) -> Rule {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_rule_applies_as_often_as_it_says() {
        let mut failures = Failures::default();
        failures.add(rule(r#"{"method":"sendMessage","status":500,"times":2}"#));
        assert!(failures.take("sendPhoto", None).is_none());
        assert!(failures.take("sendMessage", None).is_some());
        assert!(failures.take("sendmessage", Some(7)).is_some());
        assert!(failures.take("sendMessage", None).is_none());
    }

    #[test]
    fn times_absent_is_once_and_null_is_until_reset() {
        assert_eq!(rule("{}").times, Some(1));
        assert_eq!(rule(r#"{"times":null}"#).times, None);
        let mut failures = Failures::default();
        failures.add(rule(r#"{"times":null,"status":502,"chat_id":7}"#));
        assert!((0..100).all(|_| failures.take("sendMessage", Some(7)).is_some()));
        assert!(failures.take("sendMessage", Some(8)).is_none());
        failures.clear();
        assert!(failures.take("sendMessage", Some(7)).is_none());
    }

    #[test]
    fn the_first_that_fits_wins() {
        let mut failures = Failures::default();
        failures.add(rule(r#"{"chat_id":7,"status":403}"#));
        failures.add(rule(r#"{"retry_after":3}"#));
        assert_eq!(failures.take("getMe", None).unwrap().failure_status(), Some(429));
        assert_eq!(failures.take("sendMessage", Some(7)).unwrap().failure_status(), Some(403));
    }
}
