//! Which kinds of update the routing table in use asks for: what `allowed_updates` must not leave out.

use std::collections::BTreeSet;

use shared::settings::{Problems, Values};

use crate::settings::read_table;

/// Kinds that Telegram sends only to a bot that names them.
const ON_REQUEST: [&str; 3] = ["chat_member", "message_reaction", "message_reaction_count"];

/// What the table asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked(BTreeSet<String>);

/// Reads `ROUTES_FILE`, or the built-in table.
pub fn kinds_asked(values: &Values) -> Result<Asked, Problems> {
    let table = read_table(values).map_err(Problems::from)?;
    Ok(Asked(table.kinds().into_iter().map(str::to_owned).collect()))
}

impl Asked {
    /// Kinds that a route asks for and Telegram does not send to a bot that allows these; none allowed by name is
    /// Telegram's own choice.
    pub fn left_out(&self, allowed: &[String]) -> Vec<&str> {
        let sent = |kind: &str| match allowed.is_empty() {
            true => !ON_REQUEST.contains(&kind),
            false => allowed.iter().any(|it| it == kind),
        };
        self.0.iter().map(String::as_str).filter(|kind| !sent(kind)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_table_asks_for_messages_buttons_and_the_bots_membership() {
        let asked = kinds_asked(&Values::default()).unwrap();
        assert_eq!(asked.left_out(&[]), Vec::<&str>::new());
        assert_eq!(asked.left_out(&["message".to_owned()]), ["callback_query", "my_chat_member"]);
    }

    #[test]
    fn what_telegram_sends_on_request_only_has_to_be_named() {
        let asked = Asked(BTreeSet::from(["chat_member".to_owned(), "message".to_owned()]));
        assert_eq!(asked.left_out(&[]), ["chat_member"]);
        assert!(asked.left_out(&["message".to_owned(), "chat_member".to_owned()]).is_empty());
    }
}
