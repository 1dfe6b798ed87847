//! What can come of an update, and of the pieces that decide it. Pure.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use shared::queue::Reason;

use crate::routes::{Found, Target};
use crate::telegram::Sent;

/// What came of one try.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Done(Done),
    Dead(Death),
    /// Neither: it stays in the queue, because it is another worker's now or the bot's token is wrong.
    Stay,
    /// Neither: the worker stops, and this one had not been begun.
    NotBegun,
}

/// The ways of being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// What there was to send was sent.
    Answered,
    /// Telegram refused what there was to send, for good.
    Refused,
    /// Told, or not told again, that they are too fast.
    Limited,
    NoRoute,
    /// It had ended before.
    Seen,
}

impl Done {
    /// Of each its word, and what is said of an update that died.
    pub const WORDS_AND_DEAD: [&str; 6] = [
        Self::Answered.as_str(),
        Self::Refused.as_str(),
        Self::Limited.as_str(),
        Self::NoRoute.as_str(),
        Self::Seen.as_str(),
        "dead",
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Limited => "limited",
            Self::NoRoute => "no_route",
            Self::Seen => "seen",
        }
    }
}

/// Why an update dies. Kept in the store while its letter is being published, hence the version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    #[serde(default = "first_version")]
    pub v: u32,
    pub reason: Reason,
    pub error: String,
    pub route: Option<String>,
    pub service: Option<String>,
    pub attempts: u32,
    /// What is still to be sent, a plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<Rest>,
}

/// A plan's bytes, as text: they are JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rest(pub String);

fn first_version() -> u32 {
    1
}

impl Death {
    pub fn new(reason: Reason, error: String) -> Self {
        Self { v: 1, reason, error, route: None, service: None, attempts: 1, rest: None }
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

impl Outcome {
    pub fn dead(reason: Reason, error: String) -> Self {
        Self::Dead(Death::new(reason, error))
    }

    /// Notes in a death where the update was going and which try it was.
    pub fn on_route(self, found: Option<&Found<'_>>, attempts: u32) -> Self {
        let Self::Dead(mut death) = self else { return self };
        // A poison update's tries were counted; the one that finds it to be poison is none.
        if death.reason != Reason::Poison {
            death.attempts = attempts.max(1);
        }
        if let Some(found) = found {
            death.route.get_or_insert_with(|| found.route.to_owned());
            if let Target::Service { service, .. } = found.target {
                death.service.get_or_insert_with(|| service.to_owned());
            }
        }
        Self::Dead(death)
    }
}

/// What a plan comes to in the end: an answer, or an apology with a letter to follow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    #[default]
    Done,
    Dead(Death),
}

/// What to do after one call of a plan.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// It went out, or never will: on to the next.
    Onward { refused: bool },
    /// Nothing more goes to that chat.
    Close,
    /// The rest of the plan becomes a letter.
    Die(String),
    /// The token is wrong or the partition is lost: the update stays.
    Stay,
}

/// Decides it.
pub fn after(sent: Sent) -> Step {
    match sent {
        Sent::Yes => Step::Onward { refused: false },
        Sent::Refused(_) => Step::Onward { refused: true },
        Sent::ChatClosed(_) => Step::Close,
        Sent::Failed(why) => Step::Die(why),
        Sent::WrongToken | Sent::Aborted => Step::Stay,
    }
}

/// The end of a plan whose calls have all been made. `refused` is whether Telegram refused any of them.
pub fn end_of(fate: Fate, refused: bool) -> Outcome {
    match fate {
        Fate::Dead(death) => Outcome::Dead(death),
        Fate::Done if refused => Outcome::Done(Done::Refused),
        Fate::Done => Outcome::Done(Done::Answered),
    }
}

/// The end of a plan that Telegram failed: a letter `telegram` with what is left, unless the plan was an
/// apology. Then the letter was due anyway, and a replay asks the service again.
pub fn cut_short(fate: Fate, why: String, rest: Option<Rest>) -> Outcome {
    match fate {
        Fate::Dead(death) => Outcome::Dead(death),
        Fate::Done => Outcome::Dead(Death { rest, ..Death::new(Reason::Telegram, why) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service_death() -> Death {
        Death::new(Reason::Service, "HTTP 500".to_owned())
    }

    #[test]
    fn what_telegram_said_decides_the_next_step() {
        let words = || "x".to_owned();
        assert_eq!(after(Sent::Yes), Step::Onward { refused: false });
        assert_eq!(after(Sent::Refused(words())), Step::Onward { refused: true });
        assert_eq!(after(Sent::ChatClosed(words())), Step::Close);
        assert_eq!(after(Sent::Failed(words())), Step::Die(words()));
        assert_eq!((after(Sent::WrongToken), after(Sent::Aborted)), (Step::Stay, Step::Stay));
    }

    #[test]
    fn a_plan_ends_as_its_fate_says() {
        assert_eq!(end_of(Fate::Done, false), Outcome::Done(Done::Answered));
        assert_eq!(end_of(Fate::Done, true), Outcome::Done(Done::Refused));
        assert_eq!(end_of(Fate::Dead(service_death()), true), Outcome::Dead(service_death()));
    }

    #[test]
    fn a_failing_telegram_makes_a_letter_of_the_rest_but_not_of_an_apology() {
        let rest = Rest("[]".to_owned());
        let Outcome::Dead(death) = cut_short(Fate::Done, "502".to_owned(), Some(rest.clone())) else {
            panic!("not dead")
        };
        assert_eq!((death.reason, death.rest), (Reason::Telegram, Some(rest.clone())));
        let apology = cut_short(Fate::Dead(service_death()), "502".to_owned(), Some(rest));
        assert_eq!(apology, Outcome::Dead(service_death()));
    }

    #[test]
    fn a_death_that_was_written_by_the_first_version_is_read_for_ever() {
        let golden = br#"{"reason":"service","error":"HTTP 500","route":"text","service":"conversation","attempts":2}"#;
        let death = Death::from_bytes(golden).unwrap();
        assert_eq!((death.v, death.reason, death.attempts), (1, Reason::Service, 2));
        assert_eq!(Death::from_bytes(&death.to_bytes()), Some(death));
    }
}
