//! This machine's clock, against those of who was asked: what expires, and who is too fast, goes by it.

use super::finding::Finding;

/// A `Date` has whole seconds, and an answer takes a while.
const WELL_MS: u64 = 5_000;

/// Callbacks expire after 150 s, so here they begin to expire for no reason.
const WRONG_MS: u64 = 60_000;

pub fn examine(ahead_of_us: &[(&str, Option<i64>)]) -> Vec<Finding> {
    let known = ahead_of_us.iter().filter_map(|(whose, ahead)| Some((*whose, (*ahead)?)));
    let Some((whose, ahead)) = known.max_by_key(|(_, ahead)| ahead.unsigned_abs()) else {
        return vec![Finding::worth("clock", "nobody could be asked for the time", "see above")];
    };
    let off = format!("{:.1} s", ahead.unsigned_abs() as f64 / 1000.0);
    let way = if ahead > 0 { "behind" } else { "ahead of" };
    let advice = "have the machines' clocks set by NTP: updates expire, and users are limited, by them";
    let off_ms = ahead.unsigned_abs();
    vec![if off_ms <= WELL_MS {
        Finding::well("clock", format!("within {off} of {whose}'s"))
    } else if off_ms <= WRONG_MS {
        Finding::worth("clock", format!("{off} {way} {whose}'s"), advice)
    } else {
        Finding::wrong("clock", format!("{off} {way} {whose}'s"), advice)
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    #[test]
    fn the_worst_difference_counts() {
        let told = |telegram, redis| {
            let finding = examine(&[("Telegram", telegram), ("Redis", redis)]).remove(0);
            (finding.state, finding.what)
        };
        assert_eq!(told(Some(400), Some(-20)), (State::Well, "within 0.4 s of Telegram's".to_owned()));
        assert_eq!(told(Some(0), Some(-9_000)), (State::Worth, "9.0 s ahead of Redis's".to_owned()));
        assert_eq!(told(Some(90_000), None), (State::Wrong, "90.0 s behind Telegram's".to_owned()));
        assert_eq!(told(None, None).0, State::Worth);
    }
}
