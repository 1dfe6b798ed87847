//! The webhook's address as somebody outside sees it, as far as this machine is outside: whether it answers, and whether
//! its certificate is one that Telegram takes, and for how long.

use std::time::Duration;

use reqwest::tls::TlsInfo;
use serde_json::Value;
use shared::clock;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::finding::Finding;
use crate::output::because;

const PATIENCE: Duration = Duration::from_secs(8);

/// Certificates of 90 days are renewed 30 days before their end: two weeks before it nobody has done so.
const SOON_DAYS: i64 = 14;

pub async fn examine(info: &Value) -> Vec<Finding> {
    let url = info["url"].as_str().and_then(|url| url::Url::parse(url).ok());
    let Some(url) = url else { return Vec::new() };
    let own = info["has_custom_certificate"] == true;
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .tls_info(true)
        // A certificate of the bot's own is known to Telegram, and to nobody here.
        .tls_danger_accept_invalid_certs(own)
        .build();
    let Ok(client) = client else { return Vec::new() };
    let shown = format!(
        "{}://{}:{}",
        url.scheme(),
        url.host_str().unwrap_or_default(),
        url.port_or_known_default().unwrap_or_default()
    );
    // The ingress takes only POST there: this is answered and leaves no trace.
    match client.get(url).send().await {
        Ok(answer) => {
            let days = answer
                .extensions()
                .get::<TlsInfo>()
                .and_then(TlsInfo::peer_certificate)
                .and_then(|der| days_left(der, (clock::now_ms() / 1000) as i64));
            let mut findings: Vec<Finding> = days.and_then(|days| aged(&shown, days)).into_iter().collect();
            findings.extend(answered(&shown, answer.status().as_u16(), days));
            findings
        }
        Err(error) => vec![unanswered(&shown, &because(&error))],
    }
}

/// Days until the certificate's end, less than 0 behind it.
fn days_left(der: &[u8], now: i64) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some((certificate.validity().not_after.timestamp() - now).div_euclid(86_400))
}

fn aged(shown: &str, days: i64) -> Option<Finding> {
    let advice = "renew it, and see why that did not happen by itself";
    match days {
        ..0 => Some(Finding::wrong("outside", format!("the certificate of {shown} is out of date"), advice)),
        0..SOON_DAYS => {
            Some(Finding::worth("outside", format!("the certificate of {shown} ends in {days} days"), advice))
        }
        _ => None,
    }
}

fn answered(shown: &str, status: u16, days: Option<i64>) -> Option<Finding> {
    let certificate =
        days.map(|days| format!("; its certificate is good for {days} days")).unwrap_or_default();
    match status {
        // What the ingress says to a GET.
        404 | 405 => Some(Finding::well("outside", format!("{shown} answers{certificate}"))),
        500.. => Some(Finding::wrong(
            "outside",
            format!("{shown} answers {status}"),
            "the proxy reaches no ingress: see that one runs and where the proxy leads to",
        )),
        _ => Some(Finding::worth(
            "outside",
            format!("{shown} answers {status} to a GET, and an ingress would say 404 or 405"),
            "see that the proxy leads to the ingress, and asks for no login",
        )),
    }
}

fn unanswered(shown: &str, why: &str) -> Finding {
    if why.to_ascii_lowercase().contains("certificate") {
        let advice =
            "have the proxy send a certificate of this host that a browser takes, with all of its chain";
        return Finding::wrong("outside", format!("{shown}: {why}"), advice);
    }
    Finding::worth(
        "outside",
        format!("{shown} can't be reached from here: {why}"),
        "see from another network; Telegram may reach it all the same",
    )
}
