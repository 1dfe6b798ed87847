//! What can be said to `tgw dead`.

use clap::{Arg, ArgAction, Command};
use shared::settings::with_some_flags;

use super::filter;
use super::replay::Rate;
use crate::output::Output;

const SETTINGS: [&str; 12] = [
    "AMQP_URL",
    "AMQP_PREFIX",
    "PARTITIONS",
    "REDIS_HOST",
    "REDIS_PORT",
    "REDIS_URL",
    "REDIS_CA_FILE",
    "REDIS_CERT_FILE",
    "REDIS_KEY_FILE",
    "DATA_DIR",
    "LOG_LEVEL",
    "LOG_FORMAT",
];

pub fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let with_common = |command: Command| {
        let wait = flag("wait", "Wait while another tool has the dead letters in hand");
        with_some_flags(command.arg(Output::flag()).arg(wait), &SETTINGS)
    };
    let all = || flag("all", "All letters: without this or a condition nothing is done");
    let list = Command::new("list").about("Lists the dead letters; takes none and wears none out").arg(
        Arg::new("watch")
            .long("watch")
            .value_name("SECONDS")
            .num_args(0..=1)
            .default_missing_value("5")
            .value_parser(clap::value_parser!(u64).range(1..=3600))
            .help("List them again every so many seconds, 5 if not said, until Ctrl-C"),
    );
    let show = Command::new("show")
        .about("Shows letters whole: all they carry, the update, what is still to be sent")
        .arg(Arg::new("ids").required(true).num_args(1..).value_name("ID").help("The letters' ids"))
        .arg(flag("show-text", "Show what people wrote and their names too, not just how long that is"));
    let replay = Command::new("replay")
        .about("Puts letters back into their queues: a new run of each update")
        .arg(all())
        .arg(flag("dry-run", "Tell what would be replayed, and replay nothing"))
        .arg(
            Arg::new("rate")
                .long("rate")
                .value_name("N/s")
                .value_parser(Rate::parse)
                .help("No faster than this: 50/s, 20/m"),
        )
        .arg(
            Arg::new("by")
                .long("by")
                .value_name("NAME")
                .help("Who replays, for the letter of one that dies again [default: user@host]"),
        );
    let discard =
        Command::new("discard").about("Removes letters for ever").arg(all()).arg(flag("yes", "Do not ask"));
    let export =
        Command::new("export").about("Writes letters with their updates as lines of JSON; takes none").arg(
            Arg::new("out")
                .long("out")
                .value_name("FILE")
                .help("A new file, readable to its owner only [default: stdout]"),
        );
    let import = Command::new("import")
        .about("Buries letters that were exported; one that is there already stays one")
        .arg(Arg::new("file").required(true).value_name("FILE").help("What export wrote, or - for stdin"));
    let filtered = |command: Command| with_common(command).args(filter::arguments());
    Command::new("dead")
        .about("The dead letters: what failed, why, and what becomes of it")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(filtered(list))
        .subcommand(with_common(show))
        .subcommand(filtered(replay))
        .subcommand(filtered(discard))
        .subcommand(filtered(export))
        .subcommand(with_common(import))
}
