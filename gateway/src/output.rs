//! What a command prints: data on stdout, as a person or as a machine reads it; words on stderr.

use std::io::Write as _;

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
