//! `tgw check`: every setting and the table read as the parts read them, and nothing touched.

use clap::ArgMatches;
use shared::program::{self, Failure, Stopped};
use shared::queue::rabbitmq;
use shared::settings::{Problems, Values};
use shared::store::redis;
use shared::traces;

use crate::output::{Output, say};
use crate::run::SERVICE_NAME;

/// All that is wrong is told at once, a line each; exit code 2 then, as the parts would end with.
pub fn check(flags: &ArgMatches) -> Result<Stopped, Failure> {
    let output = Output::of(flags);
    // Without a log: what is wrong with that is told like all else.
    let problems = program::problems(flags, read);
    let well = problems.is_empty();
    if output == Output::Json {
        let problems: Vec<String> = problems.to_string().lines().map(str::to_owned).collect();
        say(&serde_json::json!({ "ok": well, "problems": problems }).to_string())?;
    }
    match (well, output) {
        (true, Output::Words) => say("every setting and the table are right").map(|()| Stopped::Clean),
        (true, Output::Json) => Ok(Stopped::Clean),
        (false, _) => Err(problems.into()),
    }
}

/// What is wrong with what any of the parts reads, but for the log.
pub fn read(values: &Values) -> Result<(), Problems> {
    let mut problems = Problems::default();
    problems.take_all(ingress::Settings::read(values));
    problems.take_all(worker::Settings::read(values));
    problems.take_all(rabbitmq::Settings::read(values));
    problems.take(redis::Settings::read(values));
    problems.take_all(traces::Settings::read(values, SERVICE_NAME));
    problems.once_each();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}
