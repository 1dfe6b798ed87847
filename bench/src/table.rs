//! The table, as Markdown: every figure, and beside ours what is wanted of it.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::figures::{Results, Spread};
use crate::goals::GOALS;

pub fn command() -> Command {
    Command::new("report")
        .about("The table of what was kept as JSON, of several runs where they measured different parts")
        .arg(Arg::new("files").required(true).action(ArgAction::Append))
        .arg(Arg::new("svg").long("svg").help("The file for the plot"))
}

pub fn files(flags: &ArgMatches) -> Vec<String> {
    flags.get_many("files").into_iter().flatten().cloned().collect()
}

pub fn markdown(results: &Results) -> String {
    let mut text = String::new();
    let it = &results.machine;
    let quick = if results.quick { " **Quick: not to be quoted.**" } else { "" };
    writeln!(
        text,
        "{}; {} cores of {}, {} GiB, Linux {}; RabbitMQ {}, Redis {}; {} partitions.{quick}\n",
        it.date, it.cores, it.processor, it.memory_gib, it.kernel, it.rabbitmq, it.redis, results.partitions
    )
    .ok();
    text += "| row | who | min | median | max | rounds |\n|---|---|--:|--:|--:|--:|\n";
    for (row, all) in results.rows() {
        for who in all {
            let Some(Spread { least, median, most }) = results.spread(row, who) else { continue };
            let rounds = results.get(row, who).map_or(0, <[f64]>::len);
            writeln!(
                text,
                "| {row} | {who} | {} | {} | {} | {rounds} |",
                short(least),
                short(median),
                short(most)
            )
            .ok();
        }
    }
    text += "\n| goal | wanted | is | |\n|---|--:|--:|---|\n";
    for goal in &GOALS {
        let Some((is, reached)) = goal.reached(results) else { continue };
        let to = goal.to.map(|(row, who)| match (row == goal.row, who == goal.who) {
            (true, _) => format!(" ÷ {who}"),
            (false, _) => format!(" ÷ {row}"),
        });
        let sign = if goal.at_least { "≥" } else { "≤" };
        let verdict = if reached { "reached" } else { "**not reached**" };
        writeln!(
            text,
            "| {}: {}{} | {sign} {} | {} | {verdict} |",
            goal.row,
            goal.who,
            to.unwrap_or_default(),
            goal.bound,
            short(is)
        )
        .ok();
    }
    text
}

/// Three digits that count.
pub fn short(value: f64) -> String {
    match value {
        value if value >= 1000.0 => {
            let whole = format!("{:.0}", value / 10.0_f64.powf(value.log10().floor() - 2.0));
            let zeros = value.log10().floor() as usize - 2;
            grouped(&(whole + &"0".repeat(zeros)))
        }
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 1.0 => format!("{value:.2}"),
        value => format!("{value:.3}"),
    }
}

fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn numbers_have_the_digits_that_count() {
        let shown = [0.034_56, 1.0, 12.34, 456.7, 1234.0, 15_678.0, 123_456.0].map(short);
        assert_eq!(shown, ["0.035", "1.00", "12.3", "457", "1,230", "15,700", "123,000"]);
    }
}
