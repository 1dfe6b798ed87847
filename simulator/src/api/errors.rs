//! Telegram's errors: the status, the text, and what the caller is told to do next (facts T15, T16).

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};
use serde_json::{Map, Value, json};

use crate::state::failures::Rule;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub status: u16,
    pub description: String,
    pub retry_after: Option<u64>,
    pub migrate_to_chat_id: Option<i64>,
}

impl ApiError {
    fn new(status: u16, description: impl Into<String>) -> Self {
        Self { status, description: description.into(), retry_after: None, migrate_to_chat_id: None }
    }

    /// 400; the text is what follows "Bad Request: ".
    pub fn bad_request(text: impl AsRef<str>) -> Self {
        Self::new(400, format!("Bad Request: {}", text.as_ref()))
    }

    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized")
    }

    pub fn blocked() -> Self {
        Self::new(403, "Forbidden: bot was blocked by the user")
    }

    pub fn deactivated() -> Self {
        Self::new(403, "Forbidden: user is deactivated")
    }

    pub fn not_found() -> Self {
        Self::new(404, "Not Found")
    }

    pub fn no_method() -> Self {
        Self::new(404, "Not Found: method not found")
    }

    pub fn too_large() -> Self {
        Self::new(413, "Request Entity Too Large")
    }

    /// No words of Telegram's: it knows the method, and answers with something that is not made here.
    pub fn not_simulated(method: &str) -> Self {
        Self::new(501, format!("Not Implemented: the simulator does not simulate {method}"))
    }

    pub fn conflict(text: &str) -> Self {
        Self::new(409, format!("Conflict: {text}"))
    }

    pub fn too_many(seconds: u64) -> Self {
        let description = format!("Too Many Requests: retry after {seconds}");
        Self { retry_after: Some(seconds), ..Self::new(429, description) }
    }

    /// What a rule asks for; without a text, Telegram's own for that status.
    pub fn of_rule(rule: &Rule) -> Self {
        let status = rule.failure_status().unwrap_or(500);
        let retry_after = rule.retry_after.or((status == 429).then_some(1));
        let usual = match (status, retry_after, rule.migrate_to_chat_id) {
            (429, Some(seconds), _) => format!("Too Many Requests: retry after {seconds}"),
            (_, _, Some(_)) => "Bad Request: group chat was upgraded to a supergroup chat".to_owned(),
            (400, ..) => "Bad Request: the simulator was told to refuse this".to_owned(),
            (403, ..) => "Forbidden: bot was blocked by the user".to_owned(),
            _ => StatusCode::from_u16(status)
                .ok()
                .and_then(|code| code.canonical_reason())
                .unwrap_or("Error")
                .to_owned(),
        };
        let description = rule.description.clone().unwrap_or(usual);
        Self { status, description, retry_after, migrate_to_chat_id: rule.migrate_to_chat_id }
    }

    pub fn response(&self) -> HttpResponse {
        let mut body = json!({"ok": false, "error_code": self.status, "description": self.description});
        let mut parameters = Map::new();
        if let Some(seconds) = self.retry_after {
            parameters.insert("retry_after".to_owned(), json!(seconds));
        }
        if let Some(chat_id) = self.migrate_to_chat_id {
            parameters.insert("migrate_to_chat_id".to_owned(), json!(chat_id));
        }
        if !parameters.is_empty() {
            body["parameters"] = Value::Object(parameters);
        }
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponse::build(status);
        if let Some(seconds) = self.retry_after {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        response.json(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_without_a_text_gets_telegrams_own() {
        let rule = |json| ApiError::of_rule(&serde_json::from_str(json).unwrap());
        assert_eq!(rule(r#"{"retry_after":3}"#), ApiError::too_many(3));
        assert_eq!(rule(r#"{"status":502}"#).description, "Bad Gateway");
        assert_eq!(rule(r#"{"status":403}"#), ApiError::blocked());
        let migrated = rule(r#"{"migrate_to_chat_id":-1001}"#);
        assert_eq!((migrated.status, migrated.migrate_to_chat_id), (400, Some(-1001)));
    }
}
