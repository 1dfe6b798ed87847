//! What may stand for a value in a table, and what an error shows of it.

use super::tests::{errors, update};
use super::*;

/// Numbers and booleans of the environment's are read as if they were written.
#[test]
fn a_variable_may_stand_where_a_number_or_a_boolean_is_expected() {
    let file = r#"
        [services.conversation]
        concurrency = "${N}"
        breaker = { calls = "${N}", percent = "${N}", window = "${N}s" }
        retry = "${NO}"
        http2 = "${NO}"
        [services.matching]
        concurrency = "1${N}"
        retry = { min = "${N}ms" }
        [[routes]]
        service = "conversation"
        update = "${YES}"
        album = "${YES}"
    "#;
    let env = |name: &str| [("N", "7"), ("YES", "true"), ("NO", "false")].into_iter().find(|it| it.0 == name);
    let table = Table::parse(file, "routes.toml", &|name| env(name).map(|it| it.1.to_owned())).unwrap();
    let service = table.service("conversation").unwrap();
    assert_eq!((service.concurrency, service.breaker_calls, service.breaker_percent), (7, 7, 7));
    assert_eq!((service.breaker_window.as_secs(), service.retry, service.http2), (7, false, Some(false)));
    let service = table.service("matching").unwrap();
    assert_eq!((service.concurrency, service.retry, service.retry_min.as_millis()), (17, true, 7));
    let found = table.find(&update("message", "private", r#""photo":[]"#), None).unwrap();
    assert!(matches!(found.target, Target::Service { with_update: true, album: true, .. }));
}

/// What comes of it is held to the same, and not shown.
#[test]
fn a_variable_with_a_wrong_number_or_boolean_is_named() {
    for (line, value, expected) in [
        ("concurrency", "${X}", ":2: concurrency = \"${X}\": must be a whole number from 1 to 65536"),
        ("concurrency", "${X}${X}", ":2: concurrency = \"${X}${X}\": must be a whole number"),
        ("concurrency", "${NOPE}", ":2: concurrency = \"${NOPE}\": the environment has no variable NOPE"),
        ("concurrency", "${X", ":2: concurrency = \"${X\": a variable is written ${NAME}"),
        ("breaker.percent", "${X}", ":2: percent = \"${X}\": must be a whole number from 1 to 100"),
        ("retry", "${X}", ":2: retry = \"${X}\": must be true or false"),
        ("http2", "${X}", ":2: http2 = \"${X}\": must be true or false"),
        // Without a variable a string is none.
        ("concurrency", "7", ":2: concurrency = \"7\": must be a whole number"),
        ("http2", "true", ":2: http2 = \"true\": must be true or false"),
        ("http2", "$${X}", ":2: http2 = \"$${X}\": must be true or false"),
    ] {
        for secret in ["70000", "-1", "hunter", ""] {
            let toml = format!("[services.matching]\n{line} = \"{value}\"\n");
            let env = |name: &str| (name == "X").then(|| secret.to_owned());
            let found = Table::parse(&toml, "routes.toml", &env).unwrap_err();
            let found = found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            assert!(found.contains(expected) && found.lines().count() == 1, "{toml}\n  {found}");
            assert!(secret.is_empty() || !found.contains(secret), "{toml}\n  {found}");
        }
    }
}

/// Also where they are written into the file itself, and however wrong what stands there is.
#[test]
fn no_error_shows_what_may_be_a_secret() {
    for (line, expected) in [
        ("bearer = 12345", ":2: bearer: must be a string in quotes"),
        ("bearer = hunter2", ":2: is not TOML: "),
        ("bearer = \"hunter2-${NOPE}\"", ":2: bearer: the environment has no variable NOPE: set it"),
        ("bearer = \"hunter2 12345\"", ":2: bearer: must be a token"),
        ("bearer = { token = \"hunter2\" }", ":2: bearer: must be a string in quotes"),
        ("sign = [\"hunter2-and-12345\"]", ":2: sign: must be a string in quotes"),
        ("sign = \"hunter2-${12345\"", ":2: sign: a variable is written ${NAME}"),
        ("headers = \"X-Key: hunter2\"", ":2: headers: must be a table"),
        ("headers = [\"X-Key: hunter2\"]", ":2: headers: must be a table"),
        ("headers = { X-Key = \"hunter2-${NOPE}\" }", ":2: X-Key: the environment has no variable NOPE"),
        ("headers = { X-Key = 12345 }", ":2: X-Key: must be a string in quotes"),
        ("headers = { X-Key = \"hunter2\\n\" }", ":2: X-Key: must be plain ASCII on one line"),
        ("headers = { \"X-Key: hunter2\" = \"\" }", ":2: X-Key: is not the name of a header"),
        (
            "url = \"ftp://user:hunter2@weather/ask?key=12345\"",
            r#":2: url = "ftp://weather/...": must be an address"#,
        ),
        (
            "url = \"ftp://hunter2@weather:81/12345\"",
            r#":2: url = "ftp://weather:81/...": must be an address"#,
        ),
        (
            "url = \"http://${NOPE}:hunter2@weather/?key=12345\"",
            r#":2: url = "http://weather/...": the environment has no variable NOPE: set it"#,
        ),
        ("url = \"${NOPE}\"", r#":2: url = "${NOPE}": the environment has no variable NOPE: set it"#),
        ("url = \"user:hunter2@weather\"", ":2: url: must be an address"),
        ("url = \"ftp://user:12345/hunter2@weather\"", ":2: url: must be an address"),
        ("url = \"ftp://user:123/hunter2@weather\"", ":2: url: must be an address"),
        ("url = [\"http://user:hunter2@weather\"]", ":2: url: must be a string in quotes"),
    ] {
        let found = errors(&format!("[services.matching]\n{line}\n"));
        assert!(found.contains(expected), "{line}\n  {found}");
        let shown = ["hunter2", "12345", "user"].into_iter().find(|secret| found.contains(secret));
        assert!(shown.is_none(), "{line}\n  {found}");
    }
    for file in [
        "services = \"http://user:hunter2@weather\"",
        "services.a = \"http://user:hunter2@weather\"",
        "[services]\na = [{ bearer = \"hunter2\" }]",
        "[[services.a]]\nbearer = \"hunter2\"",
        "[[services]]\nbearer = \"hunter2\"",
    ] {
        assert!(!errors(file).contains("hunter2"), "{file}\n  {}", errors(file));
    }
}
