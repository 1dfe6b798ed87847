//! `tgw route`: which route an update takes, and why.

use std::io::Read as _;

use clap::{Arg, ArgMatches};
use shared::program::{Failure, Stopped};
use shared::settings::Values;
use worker::{Circumstances, ExplainError, Explained, explain};

use crate::output::{Output, say};

/// The largest update is half of it (facts T4).
const LARGEST: u64 = 1024 * 1024;

pub fn arguments() -> [Arg; 3] {
    let update = Arg::new("update")
        .required(true)
        .value_name("UPDATE")
        .help("The update's JSON, the name of a file that holds it, or - for stdin");
    let username = Arg::new("username")
        .long("username")
        .value_name("NAME")
        .help("The bot's username, by which /start@name is known to be for this bot");
    let sticky = Arg::new("sticky")
        .long("sticky")
        .value_name("SERVICE")
        .help("The service that this user's free texts in this chat go to for now");
    [update, username, sticky]
}

pub fn route(values: &Values, flags: &ArgMatches) -> Result<Stopped, Failure> {
    let given = flags.get_one::<String>("update").map(String::as_str).unwrap_or_default();
    let update = read(given)?;
    let word = |name: &str| flags.get_one::<String>(name).map(String::as_str);
    let circumstances = Circumstances { username: word("username"), sticky: word("sticky") };
    let explained = explain(values, &update, circumstances).map_err(|error| match error {
        ExplainError::Table(problems) => Failure::Settings(problems),
        ExplainError::Update(_) | ExplainError::Sticky { .. } => Failure::Refused(error.to_string()),
    })?;
    match Output::of(flags) {
        Output::Json => say(&serde_json::to_string(&explained).unwrap_or_default())?,
        Output::Words => say(&words(&explained))?,
    }
    Ok(Stopped::Clean)
}

/// What begins with a brace is the update itself.
fn read(given: &str) -> Result<Vec<u8>, Failure> {
    if given.trim_start().starts_with('{') {
        return Ok(given.as_bytes().to_vec());
    }
    let unreadable = |error: std::io::Error| Failure::Refused(format!("{given} can't be read: {error}"));
    let mut update = Vec::new();
    if given == "-" {
        std::io::stdin().take(LARGEST + 1).read_to_end(&mut update).map_err(unreadable)?;
    } else {
        let file = std::fs::File::open(given).map_err(unreadable)?;
        file.take(LARGEST + 1).read_to_end(&mut update).map_err(unreadable)?;
    }
    Ok(update)
}

fn words(it: &Explained) -> String {
    let target = match (&it.service, &it.reply) {
        (Some(service), _) => {
            let with = if it.album { ", with the other parts of its album" } else { "" };
            format!("service {service}, asked as {}{with}", it.body.unwrap_or_default())
        }
        (None, Some(reply)) => format!("reply {reply:?}"),
        (None, None) => "nobody: it is done, and counted".to_owned(),
    };
    let mut lines = vec![
        format!("update  {} ({})", it.update_id, it.kind),
        format!("seen    {}", it.seen.join(", ")),
        format!("route   {}", it.route.as_deref().unwrap_or("none")),
        format!("to      {target}"),
    ];
    if let Some(action) = &it.action {
        lines.push(format!("action  {action}, param {}", it.param.as_deref().unwrap_or("none")));
    }
    if !it.also.is_empty() {
        lines.push(format!("also    {}", it.also.join(", ")));
    }
    lines.push(format!("why     {}", it.why));
    lines.join("\n")
}
