//! `tgw-ingress`: the webhook, over RabbitMQ.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use ingress::{Application, Settings, publisher_with_spool};
use shared::admin;
use shared::program::{self, Failure, Stopped};
use shared::queue::rabbitmq;
use shared::readiness::Readiness;
use shared::settings::{Problems, Values};
use shared::traces::{self, Traces};
use shared::window::{Shown, Window};
use tokio_util::sync::CancellationToken;

/// What it is for, and what was measured: ARCHITECTURE.md, Choices.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match program::arguments(ingress::command()) {
        Ok(flags) => program::run(&flags, read, run),
        Err(code) => code,
    }
}

type Read = (Settings, rabbitmq::Settings, traces::Settings);

fn read(values: &Values) -> Result<Read, Problems> {
    let mut problems = Problems::default();
    let settings = problems.take_all(Settings::read(values));
    let broker = problems.take_all(rabbitmq::Settings::read(values));
    let traces = problems.take_all(traces::Settings::read(values, "tgw-ingress"));
    match (settings, broker, traces) {
        (Some(settings), Some(broker), Some(traces)) => Ok((settings, broker, traces)),
        _ => Err(problems),
    }
}

async fn run(
    values: Values,
    (settings, broker, traces): Read,
    stop: CancellationToken,
) -> Result<Stopped, Failure> {
    let listener = admin::bind(settings.listen)?;
    let traces = Traces::start(traces)?;
    let readiness = Readiness::default();
    let (publisher, spool) = publisher_with_spool(&values, &settings, broker, &readiness, "broker").await?;
    let folder = values.text("DATA_DIR").unwrap_or_default();
    let _window = Window::open(
        Path::new(folder),
        Shown {
            spool: Some(spool.spool()),
            queue: None,
            readiness: readiness.clone(),
            accepted: settings.secrets.accepted(),
        },
    );
    let ended = Application::build(settings, listener, publisher, Some(spool), readiness, Arc::new(|_| {}))?
        .run(stop)
        .await;
    traces.end(&ended).await;
    ended
}
