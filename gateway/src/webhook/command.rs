//! What can be said to `tgw webhook`.

use std::net::IpAddr;

use clap::{Arg, ArgAction, Command};
use shared::settings::with_some_flags;

use crate::output::Output;

const SETTINGS: [&str; 11] = [
    "AMQP_URL",
    "AMQP_PREFIX",
    "PARTITIONS",
    "DATA_DIR",
    "TELEGRAM_BOT_TOKEN",
    "TELEGRAM_API_URL",
    "TELEGRAM_TIMEOUT",
    "TELEGRAM_WEBHOOK_SECRET",
    "TELEGRAM_WEBHOOK_SECRET_PREVIOUS",
    "LOG_LEVEL",
    "LOG_FORMAT",
];

pub fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let yes = || flag("yes", "Do not ask");
    let drop = || flag("drop-pending-updates", "Have Telegram forget what it has not delivered yet");
    let address = || {
        text("ip-address", "ADDRESS", "Post there, whatever the DNS says")
            .value_parser(clap::value_parser!(IpAddr))
    };
    let certificate = || {
        text(
            "certificate",
            "FILE",
            "A certificate of one's own (PEM) that Telegram is to trust for this address",
        )
    };
    let with_common = |command: Command| with_some_flags(command.arg(Output::flag()), &SETTINGS);
    let set = Command::new("set")
        .about("Has Telegram post updates to an address, with the configured secret")
        .arg(text("url", "URL", "The webhook's address, such as https://example.com/webhook/telegram").required(true))
        .arg(
            text("max-connections", "N", "Updates that Telegram delivers at once, 1 to 100 [Telegram's default: 40]")
                .value_parser(clap::value_parser!(u8).range(1..=100)),
        )
        .arg(
            text("allowed-updates", "KINDS", "Only these kinds, such as message,callback_query; default for Telegram's own choice [default: as it was]")
                .action(ArgAction::Append)
                .value_delimiter(','),
        )
        .arg(address())
        .arg(certificate())
        .arg(drop())
        .arg(yes());
    let info =
        Command::new("info").about("Tells where Telegram posts, what waits there, and what went wrong last");
    let delete =
        Command::new("delete").about("Has Telegram post nowhere; updates wait there").arg(drop()).arg(yes());
    let rotate = Command::new("rotate")
        .about("Has Telegram send the configured secret, with all else as it is, and no update refused meanwhile")
        .after_help(
            "First every ingress is started with the new secret as TELEGRAM_WEBHOOK_SECRET and the old one as \
             TELEGRAM_WEBHOOK_SECRET_PREVIOUS. Each is then asked, over the broker, whether it takes both (it proves that \
             without telling them); where one does not, it is named and Telegram is told nothing.",
        )
        .arg(certificate())
        .arg(flag("yes", "Do not ask, also where an ingress can't be asked whether it takes the new secret"))
        .arg(flag("force", "Rotate although an ingress does not take both secrets: it will refuse updates"));
    Command::new("webhook")
        .about("Where Telegram posts the bot's updates")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with_common(set))
        .subcommand(with_common(info))
        .subcommand(with_common(delete))
        .subcommand(with_common(rotate))
}
