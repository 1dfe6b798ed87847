//! What is measured, and how long.

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

/// The parts of the table, in the order in which they are measured.
pub const SECTIONS: [&str; 7] = ["ingress", "latency", "embedded", "whole", "start", "spool", "scale"];

#[derive(Clone, Debug)]
pub struct Options {
    pub rounds: u64,
    /// Fewer rounds and shorter ones: to see that it runs, not to quote.
    pub quick: bool,
    pub sections: Vec<String>,
    pub partitions: u16,
    /// So many updates wait in the queue where a backlog is measured.
    pub backlog: u64,
    pub json: String,
    pub svg: String,
    /// Where `bench/run` put the peers.
    pub peers: String,
}

pub fn command() -> Command {
    let text = |name: &'static str, default: &'static str| Arg::new(name).long(name).default_value(default);
    let sections = Arg::new("only").long("only").value_delimiter(',').value_parser(SECTIONS);
    Command::new("measure")
        .about("Measures all rows of the table, or some")
        .arg(
            Arg::new("rounds")
                .long("rounds")
                .value_parser(value_parser!(u64).range(1..=1000))
                .help("How often each figure is measured [default: 5, quick: 2]"),
        )
        .arg(Arg::new("quick").long("quick").action(ArgAction::SetTrue).help("Short, and not to be quoted"))
        .arg(sections.help("A comma between them; without it all"))
        .arg(text("partitions", "8").value_parser(value_parser!(u16)).help("Of the queue, where not varied"))
        .arg(
            text("backlog", "100000")
                .value_parser(value_parser!(u64))
                .help("The longest one that is measured"),
        )
        .arg(text("json", "").overrides_with("json").help("The file for all values"))
        .arg(text("svg", "").overrides_with("svg").help("The file for the plot"))
        .arg(text("peers", "").help("The folder of the installed peers; without one they are left out"))
}

impl Options {
    pub fn read(flags: &ArgMatches) -> Self {
        let text = |name: &str| flags.get_one::<String>(name).cloned().unwrap_or_default();
        let quick = flags.get_flag("quick");
        let only = flags.get_many("only").map(|only| only.cloned().collect());
        Self {
            rounds: flags.get_one("rounds").copied().unwrap_or(if quick { 2 } else { 5 }),
            quick,
            sections: only.unwrap_or_else(|| SECTIONS.map(String::from).to_vec()),
            partitions: *flags.get_one("partitions").expect("it has a default"),
            backlog: *flags.get_one("backlog").expect("it has a default"),
            json: text("json"),
            svg: text("svg"),
            peers: text("peers"),
        }
    }

    pub fn has(&self, section: &str) -> bool {
        self.sections.iter().any(|name| name == section)
    }

    /// A measurement's size: a third where it is a quick one.
    pub fn sized(&self, full: u64) -> u64 {
        if self.quick { full / 3 } else { full }
    }
}
