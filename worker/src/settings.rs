//! The worker's settings, checked; nothing is opened here but the routes file.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Command;
use secrecy::SecretString;
use shared::settings::{
    Problems, SettingError, Taker, Values, address, http_url, seconds, whole, with_flags,
};

use crate::handle::Limits;
use crate::routes::{BUILTIN_SERVICES, ServiceConfig, Table, auth};
use crate::telegram;

/// The program with its flags, which are its settings.
pub fn command() -> Command {
    let about = "Takes updates from RabbitMQ, calls the services, and sends their answers to Telegram";
    with_flags(Command::new("tgw-worker").about(about).version(env!("CARGO_PKG_VERSION")), Taker::Worker)
}

/// Where a service is.
pub enum Place {
    At(reqwest::Url),
    /// The demo's own sample of it.
    Sample,
}

/// A service as it is to be called.
pub struct ServiceSettings {
    pub name: String,
    pub place: Place,
    pub timeout: Duration,
    pub config: ServiceConfig,
}

/// The table, and what is needed to reach the services that it names.
pub struct RouteSettings {
    pub table: Table,
    pub services: Vec<ServiceSettings>,
}

impl RouteSettings {
    pub fn read(values: &Values) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        // Without a table that can be read the built-in services' settings are looked at all the same.
        let table = problems.take(read_table(values)).unwrap_or_default();
        let names: Vec<_> = table.known_services().map(str::to_owned).collect();
        let read = names.iter().map(|name| read_service(values, &table, name));
        let services = read.filter_map(|service| problems.take_all(service).flatten()).collect();
        if problems.is_empty() { Ok(Self { table, services }) } else { Err(problems) }
    }
}

/// What a worker needs to know, apart from its queue and its store.
pub struct Settings {
    pub listen: SocketAddr,
    pub telegram: telegram::Settings,
    pub limits: Limits,
    pub routes: RouteSettings,
    /// What services send to post messages; none of them may without it.
    pub messages_token: Option<SecretString>,
    /// Bulk messages a second, of all workers together; 0.1 to 1000.
    pub bulk_rate: f64,
    /// What the routes are read from again.
    pub values: Values,
    /// Updates in hand, 1 or more.
    pub concurrency: u32,
    pub grace: Duration,
}

impl Settings {
    pub fn read(values: &Values) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let telegram = problems.take_all(telegram::Settings::read(values));
        let routes = problems.take_all(RouteSettings::read(values));
        let limits = problems.take_all(read_limits(values));
        let listen = problems.take(address(values, "LISTEN_ADDR", "0.0.0.0:8001"));
        let concurrency = problems.take(whole(values, "CONCURRENCY", 1..=1_000_000));
        let grace = problems.take(seconds(values, "SHUTDOWN_GRACE", 0.0..=3600.0));
        let messages_token = problems.take(read_messages_token(values)).flatten();
        if values.is_given("BOT_ID") {
            // The worker has it from the token, but a bad value is told all the same.
            problems.take(whole(values, "BOT_ID", 1..=i64::MAX as u64));
        }
        let bulk_rate = problems.take(read_bulk_rate(values));
        let read = (listen, telegram, limits, routes, concurrency, grace, bulk_rate);
        let (
            Some(listen),
            Some(telegram),
            Some(limits),
            Some(routes),
            Some(concurrency),
            Some(grace),
            Some(bulk_rate),
        ) = read
        else {
            return Err(problems);
        };
        let (concurrency, values) = (concurrency as u32, values.clone());
        let settings =
            Self { listen, telegram, limits, routes, messages_token, bulk_rate, values, concurrency, grace };
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }
}

fn read_bulk_rate(values: &Values) -> Result<f64, SettingError> {
    values.parse("BULK_RATE", "messages a second, a number from 0.1 to 1000", |text| {
        text.parse::<f64>().ok().filter(|rate| (0.1..=1000.0).contains(rate))
    })
}

fn read_messages_token(values: &Values) -> Result<Option<SecretString>, SettingError> {
    values.optional("MESSAGES_TOKEN", "a token: plain ASCII without spaces", |text| {
        auth::is_token(text).then(|| SecretString::from(text))
    })
}

fn read_limits(values: &Values) -> Result<Limits, Problems> {
    let mut problems = Problems::default();
    let requests = problems.take(whole(values, "RATE_LIMIT_REQUESTS", 1..=1_000_000));
    let window = problems.take(seconds(values, "RATE_LIMIT_WINDOW", 0.001..=86_400.0));
    let session = problems.take(whole(values, "SESSION_TTL", 1..=31_536_000));
    let next_part = problems.take(seconds(values, "ALBUM_WAIT", 0.0..=60.0));
    match (requests, window, session, next_part) {
        (Some(requests), Some(window), Some(session), Some(next_part)) => {
            let (requests, session) = (requests as u32, Duration::from_secs(session));
            Ok(Limits { requests, window, session, next_part })
        }
        _ => Err(problems),
    }
}

pub(crate) fn read_table(values: &Values) -> Result<Table, SettingError> {
    let Some(file) = values.text("ROUTES_FILE") else { return Ok(Table::builtin()) };
    let unreadable =
        |error: std::io::Error| values.error("ROUTES_FILE", &format!("a file that can be read ({error})"));
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let environment = |name: &str| values.variable(name);
    Table::parse(&text, file, &environment).map_err(|errors| {
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        values.error("ROUTES_FILE", &format!("a table without errors: {}", errors.join("; ")))
    })
}

/// A service, if it has an address.
fn read_service(values: &Values, table: &Table, name: &str) -> Result<Option<ServiceSettings>, Problems> {
    let mut problems = Problems::default();
    let mut config = table.service(name).cloned().unwrap_or_default();
    if BUILTIN_SERVICES.contains(&name) {
        problems.take_all(read_auth(values, name, &mut config));
    }
    let found = |place: Option<Place>, timeout| {
        place.map(|place| ServiceSettings { name: name.to_owned(), place, timeout, config: config.clone() })
    };
    if !BUILTIN_SERVICES.contains(&name) {
        let timeout = config.timeout.unwrap_or_else(|| ServiceConfig::default_timeout(name));
        return Ok(found(config.url.as_deref().and_then(place), timeout));
    }
    let setting = name.to_ascii_uppercase();
    let used = table.services_used().contains(name);
    let place = problems.take(read_place(values, &format!("{setting}_SERVICE_URL"), &config, used));
    let given = problems.take(seconds(values, &format!("{setting}_SERVICE_TIMEOUT"), 0.01..=3600.0));
    match (place, given) {
        (Some(place), Some(given)) if problems.is_empty() => {
            Ok(found(place, config.timeout.unwrap_or(given)))
        }
        _ => Err(problems),
    }
}

/// A built-in service's token and secret: the setting's, else the table's.
fn read_auth(values: &Values, name: &str, config: &mut ServiceConfig) -> Result<(), Problems> {
    let setting = name.to_ascii_uppercase();
    let mut problems = Problems::default();
    let read = |what: &str, expected: &str, is_right: fn(&str) -> bool| {
        let right = |text: &str| is_right(text).then(|| text.to_owned());
        values.optional(&format!("{setting}_SERVICE_{what}"), expected, right)
    };
    let token = problems.take(read("TOKEN", "a token: plain ASCII without spaces", auth::is_token));
    let secret = problems.take(read("SECRET", "16 bytes or more", auth::is_secret));
    if let Some(token) = token.flatten() {
        config.headers.retain(|name, _| !name.eq_ignore_ascii_case("authorization"));
        config.bearer = Some(token);
    }
    config.sign = secret.flatten().or(config.sign.take());
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// A built-in service's address: the setting's, else the table's; required where a route names it.
fn read_place(
    values: &Values,
    setting: &str,
    config: &ServiceConfig,
    used: bool,
) -> Result<Option<Place>, SettingError> {
    let expected = "an http or https address, or sample:";
    match values.optional(setting, expected, place)? {
        Some(place) => Ok(Some(place)),
        None => match config.url.as_deref().and_then(place) {
            None if used => {
                Err(values.error(setting, &format!("set, since a route names the service: {expected}")))
            }
            found => Ok(found),
        },
    }
}

fn place(text: &str) -> Option<Place> {
    if text == "sample:" { Some(Place::Sample) } else { http_url(text).map(Place::At) }
}
