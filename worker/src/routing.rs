//! The routing table in use and the services that it leads to: read whole at the start, and again on
//! SIGHUP. What is under way keeps the one that it began with.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use shared::program::Failure;
use shared::settings::Values;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::routes::Table;
use crate::services::Services;
use crate::settings::{Place, RouteSettings, ServiceSettings};
use crate::{events, samples};

/// A table, and every service that it names.
pub struct Routing {
    pub table: Table,
    pub services: Services,
}

/// Where a routing comes from.
pub struct Source {
    values: Values,
    /// The demo's own services, once one was asked for.
    samples: OnceLock<SocketAddr>,
    stop: CancellationToken,
    /// Heard from the start on: a signal that nobody hears ends the process.
    hangups: Option<Signal>,
}

impl Source {
    /// `stop` ends the samples.
    pub fn new(values: Values, stop: CancellationToken) -> Self {
        Self { values, samples: OnceLock::new(), stop, hangups: hangups() }
    }

    /// Makes the routing of what the settings say.
    pub fn build(&self, settings: RouteSettings) -> Result<Routing, Failure> {
        let RouteSettings { table, services } = settings;
        let placed: Result<Vec<_>, Failure> =
            services.into_iter().map(|service| self.place(service)).collect();
        let failed = |error: reqwest::Error| Failure::Failed(format!("no HTTP client: {error}"));
        Ok(Routing { table, services: Services::new(placed?).map_err(failed)? })
    }

    fn place(&self, service: ServiceSettings) -> Result<crate::services::Placed, Failure> {
        let ServiceSettings { name, place, timeout, config } = service;
        let url = match place {
            Place::At(url) => url,
            Place::Sample => self
                .sample(&name)
                .map_err(|error| Failure::Failed(format!("the sample services can't start: {error}")))?,
        };
        Ok(crate::services::Placed { name, url, timeout, config })
    }

    fn sample(&self, name: &str) -> Result<reqwest::Url, String> {
        let at = match self.samples.get() {
            Some(at) => *at,
            None => samples::start(self.stop.clone()).map_err(|error| error.to_string())?,
        };
        let at = self.samples.get_or_init(|| at);
        reqwest::Url::parse(&format!("http://{at}/{name}")).map_err(|error| error.to_string())
    }

    /// Reads the table again on each SIGHUP. A table that is broken, or names a service without an
    /// address, is told and changes nothing.
    pub async fn reload_on_hangup(mut self, routing: watch::Sender<Arc<Routing>>) {
        let Some(mut hangups) = self.hangups.take() else { return };
        while hangups.recv().await.is_some() {
            let read = RouteSettings::read(&self.values).map_err(Failure::from);
            match read.and_then(|settings| self.build(settings)) {
                Ok(fresh) => {
                    let old = routing.send_replace(Arc::new(fresh));
                    let gone = |name: &&str| !routing.borrow().services.knows(name);
                    old.services.names().filter(gone).for_each(events::service_gone);
                    events::routes_read_again();
                }
                Err(error) => events::routes_broken(&error),
            }
        }
    }
}

fn hangups() -> Option<Signal> {
    signal(SignalKind::hangup()).inspect_err(|error| tracing::error!(%error, "SIGHUP can't be heard")).ok()
}
