//! Whether the bot's token is right, and what the bot is called. A wrong token stops the intake and never
//! turns a backlog into dead letters (design 5).

use std::time::Duration;

use shared::readiness::Readiness;

use crate::events;
use crate::telegram::{BotName, Telegram};

/// How often Telegram is asked again while the answer is not known or the token is wrong.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// What is known of the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// Telegram is being asked for the first time.
    Asking,
    /// Telegram was not reached: updates are taken all the same, since the sends will tell.
    Unknown,
    Good {
        /// In lower case.
        username: Option<String>,
    },
    Wrong,
}

impl Token {
    /// In lower case.
    pub fn username(&self) -> Option<&str> {
        match self {
            Self::Good { username } => username.as_deref(),
            Self::Asking | Self::Unknown | Self::Wrong => None,
        }
    }
}

/// Keeps the token's state true: asks until it is known to be good, and again after a call found it wrong.
pub async fn keep(telegram: Telegram, readiness: Readiness) {
    let token = telegram.token();
    let mut changes = token.subscribe();
    readiness.set("telegram", "asking", true);
    loop {
        match telegram.name().await {
            BotName::Known(username) => {
                readiness.set("telegram", "up", true);
                let username = username.map(|name| name.to_ascii_lowercase());
                if token.send_replace(Token::Good { username }) == Token::Wrong {
                    events::token_right_again();
                }
                // Known to be good: until a call says otherwise.
                if changes.wait_for(|token| *token == Token::Wrong).await.is_err() {
                    return;
                }
                told_wrong(&readiness);
            }
            BotName::WrongToken => {
                told_wrong(&readiness);
                token.send_replace(Token::Wrong);
            }
            BotName::Unreachable(why) => {
                // A worker does without Telegram for a while: what can't be sent becomes a dead letter.
                if *token.borrow() != Token::Wrong {
                    if readiness.set("telegram", "unreachable", true) {
                        events::telegram_unreachable(&why);
                    }
                    token.send_replace(Token::Unknown);
                }
            }
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

fn told_wrong(readiness: &Readiness) {
    if readiness.set("telegram", "wrong token", false) {
        events::token_wrong();
    }
}
