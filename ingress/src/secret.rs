//! The webhook's secret: the current one, and the previous one while Telegram changes over (facts T9).

use secrecy::{ExposeSecret as _, SecretString};
use shared::proof::Accepted;
use shared::settings::{Problems, Values};
use subtle::{Choice, ConstantTimeEq as _};

/// The secrets that are accepted: one or two.
#[derive(Clone)]
pub struct Secrets {
    current: SecretString,
    previous: Option<SecretString>,
}

impl Secrets {
    pub fn read(values: &Values) -> Result<Self, Problems> {
        let expected = "1 to 256 of A-Za-z0-9_-";
        let mut problems = Problems::default();
        let current = problems.take(values.parse("TELEGRAM_WEBHOOK_SECRET", expected, valid));
        let previous = problems.take(values.optional("TELEGRAM_WEBHOOK_SECRET_PREVIOUS", expected, valid));
        match (current, previous) {
            (Some(current), Some(previous)) => Ok(Self { current, previous }),
            _ => Err(problems),
        }
    }

    /// What Telegram is to send.
    pub fn current(&self) -> &SecretString {
        &self.current
    }

    /// The old one, where there is one.
    pub fn previous(&self) -> Option<&SecretString> {
        self.previous.as_ref()
    }

    /// Both, to be proved to an operator who knows them.
    pub fn accepted(&self) -> Accepted {
        Accepted::new([&self.current].into_iter().chain(&self.previous).cloned())
    }

    /// Whether the secret can be changed without an update's being refused: the old one is taken too.
    pub fn are_two(&self) -> bool {
        let current = self.current.expose_secret();
        self.previous.as_ref().is_some_and(|previous| previous.expose_secret() != current)
    }

    /// Whether `given` is one of them. Takes as long for a near miss as for a far one; both secrets are
    /// always compared, so that the time does not tell which one it was either.
    pub fn accept(&self, given: &[u8]) -> bool {
        let current = self.current.expose_secret().as_bytes().ct_eq(given);
        let previous =
            self.previous.as_ref().map_or(Choice::from(0), |it| it.expose_secret().as_bytes().ct_eq(given));
        (current | previous).into()
    }
}

fn valid(text: &str) -> Option<SecretString> {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    (plain && (1..=256).contains(&text.len())).then(|| SecretString::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(current: &str, previous: Option<&str>) -> Result<Secrets, Problems> {
        let previous = previous.map(|text| ("TELEGRAM_WEBHOOK_SECRET_PREVIOUS", text.to_owned()));
        Secrets::read(&Values::of(
            [("TELEGRAM_WEBHOOK_SECRET", current.to_owned())].into_iter().chain(previous),
        ))
    }

    #[test]
    fn the_current_and_the_previous_secret_are_accepted_and_no_other() {
        let both = secrets("new", Some("old")).unwrap();
        assert!(both.accept(b"new") && both.accept(b"old"));
        for wrong in ["", "ne", "neww", "New", "newold"] {
            assert!(!both.accept(wrong.as_bytes()), "{wrong}");
        }
        assert!(!secrets("new", None).unwrap().accept(b""));
    }

    #[test]
    fn a_secret_that_telegram_would_refuse_is_refused() {
        for bad in ["with space", "ünïcode", &"x".repeat(257)] {
            assert!(secrets(bad, None).is_err(), "{bad}");
        }
        assert!(secrets(&"x".repeat(256), None).is_ok());
    }
}
