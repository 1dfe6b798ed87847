//! Telegram: the token, and the webhook as Telegram sees it.

use std::time::SystemTime;

use serde_json::{Value, json};
use shared::clock;
use shared::settings::Values;
use worker::{Bot, Looked, PlainError, kinds_asked};

use super::certificate;
use super::finding::Finding;
use crate::output::ago;

/// An error of longer ago is over.
const RECENT: u64 = 600;

/// And how far Telegram's clock is ahead of ours, in milliseconds.
pub async fn examine(values: &Values) -> (Vec<Finding>, Option<i64>) {
    let Ok(Ok(bot)) = Bot::read(values) else { return (Vec::new(), None) };
    let looked = match bot.look("getMe", &json!({})).await {
        Ok(looked) => looked,
        Err(error) => return (vec![unasked(&error)], None),
    };
    let ahead = ahead(&looked);
    let name = looked.result["username"].as_str().unwrap_or("a bot without a name");
    let mut findings = vec![Finding::well("telegram", format!("@{name}, bot {}", bot.number()))];
    match bot.call("getWebhookInfo", &json!({})).await {
        Ok(info) => {
            findings.extend(webhook(values, &info, clock::now_ms() / 1000));
            findings.extend(certificate::examine(&info).await);
        }
        Err(error) => findings.push(unasked(&error)),
    }
    (findings, ahead)
}

fn unasked(error: &PlainError) -> Finding {
    let advice = match error {
        PlainError::WrongToken => {
            "set TELEGRAM_BOT_TOKEN to what @BotFather shows; workers take no updates until then"
        }
        PlainError::Away(_) => "see that this machine reaches TELEGRAM_API_URL: DNS, firewall, proxy",
        PlainError::Refused(_) => "see what it says",
    };
    Finding::wrong("telegram", error.to_string(), advice)
}

fn ahead(looked: &Looked) -> Option<i64> {
    let theirs = httpdate::parse_http_date(looked.date.as_deref()?).ok()?;
    let theirs = theirs.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_millis() as i64;
    // Whole seconds, cut off.
    let ours = clock::now_ms() as i64;
    Some(if (theirs..theirs + 1000).contains(&ours) { 0 } else { theirs - ours })
}

/// What getWebhookInfo tells (facts T11). Which secret Telegram sends it does not tell.
fn webhook(values: &Values, info: &Value, now: u64) -> Vec<Finding> {
    let url = info["url"].as_str().unwrap_or_default();
    let pending = info["pending_update_count"].as_u64().unwrap_or(0);
    if url.is_empty() {
        let advice = "tgw webhook set --url https://YOUR-HOST/webhook/telegram";
        return vec![Finding::wrong("webhook", format!("none: {pending} updates wait at Telegram"), advice)];
    }
    let mut findings = Vec::new();
    let path = url::Url::parse(url).map(|url| url.path().to_owned()).unwrap_or_default();
    if path != "/webhook/telegram" {
        findings.push(Finding::worth(
            "webhook",
            format!("{url} does not end in /webhook/telegram, where the ingress listens"),
            "see that your proxy leads from there to that path, or set the webhook anew",
        ));
    }
    let error = info["last_error_date"].as_u64().map(|at| now.saturating_sub(at));
    if let Some(since) = error.filter(|since| *since < RECENT) {
        let words = info["last_error_message"].as_str().unwrap_or_default();
        let what = format!("{words}, {} ago; {pending} updates wait at Telegram", ago(since));
        findings.push(Finding::wrong("webhook", what, advice(words)));
    }
    findings.extend(left_out(values, info));
    if findings.is_empty() {
        findings.push(Finding::well("webhook", format!("{url}; {pending} updates wait at Telegram")));
    }
    findings
}

/// What Telegram's words mean here.
fn advice(words: &str) -> &'static str {
    let words = words.to_ascii_lowercase();
    let says = |word: &str| words.contains(word);
    if says("certificate") || says("ssl") {
        "have the proxy send a certificate of this host that a browser takes, with all of its chain"
    } else if says("resolve") || says("host") {
        "correct the host's DNS, or set the webhook to another host"
    } else if says("refused") || says("timed out") || says("timeout") || says("unreachable") {
        "see that the proxy listens there, on 443, 80, 88 or 8443, and that Telegram's addresses are let in"
    } else if says("503") {
        "no ingress could keep an update: see the broker and the disk, and /ready of the ingresses"
    } else if says("404") || says("405") {
        "have the proxy lead to the ingress with the path /webhook/telegram"
    } else if says("502") || says("504") || says("bad gateway") {
        "the proxy reaches no ingress: see that one runs and where the proxy leads to"
    } else {
        "see the proxy's log at that time, and the ingress's"
    }
}

/// Kinds that a route asks for and Telegram does not send.
fn left_out(values: &Values, info: &Value) -> Option<Finding> {
    let asked = kinds_asked(values).ok()?;
    let kinds = info["allowed_updates"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let allowed: Vec<String> = kinds.map(str::to_owned).collect();
    let left_out = asked.left_out(&allowed);
    (!left_out.is_empty()).then(|| {
        Finding::worth(
            "webhook",
            format!("routes ask for kinds that Telegram does not send: {}", left_out.join(", ")),
            "name them with the others: tgw webhook set --url … --allowed-updates KIND,KIND",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    fn told(info: &Value) -> Vec<(State, String)> {
        let findings = webhook(&Values::default(), info, 10_000);
        findings.into_iter().map(|finding| (finding.state, finding.what)).collect()
    }

    #[test]
    fn an_error_of_a_moment_ago_is_wrong_and_one_of_an_hour_ago_is_over() {
        let info = |at: u64| {
            json!({"url": "https://a.example/webhook/telegram", "pending_update_count": 2,
                "last_error_date": at, "last_error_message": "Connection refused"})
        };
        assert_eq!(
            told(&info(1_000)),
            [(State::Well, "https://a.example/webhook/telegram; 2 updates wait at Telegram".to_owned())]
        );
        let words = "Connection refused, 1m 40s ago; 2 updates wait at Telegram".to_owned();
        assert_eq!(told(&info(9_900)), [(State::Wrong, words)]);
    }

    #[test]
    fn a_kind_that_telegram_does_not_send_is_told() {
        let info = json!({"url": "https://a.example/webhook/telegram", "pending_update_count": 0,
            "allowed_updates": ["message"]});
        let words = "routes ask for kinds that Telegram does not send: callback_query, my_chat_member";
        assert_eq!(told(&info), [(State::Worth, words.to_owned())]);
    }
}
