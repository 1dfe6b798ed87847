//! `tgw spool`: what waits on an ingress's disk (contract 8). Read, and never changed: beside a running ingress it is
//! that one which is asked, else the file is read as it is.

mod export;
mod list;
mod source;
mod verify;

use clap::{Arg, ArgMatches, Command};
use shared::program::{Failure, Stopped};
use shared::settings::{Values, with_some_flags};
use tokio_util::sync::CancellationToken;

use crate::output::Output;
use source::Source;

const SETTINGS: [&str; 3] = ["DATA_DIR", "LOG_LEVEL", "LOG_FORMAT"];

pub fn command() -> Command {
    let with_common = |command: Command| with_some_flags(command.arg(Output::flag()), &SETTINGS);
    let list = Command::new("list").about("Lists what waits there, the lowest update_id first").arg(
        Arg::new("limit")
            .long("limit")
            .value_name("N")
            .value_parser(clap::value_parser!(u64))
            .help("No more than so many"),
    );
    let verify = Command::new("verify").about(
        "Reads every record and checks it: exit code 0 if all are sound, else 1, with the first that is not and where \
         in the file it is",
    );
    let export =
        Command::new("export").about("Writes what waits there as lines of JSON; takes nothing out").arg(
            Arg::new("out")
                .long("out")
                .value_name("FILE")
                .help("A new file, readable to its owner only [default: stdout]"),
        );
    Command::new("spool")
        .about("What waits on an ingress's disk while the broker takes nothing")
        .after_help(
            "It reads the spool in DATA_DIR, on the machine of the ingress: a running ingress is asked for it, else the \
             file is read. Nothing is changed, whatever the state of the file.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with_common(list))
        .subcommand(with_common(verify))
        .subcommand(with_common(export))
}

pub async fn spool(values: Values, spool: &ArgMatches, stop: CancellationToken) -> Result<Stopped, Failure> {
    let Some((name, flags)) = spool.subcommand() else { return Ok(Stopped::Clean) };
    let working = async {
        let mut source = Source::open(&values).await?;
        match name {
            "list" => list::list(&mut source, flags).await,
            "verify" => verify::verify(&mut source, flags).await,
            _ => export::export(&mut source, flags).await,
        }
    };
    let stopped = || Err(Failure::Failed("stopped".to_owned()));
    stop.run_until_cancelled(working).await.unwrap_or_else(stopped)
}
