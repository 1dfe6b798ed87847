//! What to do after a call went wrong. Pure.

use std::time::Duration;

use super::error::CallError;

/// A `retry_after` of up to this is waited for and counts as no failure (contract 3.7).
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// And for at least this long, whatever it says.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// Before the one retry (contract 9).
const RETRY_WAIT: Duration = Duration::from_secs(1);

/// What has been tried of one call so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tried {
    pub failures: u32,
    pub migrated: bool,
    pub unparsed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The same again after a wait.
    Again(Duration),
    /// A failure: once more after a wait. `copy` is whether a copy of the message is possible.
    Retry {
        wait: Duration,
        copy: bool,
    },
    ToChat(i64),
    WithoutParseMode,
    GiveUp(GiveUp),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum GiveUp {
    ChatClosed(String),
    Refused(String),
    /// 401 or 404: the token, or else the method.
    Token(u16),
    Failed(String),
}

pub(super) fn next(error: CallError, tried: Tried, resend: bool) -> Next {
    match error {
        CallError::RetryAfter(wait) if wait <= LONGEST_WAIT => Next::Again(wait.max(SHORTEST_WAIT)),
        CallError::RetryAfter(wait) => {
            failed(format!("429: not before {} s", wait.as_secs()), false, tried, resend)
        }
        CallError::Migrated(chat) if !tried.migrated => Next::ToChat(chat),
        CallError::Migrated(_) => Next::GiveUp(GiveUp::Refused("400: the group migrated twice".to_owned())),
        CallError::BadEntities if !tried.unparsed => Next::WithoutParseMode,
        CallError::BadEntities => Next::GiveUp(GiveUp::Refused("400: can't parse entities".to_owned())),
        CallError::ChatClosed(why) => Next::GiveUp(GiveUp::ChatClosed(why)),
        CallError::Refused(why) => Next::GiveUp(GiveUp::Refused(why)),
        CallError::Token(code) => Next::GiveUp(GiveUp::Token(code)),
        CallError::Failed { why, ambiguous } => failed(why, ambiguous, tried, resend),
    }
}

fn failed(why: String, ambiguous: bool, tried: Tried, resend: bool) -> Next {
    if tried.failures > 0 {
        Next::GiveUp(GiveUp::Failed(why))
    } else if ambiguous && !resend {
        Next::GiveUp(GiveUp::Failed(format!("{why}; it may have been sent, and is not sent again")))
    } else {
        Next::Retry { wait: RETRY_WAIT, copy: ambiguous }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(ambiguous: bool) -> CallError {
        CallError::Failed { why: "x".to_owned(), ambiguous }
    }

    #[test]
    fn a_failure_is_tried_once_more() {
        let first = Tried::default();
        let second = Tried { failures: 1, ..first };
        assert_eq!(next(fails(false), first, true), Next::Retry { wait: RETRY_WAIT, copy: false });
        assert_eq!(next(fails(true), first, true), Next::Retry { wait: RETRY_WAIT, copy: true });
        assert!(matches!(next(fails(true), second, true), Next::GiveUp(GiveUp::Failed(_))));
    }

    #[test]
    fn an_ambiguous_failure_is_not_repeated_where_the_settings_say_never() {
        assert!(matches!(next(fails(true), Tried::default(), false), Next::GiveUp(GiveUp::Failed(_))));
        assert!(matches!(next(fails(false), Tried::default(), false), Next::Retry { copy: false, .. }));
    }

    #[test]
    fn a_429_of_up_to_a_minute_is_no_failure() {
        let minute = Duration::from_secs(60);
        let tried = Tried { failures: 1, ..Tried::default() };
        assert_eq!(next(CallError::RetryAfter(minute), tried, true), Next::Again(minute));
        let longer = CallError::RetryAfter(Duration::from_secs(61));
        assert!(matches!(next(longer, tried, true), Next::GiveUp(GiveUp::Failed(_))));
    }

    #[test]
    fn a_migration_and_a_parse_error_are_mended_once() {
        let tried = Tried { migrated: true, unparsed: true, ..Tried::default() };
        assert_eq!(next(CallError::Migrated(-1), Tried::default(), true), Next::ToChat(-1));
        assert!(matches!(next(CallError::Migrated(-1), tried, true), Next::GiveUp(GiveUp::Refused(_))));
        assert_eq!(next(CallError::BadEntities, Tried::default(), true), Next::WithoutParseMode);
        assert!(matches!(next(CallError::BadEntities, tried, true), Next::GiveUp(GiveUp::Refused(_))));
    }
}
