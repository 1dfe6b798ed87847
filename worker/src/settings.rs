//! The worker's settings, checked; nothing is opened here but the routes file.

use std::net::SocketAddr;
use std::time::Duration;

use shared::settings::{SettingError, Values, address, http_url, seconds, whole};

use crate::handle::Limits;
use crate::routes::{BUILTIN_SERVICES, ServiceConfig, Table};
use crate::telegram;

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
    pub fn read(values: &Values) -> Result<Self, SettingError> {
        let table = read_table(values)?;
        let services = read_services(values, &table)?;
        Ok(Self { table, services })
    }
}

/// What a worker needs to know, apart from its queue and its store.
pub struct Settings {
    pub listen: SocketAddr,
    pub telegram: telegram::Settings,
    pub limits: Limits,
    pub routes: RouteSettings,
    /// What the routes are read from again.
    pub values: Values,
    /// Updates in hand, 1 or more.
    pub concurrency: u32,
    pub grace: Duration,
}

impl Settings {
    pub fn read(values: &Values) -> Result<Self, SettingError> {
        if values.is_given("BOT_ID") {
            // The worker has it from the token, but a bad value is told all the same.
            whole(values, "BOT_ID", 1..=i64::MAX as u64)?;
        }
        let limits = Limits {
            requests: whole(values, "RATE_LIMIT_REQUESTS", 1..=1_000_000)? as u32,
            window: seconds(values, "RATE_LIMIT_WINDOW", 0.001..=86_400.0)?,
            session: Duration::from_secs(whole(values, "SESSION_TTL", 1..=31_536_000)?),
        };
        Ok(Self {
            listen: address(values, "LISTEN_ADDR", "0.0.0.0:8001")?,
            telegram: telegram::Settings::read(values)?,
            limits,
            routes: RouteSettings::read(values)?,
            values: values.clone(),
            concurrency: whole(values, "CONCURRENCY", 1..=1_000_000)? as u32,
            grace: seconds(values, "SHUTDOWN_GRACE", 0.0..=3600.0)?,
        })
    }
}

fn read_table(values: &Values) -> Result<Table, SettingError> {
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

/// Every service that a route or a user's `sticky` can lead to, if it has an address.
fn read_services(values: &Values, table: &Table) -> Result<Vec<ServiceSettings>, SettingError> {
    let used = table.services_used();
    let mut services = Vec::new();
    for name in table.known_services() {
        let config = table.service(name).cloned().unwrap_or_default();
        let (place, timeout) = if BUILTIN_SERVICES.contains(&name) {
            let setting = name.to_ascii_uppercase();
            let place = read_place(values, &format!("{setting}_SERVICE_URL"), &config, used.contains(name))?;
            let given = seconds(values, &format!("{setting}_SERVICE_TIMEOUT"), 0.01..=3600.0)?;
            (place, config.timeout.unwrap_or(given))
        } else {
            let timeout = config.timeout.unwrap_or_else(|| ServiceConfig::default_timeout(name));
            (config.url.as_deref().and_then(place), timeout)
        };
        if let Some(place) = place {
            services.push(ServiceSettings { name: name.to_owned(), place, timeout, config });
        }
    }
    Ok(services)
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
