//! `tgw demo`: a simulated Telegram, a sample of each service and the whole gateway, in one process and
//! with nothing to set up.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::json;
use shared::program::{Failure, Stopped};
use shared::settings::Values;
use tokio_util::sync::CancellationToken;

use crate::output::{Output, say};
use crate::run::{self, Gateway};

/// The simulator lets any token of the right shape in.
const TOKEN: &str = "123456:DEMO";

/// Where the page is, unless something else listens there.
const PAGE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);

/// The settings that a person may give to the demo.
pub const FLAGS: [&str; 3] = ["LOG_LEVEL", "LOG_FORMAT", "RATE_LIMIT_REQUESTS"];

/// What the demo sets unless it was set.
pub fn defaults(values: &mut Values) {
    // One line of output: the page's address.
    values.default_to("LOG_LEVEL", "error");
    // A person clicks faster than a bot's users may write, and does not want to wait after Ctrl-C.
    values.default_to("RATE_LIMIT_REQUESTS", "5");
    values.default_to("SHUTDOWN_GRACE", "2");
}

pub async fn demo(mut values: Values, output: Output, stop: CancellationToken) -> Result<Stopped, Failure> {
    // A broker, a file or a table that is set up here belongs to a real bot.
    values.keep_only(&FLAGS);
    defaults(&mut values);
    let simulator = start_simulator()?;
    let page = format!("http://{}", simulator.address());
    let folder =
        tempfile::tempdir().map_err(|error| Failure::Failed(format!("no temporary folder: {error}")))?;
    let secret = uuid::Uuid::new_v4().simple().to_string();
    for (name, value) in [
        ("TELEGRAM_BOT_TOKEN", TOKEN),
        ("TELEGRAM_WEBHOOK_SECRET", &secret),
        ("TELEGRAM_API_URL", &page),
        ("CONVERSATION_SERVICE_URL", "sample:"),
        ("MATCHING_SERVICE_URL", "sample:"),
        ("NOTIFICATION_SERVICE_URL", "sample:"),
        ("USER_PROFILE_SERVICE_URL", "sample:"),
        ("LISTEN_ADDR", "127.0.0.1:0"),
    ] {
        values.set(name, value);
    }
    values.set("DATA_DIR", folder.path().to_string_lossy());
    let (settings, _) = run::read(&values)?;
    let gateway = Gateway::build(&values, settings).await?;
    let webhook = format!("http://{}/webhook/telegram", gateway.address());
    let telegram = tokio::spawn(simulator.run(stop.child_token()));
    let running = tokio::spawn(gateway.run(stop.clone()));
    set_webhook(&page, &webhook, &secret).await?;
    say(&told(&page, output))?;
    let stopped = running.await.map_err(|error| Failure::Failed(error.to_string()))?;
    stop.cancel();
    match telegram.await {
        Ok(Ok(())) => stopped,
        Ok(Err(error)) => Err(Failure::Failed(error.to_string())),
        Err(error) => Err(Failure::Failed(error.to_string())),
    }
}

/// On its own port, else on a free one.
fn start_simulator() -> Result<simulator::Application, Failure> {
    let at = |listen| simulator::Application::build(simulator::Settings { listen, ..Default::default() });
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    at(PAGE).or_else(|_| at(free)).map_err(|error| Failure::Failed(error.to_string()))
}

async fn set_webhook(api: &str, webhook: &str, secret: &str) -> Result<(), Failure> {
    let failed = |error: reqwest::Error| Failure::Failed(format!("the simulator does not answer: {error}"));
    let body = json!({"url": webhook, "secret_token": secret}).to_string();
    let http = reqwest::Client::builder().no_proxy().build().map_err(failed)?;
    let request =
        http.post(format!("{api}/bot{TOKEN}/setWebhook")).header("content-type", "application/json");
    request.body(body).send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
    Ok(())
}

/// The one line of the demo's output, beside the log.
fn told(page: &str, output: Output) -> String {
    match output {
        Output::Words => format!("Talk to the bot at {page} (Ctrl-C ends it)"),
        Output::Json => json!({ "page": page }).to_string(),
    }
}
