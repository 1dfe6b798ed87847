//! The binary: flags in, one line with the address out, an end on Ctrl-C or SIGTERM.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use simulator::{Application, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A Telegram to run at home: the Bot API's server side, and a page to talk to the bot.
#[derive(Parser)]
#[command(version)]
struct Flags {
    /// Where to listen; port 0 picks a free one
    #[arg(long, env = "TELEGRAM_SIMULATOR_LISTEN", default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// A bot token to let in (may be given more than once); without any, every well-formed token is
    #[arg(long, env = "TELEGRAM_SIMULATOR_TOKEN", hide_env_values = true, value_delimiter = ',')]
    token: Vec<String>,
    /// The bot's username
    #[arg(long, env = "TELEGRAM_SIMULATOR_USERNAME", default_value = "sample_bot")]
    username: String,
    /// Answer 429 where Telegram would: a bot that writes, or calls setWebhook, too often
    #[arg(long)]
    limits: bool,
    /// Open any number of connections to the webhook at once, which Telegram does not
    #[arg(long)]
    unlimited_connections: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    match simulate(Flags::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, whatever RUST_BACKTRACE says.
            writeln!(std::io::stderr(), "telegram-simulator: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

async fn simulate(flags: Flags) -> anyhow::Result<()> {
    let application = Application::build(Settings {
        listen: flags.listen,
        tokens: flags.token,
        bot_username: flags.username.trim_start_matches('@').to_owned(),
        limit_set_webhook: flags.limits,
        limit_sending: flags.limits,
        limit_connections: !flags.unlimited_connections,
        ..Settings::default()
    })?;
    let stop = stop_on_signal()?;
    writeln!(std::io::stdout(), "telegram-simulator listens on http://{}", application.address())?;
    Ok(application.run(stop).await?)
}

/// A token that Ctrl-C or SIGTERM cancels.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move {
        tokio::select! { _ = interrupt.recv() => (), _ = terminate.recv() => () }
        cancel.cancel();
    });
    Ok(stop)
}
