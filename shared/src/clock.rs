//! The wall clock, in the one unit that the wire formats use: milliseconds since the Unix epoch.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, UTC; 0 on a machine whose clock stands before 1970.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// `ms` since the epoch as RFC 3339 in UTC with milliseconds: `2026-01-31T12:00:00.123Z`.
pub fn rfc3339(ms: u64) -> String {
    let (days, in_day) = (ms / 86_400_000, ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60);
    let mut text = String::with_capacity("2026-01-31T12:00:00.123Z".len());
    // By hand, since every line of the log has one: the standard formatting takes 2,900 instructions for it.
    let mut put = |number: u64, digits: usize, then: char| {
        let mut buffer = itoa::Buffer::new();
        let number = buffer.format(number);
        (number.len()..digits).for_each(|_| text.push('0'));
        text.push_str(number);
        text.push(then);
    };
    put(year, 4, '-');
    put(month, 2, '-');
    put(day, 2, 'T');
    put(hour, 2, ':');
    put(minute, 2, ':');
    put(second, 2, '.');
    put(in_day % 1000, 3, 'Z');
    text
}

/// Days since the epoch to (year, month, day), by Howard Hinnant's `civil_from_days`.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339(1_795_437_296_789), "2026-11-23T12:34:56.789Z");
        assert_eq!(rfc3339(253_402_300_800_001), "10000-01-01T00:00:00.001Z");
        assert!(rfc3339(u64::MAX).starts_with("584556"), "{}", rfc3339(u64::MAX));
    }
}
