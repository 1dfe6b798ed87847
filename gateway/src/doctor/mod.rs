//! `tgw doctor`: asks everything that the gateway leans on, and says what is wrong and what to do about it (contract 8).
//! It changes nothing. Each file asks one of them; `finding` is what is told.

mod broker;
mod certificate;
mod clock;
mod disk;
mod finding;
mod redis;
mod secret;
mod services;
mod settings;
mod telegram;

use clap::{ArgMatches, Command};
use serde_json::json;
use shared::program::{Failure, Stopped};
use shared::settings::{Taker, Values, with_flags};
use tokio_util::sync::CancellationToken;

use crate::deployment::Deployment;
use crate::output::{Output, say};
use finding::{Finding, State};

pub fn command() -> Command {
    let command = Command::new("doctor")
        .about("Asks every dependency and Telegram: what is wrong, and what to do about it")
        .long_about(
            "Asks RabbitMQ, Redis, the services and Telegram, looks at the webhook from outside, at the clock, the disk and \
             the settings, and tells what is wrong and what to do about it. Changes nothing.",
        )
        .after_help(
            "Exit codes: 0 all is well, 1 something does not work, 2 it could not be called so, 3 all works, and something \
             should be seen to.",
        )
        .arg(Output::flag());
    with_flags(command, Taker::Both)
}

pub async fn doctor(values: Values, flags: &ArgMatches, stop: CancellationToken) -> Result<Stopped, Failure> {
    // It is large: all that is asked at once lies in it.
    let examining = Box::pin(examine(&values));
    let stopped = || Failure::Failed("stopped".to_owned());
    let findings = stop.run_until_cancelled(examining).await.ok_or_else(stopped)?;
    match Output::of(flags) {
        Output::Json => {
            let ok = findings.iter().all(|finding| finding.state == State::Well);
            say(&json!({ "ok": ok, "findings": findings }).to_string())?;
        }
        Output::Words => findings.iter().flat_map(Finding::lines).try_for_each(|line| say(&line))?,
    }
    let has = |state| findings.iter().any(|finding| finding.state == state);
    Ok(match (has(State::Wrong), has(State::Worth)) {
        (true, _) => Stopped::TimeRanOut,
        (false, true) => Stopped::Partly,
        (false, false) => Stopped::Clean,
    })
}

/// All at once, told in one order.
async fn examine(values: &Values) -> Vec<Finding> {
    let deployment = Deployment::of(values);
    let parts = tokio::join!(
        async { settings::examine(values) },
        broker::examine(values, &deployment),
        redis::examine(values, &deployment),
        services::examine(values),
        telegram::examine(values),
        secret::examine(values),
        async { disk::examine(values, &deployment) },
    );
    let (settings, broker, (redis, redis_ahead), services, (telegram, telegram_ahead), secret, disk) = parts;
    let clock = clock::examine(&[("Telegram", telegram_ahead), ("Redis", redis_ahead)]);
    [settings, broker, redis, services, telegram, secret, clock, disk].concat()
}
