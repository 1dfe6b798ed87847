//! How a program begins and ends: flags to values, logging, a stop signal, and the one place where the
//! reason for stopping becomes an exit code (contract 2 and 6: 0 done, 1 failed, 2 wrong usage).

use std::future::Future;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue};
use clap::{ArgMatches, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::settings::{Logs, Problems, Values};
use crate::snapshot;
use crate::telemetry::{self, Stream};

/// What still runs when all is said has so long.
const LAST: std::time::Duration = std::time::Duration::from_secs(1);

/// Why a program ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Exit 2: a person has to change something first.
    #[error(transparent)]
    Settings(#[from] Problems),
    /// Exit 2, likewise: what is there does not fit the settings.
    #[error("{0}")]
    Refused(String),
    /// Exit 1.
    #[error("{0}")]
    Failed(String),
}

/// How a program ended that was told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// All work in hand had ended.
    Clean,
    /// Exit 1: the grace was over first.
    TimeRanOut,
    /// Exit 3: a command did some of what it was asked for, and has said what it did not.
    Partly,
}

/// Parses the flags of `command`; an `Err` has been told to the user, and is the exit code.
pub fn arguments(command: Command) -> Result<ArgMatches, ExitCode> {
    command.try_get_matches().map_err(|told| {
        let code = if told.use_stderr() { 2 } else { 0 };
        // Nobody is left to tell that stdout is closed.
        let _ = without_stray_words(told).print();
        ExitCode::from(code)
    })
}

/// A word that belongs to no flag may be what a space has cut off a secret: it is not printed. A flag that nobody
/// knows is, since it is a mistyped one.
fn without_stray_words(mut told: clap::Error) -> clap::Error {
    let is_stray = match told.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(word)) => {
            told.kind() == clap::error::ErrorKind::UnknownArgument && !word.starts_with("--")
        }
        _ => false,
    };
    if is_stray {
        told.insert(ContextKind::InvalidArg, ContextValue::String("(a word without a flag)".to_owned()));
        let tip = StyledStr::from("a value that has spaces needs quotes around it");
        told.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    told
}

/// Runs `program` on what `read` makes of the values that `flags` and the environment give, until it ends. All that is
/// wrong with them is told at once, also with those that `program` does not read: the log's.
pub fn run<S, F>(
    flags: &ArgMatches,
    read: impl FnOnce(&Values) -> Result<S, Problems>,
    program: impl FnOnce(Values, S, CancellationToken) -> F,
) -> ExitCode
where
    F: Future<Output = Result<Stopped, Failure>>,
{
    run_with(flags, |_| {}, read, program)
}

/// Like `run`, for a program with defaults of its own: `prepare` sets them, before anything is read.
pub fn run_with<S, F>(
    flags: &ArgMatches,
    prepare: impl FnOnce(&mut Values),
    read: impl FnOnce(&Values) -> Result<S, Problems>,
    program: impl FnOnce(Values, S, CancellationToken) -> F,
) -> ExitCode
where
    F: Future<Output = Result<Stopped, Failure>>,
{
    exit_code(start(flags, prepare, Stream::Stdout, read, program))
}

/// Runs an operator's command: its data is for stdout, so what it logs goes to stderr, and is little unless asked for.
pub fn command<F>(flags: &ArgMatches, program: impl FnOnce(Values, CancellationToken) -> F) -> ExitCode
where
    F: Future<Output = Result<Stopped, Failure>>,
{
    let quiet = |values: &mut Values| values.default_to("LOG_LEVEL", "error");
    let program = |values, (), stop| program(values, stop);
    exit_code(start(flags, quiet, Stream::Stderr, no_settings, program))
}

/// What became of it, told to the user where it is a failure.
pub fn exit_code(ended: Result<Stopped, Failure>) -> ExitCode {
    match ended {
        Ok(Stopped::Clean) => ExitCode::SUCCESS,
        Ok(Stopped::TimeRanOut) => ExitCode::from(1),
        Ok(Stopped::Partly) => ExitCode::from(3),
        Err(failure) => {
            tell(&failure);
            ExitCode::from(if matches!(failure, Failure::Failed(_)) { 1 } else { 2 })
        }
    }
}

/// What `read` is of a program that reads its settings while it runs.
pub fn no_settings(_: &Values) -> Result<(), Problems> {
    Ok(())
}

/// All that is wrong with the values that `flags` and the environment give, for a program that does nothing but tell it.
pub fn problems(flags: &ArgMatches, read: impl FnOnce(&Values) -> Result<(), Problems>) -> Problems {
    choose_tls();
    let (values, mut problems) = Values::gather(flags);
    problems.take_all(Logs::read(&values, false));
    problems.take_all(read(&values));
    problems.once_each();
    problems
}

fn start<S, F>(
    flags: &ArgMatches,
    prepare: impl FnOnce(&mut Values),
    stream: Stream,
    read: impl FnOnce(&Values) -> Result<S, Problems>,
    program: impl FnOnce(Values, S, CancellationToken) -> F,
) -> Result<Stopped, Failure>
where
    F: Future<Output = Result<Stopped, Failure>>,
{
    let (mut values, mut problems) = Values::gather(flags);
    prepare(&mut values);
    let is_terminal = match stream {
        Stream::Stdout => std::io::stdout().is_terminal(),
        Stream::Stderr => std::io::stderr().is_terminal(),
    };
    let is_first = choose_tls();
    let logs = problems.take_all(Logs::read(&values, is_terminal));
    let settings = problems.take_all(read(&values));
    let (Some(logs), Some(settings), true) = (logs, settings, problems.is_empty()) else {
        problems.once_each();
        return Err(problems.into());
    };
    snapshot::begin();
    telemetry::start(logs, stream);
    if !is_first {
        tracing::debug!("a TLS provider was chosen before");
    }
    let failed = |error: std::io::Error| Failure::Failed(format!("the runtime can't start: {error}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)?;
    let ended = runtime.block_on(async {
        let stop = CancellationToken::new();
        stop_on_signals(&stop).map_err(failed)?;
        program(values, settings, stop).await
    });
    // A read of a disk that hangs must not keep the process.
    runtime.shutdown_timeout(LAST);
    ended
}

/// Before any certificate is read. Whether none was chosen before.
fn choose_tls() -> bool {
    rustls::crypto::ring::default_provider().install_default().is_ok()
}

/// Cancels `stop` on SIGTERM, and on SIGINT (Ctrl-C).
fn stop_on_signals(stop: &CancellationToken) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // First, since a log that nobody reads blocks who writes it.
        stop.cancel();
        tracing::info!("told to stop");
    });
    Ok(())
}

/// On stderr, a line for each thing that is wrong.
#[allow(clippy::print_stderr, reason = "the one place that tells a person why the program did not run")]
fn tell(failure: &Failure) {
    failure.to_string().lines().for_each(|line| eprintln!("error: {line}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Taker, with_flags};

    #[test]
    fn what_is_wrong_with_the_flags_is_told_without_a_secret() {
        let wrong: [&[&str]; 8] = [
            &["--telegram-webhook-secret", "hunter2", "--telegram-webhook-secret", "hunter2"],
            &["--telegram-webhook-secret=hunter2", "--telegram-webhook-secret=--hunter2"],
            &["--telegram-webhok-secret=hunter2"],
            &["--telegram-webhok-secret", "hunter2"],
            &["--telegram-webhook-secret=", "hunter2"],
            &["--otel-exporter-otlp-headers", "authorization=Bearer", "hunter2"],
            &["--log-level", "info", "-xunter2"],
            &["hunter2"],
        ];
        for arguments in wrong {
            let command = with_flags(Command::new("x"), Taker::Both);
            let told = command.try_get_matches_from([&["x"], arguments].concat()).unwrap_err();
            let told = without_stray_words(told).render().to_string();
            assert!(told.starts_with("error: ") && !told.contains("unter2"), "{arguments:?}: {told}");
        }
    }

    #[test]
    fn a_mistyped_flag_is_told() {
        let command = with_flags(Command::new("x"), Taker::Both);
        let told =
            without_stray_words(command.try_get_matches_from(["x", "--log-levle", "info"]).unwrap_err());
        assert!(told.to_string().contains("unexpected argument '--log-levle' found"), "{told}");
    }
}
