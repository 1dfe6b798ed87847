//! Which webhook secrets a process takes, shown to who asks without telling them: a keyed digest of the asker's own
//! number, which only who knows the secret too can compare (`tgw webhook`).

use std::fmt::Write as _;
use std::sync::Arc;

use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};

/// The longest number of an asker's.
const LONGEST: usize = 64;

/// So that the digest is of use for nothing else.
const WHAT_FOR: &[u8] = b"tgw webhook secret\n";

/// The secrets that a process takes. Prints nothing of them.
#[derive(Clone, Default)]
pub struct Accepted(Arc<[SecretString]>);

impl Accepted {
    pub fn new(secrets: impl IntoIterator<Item = SecretString>) -> Self {
        Self(secrets.into_iter().collect())
    }

    /// One of each, for who asks with this number. None where the process takes none at all.
    pub fn proofs(&self, nonce: &str) -> Option<Vec<String>> {
        let asked = (1..=LONGEST).contains(&nonce.len()) && !self.0.is_empty();
        asked.then(|| self.0.iter().map(|secret| proof(secret, nonce)).collect())
    }
}

/// HMAC-SHA256 under the secret, in lower-case hex.
pub fn proof(secret: &SecretString, nonce: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(WHAT_FOR);
    context.update(nonce.as_bytes());
    context.sign().as_ref().iter().fold(String::new(), |mut hex, byte| {
        // Writing into a string does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_knows_the_secret_finds_it_among_the_proofs_and_nobody_finds_the_secret() {
        let secret = |text: &str| SecretString::from(text.to_owned());
        let accepted = Accepted::new([secret("new"), secret("old")]);
        let proofs = accepted.proofs("17").unwrap();
        assert!(
            proofs.contains(&proof(&secret("new"), "17")) && proofs.contains(&proof(&secret("old"), "17"))
        );
        assert!(
            !proofs.contains(&proof(&secret("other"), "17"))
                && !proofs.contains(&proof(&secret("new"), "18"))
        );
        assert!(proofs.iter().all(|proof| proof.len() == 64 && !proof.contains("new")));
        assert_eq!((accepted.proofs(""), Accepted::default().proofs("17")), (None, None));
        // Computed by Python's hmac: processes of different versions ask each other.
        assert_eq!(
            proof(&secret("new"), "17"),
            "4f3dbaae0554f7738aa49d9391e16312475460c71d63bf6801d667f4e994d919"
        );
    }
}
