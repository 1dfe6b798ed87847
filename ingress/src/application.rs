//! The ingress as a whole: serves until told to stop, and stops gently.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::{App, HttpServer, web};
use shared::admin;
use shared::program::{Failure, Stopped};
use shared::queue::Publisher;
use shared::readiness::Readiness;
use shared::spool::Tended;
use tokio_util::sync::CancellationToken;

use crate::accept::Acceptor;
use crate::webhook::{self, Webhook};
use crate::{Settings, events};

/// Telegram closes idle connections after about 60 s; the server must not be first (facts T7).
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// An ingress that is bound and not yet served.
pub struct Application {
    server: Server,
    address: SocketAddr,
    readiness: Readiness,
    spool: Option<Tended>,
    in_flight: Arc<AtomicUsize>,
    grace: Duration,
}

impl Application {
    /// Serves on `listener`. The publisher may still be connecting: until it has, updates go to the spool. Without a
    /// spool (the embedded queue needs none) what the publisher can't take is refused. `more` are routes beside the
    /// webhook and the pages.
    pub fn build(
        settings: Settings,
        listener: TcpListener,
        publisher: Publisher,
        spool: Option<Tended>,
        readiness: Readiness,
        more: admin::Routes,
    ) -> Result<Self, Failure> {
        events::begin();
        let failed = |error| Failure::Failed(format!("can't listen on {}: {error}", settings.listen));
        let address = listener.local_addr().map_err(failed)?;
        let in_flight = Arc::new(AtomicUsize::new(0));
        let acceptor = Acceptor {
            publisher,
            spool: spool.as_ref().map(Tended::spool),
            bot: settings.bot,
            deadline: settings.deadline,
        };
        let webhook = Webhook {
            secrets: settings.secrets,
            acceptor,
            room: Default::default(),
            readiness: readiness.clone(),
            in_flight: in_flight.clone(),
        };
        let ready = readiness.clone();
        // Once on each of the server's threads.
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(webhook.seated_here()))
                .route("/webhook/telegram", web::post().to(webhook::handle))
                .configure(admin::routes(ready.clone()))
                .configure(|config: &mut web::ServiceConfig| more(config))
        });
        let server = server.workers(settings.http_workers).keep_alive(KEEP_ALIVE).disable_signals();
        let server = server.listen(listener).map_err(failed)?.run();
        Ok(Self { server, address, readiness, spool, in_flight, grace: settings.grace })
    }

    /// Where it listens: the port is the chosen one where the settings said 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then takes requests for a few seconds more and ends those in hand.
    pub async fn run(self, stop: CancellationToken) -> Result<Stopped, Failure> {
        events::listening(self.address);
        let handle = self.server.handle();
        let mut serving = tokio::spawn(self.server);
        tokio::select! {
            ended = &mut serving => return Err(Failure::Failed(format!("the HTTP server ended: {ended:?}"))),
            () = stop.cancelled() => {}
        }
        self.readiness.stop();
        let linger = admin::linger(self.grace);
        tokio::time::sleep(linger).await;
        let drained = tokio::time::timeout(self.grace - linger, drain(&self.in_flight)).await;
        // Not graceful: actix would wait for idle keep-alive connections, and nothing is in hand any more.
        handle.stop(false).await;
        if let Some(spool) = self.spool {
            spool.end().await;
        }
        Ok(if drained.is_ok() { Stopped::Clean } else { Stopped::TimeRanOut })
    }
}

async fn drain(in_flight: &AtomicUsize) {
    while in_flight.load(Ordering::Relaxed) > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
