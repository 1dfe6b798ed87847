//! `tgw completions` and `tgw man`: what shells and `man` want to know of the commands, made from the commands
//! themselves.

use std::path::Path;

use clap::{Arg, ArgMatches, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use shared::program::{Failure, Stopped};

use crate::output::{note, write};

/// What a person may want to know of any of the commands.
pub const AFTER: &str = "\
Settings are environment variables, lines of a .env file in the current folder, and flags; a flag wins over a variable, and \
that over the file.

Exit codes: 0 done, 1 failed (or something is wrong), 2 wrong usage or settings, 3 partly done. What a command prints for \
reading or for other programs goes to stdout, words about it to stderr.";

pub fn completions_command() -> Command {
    Command::new("completions")
        .about("Prints completions of tgw's commands and flags for a shell")
        .after_help(
            "bash:  tgw completions bash >/etc/bash_completion.d/tgw\n\
             zsh:   tgw completions zsh >\"${fpath[1]}/_tgw\"\n\
             fish:  tgw completions fish >~/.config/fish/completions/tgw.fish",
        )
        .arg(
            Arg::new("shell")
                .required(true)
                .value_name("SHELL")
                .value_parser(clap::value_parser!(Shell))
                .help("The shell"),
        )
}

pub fn man_command() -> Command {
    Command::new("man")
        .about("Prints tgw's manual page, or writes those of all commands")
        .after_help("To read it:  tgw man | man -l -\nTo install:  tgw man --out /usr/local/share/man/man1")
        .arg(
            Arg::new("out")
                .long("out")
                .value_name("FOLDER")
                .help("Write a page for each command, for tgw-ingress and for tgw-worker there"),
        )
}

pub fn completions(flags: &ArgMatches, mut command: Command) -> Result<Stopped, Failure> {
    let Some(shell) = flags.get_one::<Shell>("shell") else { return Ok(Stopped::Clean) };
    let mut script = Vec::new();
    clap_complete::generate(*shell, &mut command, "tgw", &mut script);
    write(&script).map(|()| Stopped::Clean)
}

pub fn man(flags: &ArgMatches, command: Command) -> Result<Stopped, Failure> {
    let Some(folder) = flags.get_one::<String>("out") else {
        let page = page(Man::new(command.disable_help_subcommand(true)))?;
        return write(&page).map(|()| Stopped::Clean);
    };
    let folder = Path::new(folder);
    if !folder.is_dir() {
        return Err(Failure::Refused(format!("--out {folder:?} is no folder")));
    }
    let mut written = 0;
    for command in [command, ingress::command(), worker::command()] {
        // `disable_help_subcommand`: nobody looks for the page of `tgw dead help list`.
        let mut command = command.disable_help_subcommand(true);
        command.build();
        written += write_pages(&command, folder)?;
    }
    note(&format!("pages: {written}, in {}", folder.display()));
    Ok(Stopped::Clean)
}

/// The page of this command and those of its commands.
fn write_pages(command: &Command, folder: &Path) -> Result<usize, Failure> {
    let man = Man::new(command.clone());
    let file = folder.join(man.get_filename());
    let failed =
        |error: std::io::Error| Failure::Failed(format!("{} can't be written: {error}", file.display()));
    std::fs::write(&file, page(man)?).map_err(failed)?;
    let mut written = 1;
    for below in command.get_subcommands() {
        written += write_pages(below, folder)?;
    }
    Ok(written)
}

fn page(man: Man) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    man.render(&mut page).map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(page)
}
