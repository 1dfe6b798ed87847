//! How the webhook is, as a status page.

use serde_json::Value;

use crate::output::ago;

pub fn page(info: &Value, now: u64) -> Vec<String> {
    let url = text(info, "url");
    if url.is_empty() {
        return vec!["webhook   none: updates wait at Telegram".to_owned(), waiting(info)];
    }
    let mut lines = vec![format!("webhook   {url}"), waiting(info)];
    let since = |name: &str| info[name].as_u64().map(|at| format!("{} ago", ago(now.saturating_sub(at))));
    match since("last_error_date") {
        Some(when) => lines.push(format!("error     {}, {when}", text(info, "last_error_message"))),
        None => lines.push("error     none".to_owned()),
    }
    if let Some(when) = since("last_synchronization_error_date") {
        lines.push(format!("sync      Telegram's own servers were out of step {when}"));
    }
    if let Some(count) = info["max_connections"].as_u64() {
        lines.push(format!("at once   {count}"));
    }
    let kinds: Vec<&str> =
        info["allowed_updates"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    lines.push(format!(
        "kinds     {}",
        if kinds.is_empty() { "Telegram's default".to_owned() } else { kinds.join(", ") }
    ));
    if let Some(address) = info["ip_address"].as_str() {
        lines.push(format!("address   {address}"));
    }
    if info["has_custom_certificate"] == true {
        lines.push("trust     a certificate that was sent with the webhook".to_owned());
    }
    lines
}

fn waiting(info: &Value) -> String {
    format!("pending   {}", info["pending_update_count"])
}

pub fn text<'a>(info: &'a Value, name: &str) -> &'a str {
    info[name].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_page_tells_what_went_wrong_and_when() {
        let info = json!({"url": "https://a.example/webhook/telegram", "pending_update_count": 3, "max_connections": 40,
            "last_error_date": 1_000, "last_error_message": "Connection refused", "has_custom_certificate": true});
        let lines = [
            "webhook   https://a.example/webhook/telegram",
            "pending   3",
            "error     Connection refused, 1m 5s ago",
            "at once   40",
            "kinds     Telegram's default",
            "trust     a certificate that was sent with the webhook",
        ];
        assert_eq!(page(&info, 1_065), lines);
    }
}
