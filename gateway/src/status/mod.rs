//! `tgw status` once, and `tgw top` live: what flows, what waits, who works on it, and how each is (contract 8). Needs no
//! management plugin: the broker is asked for its queues, the processes for themselves.

mod metrics;
mod observe;
mod page;
mod view;

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command};
use rustix::termios::tcgetwinsize;
use shared::program::{Failure, Stopped};
use shared::settings::{Values, with_some_flags};
use tokio_util::sync::CancellationToken;

use crate::output::{Output, note, say, write};
pub use observe::{is_ingress, unheard};

use observe::{Observed, Observer};
use view::View;

const SETTINGS: [&str; 6] = ["AMQP_URL", "AMQP_PREFIX", "PARTITIONS", "DATA_DIR", "LOG_LEVEL", "LOG_FORMAT"];

/// Over this rates are taken where they are told once.
const ONCE: Duration = Duration::from_secs(1);

const EXIT_CODES: &str = "\
It asks the broker for its queues and every process, over the broker, how it is; with the embedded queue it asks the \
process that has DATA_DIR. `owner` is the worker that has a partition, as host:process.

Exit codes: 0 all was seen, 1 nothing could be, 3 somebody who is there did not answer.";

pub fn status_command() -> Command {
    let command =
        Command::new("status").about("What flows, what waits, who works on it: once").after_help(EXIT_CODES);
    with_some_flags(command.arg(Output::flag()), &SETTINGS)
}

pub fn top_command() -> Command {
    let command = Command::new("top")
        .about("The same, live, until Ctrl-C")
        .after_help(
            "On a terminal it fills the screen; elsewhere, and with --json, one picture follows the other.",
        )
        .arg(
            Arg::new("interval")
                .long("interval")
                .value_name("SECONDS")
                .default_value("1")
                .value_parser(clap::value_parser!(u64).range(1..=3600))
                .help("Between two pictures"),
        );
    with_some_flags(command.arg(Output::flag()), &SETTINGS)
}

pub async fn status(values: Values, flags: &ArgMatches, stop: CancellationToken) -> Result<Stopped, Failure> {
    let looking = async {
        let mut observer = Observer::new(&values)?;
        let before = observer.observe().await?;
        tokio::time::sleep(ONCE.saturating_sub(before.at.elapsed())).await;
        let now = observer.observe().await?;
        Ok(View::of(&before, &now))
    };
    let stopped = || Err(Failure::Failed("stopped".to_owned()));
    let view = stop.run_until_cancelled(looking).await.unwrap_or_else(stopped)?;
    match Output::of(flags) {
        Output::Json => say(&json(&view)?)?,
        Output::Words => page::page(&view).iter().try_for_each(|line| say(line))?,
    }
    view.missing.iter().for_each(|what| note(what));
    Ok(if view.missing.is_empty() { Stopped::Clean } else { Stopped::Partly })
}

pub async fn top(values: Values, flags: &ArgMatches, stop: CancellationToken) -> Result<Stopped, Failure> {
    let interval = Duration::from_secs(flags.get_one::<u64>("interval").copied().unwrap_or(1));
    let mut observer = Observer::new(&values)?;
    let Some(before) = stop.run_until_cancelled(observer.observe()).await else { return Ok(Stopped::Clean) };
    let mut before = before?;
    let screen = Screen::of(flags)?;
    loop {
        let next = async {
            tokio::time::sleep(interval.saturating_sub(before.at.elapsed())).await;
            observer.observe().await
        };
        let Some(seen) = stop.run_until_cancelled(next).await else { return Ok(Stopped::Clean) };
        match seen {
            Ok(now) => {
                screen.show(&before, &now)?;
                before = now;
            }
            // A broker that is away comes back: its restart is what a person may be watching.
            Err(failure) => {
                screen.trouble(&failure)?;
                if stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_none() {
                    return Ok(Stopped::Clean);
                }
            }
        }
    }
}

fn json(view: &View) -> Result<String, Failure> {
    serde_json::to_string(view).map_err(|error| Failure::Failed(error.to_string()))
}

/// Where the pictures are shown.
enum Screen {
    /// A screen of its own, which is given back when this is dropped.
    Terminal,
    Lines(Output),
}

impl Screen {
    fn of(flags: &ArgMatches) -> Result<Self, Failure> {
        let output = Output::of(flags);
        if output == Output::Json || !std::io::stdout().is_terminal() {
            return Ok(Self::Lines(output));
        }
        // The other screen, and no cursor.
        write(b"\x1b[?1049h\x1b[?25l")?;
        Ok(Self::Terminal)
    }

    fn show(&self, before: &Observed, now: &Observed) -> Result<(), Failure> {
        let view = View::of(before, now);
        match self {
            Self::Lines(Output::Json) => say(&json(&view)?),
            Self::Lines(Output::Words) => {
                say(&format!("at        {}", view.at))?;
                page::page(&view).iter().chain(&view.missing).try_for_each(|line| say(line))?;
                say("")
            }
            Self::Terminal => {
                let title = format!("tgw top   {}   Ctrl-C ends it", view.at);
                let lines = [title].into_iter().chain(view.missing.clone()).chain(page::page(&view));
                draw(&lines.collect::<Vec<_>>())
            }
        }
    }

    fn trouble(&self, failure: &Failure) -> Result<(), Failure> {
        match self {
            Self::Lines(_) => {
                note(&failure.to_string());
                Ok(())
            }
            Self::Terminal => draw(&[failure.to_string(), "It is tried again; Ctrl-C ends it".to_owned()]),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Self::Terminal = self {
            // Nobody may be left to see it.
            let _ = write(b"\x1b[?25h\x1b[?1049l");
        }
    }
}

/// As much as the terminal has room for, over what was there, so that nothing flickers.
fn draw(lines: &[String]) -> Result<(), Failure> {
    let (columns, rows) = tcgetwinsize(std::io::stdout()).map_or((80, 24), |size| (size.ws_col, size.ws_row));
    let mut shown =
        lines.iter().take(usize::from(rows.max(2)) - 1).fold("\x1b[H".to_owned(), |mut all, line| {
            all.extend(line.chars().take(usize::from(columns.max(1))));
            all.push_str("\x1b[K\r\n");
            all
        });
    shown.push_str("\x1b[J");
    write(shown.as_bytes())
}
