//! Measures the gateway beside what people would use instead, on one machine in one run: `bench/run` builds what
//! this needs and calls it. What it finds is printed as one table, and kept as JSON and as a plot.
//!
//! Like the tests' harness it can't go on without what it asks for, so it unwraps and panics freely.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod actix;
mod bare_ingress;
mod bare_queue;
mod bare_worker;
mod broker;
mod figures;
mod goals;
mod load;
mod machine;
mod message;
mod options;
mod ours;
mod peers;
mod plot;
mod rows;
mod sink;
mod table;
mod updates;

use std::process::ExitCode;

use clap::Command;

use crate::figures::Results;
use crate::options::Options;

fn main() -> ExitCode {
    let command = Command::new("tgw-bench")
        .about("This gateway, measured beside what people would use instead")
        .subcommand(options::command())
        .subcommand(table::command())
        .subcommand(actix::command())
        .subcommand(bare_ingress::command())
        .subcommand(bare_queue::command())
        .subcommand(bare_worker::command())
        .subcommand_required(true);
    match command.get_matches().subcommand() {
        Some(("measure", flags)) => {
            let options = Options::read(flags);
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            let results = runtime.block_on(rows::measure(&options));
            write(&results, &options.json, &options.svg);
        }
        Some(("report", flags)) => {
            let results = table::files(flags).iter().map(|file| Results::load(file)).reduce(Results::joined);
            let svg = flags.get_one::<String>("svg").cloned().unwrap_or_default();
            write(&results.expect("a file at least"), "", &svg);
        }
        Some(("actix", flags)) => actix::serve(flags).expect("it serves"),
        Some(("bare-ingress", flags)) => bare_ingress::serve(flags).expect("it serves"),
        Some(("bare-queue", flags)) => bare_queue::serve(flags).expect("it serves"),
        Some(("bare-worker", flags)) => bare_worker::serve(flags),
        _ => return ExitCode::from(2),
    }
    ExitCode::SUCCESS
}

/// The table on standard output; the files where they are named.
fn write(results: &Results, json: &str, svg: &str) {
    print!("{}", table::markdown(results));
    if !json.is_empty() {
        results.save(json);
    }
    if !svg.is_empty() {
        std::fs::write(svg, plot::svg(results)).expect("the plot's place takes files");
    }
}
