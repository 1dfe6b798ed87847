//! Settings: gathered as text from flags, the environment and `.env`, then checked one by one. A value
//! that can't be used is an error that names the setting, the value and what it may be; nothing here
//! opens a connection or a file other than `.env`.

mod catalogue;
mod common;

use std::collections::{HashMap, HashSet};
use std::fmt;

use clap::{Arg, ArgMatches, Command};

pub use catalogue::{ALL, Setting, Taker, find};
pub use common::{LogFormat, Logs, address, bytes, http_url, seconds, token, whole};

/// A setting that can't be used, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    pub name: String,
    /// What it was; none where it was missing or is a secret.
    pub value: Option<String>,
    /// What it may be.
    pub expected: String,
}

impl fmt::Display for SettingError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A value can hold line breaks, and this is to be one line: hence the debug form.
        match &self.value {
            Some(value) => write!(out, "{} is {value:?}, but must be {}", self.name, self.expected),
            None => write!(out, "{} must be {}", self.name, self.expected),
        }
    }
}

impl std::error::Error for SettingError {}

/// Everything that is wrong with the settings: a person wants to hear of all of it at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<SettingError>);

impl Problems {
    /// The value, or nothing and one problem more.
    pub fn take<T>(&mut self, read: Result<T, SettingError>) -> Option<T> {
        read.map_err(|error| self.0.push(error)).ok()
    }

    /// The value, or nothing and all its problems.
    pub fn take_all<T>(&mut self, read: Result<T, Problems>) -> Option<T> {
        read.map_err(|problems| self.0.extend(problems.0)).ok()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What two parts read is told once.
    pub fn once_each(&mut self) {
        let mut told = HashSet::new();
        self.0.retain(|problem| told.insert(problem.to_string()));
    }
}

impl From<SettingError> for Problems {
    fn from(error: SettingError) -> Self {
        Self(vec![error])
    }
}

/// A line each.
impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        out.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Problems {}

/// All values that were given, as text.
#[derive(Clone, Default)]
pub struct Values {
    given: HashMap<&'static str, String>,
    file: HashMap<String, String>,
}

impl Values {
    /// A flag wins over the environment, and that over the `.env` file. An empty value counts as none. The problems are
    /// those of the file; its other lines are taken.
    pub fn gather(flags: &ArgMatches) -> (Self, Problems) {
        let (file, problems) = read_env_file();
        let value = |setting: &Setting| {
            let flag = flags.try_get_one::<String>(setting.name).ok().flatten().cloned();
            let environment =
                || std::env::var_os(setting.name).map(|value| value.to_string_lossy().into_owned());
            flag.or_else(environment).or_else(|| file.get(setting.name).cloned())
        };
        let given = ALL.iter().filter_map(|setting| Some((setting.name, value(setting)?)));
        let given = given.filter(|(_, value)| !value.is_empty()).collect();
        (Self { given, file }, problems)
    }

    /// Any variable of the environment, else of the `.env` file: what a routes file may refer to.
    pub fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().or_else(|| self.file.get(name).cloned())
    }

    /// Forgets all that was given but these.
    pub fn keep_only(&mut self, names: &[&str]) {
        self.given.retain(|name, _| names.contains(name));
        self.file.clear();
    }

    /// Values that are not the machine's own, for a program that sets its parts itself, and for tests.
    pub fn of(values: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self { given: values.into_iter().collect(), file: HashMap::new() }
    }

    /// Sets `name` unless it was given.
    pub fn default_to(&mut self, name: &'static str, value: impl Into<String>) {
        self.given.entry(name).or_insert_with(|| value.into());
    }

    /// Sets `name`, whatever was given.
    pub fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.given.insert(name, value.into());
    }

    /// Whether somebody set it; a default is not given.
    pub fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// The value, or its default.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(String::as_str).or_else(|| find(name)?.default)
    }

    /// The value, which must be there.
    pub fn required(&self, name: &str, expected: &str) -> Result<&str, SettingError> {
        self.text(name).ok_or_else(|| self.error(name, &format!("set: {expected}")))
    }

    /// The value read by `read`; none where it is neither given nor has a default.
    pub fn optional<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, SettingError> {
        self.text(name).map(|text| read(text).ok_or_else(|| self.error(name, expected))).transpose()
    }

    /// The value read by `read`; an error where it can't be read or is not there.
    pub fn parse<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<T, SettingError> {
        read(self.required(name, expected)?).ok_or_else(|| self.error(name, expected))
    }

    /// The error for `name`, which does not print a secret.
    pub fn error(&self, name: &str, expected: &str) -> SettingError {
        let printable = find(name).is_none_or(|setting| !setting.secret);
        let value = self.text(name).filter(|_| printable).map(without_credentials);
        SettingError { name: name.to_owned(), value, expected: expected.to_owned() }
    }
}

/// An address may hold a user and a password before its host, and another password in its query.
fn without_credentials(text: &str) -> String {
    let text = match text.split_once('?') {
        Some((address, _)) if address.contains("://") => &format!("{address}?***"),
        _ => text,
    };
    match text.rsplit_once('@') {
        Some((before, host)) => match before.split_once("://") {
            Some((scheme, _)) => format!("{scheme}://***@{host}"),
            None => format!("***@{host}"),
        },
        None => text.to_owned(),
    }
}

/// The `.env` file of the current folder, and of no other: what lies above it belongs to somebody else. Empty where
/// there is none.
fn read_env_file() -> (HashMap<String, String>, Problems) {
    let text = match std::fs::read_to_string(".env") {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return (HashMap::new(), broken(format!("readable: {error}")).into()),
    };
    let mut problems = Problems::default();
    let line = |line: Result<_, dotenvy::Error>| line.map_err(|error| broken(expected_of(&text, &error)));
    let lines = dotenvy::from_read_iter(text.as_bytes()).filter_map(|it| problems.take(line(it))).collect();
    (lines, problems)
}

fn broken(expected: String) -> SettingError {
    SettingError { name: "the file .env".to_owned(), value: None, expected }
}

/// The parse error would print the line, and with it perhaps a secret.
fn expected_of(text: &str, error: &dotenvy::Error) -> String {
    match error {
        dotenvy::Error::LineParse(line, _) => format!(
            "lines of NAME=value, with quotes around a value that has spaces: {} is not",
            number_of(text, line)
        ),
        other => format!("readable: {other}"),
    }
}

/// Which line of `.env` that is: the whole of it or its value, or all from it on where a quote is not closed.
fn number_of(text: &str, piece: &str) -> String {
    let line = piece.lines().next().unwrap_or_default().trim();
    let is = |it: &str| !line.is_empty() && it.trim_end().ends_with(line);
    let number = text.lines().position(is).map(|before| before + 1);
    number.map_or("one of them".to_owned(), |number| format!("line {number}"))
}

/// `command` with a flag for each setting that `taker` takes.
pub fn with_flags(command: Command, taker: Taker) -> Command {
    command.args(ALL.iter().filter(|setting| setting.is_for(taker)).map(flag))
}

/// `command` with a flag for each of these settings.
pub fn with_some_flags(command: Command, names: &[&str]) -> Command {
    command.args(ALL.iter().filter(|setting| names.contains(&setting.name)).map(flag))
}

fn flag(setting: &'static Setting) -> Arg {
    let default = setting.default.map(|default| format!(" [default: {default}]")).unwrap_or_default();
    let help = format!("{} [env: {}]{default}", setting.help, setting.name);
    // A secret may begin with a hyphen; taken for a flag that nobody knows it would be printed.
    let arg = Arg::new(setting.name).long(setting.flag()).value_name("VALUE").allow_hyphen_values(true);
    arg.help(help).help_heading("Settings")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(name: &'static str, value: &str) -> Values {
        Values::of([(name, value.to_owned())])
    }

    #[test]
    fn a_bad_value_names_itself_and_what_it_may_be() {
        let error = whole(&values("PARTITIONS", "abc"), "PARTITIONS", 1..=1024).unwrap_err();
        assert_eq!(error.to_string(), r#"PARTITIONS is "abc", but must be a whole number from 1 to 1024"#);
        let error = seconds(&values("ACCEPT_DEADLINE", "-1"), "ACCEPT_DEADLINE", 0.01..=50.0).unwrap_err();
        assert!(error.to_string().starts_with(r#"ACCEPT_DEADLINE is "-1", but must be"#), "{error}");
    }

    #[test]
    fn bytes_may_have_a_unit() {
        let read = |text: &str| bytes(&values("SPOOL_MAX_BYTES", text), "SPOOL_MAX_BYTES").ok();
        let read: Vec<_> = ["0", "1000", "2 KiB", "512MiB", "1GiB"].map(read).to_vec();
        assert_eq!(read, [Some(0), Some(1000), Some(2048), Some(512 << 20), Some(1 << 30)]);
        let bad = ["", "-1", "1.5 GiB", "GiB", "1 GB", "99999999999999999999", "99999999999 GiB"];
        for text in bad {
            assert_eq!(bytes(&values("SPOOL_MAX_BYTES", text), "SPOOL_MAX_BYTES").ok(), None, "{text}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let error = token(&values("TELEGRAM_BOT_TOKEN", "hunter2")).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert!(error.to_string().starts_with("TELEGRAM_BOT_TOKEN must be"), "{error}");
    }

    #[test]
    fn an_address_is_printed_without_its_password() {
        let error = values("REDIS_URL", "ftp://user:hunter2@host:1").error("REDIS_URL", "x");
        assert_eq!(error.to_string(), r#"REDIS_URL is "ftp://***@host:1", but must be x"#);
        let error = values("REDIS_URL", "redis+sentinel://h?password=hunter2").error("REDIS_URL", "x");
        assert_eq!(error.to_string(), r#"REDIS_URL is "redis+sentinel://h?***", but must be x"#);
    }

    #[test]
    fn every_flag_is_its_variable_in_kebab_case_and_parses() {
        let command = with_flags(Command::new("x"), Taker::Both);
        let matches = command.try_get_matches_from(["x", "--redis-port", "7", "--log-level=warn"]).unwrap();
        let (values, _) = Values::gather(&matches);
        assert_eq!((values.text("REDIS_PORT"), values.text("LOG_LEVEL")), (Some("7"), Some("warn")));
    }

    #[test]
    fn a_value_may_begin_with_a_hyphen() {
        for value in ["-1", "-x", "--s3cret", "--log-level", "--"] {
            let command = with_flags(Command::new("x"), Taker::Both);
            let matches = command.try_get_matches_from(["x", "--telegram-webhook-secret", value]).unwrap();
            let (values, _) = Values::gather(&matches);
            assert_eq!(values.text("TELEGRAM_WEBHOOK_SECRET"), Some(value));
        }
    }

    #[test]
    fn the_example_file_lists_every_setting_with_its_default() {
        let example = include_str!("../../../.env.example");
        for setting in ALL {
            let line = format!("{}={}", setting.name, setting.default.unwrap_or_default());
            let commented = format!("#{line}");
            let listed = example.lines().any(|it| {
                it == line
                    || it == commented
                    || (setting.default.is_none() && it.trim_start_matches('#').starts_with(&line))
            });
            assert!(listed, ".env.example has no line {line}");
        }
    }
}
