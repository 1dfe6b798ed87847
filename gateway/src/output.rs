//! What a command prints: data on stdout, as a person or as a machine reads it; words on stderr.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use clap::{Arg, ArgAction, ArgMatches};
use shared::program::Failure;

/// Who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    Words,
    Json,
}

impl Output {
    pub fn flag() -> Arg {
        Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON, for machines")
    }

    pub fn of(flags: &ArgMatches) -> Self {
        if flags.get_flag("json") { Self::Json } else { Self::Words }
    }
}

/// A line on stdout. An error where nobody reads it any more.
pub fn say(line: &str) -> Result<(), Failure> {
    let closed = |error: std::io::Error| Failure::Failed(format!("nobody reads this: {error}"));
    writeln!(std::io::stdout(), "{line}").map_err(closed)
}

/// A line of words, on stderr.
pub fn note(line: &str) {
    // Nobody may be left to read it.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Asks at the terminal. Where there is none nobody can agree.
pub async fn agrees(question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Refused(format!("{question} Say --yes to do it without being asked")));
    }
    note(&format!("{question} [y/N]"));
    let asking = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).map(|_| answer)
    });
    let answer = asking.await.map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(answer.is_ok_and(|answer| matches!(answer.trim(), "y" | "Y" | "yes")))
}

/// Seconds in the largest two units.
pub fn ago(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m {}s", seconds % 60),
        3600..86_400 => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::ago;

    #[test]
    fn a_time_ago_is_two_units() {
        let told = [5, 65, 7_380, 93_600].map(ago);
        assert_eq!(told, ["5s", "1m 5s", "2h 3m", "1d 2h"]);
    }
}
