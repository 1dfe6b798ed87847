//! `tgw check`: every setting and the table read as the parts read them, and nothing touched.

use shared::program::{Failure, Stopped};
use shared::queue::rabbitmq;
use shared::settings::{Problems, Values};
use shared::store::redis;
use shared::traces;

use crate::output::{Output, say};
use crate::run::SERVICE_NAME;

/// All that is wrong is told at once, a line each; exit code 2 then, as the parts would end with.
pub fn check(values: &Values, output: Output) -> Result<Stopped, Failure> {
    let mut problems = Problems::default();
    problems.take_all(ingress::Settings::read(values));
    problems.take_all(worker::Settings::read(values));
    problems.take(rabbitmq::Settings::read(values));
    problems.take(redis::Settings::read(values));
    problems.take_all(traces::Settings::read(values, SERVICE_NAME));
    problems.once_each();
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
