//! `tgw-ingress`: the webhook, over RabbitMQ.

use std::process::ExitCode;

use ingress::{Application, Settings, publisher_with_spool};
use shared::program::{self, Failure, Stopped};
use shared::queue::rabbitmq;
use shared::readiness::Readiness;
use shared::settings::{Problems, Taker, Values, with_flags};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let about = "Takes Telegram's updates, makes each durable in RabbitMQ, and answers 200";
    let command = clap::Command::new("tgw-ingress").about(about).version(env!("CARGO_PKG_VERSION"));
    match program::arguments(with_flags(command, Taker::Ingress)) {
        Ok(flags) => program::run(&flags, run),
        Err(code) => code,
    }
}

async fn run(values: Values, stop: CancellationToken) -> Result<Stopped, Failure> {
    let mut problems = Problems::default();
    let settings = problems.take_all(Settings::read(&values));
    let broker = problems.take(rabbitmq::Settings::read(&values));
    let (Some(settings), Some(broker)) = (settings, broker) else { return Err(problems.into()) };
    let readiness = Readiness::default();
    let (publisher, spool) = publisher_with_spool(&values, &settings, broker, &readiness, "broker").await?;
    Application::build(settings, publisher, Some(spool), readiness)?.run(stop).await
}
