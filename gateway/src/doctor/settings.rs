//! The settings: each by itself, as `tgw check` reads them, and those that fight each other.

use shared::settings::{Values, bytes, seconds, token};

use super::finding::Finding;
use crate::check;

const CHECK: &str = "settings";

pub fn examine(values: &Values) -> Vec<Finding> {
    let told = check::read(values).err().map(|problems| problems.to_string()).unwrap_or_default();
    let wrong =
        told.lines().map(|line| Finding::wrong(CHECK, line, "correct it; tgw check reads them again"));
    let findings: Vec<Finding> = wrong.chain(fights(values)).collect();
    if findings.is_empty() {
        return vec![Finding::well(CHECK, "each is right, and none fights another")];
    }
    findings
}

fn fights(values: &Values) -> Vec<Finding> {
    let found = [bot(values), secrets(values), two_redises(values), plain_http(values), no_spool(values)];
    found.into_iter().flatten().chain(too_slow(values)).collect()
}

fn bot(values: &Values) -> Option<Finding> {
    let (number, _) = token(values).ok()?;
    let given: u64 = values.is_given("BOT_ID").then(|| values.text("BOT_ID")?.parse().ok())??;
    (given != number).then(|| {
        Finding::wrong(
            CHECK,
            format!("BOT_ID is {given}, and TELEGRAM_BOT_TOKEN is the token of bot {number}"),
            "correct one of them, or leave BOT_ID out: every update would become a dead letter `malformed`",
        )
    })
}

fn secrets(values: &Values) -> Option<Finding> {
    let (now, before) =
        (values.text("TELEGRAM_WEBHOOK_SECRET")?, values.text("TELEGRAM_WEBHOOK_SECRET_PREVIOUS")?);
    (now == before).then(|| {
        Finding::worth(
            CHECK,
            "TELEGRAM_WEBHOOK_SECRET_PREVIOUS is the same as TELEGRAM_WEBHOOK_SECRET",
            "leave it out, unless a new secret is about to be set: then it is to be the old one",
        )
    })
}

fn two_redises(values: &Values) -> Option<Finding> {
    let both =
        values.is_given("REDIS_URL") && (values.is_given("REDIS_HOST") || values.is_given("REDIS_PORT"));
    both.then(|| {
        Finding::worth(
            CHECK,
            "REDIS_URL is set, and REDIS_HOST or REDIS_PORT too",
            "leave one out: REDIS_URL wins",
        )
    })
}

fn plain_http(values: &Values) -> Option<Finding> {
    let url = url::Url::parse(values.text("TELEGRAM_API_URL")?).ok()?;
    let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    (url.scheme() == "http" && !local).then(|| {
        Finding::worth(
            CHECK,
            "TELEGRAM_API_URL is plain http: the bot's token goes over the network in clear",
            "use https, or a Bot API server on this machine",
        )
    })
}

fn no_spool(values: &Values) -> Option<Finding> {
    let most = bytes(values, "SPOOL_MAX_BYTES").ok()?;
    (most < 1024 * 1024).then(|| {
        Finding::worth(
            CHECK,
            format!("SPOOL_MAX_BYTES is {most}: the spool holds next to nothing"),
            "raise it: while the broker is away Telegram is told to keep what comes, and waits longer and longer",
        )
    })
}

/// A call that takes longer than a worker has at its end goes back to the queue each time it is stopped.
fn too_slow(values: &Values) -> Vec<Finding> {
    let Ok(grace) = seconds(values, "SHUTDOWN_GRACE", 0.0..=3600.0) else { return Vec::new() };
    let slow =
        ["CONVERSATION", "MATCHING", "NOTIFICATION", "USER_PROFILE"].into_iter().filter_map(|service| {
            let name = format!("{service}_SERVICE_TIMEOUT");
            let timeout = seconds(values, &name, 0.01..=3600.0).ok()?;
            (timeout > grace).then(|| {
                Finding::worth(
                    CHECK,
                    format!("{name} is {timeout:?}, and SHUTDOWN_GRACE {grace:?}"),
                    "raise SHUTDOWN_GRACE: a call that is under way at a stop is broken off and made again",
                )
            })
        });
    slow.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fighting(pairs: &[(&'static str, &str)]) -> Vec<String> {
        let values = Values::of(pairs.iter().map(|(name, value)| (*name, (*value).to_owned())));
        fights(&values).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn settings_that_fight_each_other_are_told() {
        assert_eq!(fighting(&[]), Vec::<String>::new());
        let token = ("TELEGRAM_BOT_TOKEN", "123:ABC");
        assert_eq!(fighting(&[token, ("BOT_ID", "123")]), Vec::<String>::new());
        let told = fighting(&[token, ("BOT_ID", "124")]);
        assert_eq!(told, ["BOT_ID is 124, and TELEGRAM_BOT_TOKEN is the token of bot 123"]);
        let same = [("TELEGRAM_WEBHOOK_SECRET", "a"), ("TELEGRAM_WEBHOOK_SECRET_PREVIOUS", "a")];
        assert_eq!(fighting(&same).len(), 1);
        assert_eq!(fighting(&[("REDIS_URL", "redis://x"), ("REDIS_PORT", "1")]).len(), 1);
        assert_eq!(fighting(&[("TELEGRAM_API_URL", "http://a.example")]).len(), 1);
        assert_eq!(fighting(&[("TELEGRAM_API_URL", "http://127.0.0.1:1")]).len(), 0);
        assert_eq!(fighting(&[("SPOOL_MAX_BYTES", "0")]).len(), 1);
        let told = fighting(&[("MATCHING_SERVICE_TIMEOUT", "40")]);
        assert_eq!(told, ["MATCHING_SERVICE_TIMEOUT is 40s, and SHUTDOWN_GRACE 25s"]);
    }
}
