//! A request that proves who sent it and when: HMAC-SHA256 over the time and the body, with a secret that the
//! service shares. How a service checks it stands in docs/services.md.

use std::fmt::Write as _;

use reqwest::header::HeaderValue;
use ring::hmac;

/// Seconds since the epoch, as decimal digits. A service refuses what is too old, so that a request that somebody
/// overheard can't be sent again later.
pub const TIME_HEADER: &str = "X-Tgw-Timestamp";
/// `v1=` and the signature in lower-case hex.
pub const SIGNATURE_HEADER: &str = "X-Tgw-Signature";

/// A service's secret, ready for use. Prints nothing of it.
pub struct Signer(hmac::Key);

impl Signer {
    pub fn new(secret: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
    }

    /// The signature of a body that is sent at that second: over the digits of the time, a dot, and the body as it
    /// goes out, byte for byte. The time of each try is its own.
    pub fn sign(&self, seconds: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{seconds}.").as_bytes());
        context.update(body);
        let mut signature = "v1=".to_owned();
        for byte in context.sign().as_ref() {
            // Writing into a string does not fail.
            let _ = write!(signature, "{byte:02x}");
        }
        signature
    }

    /// The two headers' values.
    pub fn headers(&self, seconds: u64, body: &[u8]) -> Option<(HeaderValue, HeaderValue)> {
        let mut signature = HeaderValue::try_from(self.sign(seconds, body)).ok()?;
        signature.set_sensitive(true);
        Some((HeaderValue::from(seconds), signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = include_str!("../../../docs/services.md");

    /// Computed by Python's hmac and by OpenSSL; the document's samples are held against the same numbers.
    #[test]
    fn the_signature_is_the_documented_one() {
        let body = br#"{"user_id":"user_42","telegram_user_id":42,"message":"hello","request_id":"7b9fa372-ec48-506c-8022-a499a9839f5c"}"#;
        let signature = Signer::new("a-secret-of-the-two-of-us").sign(1_790_000_000, body);
        assert_eq!(signature, "v1=28c212c9c019fef7bebd77e49b3a7d9177391af40d60676b9e33e1279b7f0276");
        assert!(DOCUMENT.contains(&signature), "docs/services.md shows another signature");
        assert!(DOCUMENT.contains(std::str::from_utf8(body).unwrap()));
        for name in [TIME_HEADER, SIGNATURE_HEADER] {
            assert!(DOCUMENT.contains(name), "{name}");
        }
    }

    #[test]
    fn time_body_and_secret_all_count() {
        let signer = Signer::new("one");
        let all = [
            signer.sign(1, b"a"),
            signer.sign(2, b"a"),
            signer.sign(1, b"b"),
            Signer::new("two").sign(1, b"a"),
            // The dot keeps a digit of the body from passing for one of the time.
            signer.sign(12, b"3a"),
            signer.sign(123, b"a"),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| other != one));
        }
    }
}
