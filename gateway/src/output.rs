//! What a command prints: data on stdout, as a person or as a machine reads it; words on stderr.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use clap::{Arg, ArgAction, ArgMatches};
use shared::program::Failure;
use tokio_util::sync::CancellationToken;

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
    write(format!("{line}\n").as_bytes())
}

/// Bytes on stdout.
pub fn write(bytes: &[u8]) -> Result<(), Failure> {
    let closed = |error: std::io::Error| Failure::Failed(format!("nobody reads this: {error}"));
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(closed)
}

/// A line of words, on stderr.
pub fn note(line: &str) {
    // Nobody may be left to read it.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Asks at the terminal. Where there is none nobody can agree; Ctrl-C is a no.
pub async fn agrees(question: &str, stop: &CancellationToken) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Refused(format!("{question} Say --yes to do it without being asked")));
    }
    note(&format!("{question} [y/N]"));
    let asking = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).map(|_| answer)
    });
    // A read of a terminal can't be broken off: it ends with the process.
    let Some(answer) = stop.run_until_cancelled(asking).await else {
        note("stopped before anybody said yes");
        return Ok(false);
    };
    let answer = answer.map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(answer.is_ok_and(|answer| matches!(answer.trim(), "y" | "Y" | "yes")))
}

/// Lines of columns, the last of which is as long as it likes.
pub fn table(heads: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let heads: Vec<String> = heads.iter().map(|&head| head.to_owned()).collect();
    let all = || std::iter::once(&heads).chain(rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all().map(line).collect()
}

/// Numbers as a person writes them: `0-3, 7`.
pub fn numbers(sorted: &[u16]) -> String {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for &number in sorted {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let run = |(first, last): &(u16, u16)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    runs.iter().map(run).collect::<Vec<_>>().join(", ")
}

/// Bytes in the largest unit that leaves a whole number before the point.
pub fn size(bytes: u64) -> String {
    let units = [(1_u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.iter().find(|(unit, _)| bytes >= *unit);
    unit.map_or(format!("{bytes} B"), |(unit, name)| format!("{:.1} {name}", bytes as f64 / *unit as f64))
}

/// Why a request failed, without its address, which may hold a key: the last cause says most.
pub fn because(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause.and_then(std::error::Error::source) {
        cause = Some(next);
    }
    cause.map_or_else(|| "no connection".to_owned(), ToString::to_string)
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
    use super::{ago, numbers, size, table};

    #[test]
    fn numbers_in_a_row_are_one_run() {
        assert_eq!(numbers(&[0, 1, 2, 5, 7, 8]), "0-2, 5, 7-8");
        assert_eq!(numbers(&[]), "");
    }

    #[test]
    fn bytes_have_a_unit() {
        assert_eq!([12, 2048, 3 << 30].map(size), ["12 B", "2.0 KiB", "3.0 GiB"]);
    }

    #[test]
    fn a_table_has_columns_of_one_width() {
        let rows = vec![vec!["7".to_owned(), "long".to_owned()], vec!["1234".to_owned(), "x".to_owned()]];
        assert_eq!(table(&["ID", "WHAT"], &rows), ["ID    WHAT", "7     long", "1234  x"]);
    }

    #[test]
    fn a_time_ago_is_two_units() {
        let told = [5, 65, 7_380, 93_600].map(ago);
        assert_eq!(told, ["5s", "1m 5s", "2h 3m", "1d 2h"]);
    }
}
