//! Which route an update takes, and why: for `tgw route`, over the very table and reading that a worker uses.

use serde::Serialize;
use shared::settings::{Problems, Values};
use shared::update::{Malformed, peek};

use crate::incoming::Incoming;
use crate::routes::{Found, STICKY_ROUTE, Shape, Table, Target};
use crate::settings::read_table;

/// What becomes of an update.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    pub update_id: u64,
    pub kind: String,
    /// What the table can look at, as the worker reads it: `command: /start`.
    pub seen: Vec<String>,
    /// Nothing where no row takes it: it is done, and counted.
    pub route: Option<String>,
    pub service: Option<String>,
    /// Which of contract 4's bodies the service is sent.
    pub body: Option<&'static str>,
    /// Whether it is a part of an album that is handed over as one call, by its first part's route.
    pub album: bool,
    /// The row's own text.
    pub reply: Option<String>,
    pub action: Option<String>,
    pub param: Option<String>,
    /// Rows that fit too, and are less specific or stand further down; the next best first.
    pub also: Vec<String>,
    pub why: String,
}

/// Why an update can't be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    #[error(transparent)]
    Table(#[from] Problems),
    #[error("this is no update: {0}")]
    Update(#[from] Malformed),
    #[error("the table has no service {named}: there are {known}")]
    Sticky { named: String, known: String },
}

/// What the update itself does not tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Circumstances<'a> {
    /// The bot's; without it a command with an `@name` is taken for another bot's in a group.
    pub username: Option<&'a str>,
    /// The service that the user's free texts in this chat go to for now.
    pub sticky: Option<&'a str>,
}

/// Reads `ROUTES_FILE` or the built-in table, and asks it about an update.
pub fn explain(
    values: &Values,
    update: &[u8],
    circumstances: Circumstances<'_>,
) -> Result<Explained, ExplainError> {
    let table = read_table(values).map_err(Problems::from)?;
    if let Some(named) = circumstances.sticky.filter(|named| !table.knows(named)) {
        let known = table.known_services().collect::<Vec<_>>().join(", ");
        return Err(ExplainError::Sticky { named: named.to_owned(), known });
    }
    Ok(ask(&table, update, circumstances)?)
}

fn ask(table: &Table, update: &[u8], circumstances: Circumstances<'_>) -> Result<Explained, Malformed> {
    let peek = peek(update)?;
    let incoming = Incoming::read(update);
    let username = circumstances.username.map(|name| name.trim_start_matches('@').to_ascii_lowercase());
    let found = table.find_with_sticky(&incoming, username.as_deref(), circumstances.sticky);
    let mut fitting = table.fitting(&incoming);
    if let Some(best) = fitting.iter().position(|label| found.as_ref().is_some_and(|it| it.route == *label)) {
        fitting.remove(best);
    }
    let (service, body, reply) = match found.as_ref().map(|found| found.target) {
        Some(Target::Service { service, shape, .. }) => (Some(service.to_owned()), Some(name(shape)), None),
        Some(Target::Reply(text)) => (None, None, Some(text.to_owned())),
        None => (None, None, None),
    };
    let why = match (&found, fitting.is_empty()) {
        (Some(found), _) if found.route == STICKY_ROUTE => {
            "the user's free texts in this chat go there for now, after commands and before all else"
        }
        (Some(_), true) => "it is the only row that fits",
        (Some(_), false) => "of the rows that fit it is the most specific, or the first of these in the file",
        (None, true) => "no row fits",
        (None, false) => "the command names another bot, or --username does not say that it is this one",
    };
    let album = incoming.album_part().is_some() && found.as_ref().is_some_and(Found::takes_albums);
    Ok(Explained {
        album,
        update_id: peek.update_id,
        kind: peek.kind,
        seen: seen(&incoming),
        route: found.as_ref().map(|found| found.route.to_owned()),
        service,
        body,
        reply,
        action: found.as_ref().and_then(|found| found.action.clone()),
        param: found.as_ref().and_then(|found| found.param.clone()),
        also: fitting.into_iter().map(str::to_owned).collect(),
        why: why.to_owned(),
    })
}

fn name(shape: Shape) -> &'static str {
    match shape {
        Shape::Conversation => "conversation",
        Shape::Matching => "matching",
        Shape::UserProfile => "user_profile",
        Shape::Notification => "notification",
        Shape::Own => "own",
    }
}

/// Each thing that a row can ask for.
fn seen(incoming: &Incoming) -> Vec<String> {
    let chat = incoming.chat.map(|chat| format!("chat: {:?}", chat.kind).to_lowercase());
    let command = incoming.command.as_ref().map(|command| format!("command: {}", command.name));
    let callback = incoming.pressed();
    let membership = incoming.membership.map(|it| format!("membership: {it:?}").to_lowercase());
    let content = (incoming.kind == "message").then(|| format!("content: {}", incoming.content.name()));
    let language = incoming.language().map(|code| format!("language: {code}"));
    let album = incoming.album_part().map(|_| "a part of an album".to_owned());
    [chat, command, callback.map(|data| format!("callback: {data}")), content, album, membership, language]
        .into_iter()
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(table: &str, update: &str, username: Option<&str>) -> Explained {
        with(table, update, Circumstances { username, sticky: None })
    }

    fn with(table: &str, update: &str, circumstances: Circumstances<'_>) -> Explained {
        let table = Table::parse(table, "test", &|_| None).unwrap();
        ask(&table, update.as_bytes(), circumstances).unwrap()
    }

    const TABLE: &str = r#"
        [[routes]]
        command = "/start"
        service = "user_profile"
        [[routes]]
        callback = "VOTE"
        reply = "counted"
        [[routes]]
        text = true
        service = "conversation"
        [[routes]]
        kind = "message"
        reply = "what?"
    "#;

    fn message(text: &str) -> String {
        format!(r#"{{"update_id":7,"message":{{"chat":{{"id":5,"type":"group"}},"text":"{text}"}}}}"#)
    }

    #[test]
    fn it_names_the_row_and_those_that_fit_too() {
        let told = of(TABLE, &message("/start now"), None);
        assert_eq!(told.route.as_deref(), Some("command:/start"));
        assert_eq!((told.service.as_deref(), told.body), (Some("user_profile"), Some("user_profile")));
        assert_eq!(told.also, ["text", "kind:message"]);
        assert!(told.seen.contains(&"command: /start".to_owned()), "{:?}", told.seen);
        let pressed = r#"{"update_id":8,"callback_query":{"id":"1","from":{"id":5},"data":"VOTE:42"}}"#;
        let told = of(TABLE, pressed, None);
        assert_eq!((told.reply.as_deref(), told.param.as_deref()), (Some("counted"), Some("42")));
        assert!(told.also.is_empty());
    }

    #[test]
    fn it_says_why_nothing_takes_an_update() {
        let told = of(TABLE, r#"{"update_id":9,"poll":{"id":"1"}}"#, None);
        assert_eq!((told.route, told.why.as_str()), (None, "no row fits"));
        let told = of(TABLE, &message("/start@other_bot"), Some("@this_bot"));
        assert!(told.route.is_none() && told.why.contains("another bot"), "{}", told.why);
        assert!(of(TABLE, &message("/start@This_Bot"), Some("@this_bot")).route.is_some());
    }

    #[test]
    fn it_tells_that_a_part_of_an_album_is_handed_over_with_the_others() {
        let table = "[[routes]]\nservice = \"conversation\"\nkind = \"message\"\nalbum = true\n";
        let photo =
            |group: &str| format!(r#"{{"update_id":7,"message":{{"chat":{{"id":1}},"photo":[]{group}}}}}"#);
        let told = of(table, &photo(r#","media_group_id":"1""#), None);
        assert!(told.album && told.seen.contains(&"a part of an album".to_owned()), "{:?}", told.seen);
        assert!(!of(table, &photo(""), None).album);
    }

    #[test]
    fn it_tells_the_language_and_where_free_texts_stick() {
        let table = r#"
            [[routes]]
            command = "/hi"
            reply = { default = "Hello", de = "Hallo" }
            [[routes]]
            text = true
            languages = ["de", "pt"]
            service = "conversation"
        "#;
        let update = |text: &str| {
            let from = r#""from":{"id":5,"language_code":"de-AT"}"#;
            format!(r#"{{"update_id":7,"message":{{"chat":{{"id":5}},{from},"text":"{text}"}}}}"#)
        };
        let told = of(table, &update("/hi"), None);
        assert_eq!(
            (told.reply.as_deref(), told.also.as_slice()),
            (Some("Hallo"), &["text+language:de,pt".into()][..])
        );
        assert!(told.seen.contains(&"language: de-AT".to_owned()), "{:?}", told.seen);
        let sticky = Circumstances { username: None, sticky: Some("matching") };
        let told = with(table, &update("42"), sticky);
        assert_eq!((told.route.as_deref(), told.service.as_deref()), (Some("sticky"), Some("matching")));
        assert!(told.why.contains("free texts"), "{}", told.why);
        assert_eq!(with(table, &update("/hi"), sticky).route.as_deref(), Some("command:/hi"));
    }
}
