//! `tgw`: the whole gateway in one process, and a demo of it.

mod check;
mod dead;
mod demo;
mod deployment;
mod doctor;
mod help;
mod output;
mod route;
mod run;
mod spool;
mod status;
mod webhook;

use std::process::ExitCode;

use clap::{ArgMatches, Command};
use shared::program;
use shared::settings::{Taker, Values, with_flags, with_some_flags};

use crate::output::Output;

/// What it is for, and what was measured: ARCHITECTURE.md, Choices.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let flags = match program::arguments(command()) {
        Ok(flags) => flags,
        Err(code) => return code,
    };
    match flags.subcommand() {
        Some(("demo", flags)) => {
            let prepare = |values: &mut Values| {
                demo::defaults(values);
                log_as(Output::of(flags), values);
            };
            let demo = |values, (), stop| demo::demo(values, Output::of(flags), stop);
            program::run_with(flags, prepare, program::no_settings, demo)
        }
        Some(("check", flags)) => program::exit_code(check::check(flags)),
        Some(("route", flags)) => {
            let route = |values, (), _| async move { route::route(&values, flags) };
            program::run(flags, program::no_settings, route)
        }
        Some(("dead", flags)) => {
            program::command(nested(flags), |values, stop| dead::dead(values, flags, stop))
        }
        Some(("webhook", flags)) => {
            program::command(nested(flags), |values, stop| webhook::webhook(values, flags, stop))
        }
        Some(("doctor", flags)) => {
            program::command(flags, |values, stop| doctor::doctor(values, flags, stop))
        }
        Some(("status", flags)) => {
            program::command(flags, |values, stop| status::status(values, flags, stop))
        }
        Some(("top", flags)) => program::command(flags, |values, stop| status::top(values, flags, stop)),
        Some(("spool", flags)) => {
            program::command(nested(flags), |values, stop| spool::spool(values, flags, stop))
        }
        // Neither reads a setting.
        Some(("completions", flags)) => program::exit_code(help::completions(flags, command())),
        Some(("man", flags)) => program::exit_code(help::man(flags, command())),
        Some((_, flags)) => {
            let prepare = |values: &mut Values| log_as(Output::of(flags), values);
            program::run_with(flags, prepare, run::read, run::run)
        }
        // clap has asked for one.
        None => ExitCode::from(2),
    }
}

/// Of a command whose output is its log.
fn log_as(output: Output, values: &mut Values) {
    if output == Output::Json {
        values.set("LOG_FORMAT", "json");
    }
}

/// The flags of a command's command, which are what the settings are read from.
fn nested(flags: &ArgMatches) -> &ArgMatches {
    flags.subcommand().map_or(flags, |(_, flags)| flags)
}

fn command() -> Command {
    let run = Command::new("run").about("Runs the whole gateway in this process").long_about(
        "Runs the whole gateway in this process: on RabbitMQ if AMQP_URL is set, else on its own file; \
         on Redis if a REDIS_... is set, else on that file too",
    );
    let run = run.arg(Output::flag().help("Log JSON, for machines: LOG_FORMAT=json"));
    let demonstrate = Command::new("demo").about("Runs a demo, with nothing to set up").long_about(
        "Starts a simulated Telegram, a sample of each service and the whole gateway, and prints the \
         address of a page on which to talk to the bot",
    );
    let demonstrate =
        demonstrate.arg(Output::flag().help("Print the address, and log, as JSON, for machines"));
    let check = Command::new("check")
        .about("Tells all that is wrong with the settings and the routing table")
        .long_about("Reads every setting and the routing table, tells all that is wrong, and touches nothing")
        .arg(Output::flag());
    let route = Command::new("route")
        .about("Tells which route an update takes, and why")
        .args(route::arguments())
        .arg(Output::flag());
    Command::new("tgw")
        .about("A Telegram gateway: keeps a bot's updates safe and in order, and brings the answers back")
        .version(env!("CARGO_PKG_VERSION"))
        .after_help(help::AFTER)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with_flags(run, Taker::Both))
        .subcommand(with_some_flags(demonstrate, &demo::FLAGS))
        .subcommand(with_flags(check, Taker::Both))
        .subcommand(doctor::command())
        .subcommand(status::status_command())
        .subcommand(status::top_command())
        .subcommand(dead::command())
        .subcommand(webhook::command())
        .subcommand(spool::command())
        .subcommand(with_some_flags(route, &["ROUTES_FILE", "LOG_LEVEL", "LOG_FORMAT"]))
        .subcommand(help::completions_command())
        .subcommand(help::man_command())
}
