//! Whether a request was signed by the gateway with our common secret, within the last five minutes.

use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::http::header::HeaderMap;
use ring::hmac;

const MOST_SECONDS_OFF: u64 = 300;

/// `body` is what came, byte for byte, before anything reads it.
pub fn is_from_the_gateway(headers: &HeaderMap, body: &[u8], secret: &[u8]) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    is_signed(headers, body, secret, now).unwrap_or(false)
}

fn is_signed(headers: &HeaderMap, body: &[u8], secret: &[u8], now: u64) -> Option<bool> {
    let header = |name| headers.get(name)?.to_str().ok();
    let stamp = header("X-Tgw-Timestamp")?;
    let signature = bytes(header("X-Tgw-Signature")?.strip_prefix("v1=")?)?;
    if now.abs_diff(stamp.parse().ok()?) > MOST_SECONDS_OFF {
        return Some(false);
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let signed = [stamp.as_bytes(), b".", body].concat();
    // Compares in constant time.
    Some(hmac::verify(&key, &signed, &signature).is_ok())
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = (0..hex.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}
