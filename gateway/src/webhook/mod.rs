//! `tgw webhook`: where Telegram posts this bot's updates, always with the configured secret.

mod certificate;
mod command;
pub mod ingresses;
mod page;

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use clap::ArgMatches;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use shared::clock;
use shared::program::{Failure, Stopped};
use shared::settings::Values;
use tokio_util::sync::CancellationToken;
use worker::{Bot, PlainError, Upload};

use crate::output::{Output, agrees, note, say};
use ingresses::{Named, Verdict};
use page::{page, text};

pub use command::command;

/// What it takes to start an ingress with both secrets.
const ADVICE: &str = "start each of these anew with TELEGRAM_WEBHOOK_SECRET set to the new secret and \
    TELEGRAM_WEBHOOK_SECRET_PREVIOUS to the old one, and rotate again; Telegram was told nothing";

/// The name server's answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The ports that Telegram posts to.
const PORTS: [u16; 4] = [443, 80, 88, 8443];

/// What a stop means before Telegram was told anything, and while it was.
const UNTOLD: &str = "Telegram was told nothing";
const UNSURE: &str = "whether Telegram has done it is not known, tgw webhook info tells";

pub async fn webhook(
    values: Values,
    webhook: &ArgMatches,
    stop: CancellationToken,
) -> Result<Stopped, Failure> {
    let Some((name, flags)) = webhook.subcommand() else { return Ok(Stopped::Clean) };
    let bot = Bot::read(&values)?.map_err(failed)?;
    let call = Call { bot, values: &values, flags, output: Output::of(flags), stop };
    match name {
        "set" => call.set().await,
        "info" => call.tell("").await,
        "delete" => call.delete().await,
        _ => call.rotate().await,
    }
}

struct Call<'a> {
    bot: Bot,
    values: &'a Values,
    flags: &'a ArgMatches,
    output: Output,
    stop: CancellationToken,
}

impl Call<'_> {
    async fn set(&self) -> Result<Stopped, Failure> {
        let secrets = ingress::Secrets::read(self.values)?;
        let url = self.flags.get_one::<String>("url").map(String::as_str).unwrap_or_default();
        warnings(url)?.iter().for_each(|warning| note(&format!("warning: {warning}")));
        let named = [Named { name: "the configured secret", secret: secrets.current() }];
        let verdict = self.unless_stopped(ingresses::ask(self.values, &named), UNTOLD).await?;
        verdict.lacking.iter().chain(&verdict.unknown).for_each(|words| note(&format!("warning: {words}")));
        let upload = self.upload()?;
        let before = text(&self.info().await?, "url").to_owned();
        let drops = self.flags.get_flag("drop-pending-updates");
        let mut lost = Vec::new();
        if !before.is_empty() && before != url {
            lost.push(format!("Telegram posts to {before} now; have it post to {url}?"));
        }
        if drops {
            lost.push("have Telegram forget what it has not delivered?".to_owned());
        }
        if !self.sure(&lost.join(" And ")).await? {
            return Ok(Stopped::TimeRanOut);
        }
        let mut params = json!({ "url": url, "secret_token": secrets.current().expose_secret() });
        if let Some(count) = self.flags.get_one::<u8>("max-connections") {
            params["max_connections"] = json!(count);
        }
        if let Some(address) = self.flags.get_one::<IpAddr>("ip-address") {
            params["ip_address"] = json!(address.to_string());
        }
        if let Some(kinds) = self.flags.get_many::<String>("allowed-updates") {
            let kinds: Vec<_> = kinds.filter(|kind| *kind != "default").collect();
            params["allowed_updates"] = json!(kinds);
        }
        if drops {
            params["drop_pending_updates"] = json!(true);
        }
        self.set_webhook(&params, upload).await?;
        self.tell("set").await
    }

    async fn delete(&self) -> Result<Stopped, Failure> {
        let drops = self.flags.get_flag("drop-pending-updates");
        let question = match (text(&self.info().await?, "url"), drops) {
            ("", false) => String::new(),
            (_, false) => "have Telegram post nowhere?".to_owned(),
            (_, true) => "have Telegram post nowhere, and forget what it has not delivered?".to_owned(),
        };
        if !self.sure(&question).await? {
            return Ok(Stopped::TimeRanOut);
        }
        let params = json!({ "drop_pending_updates": drops });
        let deleting = self.bot.call("deleteWebhook", &params);
        self.unless_stopped(deleting, UNSURE).await?.map_err(failed)?;
        self.tell("deleted").await
    }

    /// A request that is under way while the secret changes carries the old one (facts T9), so an ingress that takes only
    /// the new one would drop updates.
    async fn rotate(&self) -> Result<Stopped, Failure> {
        let secrets = ingress::Secrets::read(self.values)?;
        if !secrets.are_two() {
            return Err(Failure::Refused(
                "TELEGRAM_WEBHOOK_SECRET_PREVIOUS is to be the old secret and TELEGRAM_WEBHOOK_SECRET the new one: \
                 start every ingress with both first, then rotate, and then leave the old one out"
                    .to_owned(),
            ));
        }
        let info = self.info().await?;
        if text(&info, "url").is_empty() {
            return Err(Failure::Failed("there is no webhook: set one".to_owned()));
        }
        let upload = self.upload()?;
        if info["has_custom_certificate"] == json!(true) && upload.is_none() {
            return Err(Failure::Failed(
                "the webhook has a certificate of its own, which Telegram wants again: say --certificate FILE"
                    .to_owned(),
            ));
        }
        let previous = secrets.previous().unwrap_or(secrets.current());
        let named = [
            Named { name: "the new secret", secret: secrets.current() },
            Named { name: "the old secret", secret: previous },
        ];
        let verdict = self.unless_stopped(ingresses::ask(self.values, &named), UNTOLD).await?;
        if !self.all_take(verdict).await? {
            return Ok(Stopped::TimeRanOut);
        }
        let mut params = json!({ "url": info["url"], "secret_token": secrets.current().expose_secret() });
        for kept in ["max_connections", "allowed_updates"] {
            if !info[kept].is_null() {
                params[kept] = info[kept].clone();
            }
        }
        if let Some(address) = self.unless_stopped(fixed(&info), UNTOLD).await? {
            note(&format!("Telegram goes on posting to {address}, which the DNS does not name here"));
            params["ip_address"] = json!(address.to_string());
        }
        self.set_webhook(&params, upload).await?;
        self.tell("rotated; leave TELEGRAM_WEBHOOK_SECRET_PREVIOUS out when nothing more comes with it").await
    }

    /// Whether to go on. Where an ingress is known to refuse what Telegram would send nobody is asked.
    async fn all_take(&self, verdict: Verdict) -> Result<bool, Failure> {
        if !verdict.lacking.is_empty() && !self.flags.get_flag("force") {
            let lines = verdict.lacking.into_iter().chain([ADVICE.to_owned()]);
            return Err(Failure::Failed(lines.collect::<Vec<_>>().join("\n")));
        }
        verdict.lacking.iter().for_each(|words| note(&format!("warning: {words}")));
        if verdict.nowhere {
            note(
                "warning: no ingress was asked whether it takes both secrets: set AMQP_URL, or DATA_DIR, for that",
            );
            return Ok(true);
        }
        if verdict.unknown.is_empty() {
            if verdict.lacking.is_empty() {
                note(&format!("ingresses that take both secrets: {}", verdict.asked));
            }
            return Ok(true);
        }
        if self.flags.get_flag("force") {
            verdict.unknown.iter().for_each(|words| note(&format!("warning: {words}")));
            return Ok(true);
        }
        let words = verdict.unknown.join("; ");
        self.sure(&format!("{words}: does every ingress take the new secret and the old one?")).await
    }

    fn upload(&self) -> Result<Option<Upload>, Failure> {
        self.flags.get_one::<String>("certificate").map(|name| certificate::read(name)).transpose()
    }

    async fn set_webhook(&self, params: &Value, upload: Option<Upload>) -> Result<(), Failure> {
        let setting = self.bot.call_with("setWebhook", params, upload.as_ref());
        self.unless_stopped(setting, UNSURE).await?.map(drop).map_err(failed)
    }

    async fn info(&self) -> Result<Value, Failure> {
        let nothing = json!({});
        self.unless_stopped(self.bot.call("getWebhookInfo", &nothing), UNTOLD).await?.map_err(failed)
    }

    /// `work`, or where it is stopped first a failure that says what that means.
    async fn unless_stopped<T>(&self, work: impl Future<Output = T>, words: &str) -> Result<T, Failure> {
        let stopped = || Failure::Failed(format!("stopped: {words}"));
        self.stop.run_until_cancelled(work).await.ok_or_else(stopped)
    }

    /// How it is, behind `done`.
    async fn tell(&self, done: &str) -> Result<Stopped, Failure> {
        let asking = self.info().await;
        if !done.is_empty() && self.stop.is_cancelled() {
            note(&format!("{done}; stopped before Telegram told how it is now"));
            return Ok(Stopped::Partly);
        }
        let info = asking?;
        if !done.is_empty() {
            note(done);
        }
        match self.output {
            Output::Json => say(&info.to_string())?,
            Output::Words => page(&info, clock::now_ms() / 1000).iter().try_for_each(|line| say(line))?,
        }
        Ok(Stopped::Clean)
    }

    async fn sure(&self, question: &str) -> Result<bool, Failure> {
        Ok(question.is_empty() || self.flags.get_flag("yes") || agrees(question, &self.stop).await?)
    }
}

/// The address that Telegram posts to, if it was fixed: the DNS does not name it. Else another `setWebhook` would undo that.
async fn fixed(info: &Value) -> Option<IpAddr> {
    let address: IpAddr = text(info, "ip_address").parse().ok()?;
    let url = url::Url::parse(text(info, "url")).ok()?;
    let host = url.domain()?.to_owned();
    let resolving = tokio::net::lookup_host((host, url.port_or_known_default()?));
    let found = tokio::time::timeout(PATIENCE, resolving).await.ok()?.ok()?;
    let found: Vec<IpAddr> = found.map(|found| found.ip()).collect();
    (!found.is_empty() && !found.contains(&address)).then_some(address)
}

/// What Telegram would refuse or a person regret.
fn warnings(url: &str) -> Result<Vec<String>, Failure> {
    let parsed = url::Url::parse(url).ok().filter(|url| url.host().is_some());
    let Some(parsed) = parsed.filter(|url| matches!(url.scheme(), "http" | "https")) else {
        return Err(Failure::Refused(format!("--url is {url:?}, but must be an https address")));
    };
    let mut warnings = Vec::new();
    if parsed.scheme() == "http" {
        warnings
            .push("Telegram itself posts to https only; a Bot API server of one's own takes http".to_owned());
    }
    if parsed.port_or_known_default().is_none_or(|port| !PORTS.contains(&port)) {
        warnings.push("Telegram itself posts to the ports 443, 80, 88 and 8443 only".to_owned());
    }
    if parsed.path() != "/webhook/telegram" {
        warnings.push(format!("the ingress listens at /webhook/telegram, this leads to {}", parsed.path()));
    }
    Ok(warnings)
}

fn failed(error: PlainError) -> Failure {
    Failure::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_telegram_does_not_post_to_is_told() {
        assert!(warnings("https://a.example/webhook/telegram").unwrap().is_empty());
        assert_eq!(warnings("http://a.example:8000/telegram").unwrap().len(), 3);
        assert!(warnings("a.example").is_err());
    }
}
