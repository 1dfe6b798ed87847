use super::*;
use crate::incoming::Incoming;

const FILE: &str = r##"
[services.weather]
url = "http://${WEATHER_HOST}:8080/ask"
timeout = "2s"
breaker = { calls = 5, window = "1m" }
headers = { X-Key = "${KEY}" }
bearer = "${KEY}"
sign = "${KEY}-${KEY}"
http2 = true

[services.polls]
url = "http://polls/"
retry = false

[services.conversation]
concurrency = 16

[[routes]]
command = "/Weather"
service = "weather"

[[routes]]
command = "/weather"
chat = "group"
service = "weather"
name = "weather in groups"

[[routes]]
callback = "VOTE"
service = "polls"

[[routes]]
callback = "VOTE:up"
service = "polls"

[[routes]]
text = true
service = "conversation"

[[routes]]
text = "(?i)^weather in (.+)"
service = "weather"
update = true

[[routes]]
text = "^w"
reply = "w!"

[[routes]]
content = "photo"
service = "weather"

[[routes]]
content = "photo"
text = "#sell"
service = "polls"

[[routes]]
content = "text"
chat = "channel"
reply = "post"

[[routes]]
kind = "edited_message"
service = "conversation"

[[routes]]
kind = "edited_message"
command = "/weather"
reply = "edited"

[[routes]]
chat = "private"
reply = "What is this?"
"##;

fn env(name: &str) -> Option<String> {
    (name == "WEATHER_HOST" || name == "KEY").then(|| format!("{}-value", name.to_lowercase()))
}

fn table() -> Table {
    Table::parse(FILE, "routes.toml", &env).unwrap()
}

pub(super) fn update(kind: &str, chat: &str, body: &str) -> Incoming {
    let chat = format!(r#""from":{{"id":1}},"chat":{{"id":1,"type":"{chat}"}}"#);
    let body = match kind {
        "callback_query" => format!(r#"{{"id":"1","data":"{body}","message":{{{chat}}}}}"#),
        _ => format!("{{{chat},{body}}}"),
    };
    Incoming::read(format!(r#"{{"update_id":7,"{kind}":{body}}}"#).as_bytes())
}

/// The route's label, and the callback's param behind it.
fn route(table: &Table, kind: &str, chat: &str, body: &str) -> String {
    let update = update(kind, chat, body);
    match table.find(&update, Some("TheBot")) {
        Some(Found { route, param: Some(param), .. }) => format!("{route} <{param}>"),
        Some(found) => found.route.to_owned(),
        None => "none".to_owned(),
    }
}

#[test]
fn the_most_specific_row_wins_and_then_the_first() {
    let table = table();
    for (kind, chat, body, expected) in [
        // A row with more conditions goes before one with fewer, wherever it stands.
        ("message", "private", r#""text":"/weather Rome""#, "command:/weather"),
        ("message", "supergroup", r#""text":"/WEATHER""#, "weather in groups"),
        ("message", "group", r#""text":"/weather@thebot""#, "weather in groups"),
        // A command for another bot is nothing of ours, not even a text.
        ("message", "private", r#""text":"/weather@otherbot""#, "none"),
        // A command that no row names is a text.
        ("message", "private", r#""text":"/shrug""#, "text"),
        // The longest prefix, then the shorter; a prefix ends at a colon.
        ("callback_query", "private", "VOTE", "callback:VOTE"),
        ("callback_query", "private", "VOTE:42", "callback:VOTE <42>"),
        ("callback_query", "private", "VOTE:up:42", "callback:VOTE:up <42>"),
        ("callback_query", "private", "VOTE:", "callback:VOTE"),
        ("callback_query", "group", "VOTES", "none"),
        // Patterns go before plain texts, among themselves in file order.
        ("message", "private", r#""text":"Weather in Rome""#, "text:(?i)^weather in (.+)"),
        ("message", "private", r#""text":"what?""#, "text:^w"),
        ("message", "private", r#""text":"hello""#, "text"),
        // A caption is matched beside its content only.
        ("message", "private", r#""photo":[],"caption":"weather in""#, "content:photo"),
        ("message", "private", r##""photo":[],"caption":"my bike #sell""##, "text:#sell+content:photo"),
        // Without a kind a row means new messages; in a channel, posts.
        ("channel_post", "channel", r#""text":"weather in""#, "content:text+chat:channel"),
        ("edited_message", "private", r#""text":"weather in""#, "kind:edited_message"),
        ("edited_message", "private", r#""text":"/weather""#, "command:/weather+kind:edited_message"),
        // The rest: a row with no more than a chat takes all of it.
        ("message", "private", r#""sticker":{}"#, "chat:private"),
        ("message_reaction", "private", r#""x":1"#, "chat:private"),
        ("message", "group", r#""sticker":{}"#, "none"),
    ] {
        assert_eq!(route(&table, kind, chat, body), expected, "{kind} {chat} {body}");
    }
}

#[test]
fn albums_go_with_what_telegram_puts_into_them() {
    for row in [
        "content = \"photo\"",
        "content = \"video\"\ntext = \"#sell\"",
        "command = \"/sell\"",
        "kind = \"channel_post\"",
        "content = \"document\"\nchat = \"channel\"",
        "chat = \"private\"",
    ] {
        let toml = format!("[[routes]]\nservice = \"conversation\"\nalbum = true\n{row}\n");
        assert!(Table::parse(&toml, "routes.toml", &|_| None).is_ok(), "{row}");
    }
}

#[test]
fn the_builtin_table_is_the_contracts() {
    let table = Table::builtin();
    assert_eq!(table.services_used().into_iter().collect::<Vec<_>>(), BUILTIN_SERVICES);
    let service = |kind: &str, body: &str| {
        let update = update(kind, "private", body);
        let found = table.find(&update, None)?;
        let Target::Service { service, shape, with_update, album } = found.target else {
            return None;
        };
        assert_eq!((shape, with_update, album), (Shape::of(service), false, false));
        Some((found.route.to_owned(), service.to_owned(), found.param.unwrap_or_default()))
    };
    for (kind, body, route, to, param) in [
        ("message", r#""text":"/start x""#, "command:/start", "user_profile", ""),
        ("message", r#""text":"/help""#, "command:/help", "user_profile", ""),
        ("message", r#""text":"/profile""#, "command:/profile", "user_profile", ""),
        ("callback_query", "CONNECT:u1", "callback:CONNECT", "matching", "u1"),
        ("callback_query", "ACCEPT:u1", "callback:ACCEPT", "matching", "u1"),
        ("callback_query", "REJECT:u1", "callback:REJECT", "matching", "u1"),
        ("callback_query", "SKIP", "callback:SKIP", "matching", ""),
        ("message", r#""text":"hello""#, "text", "conversation", ""),
        (
            "my_chat_member",
            r#""new_chat_member":{"status":"kicked"}"#,
            "kind:my_chat_member",
            "notification",
            "",
        ),
    ] {
        assert_eq!(service(kind, body), Some((route.into(), to.into(), param.into())), "{kind} {body}");
    }
    for (kind, body) in [
        ("message", r#""photo":[],"caption":"x""#),
        ("edited_message", r#""text":"x""#),
        ("channel_post", r#""text":"x""#),
        ("my_chat_member", r#""new_chat_member":{"status":"administrator"}"#),
        ("callback_query", "connect"),
    ] {
        assert_eq!(service(kind, body), None, "{kind} {body}");
    }
}

#[test]
fn a_services_section_sets_its_limits() {
    let table = table();
    let weather = table.service("weather").unwrap();
    assert_eq!(weather.url.as_deref(), Some("http://weather_host-value:8080/ask"));
    assert_eq!(weather.timeout, Some(std::time::Duration::from_secs(2)));
    assert_eq!(
        (weather.breaker_calls, weather.breaker_window.as_secs(), weather.breaker_rest.as_secs()),
        (5, 60, 5)
    );
    assert_eq!((weather.concurrency, weather.retry), (512, true));
    assert_eq!(weather.headers["X-Key"], "key-value");
    assert_eq!(
        (weather.bearer.as_deref(), weather.sign.as_deref()),
        (Some("key-value"), Some("key-value-key-value"))
    );
    assert_eq!((weather.http2, table.service("polls").unwrap().http2), (Some(true), None));
    assert!(!format!("{weather:?}").contains("key-value"));
    assert!(!table.service("polls").unwrap().retry);
    assert_eq!(table.service("conversation").unwrap().concurrency, 16);
    assert!(table.service("matching").is_none());
    assert_eq!(table.services_used().into_iter().collect::<Vec<_>>(), ["conversation", "polls", "weather"]);
}

/// All errors of a table, as they are printed.
pub(super) fn errors(toml: &str) -> String {
    let errors = Table::parse(toml, "routes.toml", &|_| None).unwrap_err();
    errors.iter().map(|error| error.to_string()).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_error_says_where_and_what_would_be_right() {
    for (line, expected) in [
        (r#"command = "weather""#, r#"3: command = "weather": must be a command such as "/weather""#),
        (r#"callback = "VOTE:""#, r#"3: callback = "VOTE:": must be a prefix of 1 to 64 bytes without"#),
        (r#"comand = "/weather""#, "3: comand: is not known here; there are name, command,"),
        (r#"text = "(""#, r#"3: text = "(": is no regular expression that can be used: unclosed group"#),
        (r#"text = "\\w{500}{500}""#, "no regular expression that can be used: "),
        ("text = false", "3: text = false: must be true, or a regular expression in quotes"),
        ("text = 1", "3: text = 1: must be true, or a regular expression in quotes"),
        (r#"content = "foto""#, r#"3: content = "foto": must be one of text, animation, photo"#),
        (r#"kind = "Message""#, r#"3: kind = "Message": must be an update's kind"#),
        (r#"chat = "dm""#, r#"3: chat = "dm": must be private, group or channel"#),
        ("chat = 5", "3: chat = 5: must be a string in quotes"),
        (
            r#"language = "português""#,
            r#"3: language = "português": must be a language such as "pt" or "pt-BR""#,
        ),
        (r#"languages = ["pt", "p"]"#, r#"3: languages = "p": must be a language such as"#),
        ("languages = []", "3: languages = []: must be a list of strings such as"),
        (r#"languages = "pt""#, r#"3: languages = "pt": must be a list of strings such as"#),
        ("languages = [1]", "3: languages = 1: must be a string in quotes"),
        (r#"body = "json""#, r#"3: body = "json": must be conversation, matching"#),
        (r#"update = "yes""#, r#"3: update = "yes": must be true or false"#),
        (r#"album = "yes""#, r#"3: album = "yes": must be true or false"#),
        ("album = true\nbody = \"matching\"", "3: album = true: goes with the bodies own and conversation"),
        (
            "album = true\ncallback = \"A\"",
            "3: album = true: goes with new messages that hold a photo, video",
        ),
        ("album = true\ncontent = \"voice\"", "3: album = true: goes with new messages that hold a photo"),
        ("album = true\nkind = \"edited_message\"", "3: album = true: goes with new messages"),
        ("album = true\ntext = true", "3: album = true: goes with new messages"),
        (r#"reply = "hi""#, "a row has a service or a reply, not both"),
        (r#"name = "${NAME}""#, r#"3: name = "${NAME}": the environment has no variable NAME: set it"#),
        ("command = ", "3: is not TOML: "),
        ("service = \"matching\"", "3: is not TOML: "),
    ] {
        let found = errors(&format!("[[routes]]\nservice = \"conversation\"\n{line}\n"));
        assert!(found.contains(expected), "{line}\n  {found}");
        assert!(found.starts_with("routes.toml:"), "{found}");
    }
}

#[test]
fn errors_of_whole_rows_and_of_services_name_their_line() {
    for (toml, expected) in [
        ("[[routes]]\ntext = true\n", "routes.toml:1: service: is missing: a row needs a service or a reply"),
        ("\n[[routes]]\nservice = \"wether\"\n", r#":3: service = "wether": is no service: there are conv"#),
        ("[[routes]]\nreply = \"x\"\nbody = \"own\"\n", r#":3: body = "own": a reply asks no service"#),
        ("[[routes]]\nreply = \"x\"\nalbum = true\n", ":3: album = true: a reply asks no service"),
        (
            "[[routes]]\ncallback = \"A\"\nkind = \"message\"\nreply = \"x\"\n",
            ":2: callback = \"A\": a button",
        ),
        (
            "[[routes]]\nlanguage = \"pt\"\nlanguages = [\"de\"]\nreply = \"x\"\n",
            ":3: languages = [\"de\"]: a row has a language or languages, not both",
        ),
        (
            "[[routes]]\nreply = { de = \"Hallo\" }\n",
            ":2: default: is missing: what do users of any other language read?",
        ),
        (
            "[[routes]]\n[routes.reply]\ndefault = \"Hello\"\ngerman_language = \"Hallo\"\n",
            ":4: german_language: must be a language such as pt or pt-BR, or default",
        ),
        ("[[routes]]\nreply = { default = \"Hello\", de = \" \" }\n", ":2: de = \" \": must not be empty"),
        ("[services.a]\ntimeout = \"2s\"\n", ":1: url: is missing: where is the service a?"),
        ("[services.a]\nurl = \"a:80\"\n", ":2: url: must be an address"),
        ("[services.a]\nurl = \"http://a\"\ntimeout = 2\n", ":3: timeout = 2: must be a string"),
        ("[services.a]\nurl = \"http://a\"\ntimeout = \"2\"\n", ":3: timeout = \"2\": must be a time"),
        (
            "[services.matching]\nconcurrency = 0\n",
            ":2: concurrency = 0: must be a whole number from 1 to 65536",
        ),
        ("[services.matching]\nbreaker = { call = 1 }\n", ":2: call: is not known here; there are calls"),
        ("[services.matching]\nretry = { min = \"1s\" }\n", "min must not be over max"),
        ("[services.matching]\nheaders = { \"a b\" = \"x\" }\n", ":2: a b: is not the name of a header"),
        ("[services.matching]\nsign = \"s3cret\"\n", ":2: sign: must be a secret of 16 bytes or more"),
        ("[services.matching]\nbearer = \"a b\"\n", ":2: bearer: must be a token: plain ASCII"),
        (
            "[services.matching]\nbearer = \"s3cret\"\nheaders = { authorization = \"x\" }\n",
            ":2: bearer: the headers have an Authorization too",
        ),
        ("[services.matching]\nheaders = { Traceparent = \"x\" }\n", ":2: Traceparent: is a header that the"),
        ("[services.matching]\nhttp2 = \"yes\"\n", ":2: http2 = \"yes\": must be true or false"),
        ("[services]\na = 1\n", ":2: a: must be a table: [services.a]"),
        ("routes = 1\n", ":1: routes = 1: rows are written [[routes]]"),
        ("[route]\n", ":1: route: is not known here; there are services, routes"),
    ] {
        let found = errors(toml);
        assert!(found.contains(expected), "{toml}\n  {found}");
        assert_eq!(found.lines().count(), 1, "{found}");
    }
}

#[test]
fn all_errors_are_told_at_once_and_no_secret_with_them() {
    let toml =
        "[services.a]\nurl = \"${URL}\"\n[[routes]]\nservice = \"b\"\n[[routes]]\ntext = 5\nreply = \"\"\n";
    let found = Table::parse(toml, "routes.toml", &|_| Some("s3cret".into())).unwrap_err();
    assert_eq!(found.iter().map(|error| error.line).collect::<Vec<_>>(), [2, 4, 6, 7]);
    assert!(!format!("{found:?}").contains("s3cret"));
}

#[test]
fn the_example_file_is_a_good_table() {
    let example = include_str!("../../../routes.example.toml");
    let table = Table::parse(example, "routes.example.toml", &|_| Some("http://host/".into())).unwrap();
    assert!(table.services_used().len() >= 4);
}

#[test]
fn the_tables_in_the_document_are_good() {
    let document = include_str!("../../../docs/services.md");
    let tables: Vec<&str> =
        document.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(tables.len() >= 4);
    for table in tables {
        let value = |_: &str| Some("sixteen-or-more-bytes".to_owned());
        Table::parse(table, "docs/services.md", &value)
            .unwrap_or_else(|errors| panic!("{table}\n{errors:?}"));
    }
}
